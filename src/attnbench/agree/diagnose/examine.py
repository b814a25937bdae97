"""A failing case examined: what kind of fault it is, the smallest case that still shows it, and which sizes do.

Where a case with many features and odd sizes does not show the kind, a plainer case that fails in the same way may.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.case_text import case_text
from attnbench.agree.diagnose.condition import condition
from attnbench.agree.diagnose.doctor import AGREES_AGAIN, UNKNOWN, Diagnosis
from attnbench.agree.diagnose.kind import diagnose
from attnbench.agree.diagnose.shrink import handy, shrink
from attnbench.agree.judge.trial import Trial, trial
from attnbench.backends.fitted import offered
from attnbench.errors import UnsupportedError, refusal_of

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

OVERTIME = 1.1  # of the time given
LARGE = 1 << 22  # multiplications of a product of q and k
TOO_LARGE = "the case is too large to be taken apart; give a smaller one with --case"


@dataclass(frozen=True)
class Examination:
    """A diagnosis and the smallest failing sequence of cases found: one, or two where it takes an earlier call.

    ``condition`` says which sizes of the smallest case were seen to be wrong, where others agree.
    """

    diagnosis: Diagnosis
    cases: tuple[Case, ...]
    condition: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the columns of a row of ``attnbench check``."""
        smallest = [case_text(case) for case in self.cases]
        return {"diagnosis": self.diagnosis.to_dict(), "smallest_case": smallest, "condition": self.condition}


def examine(
    backend: Backend, implementation: Implementation, case: Case, device: str = "cpu", *, seconds: float = 6.0
) -> Examination:
    """Diagnose a failing case, shrink it, and try other sizes of it, in at most about ``seconds``."""
    case = offered(case, implementation, device)
    started = time.monotonic()
    patient = Patient(backend, implementation, device)
    diagnosis = Diagnosis(UNKNOWN, TOO_LARGE) if _large(case) else patient.diagnosed(case, seconds / 2)
    if diagnosis.history:
        return Examination(diagnosis, _sequence(backend, implementation, case, device, seconds / 2))
    first = trial(backend, implementation, case, device)
    if first.status != "wrong":
        return Examination(diagnosis if diagnosis.known else Diagnosis(UNKNOWN, AGREES_AGAIN), (case,))

    def fails(other: Case) -> bool | None:
        again = trial(backend, implementation, other, device)
        if again.status == "wrong":
            return _signature(again) == _signature(first) or None
        return False if again.status == "ok" else None

    until = started + seconds * OVERTIME
    if not diagnosis.known:
        diagnosis, case = _of_plainer_case(
            patient, case, diagnosis, lambda other: bool(fails(other)), seconds / 2, until
        )
    smallest = shrink(case, lambda other: bool(fails(other)), seconds=min(seconds / 2, _left(until)))
    return Examination(diagnosis, (smallest,), condition(smallest, fails, seconds=min(seconds / 6, _left(until))))


def _of_plainer_case(
    patient: Patient, case: Case, diagnosis: Diagnosis, fails: Callable[[Case], bool], seconds: float, until: float
) -> tuple[Diagnosis, Case]:
    """The diagnosis of a plainer case that fails alike, with that case, where it tells more than ``diagnosis`` does."""
    easier = handy(case, fails, seconds=seconds)
    if easier == case:
        return diagnosis, case
    origin = None if _large(case) else case
    of_easier = patient.diagnosed(easier, min(seconds, _left(until)), origin)
    return (of_easier, easier) if of_easier.known or diagnosis.evidence == TOO_LARGE else (diagnosis, case)


def _left(until: float) -> float:
    """Seconds left, and a little for what must not be left out."""
    return max(0.5, until - time.monotonic())


def _large(case: Case) -> bool:
    """Whether taking the case apart as it is would use up all the time."""
    p = case.problem
    return p.B * p.Hq * p.Tq * p.S * max(p.D, p.Dv) > LARGE


@dataclass(frozen=True)
class Patient:
    """The implementation that is examined."""

    backend: Backend
    implementation: Implementation
    device: str

    def diagnosed(self, case: Case, seconds: float, origin: Case | None = None) -> Diagnosis:
        """A diagnosis by one case; ``unknown`` where the kernel refuses a case that the diagnosis has to run."""
        try:
            return diagnose(self.backend, self.implementation, case, self.device, seconds=seconds, origin=origin)
        except UnsupportedError as error:
            return Diagnosis(UNKNOWN, f"it does not take a question of the diagnosis: {refusal_of(error)}")


def _signature(failed: Trial) -> tuple[str | None, bool]:
    """What must stay the same while a case shrinks: the property that fails, and whether the output has it."""
    return failed.fault, any(not j.ok for j in failed.forward)


def _sequence(
    backend: Backend, implementation: Implementation, case: Case, device: str, seconds: float
) -> tuple[Case, ...]:
    """Two cases of which the first is right and leaves something behind that makes the second wrong."""

    def before(second: Case) -> Case:
        return second.with_problem(seed=second.problem.seed + 1)

    def fails(second: Case) -> bool:
        trial(backend, implementation, before(second), device)
        return trial(backend, implementation, second, device).status == "wrong"

    smallest = shrink(case, fails, seconds=seconds)
    return before(smallest), smallest
