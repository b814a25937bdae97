"""Running a producer once, and comparing within the bounds of both sides."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from attnbench.agree.judge.array import Judgement, judge
from attnbench.agree.judge.bounds import Units, output_bound
from attnbench.agree.judge.gradient_bounds import gradient_bounds
from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands, prepare
from attnbench.attention.oracle import heads
from attnbench.attention.precision import Precision, default_precision
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import attend, vjp
from tests.repository import REPOSITORY

NAIVE = ("numpy/naive", "torch/naive", "jax/naive")


def produce(module: str, folder: Path) -> None:
    """Run a producer in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", f"tests.differential.{module}", str(folder)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def difference(
    impl: str, spec: AttentionSpec, operands: Operands, theirs: Array, precision: Precision | None = None
) -> Judgement:
    """Ours against theirs: each may be its bound away from the truth, on either side. ``precision`` is theirs."""
    ours = attend(impl=impl, spec=spec, **vars(operands)).output
    dtype = operands.q.dtype.name
    usual = default_precision(dtype)
    both = bound(spec, operands, usual) + bound(spec, operands, precision or usual)
    return judge("output", ours, theirs.astype(np.float64), both, dtype)


def gradient_differences(
    impl: str,
    spec: AttentionSpec,
    operands: Operands,
    d_output: Array,
    theirs: Mapping[str, Array],
    precision: Precision,
) -> list[Judgement]:
    """Ours against theirs for each operand; where theirs has fewer axes its operand was broadcast or had one head."""
    ours = vjp(d_output=d_output, impl=impl, spec=spec, **vars(operands))
    q, k, v, call = prepare(spec, operands, ())
    every = (np.arange(q.shape[2]), tuple(np.ndindex(q.shape[:2])))
    units = [Units.of(one, call.dtype) for one in (default_precision(call.dtype), precision)]
    bounds = [gradient_bounds(q, k, v, call, d_output, None, one, *every) for one in units]
    judged = []
    for name, expected in theirs.items():
        got, both = like(ours[name], expected), like(bounds[0][name] + bounds[1][name], expected)
        judged.append(judge(f"d_{name}", got, expected.astype(np.float64), both, call.dtype))
    return judged


def like(x: Array, shape: Array) -> Array:
    """(B, H, T, n) with the axes of ``shape``: one head dropped, or summed over the batch."""
    if x.ndim == shape.ndim:
        return x
    summed: Array = x[:, 0] if x.shape[1] == 1 else x.sum(0)
    return summed


def bound(spec: AttentionSpec, operands: Operands, precision: Precision) -> Array:
    """The bound of each element of the output for this arithmetic."""
    q, k, v, call = prepare(spec, operands, ())
    units = Units.of(precision, call.dtype)
    found = np.zeros((*q.shape[:3], v.shape[3]))
    for b, h, head in heads(q, k, v, call, np.arange(q.shape[2]), tuple(np.ndindex(q.shape[:2]))):
        found[b, h] = output_bound(head, call, h, units)
    return found
