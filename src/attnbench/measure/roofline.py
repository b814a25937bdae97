"""What a case needs at least: floating-point operations and bytes, and its time as a fraction of the roofline.

Counted from the case, alike for every implementation: only pairs that causality and the window allow; a mask given
as an array saves nothing, since it has to be read to be known. A backward pass counts as 2.5 forward ones besides
(Dao 2022): five products in place of two. Softmax itself is not counted, as is the custom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.inputs import DRAWERS
from attnbench.precision import numpy_dtype

if TYPE_CHECKING:
    from attnbench.measure.protocol import Ceilings
    from attnbench.problem import Case, Problem

BACKWARD_FACTOR = 2.5
LSE_BYTES = 4


@dataclass(frozen=True)
class Work:
    """``flops`` floating-point operations and ``min_bytes``, the fewest bytes to move, of one call."""

    flops: float
    min_bytes: float


def work(case: Case) -> Work:
    """The work of one call of a case, forward or forward and backward."""
    p = case.problem
    pairs, keys = allowed(case)
    forward = p.Hq * (pairs * _per_pair(case) + 2.0 * pairs * p.Dv) + _projections(case)
    flops = forward * (1 + BACKWARD_FACTOR) if case.gradients else forward
    return Work(float(flops), float(_bytes(case, keys)))


def allowed(case: Case) -> tuple[int, int]:
    """Pairs (query, key) that causality and window allow, summed over the batch, and keys that some query needs."""
    p, spec = case.problem, case.spec
    left, right = spec.window or (None, None)
    if spec.causal:
        right = 0
    pairs = keys = 0
    for offset in _offsets(case):
        position = np.arange(p.Tq, dtype=np.int64) + offset
        first = np.zeros_like(position) if left is None else np.maximum(position - left, 0)
        last = np.full_like(position, p.S - 1) if right is None else np.minimum(position + right, p.S - 1)
        count = np.maximum(last - first + 1, 0)
        pairs += int(count.sum())
        if count.any():
            keys += int(last[count > 0].max() - first[count > 0].min() + 1)
    return pairs, keys


def _offsets(case: Case) -> list[int]:
    p = case.problem
    for kind in ("offset", "offsets"):
        if kind in p.operands:
            drawn = DRAWERS[kind](p)["offset"]
            return [int(one) for one in drawn] if kind == "offsets" else [drawn] * p.B
    at_end = "past" in p.operands or case.spec.align == "bottom_right"
    return [p.S - p.Tq if at_end else 0] * p.B


def _per_pair(case: Case) -> float:
    """Operations of one score: a product of length D, or the sum, tanh and product of a learned hidden layer."""
    p = case.problem
    return 4.0 * p.Da if case.spec.score in ("additive", "concat") else 2.0 * p.D


def _projections(case: Case) -> float:
    p = case.problem
    if case.spec.score in ("additive", "concat"):
        return 2.0 * p.B * p.Hq * (p.Tq + p.S) * p.D * p.Da
    return 2.0 * p.B * p.Hq * p.Tq * p.D * p.D if case.spec.score == "general" else 0.0


def _bytes(case: Case, keys: int) -> float:
    p = case.problem
    size = numpy_dtype(p.dtype).itemsize
    queries = p.B * p.Hq * p.Tq
    read = size * (queries * p.D + keys * p.Hkv * (p.D + p.Dv)) + _operand_bytes(p, size)
    write = size * queries * p.Dv + (LSE_BYTES * queries if "lse" in case.outputs else 0)
    if not case.gradients:
        return read + write
    # Besides: the cotangent is read, and gradients of q, k and v are written whole.
    gradients = size * (queries * p.D + p.B * p.Hkv * p.S * (p.D + p.Dv))
    return read + write + size * queries * p.Dv + gradients


def _operand_bytes(p: Problem, size: int) -> float:
    full = p.B * p.Hq * p.Tq * p.S
    known = {"mask": full, "mask_keys": p.B * p.S, "mask_dead_rows": p.Tq * p.S, "keep": full}
    known |= {"bias": full * size, "bias_minus_inf": full * size, "bias_keys": p.B * p.S * size}
    return float(sum(known.get(kind, 0) for kind in p.operands))


def columns(case: Case, median_s: float | None, ceilings: Ceilings | None) -> dict[str, Any]:
    """The columns of a row: flops, min_bytes, flop_rate, and the fraction of the roofline where ceilings are known."""
    done = work(case)
    found: dict[str, Any] = {"flops": done.flops, "min_bytes": done.min_bytes}
    if not median_s:
        return found
    found["flop_rate"] = done.flops / median_s
    if ceilings is not None:
        rate = ceilings.dgemm_flop_rate if case.problem.dtype == "float64" else ceilings.sgemm_flop_rate
        least_s = max(done.flops / rate, done.min_bytes / ceilings.copy_bytes_rate)
        found["roofline_fraction"] = least_s / median_s if math.isfinite(least_s) else None
    return found
