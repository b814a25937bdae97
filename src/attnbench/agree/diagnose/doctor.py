"""What diagnosis works with: a ``Diagnosis``, one run of a case taken apart, and the ``Doctor`` who runs cases."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.agree.judge.arithmetic import precision_of
from attnbench.agree.judge.bounds import Units
from attnbench.agree.rules.facts import Computed, Facts, answer, facts_of
from attnbench.agree.rules.probes import Box
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, prepare
from attnbench.attention.inputs import draw
from attnbench.errors import SpecError

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import AttentionOutput, Implementation

AGREES_AGAIN = "run again, the case agrees"
UNKNOWN = "unknown"
OTHER_SEEDS = (101, 102)
COMPILING_S = 12.0


class OutOfTime(Exception):  # noqa: N818  (no error: the questions were too many for the time given)
    """The time was up before every reading was tried: one that was not might explain the result as well."""


@dataclass(frozen=True)
class Diagnosis:
    """A kind of fault and its evidence in one sentence."""

    kind: str
    evidence: str
    history: bool = False  # the fault shows only after an earlier call

    @property
    def known(self) -> bool:
        """Whether a fault is named."""
        return self.kind != UNKNOWN

    def to_dict(self) -> dict[str, str]:
        """JSON-ready."""
        return {"kind": self.kind, "evidence": self.evidence}

    def sentence(self) -> str:
        """One line for people."""
        return f"{self.kind}: {self.evidence}"


@dataclass(frozen=True)
class Seen:
    """One run of a case: what went in, the right answer, and what came out."""

    case: Case
    qkv: tuple[Array, Array, Array]
    call: Call
    facts: Facts
    right: Computed
    result: AttentionOutput

    @property
    def got(self) -> Array:
        """The output as it was returned."""
        output: Array = self.result.output
        return output


class Doctor:
    """Diagnoses one implementation; runs at most until ``until`` (``time.monotonic``).

    What a framework needs to compile the questions does not count, up to ``COMPILING_S``.
    """

    def __init__(self, backend: Backend, implementation: Implementation, device: str, until: float) -> None:
        self.box = Box(backend, implementation, device)
        self.backend, self.implementation, self.device, self.until = backend, implementation, device, until

    @property
    def late(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() > self.until + min(self.box.compiling_s, COMPILING_S)

    def go_on(self) -> None:
        """Raises ``OutOfTime`` when the time is up: nothing is known of readings that were never tried."""
        if self.late:
            raise OutOfTime

    def see(self, case: Case) -> Seen:
        """Run a case forward; raises what the kernel raises."""
        q, k, v, call = prepare(case.spec, draw(case.spec, case.problem), case.outputs)
        facts = facts_of(q, k, v, call)
        return Seen(case, (q, k, v), call, facts, answer(facts), self.box.forward(q, k, v, call))

    def units(self, call: Call) -> Units:
        """The arithmetic that the implementation declares."""
        return Units.of(precision_of(self.implementation, call.dtype, self.device), call.dtype)

    def other(self, seen: Seen, **changes: Any) -> Seen | None:
        """A run of the same case with changes of the problem, or ``None`` where that cannot be run."""
        try:
            return self.ask(seen.case.with_problem(**changes))
        except SpecError:
            return None

    def ask(self, case: Case) -> Seen | None:
        """A run of another case, or ``None`` where the implementation does not take it or fails."""
        try:
            if self.implementation.unsupported(_call(case).needs(self.device)):
                return None
            return self.see(case)
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            return None


def _call(case: Case) -> Call:
    return prepare(case.spec, draw(case.spec, case.problem), case.outputs)[3]
