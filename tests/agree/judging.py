"""Judging an implementation on arrays of one's own, as ``trial`` judges it on a drawn case."""

from __future__ import annotations

from typing import Any

import numpy as np

from attnbench.agree.bounds import Units
from attnbench.agree.judge import Judgement
from attnbench.agree.run_once import run_once
from attnbench.agree.trial import choose, judge_forward, judge_gradients
from attnbench.attention import load_backend
from attnbench.call import Operands, prepare
from attnbench.execute import gradient_names
from attnbench.implementation import AttentionOutput, Implementation
from attnbench.inputs import draw, draw_cotangents
from attnbench.oracle import reference
from attnbench.oracle_vjp import reference_vjp
from attnbench.precision import default_precision, numpy_dtype, wide
from attnbench.problem import Case
from attnbench.spec import AttentionSpec

Array = np.ndarray[Any, np.dtype[Any]]


def judged(
    implementation: Implementation,
    spec: AttentionSpec,
    operands: Operands,
    d_output: Array | None = None,
    d_lse: Array | None = None,
    outputs: tuple[str, ...] = (),
) -> dict[str, Judgement]:
    """A judgement of every output and gradient, by name."""
    q, k, v, call = prepare(spec, operands, outputs)
    sample = choose(call, 0)
    ran = run_once(load_backend("numpy"), implementation, (q, k, v), call, (d_output, d_lse))
    units = Units.of(implementation.capabilities.precision_of(call.dtype), call.dtype)
    found = judge_forward(ran.output, (q, k, v), call, units, sample)
    if d_output is not None:
        found += judge_gradients(ran.grads, (q, k, v), call, (d_output, d_lse), units, sample)
    return {one.tensor: one for one in found}


def worst(found: dict[str, Judgement]) -> float:
    """The largest error over its bound."""
    return max(one.error_ratio for one in found.values())


def moved(
    case: Case, spec: AttentionSpec, operands: Operands, d_output: Array | None = None, d_lse: Array | None = None
) -> dict[str, float]:
    """How far another question's exact answer lies from this case's, in units of what agrees, for each array.

    The answer to (spec, operands) is judged as if a kernel had returned it for ``case``. Cotangents are the case's
    own unless others are given; a gradient that the other question does not have counts as zero.
    """
    q, k, v, call = prepare(case.spec, draw(case.spec, case.problem), case.outputs)
    other_q, other_k, other_v, other = prepare(spec, operands, case.outputs)
    units = Units.of(default_precision(call.dtype), call.dtype)
    sample = choose(call, 0)
    answer = reference(other_q, other_k, other_v, other)
    level = numpy_dtype(wide(call.dtype))
    arrays = {name: getattr(answer, name).astype(level) for name in call.outputs}
    output = AttentionOutput(answer.output.astype(numpy_dtype(call.dtype)), **arrays)
    found = judge_forward(output, (q, k, v), call, units, sample)
    if case.gradients:
        own = draw_cotangents(case)
        given = (own[0] if d_output is None else d_output), (own[1] if d_lse is None else d_lse)
        exact = reference_vjp(other_q, other_k, other_v, other, *given)
        named = {"q": q, "k": k, "v": v, "bias": call.bias, "sinks": call.sinks}
        named |= {f"params.{name}": param for name, param in call.params.items()}
        grads = {n: exact.get(n, np.zeros(named[n].shape)).astype(named[n].dtype) for n in gradient_names(call)}
        found += judge_gradients(grads, (q, k, v), call, own, units, sample)
    return {one.tensor: one.error_ratio for one in found}
