"""Attention in NumPy with a slowdown of known size: of every 100 head slices, k are computed again.

The extra work is of the kind that there is anyway, and not sleep, so it slows down and speeds up with the machine as
the rest does. NumPy is all that this module imports, so that every tool starts it as quickly.
"""

from __future__ import annotations

from typing import Any

import numpy as np

HEADS, HEAD_SIZE = 100, 32

# Not attnbench's: a hash of this file says which trials count together, so NumPy is all that it may rest on.
Array = np.ndarray[Any, np.dtype[Any]]


def attention(q: Array, k: Array, v: Array, scale: float, extra: int = 0) -> Array:
    """Softmax attention of q, k, v (B, H, T, D); the first ``extra`` per cent of the heads are computed twice.

    Head by head, so that a head done again costs what a head costs: all at once, its small temporaries would stay in
    the cache, and 20 % of the heads would be 8 % of the time.
    """
    output = np.empty((*q.shape[:3], v.shape[3]), np.result_type(q, v))
    heads = q.shape[1]
    for head in (*range(heads), *range(round(extra * heads / 100))):
        output[:, head] = _once(q[:, head], k[:, head], v[:, head], scale)
    return output


def _once(q: Array, k: Array, v: Array, scale: float) -> Array:
    scores = q @ np.swapaxes(k, -1, -2) * scale
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    result: Array = (weights / weights.sum(-1, keepdims=True)) @ v
    return result


def operands(T: int) -> tuple[Array, Array, Array, float]:
    """q, k, v (1, 100, T, 32) in float32, and the scale."""
    q, k, v = np.random.default_rng(T).standard_normal((3, 1, HEADS, T, HEAD_SIZE), dtype=np.float32)
    return q, k, v, HEAD_SIZE**-0.5
