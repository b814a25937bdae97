"""A failing case examined: what kind of fault it is, and the smallest case that still shows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.case_text import case_text
from attnbench.agree.diagnose import diagnose
from attnbench.agree.diagnosis import UNKNOWN, Diagnosis
from attnbench.agree.shrink import shrink
from attnbench.agree.trial import Trial, trial
from attnbench.errors import UnsupportedError, refusal_of

if TYPE_CHECKING:
    from attnbench.backend import Backend
    from attnbench.implementation import Implementation
    from attnbench.problem import Case


@dataclass(frozen=True)
class Examination:
    """A diagnosis and the smallest failing sequence of cases found: one, or two where it takes an earlier call."""

    diagnosis: Diagnosis
    cases: tuple[Case, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: the columns of a row of ``attnbench check``."""
        return {"diagnosis": self.diagnosis.to_dict(), "smallest_case": [case_text(case) for case in self.cases]}


def examine(
    backend: Backend, implementation: Implementation, case: Case, device: str = "cpu", *, seconds: float = 6.0
) -> Examination:
    """Diagnose a failing case and shrink it, in at most about ``seconds``."""
    if case.gradients and not implementation.has_gradients(device):
        case = replace(case, phase="forward")
    try:
        diagnosis = diagnose(backend, implementation, case, device, seconds=seconds / 2)
    except UnsupportedError as error:  # what it refuses tells nothing of what it takes
        diagnosis = Diagnosis(UNKNOWN, f"it does not take a question of the diagnosis: {refusal_of(error)}")
    if diagnosis.history:
        return Examination(diagnosis, _sequence(backend, implementation, case, device, seconds / 2))
    first = trial(backend, implementation, case, device)
    if first.status != "wrong":
        return Examination(diagnosis, (case,))
    wanted = _signature(first)

    def fails(smaller: Case) -> bool:
        again = trial(backend, implementation, smaller, device)
        return again.status == "wrong" and _signature(again) == wanted

    return Examination(diagnosis, (shrink(case, fails, seconds=seconds / 2),))


def _signature(failed: Trial) -> tuple[str | None, bool]:
    """What must stay the same while a case shrinks: the property that fails, and whether the output has it."""
    return failed.fault, any(not j.ok for j in failed.forward)


def _sequence(
    backend: Backend, implementation: Implementation, case: Case, device: str, seconds: float
) -> tuple[Case, ...]:
    """Two cases of which the first is right and leaves something behind that makes the second wrong."""

    def before(one: Case) -> Case:
        return one.with_problem(seed=one.problem.seed + 1)

    def fails(one: Case) -> bool:
        trial(backend, implementation, before(one), device)
        return trial(backend, implementation, one, device).status == "wrong"

    smallest = shrink(case, fails, seconds=seconds)
    return before(smallest), smallest
