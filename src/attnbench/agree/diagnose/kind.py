"""What kind of fault a failing case shows, with its evidence in a sentence; ``unknown`` rather than a guess.

The case is run again and its result is held to every wrong reading of the spec (``readings``). One is named if it
explains what the kernel returned, within the bound of that reading, on this case, on the attention matrix that the
probe V = identity shows, and on other inputs of the same sizes; and if no reading of another kind does so too. In 16
bits, where many readings look alike, it is found in more bits and must explain the 16 bits as well. When the time is up
before every reading was asked, none is named.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from attnbench.agree.diagnose.doctor import AGREES_AGAIN, UNKNOWN, Diagnosis, Doctor, OutOfTime, Seen
from attnbench.agree.diagnose.gradients import of_gradients
from attnbench.agree.diagnose.output import of_output
from attnbench.agree.diagnose.stages import of_outputs
from attnbench.agree.diagnose.state import of_factors, of_form, of_nan, of_state
from attnbench.agree.judge.answered import answer_to
from attnbench.agree.judge.arithmetic import held
from attnbench.agree.judge.trial import Trial, trial
from attnbench.backends.bind import inputs_of

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

# What a kernel that takes all memory for contiguous gets wrong; before it stands which array it is.
LAYOUTS = {
    "transposed": "lies as (B, T, H, D) in memory, seen as (B, H, T, D)",
    "padded": "has rows that lie farther apart in memory than they are long",
    "step": "has a last axis that takes every second element in memory",
    "expanded": "is shared by all batch entries in memory (stride 0)",
    "offset": "begins an odd number of elements behind the start of its memory",
}
LAID = ("q", "k", "v", "mask", "bias", "d_output")
LARGEST = 1 << 20  # B·Hq·Tq·S up to which a case is taken apart whole


def diagnose(
    backend: Backend,
    implementation: Implementation,
    case: Case,
    device: str = "cpu",
    *,
    seconds: float = 4.0,
    origin: Case | None = None,
) -> Diagnosis:
    """Name the fault that makes ``case`` fail: kind and evidence, or ``unknown``.

    What is named explains ``origin`` as well, the case that ``case`` was made from: in small sizes more faults look
    alike.
    """
    doctor = Doctor(backend, implementation, device, time.monotonic() + seconds)
    try:
        return _diagnosed(doctor, case, origin)
    except OutOfTime:
        return Diagnosis(UNKNOWN, "nothing found in the time given")


def _diagnosed(doctor: Doctor, case: Case, origin: Case | None) -> Diagnosis:
    failed = trial(doctor.backend, doctor.implementation, case, doctor.device)
    if failed.status == "unsupported":
        return Diagnosis(UNKNOWN, failed.reason or "not supported")
    if case.problem.layout:
        contiguous = case.in_contiguous_memory()
        again = trial(doctor.backend, doctor.implementation, contiguous, doctor.device)
        if failed.status == "wrong" and again.status == "ok":
            where = f"{_laid(doctor, case) or 'an array'} {LAYOUTS[case.problem.layout]}"
            return Diagnosis("layout", f"right in contiguous memory, wrong where {where}")
        case = contiguous
    if (plain := _of_fault(failed)) is not None:
        return plain
    p = case.problem
    if p.B * p.Hq * p.Tq * p.S > LARGEST:
        return Diagnosis(UNKNOWN, "the case is too large to be taken apart; give a smaller one with --case")
    seen = doctor.see(_forward(case))
    early = of_form(seen) or of_nan(doctor, seen) or of_state(doctor, seen)
    return early or _of_values(doctor, seen, case, failed, origin and origin.in_contiguous_memory())


def _of_fault(failed: Trial) -> Diagnosis | None:
    """The diagnosis where the fault of the trial says it all: an exception, an input written to, a type, a buffer."""
    if failed.fault in ("exception", "input"):
        refused = "read-only" in (failed.reason or "")
        return Diagnosis("input" if refused else failed.fault, f"it {failed.reason}")
    if failed.fault in ("type", "reused"):
        return Diagnosis({"reused": "state"}.get(failed.fault, failed.fault), failed.reason or "")
    return None


def _laid(doctor: Doctor, case: Case) -> str:
    """The array whose layout alone makes the case wrong, or the first of several; empty if none does."""
    inputs, precision = inputs_of(case), held(doctor.implementation, case.problem.dtype, doctor.device).precision
    there = inputs.arrays()
    for name in (array for array in LAID if array in there):
        doctor.go_on()
        alone = replace(inputs, laid=(name,))
        try:
            answer = answer_to(alone, case.problem.seed, doctor.backend, doctor.implementation, doctor.device)
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            return name
        if not answer.agrees(precision):
            return name
    return ""


def _forward(case: Case) -> Case:
    return replace(case, phase="forward" if case.phase == "backward" else case.phase)


def _of_values(doctor: Doctor, seen: Seen, case: Case, failed: Trial, origin: Case | None) -> Diagnosis:
    stage = _stage(failed)
    if stage == "lse":  # and the stages, which are wide whatever the inputs are
        return of_outputs(doctor, seen, [j for j in failed.forward if not j.ok])
    if stage is None:
        return Diagnosis(UNKNOWN, AGREES_AGAIN)
    wide = _in_high_precision(doctor, case, failed)
    if wide is None and origin is not None and stage == "output":
        return of_output(doctor, seen, doctor.see(_forward(origin)))
    if wide is None and origin is not None:
        wide, case = case, origin
    if stage == "output":
        return of_output(doctor, seen) if wide is None else _of_both(doctor, doctor.see(_forward(wide)), seen)
    wrong = [j.tensor.removeprefix("d_") for j in failed.gradients if not j.ok]
    return of_gradients(doctor, case, wide, wrong)


def _of_both(doctor: Doctor, wide: Seen, narrow: Seen) -> Diagnosis:
    return of_factors(doctor, wide, narrow) or of_output(doctor, wide, narrow)


def _stage(failed: Trial) -> str | None:
    """Where it is wrong first: in the ``output``, in ``lse`` or another stage, in a ``gradient``, or nowhere."""
    wrong = [j.tensor for j in failed.forward if not j.ok]
    if wrong:
        return "output" if "output" in wrong else "lse"
    return "gradient" if any(not j.ok for j in failed.gradients) else None


def _in_high_precision(doctor: Doctor, case: Case, failed: Trial) -> Case | None:
    """The same in float32 or float64 if it fails there alike: many more readings can be told apart."""
    if case.problem.dtype not in ("bfloat16", "float16"):
        return None
    for dtype in ("float32", "float64"):
        wide = case.with_problem(dtype=dtype)
        again = trial(doctor.backend, doctor.implementation, wide, doctor.device)
        if again.status == "wrong" and (again.fault, _stage(again)) == (failed.fault, _stage(failed)):
            return wide
    return None
