"""Keys and rows that take part in nothing: where they hold a NaN, 0 stands for them in a backward pass."""

from __future__ import annotations

import numpy as np

from attnbench.api import Array, Call

from .edges import allowed_tile, reach
from .layout import Heads, key_tiles

STEP = 256


def without_dead(
    q: Array, k: Array, v: Array, call: Call, d_output: Array, heads: list[Heads]
) -> tuple[Array, Array, Array, Array]:
    """q, k, v and d_output; with 0 in what lies outside every allowed set, where something there is NaN."""
    if not call.restricted or not any(np.isnan(np.sum(array, dtype=np.float64)) for array in (q, k, v, d_output)):
        return q, k, v, d_output
    row_lives, key_lives = np.zeros(q.shape[:3], bool), np.zeros(k.shape[:3], bool)
    for block in heads:
        for first in range(0, call.sizes.Tq, STEP):
            rows = slice(first, min(first + STEP, call.sizes.Tq))
            for keys in key_tiles(*reach(call, block.b, rows.start, rows.stop), STEP):
                allowed = allowed_tile(call, block, rows, keys)
                shape = (block.g1 - block.g0, block.group, rows.stop - rows.start, keys.stop - keys.start)
                full = np.broadcast_to(True if allowed is None else allowed, shape)
                row_lives[block.b, block.queries, rows] |= full.any(3).reshape(-1, shape[2])
                key_lives[block.b, block.g0 : block.g1, keys] |= full.any((1, 2))
    of_rows, of_keys = row_lives[..., None], key_lives[..., None]
    zero = q.dtype.type(0)
    return (
        np.where(of_rows, q, zero), np.where(of_keys, k, zero), np.where(of_keys, v, zero),
        np.where(of_rows, d_output, zero),
    )  # fmt: skip
