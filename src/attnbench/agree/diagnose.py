"""What kind of fault a failing case shows, with its evidence in a sentence; ``unknown`` rather than a guess.

The case is run again and its result is held to every wrong reading of the spec (``readings``). One is named if it
explains what the kernel returned, within the bound of that reading, on this case, on the attention matrix that the
probe V = identity shows, and on other inputs of the same sizes; and if no reading of another kind does so too.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from attnbench.agree.diagnose_output import of_output
from attnbench.agree.diagnose_rest import of_gradients, of_outputs
from attnbench.agree.diagnose_state import of_form, of_nan, of_state
from attnbench.agree.diagnosis import UNKNOWN, Diagnosis, Doctor, Seen
from attnbench.agree.trial import Trial, trial

if TYPE_CHECKING:
    from attnbench.backend import Backend
    from attnbench.implementation import Implementation
    from attnbench.problem import Case

# What a kernel that takes all memory for contiguous gets wrong.
LAYOUTS = {
    "transposed": "where q, k and v are (B, T, H, D) in memory, seen as (B, H, T, D)",
    "padded": "where rows lie farther apart in memory than they are long",
    "step": "where the last axis takes every second element in memory",
    "expanded": "where all batch entries share one k and v in memory (stride 0)",
    "offset": "where arrays begin an odd number of elements behind the start of their memory",
}
LARGEST = 1 << 20  # B·Hq·Tq·S up to which a case is taken apart whole


def diagnose(
    backend: Backend, implementation: Implementation, case: Case, device: str = "cpu", *, seconds: float = 4.0
) -> Diagnosis:
    """Name the fault that makes ``case`` fail: kind and evidence, or ``unknown``."""
    doctor = Doctor(backend, implementation, device, time.monotonic() + seconds)
    case, failed = _in_high_precision(doctor, case)
    if failed.status == "unsupported":
        return Diagnosis(UNKNOWN, failed.reason or "not supported")
    if case.problem.layout:
        contiguous = case.in_contiguous_memory()
        if failed.status == "wrong" and trial(backend, implementation, contiguous, device).status == "ok":
            return Diagnosis("layout", f"right in contiguous memory, wrong {LAYOUTS[case.problem.layout]}")
        case = contiguous
    if failed.fault in ("exception", "input"):
        refused = "read-only" in (failed.reason or "")
        return Diagnosis("input" if refused else failed.fault, f"it {failed.reason}")
    if failed.fault in ("type", "reused"):
        return Diagnosis({"reused": "state"}.get(failed.fault, failed.fault), failed.reason or "")
    p = case.problem
    if p.B * p.Hq * p.Tq * p.S > LARGEST:
        return Diagnosis(UNKNOWN, "the case is too large to be taken apart; give a smaller one with --case")
    seen = doctor.see(replace(case, phase="forward" if case.phase == "backward" else case.phase))
    return of_form(seen) or of_nan(doctor, seen) or of_state(doctor, seen) or _of_values(doctor, seen, case, failed)


def _of_values(doctor: Doctor, seen: Seen, case: Case, failed: Trial) -> Diagnosis:
    wrong = [j for j in failed.forward if not j.ok]
    if any(j.tensor == "output" for j in wrong):
        return of_output(doctor, seen)
    if wrong:
        return of_outputs(doctor, seen, wrong)
    if any(not j.ok for j in failed.gradients):
        return of_gradients(doctor, seen, case, failed.gradients)
    return Diagnosis(UNKNOWN, "run again, the case agrees")


def _in_high_precision(doctor: Doctor, case: Case) -> tuple[Case, Trial]:
    """The case, or the same in float32 or float64 if it fails there alike: many more readings can be told apart."""
    failed = trial(doctor.backend, doctor.implementation, case, doctor.device)
    if case.problem.dtype not in ("bfloat16", "float16") or failed.status != "wrong":
        return case, failed
    for dtype in ("float32", "float64"):
        wide = case.with_problem(dtype=dtype)
        again = trial(doctor.backend, doctor.implementation, wide, doctor.device)
        if again.status == "wrong" and again.fault == failed.fault:
            return wide, again
    return case, failed
