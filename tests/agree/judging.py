"""Judging an implementation on arrays of one's own, as ``trial`` judges it on a drawn case."""

from __future__ import annotations

import numpy as np

from attnbench.agree.judge.array import Judgement
from attnbench.agree.judge.bounds import Units
from attnbench.agree.judge.run_once import run_once
from attnbench.agree.judge.selection import choose, judge_forward, judge_gradients
from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands, prepare
from attnbench.attention.oracle import reference
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.attention.precision import default_precision, numpy_dtype, wide
from attnbench.attention.problem import Case
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.answers import gradient_names
from attnbench.backends.attend import load_backend
from attnbench.backends.bind import given_inputs, inputs_of
from attnbench.backends.implementation import AttentionOutput, Implementation


def judged(
    implementation: Implementation,
    spec: AttentionSpec,
    operands: Operands,
    d_output: Array | None = None,
    d_lse: Array | None = None,
    outputs: tuple[str, ...] = (),
    backend: str = "numpy",
) -> dict[str, Judgement]:
    """A judgement of every output and gradient, by name."""
    inputs = given_inputs(spec, operands, outputs, d_output, d_lse)
    selection = choose(inputs.call, 0)
    ran = run_once(load_backend(backend), implementation, inputs)
    units = Units.of(implementation.capabilities.precision_of(inputs.call.dtype), inputs.call.dtype)
    judgements = judge_forward(ran.output, inputs, units, selection)
    if inputs.gradients:
        judgements += judge_gradients(ran.grads, inputs, units, selection)
    return {judgement.tensor: judgement for judgement in judgements}


def worst(judgements: dict[str, Judgement]) -> float:
    """The largest error over its bound."""
    return max(judgement.error_ratio for judgement in judgements.values())


def moved(
    case: Case, spec: AttentionSpec, operands: Operands, d_output: Array | None = None, d_lse: Array | None = None
) -> dict[str, float]:
    """How far another question's exact answer lies from this case's, in units of what agrees, for each array.

    The answer to (spec, operands) is judged as if a kernel had returned it for ``case``. Cotangents are the case's
    own unless others are given; a gradient that the other question does not have counts as zero.
    """
    inputs = inputs_of(case)
    call = inputs.call
    other_q, other_k, other_v, other = prepare(spec, operands, case.outputs)
    units = Units.of(default_precision(call.dtype), call.dtype)
    selection = choose(call, 0)
    answer = reference(other_q, other_k, other_v, other)
    level = numpy_dtype(wide(call.dtype))
    arrays = {name: getattr(answer, name).astype(level) for name in call.outputs}
    output = AttentionOutput(answer.output.astype(numpy_dtype(call.dtype)), **arrays)
    judgements = judge_forward(output, inputs, units, selection)
    if case.gradients:
        given = (inputs.d_output if d_output is None else d_output), (inputs.d_lse if d_lse is None else d_lse)
        exact = reference_vjp(other_q, other_k, other_v, other, *given)
        named = inputs.arrays()
        grads = {n: exact.get(n, np.zeros(named[n].shape)).astype(named[n].dtype) for n in gradient_names(call)}
        judgements += judge_gradients(grads, inputs, units, selection)
    return {judgement.tensor: judgement.error_ratio for judgement in judgements}
