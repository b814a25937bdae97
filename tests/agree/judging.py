"""Judging an implementation on arrays of one's own, as ``trial`` judges it on a drawn case."""

from __future__ import annotations

from typing import Any

import numpy as np

from attnbench.agree.bounds import Units
from attnbench.agree.judge import Judgement
from attnbench.agree.trial import _judge_forward, _judge_gradients, _run, choose
from attnbench.attention import load_backend
from attnbench.call import Operands, prepare
from attnbench.implementation import Implementation
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
    output, grads, _ = _run(load_backend("numpy"), implementation, (q, k, v), call, (d_output, d_lse), "cpu")
    units = Units.of(implementation.capabilities.precision_of(call.dtype), call.dtype)
    found = _judge_forward(output, (q, k, v), call, units, sample)
    if d_output is not None:
        found += _judge_gradients(grads, (q, k, v), call, (d_output, d_lse), units, sample)
    return {one.tensor: one for one in found}


def worst(found: dict[str, Judgement]) -> float:
    """The largest error over its bound."""
    return max(one.error_ratio for one in found.values())
