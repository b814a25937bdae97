"""What an implementation is offered to declare: for each dtype what explains its disagreements, and one line for all.

A fault that shows in float32 or float64 and that nothing explains is not one of 16 bits: then no format is offered for
these.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.arithmetic import held
from attnbench.agree.cases import RULES
from attnbench.agree.declare.candidates import LOW, declaring
from attnbench.agree.declare.explain import Kernel, explaining
from attnbench.agree.declare.words import arithmetic, line, listed
from attnbench.agree.rules import applies
from attnbench.precision import DTYPES

if TYPE_CHECKING:
    from attnbench.backend import Backend
    from attnbench.implementation import Implementation
    from attnbench.precision import Precision
    from attnbench.problem import Case

# What another bound can excuse; a wrong shape, a NaN or an exception no bound can.
EXPLAINABLE = ("value", "inf")


@dataclass(frozen=True)
class Question:
    """The cases of one dtype whose values disagreed, and the rules that are known to hold without another look."""

    cases: Sequence[Case]
    held: Sequence[str] = ()


@dataclass(frozen=True)
class Offer:
    """By dtype what is to be declared besides, in words and with what was tried, and the line that declares it all."""

    line: str
    words: dict[str, str] = field(default_factory=dict)
    evidence: dict[str, str] = field(default_factory=dict)

    def of(self, dtype: str) -> dict[str, str] | None:
        """What a row in this dtype says, or ``None``."""
        if dtype not in self.words:
            return None
        return {"words": self.words[dtype], "evidence": self.evidence[dtype], "line": self.line}


def offer(
    backend: Backend,
    implementation: Implementation,
    asked: Mapping[str, Question],
    device: str = "cpu",
    *,
    deep: bool = False,
    seconds: float = 60.0,
) -> Offer:
    """Look for a declaration in each dtype that was asked, at most about ``seconds`` for each."""
    found: dict[str, dict[str, Any]] = {}
    formats = True
    for dtype in (name for name in DTYPES if name in asked):
        kernel = Kernel(backend, implementation, dtype, device, time.monotonic() + seconds, deep)
        kernel = replace(kernel, held=tuple(asked[dtype].held))
        changes = explaining(kernel, asked[dtype].cases, formats=formats or dtype not in LOW)
        if changes is not None:
            found[dtype] = changes
        elif dtype not in LOW:
            formats = False
    declared = implementation.capabilities_on(device)
    by_dtype = {dtype: declaring(_now(implementation, dtype, device), [found[dtype]]) for dtype in found}
    return Offer(
        line({**{dtype: declared.precision_of(dtype) for dtype in declared.precision}, **by_dtype}),
        {dtype: arithmetic(changes) for dtype, changes in found.items()},
        {dtype: tried(dtype, len(asked[dtype].cases)) for dtype in found},
    )


def _now(implementation: Implementation, dtype: str, device: str) -> Precision:
    """What is declared now, or is held to where that was probed."""
    now = held(implementation, dtype, device)
    return now.precision if now.probed else implementation.capabilities_on(device).precision_of(dtype)


def tried(dtype: str, count: int) -> str:
    """What was seen with the declaration."""
    rules = listed(rule for rule in RULES if applies(rule, dtype))
    which = f"all {count} cases" if count > 1 else "the one case"
    return f"with it {which} whose values disagree in {dtype} agree{'s' * (count == 1)}, and {rules} hold"
