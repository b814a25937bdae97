"""Judging what a bound call answers, after the clock: the numbers in a report belong to right answers.

The gate judges an implementation before it is timed, in a binding of its own. This judges the very binding that was
timed: once more on the inputs that it was timed on, and on other values put in their place, so that an answer kept from
an earlier call is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.agree.bounds import Units
from attnbench.agree.gradient_bounds import gradient_bounds
from attnbench.agree.judge import Judgement, judge
from attnbench.agree.trial import Sample, choose, judge_forward, judge_gradients
from attnbench.call import Call, prepare
from attnbench.execute import to_numpy_gradients, to_numpy_output
from attnbench.inputs import draw, draw_cotangents
from attnbench.oracle_vjp import reference_vjp

if TYPE_CHECKING:
    from attnbench.backend import Backend, Bound
    from attnbench.implementation import Implementation
    from attnbench.problem import Case

Array = np.ndarray[Any, np.dtype[Any]]
Qkv = tuple[Array, Array, Array]

KEPT = "after other values were put in the place of its inputs"


@dataclass(frozen=True)
class Held:
    """A bound call with what it is bound to: native q, k and v, and the case that they were drawn for."""

    bound: Bound
    native: tuple[Any, Any, Any]
    case: Case


def verify(backend: Backend, implementation: Implementation, held: Held, device: str) -> str | None:
    """Why what the binding answers is wrong, or ``None``; its inputs are other ones afterwards."""
    case = held.case
    q, k, v, call = prepare(case.spec, draw(case.spec, case.problem), case.outputs)
    units = Units.of(implementation.capabilities_on(device).precision_of(call.dtype), call.dtype)
    sample = choose(call, case.problem.seed)
    if wrong := _wrong(backend, held, (q, k, v), call, units, sample):
        return f"after it was timed: {wrong}"
    other = case.with_problem(seed=case.problem.seed + 1)
    changed = prepare(other.spec, draw(other.spec, other.problem), other.outputs)[:3]
    if not all(backend.overwrite(native, array) for native, array in zip(held.native, changed, strict=True)):
        return None
    wrong = _wrong(backend, held, changed, call, units, sample)
    return f"{KEPT}: {wrong}" if wrong else None


def _wrong(backend: Backend, held: Held, qkv: Qkv, call: Call, units: Units, sample: Sample) -> str | None:
    result = held.bound.run()
    backend.wait(result)
    output, grads = result if held.case.gradients else (result, {})
    judged = judge_forward(to_numpy_output(backend, output, call), qkv, call, units, sample)
    if held.case.gradients:
        judged += _gradients(to_numpy_gradients(backend, grads, call), qkv, call, units, sample, held.case)
    return next((one.sentence() for one in judged if not one.ok), None)


def _gradients(
    grads: dict[str, Array], qkv: Qkv, call: Call, units: Units, sample: Sample, case: Case
) -> tuple[Judgement, ...]:
    """All gradients of a small call; of a large one those of q in the sample, which no other row adds to."""
    d_output, d_lse = draw_cotangents(case)
    if len(sample.rows) == call.sizes.Tq and len(sample.pairs) == call.sizes.B * call.sizes.Hq:
        return judge_gradients(grads, qkv, call, (d_output, d_lse), units, sample)
    expected = reference_vjp(*qkv, call, d_output, d_lse, sample.rows, sample.pairs)["q"]
    bound = gradient_bounds(*qkv, call, d_output, d_lse, units, sample.rows, sample.pairs)["q"]
    got, right, within = (
        np.stack([array[b, h][sample.rows] for b, h in sample.pairs]) for array in (grads["q"], expected, bound)
    )
    return (judge("d_q", got, right, within, qkv[0].dtype.name),)
