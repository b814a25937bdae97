"""What an implementation is offered to declare: for each dtype what explains its disagreements, and one line for all.

A fault that shows in float32 or float64, and that no declaration explains, is likely the fault that shows in 16 bits
too. Then no narrower format is offered for the dtypes of 16 bits.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.by_feature import RULES
from attnbench.agree.check.words import arithmetic, line, listed
from attnbench.agree.declare.candidates import LOW, declaring
from attnbench.agree.declare.explain import Explanation, Suspect, explaining
from attnbench.agree.judge.arithmetic import held
from attnbench.agree.rules.rows import applies
from attnbench.attention.precision import DTYPES
from attnbench.versions import installed, parse_all

if TYPE_CHECKING:
    from attnbench.attention.precision import Precision
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

# What another bound can excuse; a wrong shape, a NaN or an exception no bound can.
EXPLAINABLE = ("value", "inf")
CAPABILITIES = "its Capabilities"


@dataclass(frozen=True)
class Question:
    """The cases of one dtype whose values disagreed, and the rules that are known to hold without another look."""

    cases: Sequence[Case]
    held: Sequence[str] = ()


@dataclass(frozen=True)
class Offer:
    """By dtype what is to be declared besides, in words and with what was tried, and the line that declares it all.

    ``where`` that line is written, and by dtype the ``cases`` that agree with it.
    """

    line: str
    words: dict[str, str] = field(default_factory=dict)
    evidence: dict[str, str] = field(default_factory=dict)
    where: str = CAPABILITIES
    cases: dict[str, tuple[Case, ...]] = field(default_factory=dict)

    def of(self, dtype: str) -> dict[str, str] | None:
        """What a row in this dtype says, or ``None``."""
        if dtype not in self.words:
            return None
        said = {"words": self.words[dtype], "evidence": self.evidence[dtype]}
        return said | {"line": self.line, "where": self.where}


def offer(
    backend: Backend,
    implementation: Implementation,
    questions: Mapping[str, Question],
    device: str = "cpu",
    *,
    deep: bool = False,
    seconds: float = 60.0,
) -> Offer:
    """Look for a declaration in each dtype that was asked, at most about ``seconds`` for each."""
    explanations: dict[str, Explanation] = {}
    formats = True
    for dtype in (name for name in DTYPES if name in questions):
        suspect = Suspect(backend, implementation, dtype, device, time.monotonic() + seconds, deep)
        suspect = replace(suspect, held=tuple(questions[dtype].held))
        explanation = explaining(suspect, questions[dtype].cases, formats=formats or dtype not in LOW)
        if explanation is not None:
            explanations[dtype] = explanation
        elif dtype not in LOW:
            formats = False
    can = implementation.capabilities_on(device)
    declared = {dtype: can.precisions_of(dtype) for dtype in can.precision}
    by_dtype = explanations.items()
    changed = {dtype: _changed(implementation, dtype, device, explained.changes) for dtype, explained in by_dtype}
    return Offer(
        line(declared | changed),
        {dtype: arithmetic(explained.changes) for dtype, explained in by_dtype},
        {dtype: tried(dtype, explained, len(questions[dtype].cases)) for dtype, explained in by_dtype},
        f'{CAPABILITIES} in on={{"{device}": ...}}' if device in implementation.on else CAPABILITIES,
        {dtype: explained.cases for dtype, explained in by_dtype},
    )


def _changed(implementation: Implementation, dtype: str, device: str, changes: dict[str, Any]) -> tuple[Precision, ...]:
    """All that is to be declared for ``dtype``: the declaration that holds here with the changes, others as they are.

    Where none holds for the installed versions and the arithmetic was probed, one for these versions is added.
    """
    can, now = implementation.capabilities_on(device), held(implementation, dtype, device)
    declared = can.precisions_of(dtype)
    other = declaring(now.declared, [changes])
    if now.probed is None:
        return tuple(other if precision == now.declared else precision for precision in declared) or (other,)
    packages = [versions.package for versions in parse_all(declared[0].seen)]
    return *declared, replace(other, seen="; ".join(f"{package}=={installed(package)}" for package in packages))


def tried(dtype: str, explanation: Explanation, disagreed: int) -> str:
    """What was seen with the declaration, in words; ``disagreed`` is the number of cases that it was tried on."""
    count = len(explanation.cases)
    many = f"all {count} cases" if count == disagreed else f"{count} of {disagreed} cases"
    which = many if disagreed > 1 else "the one case"
    verb = "agrees" if count == 1 else "agree"
    hold = "hold" if len(explanation.rules) > 1 else "holds"
    rules = f", and {listed(explanation.rules)} {hold}" if explanation.rules else ""
    unasked = [rule for rule in RULES if applies(rule, dtype) and rule not in explanation.rules]
    rest = f" ({listed(unasked)} could not be asked)" if unasked else ""
    return f"with it {which} whose values disagree in {dtype} {verb}{rules}{rest}"
