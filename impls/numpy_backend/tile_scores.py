"""The scores of ``numpy/blocked`` on one tile of one head, forward and backward, before the scale.

Every score is one of two products after a projection: a dot product of what stands for the query and the key (``dot``,
``general``), or a sum over hidden units of tanh (``additive``, ``concat``). The hidden layer of a tile is computed in
blocks of some units and rows that stay in a processor's cache, so that a tile needs little more memory with it than
without it. Every function has its own memory: tiles may be asked for by several threads at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.api import Array, Call

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Projected:
    """A head as its score reads it, and for a learned sum the weights of its hidden units."""

    query: Float[Array, "Tq n"]
    key: Float[Array, "S n"]
    units: Float[Array, " n"] | None


def _param(call: Call, name: str, h: int, dtype: Any) -> Float[Array, " ..."]:
    param: Array = call.params[name]
    of_head: Array = param[h if param.shape[0] > 1 else 0].astype(dtype, copy=False)
    return of_head


def _weights(call: Call, h: int, dtype: Any) -> tuple[Float[Array, "D Da"], Float[Array, "D Da"]]:
    """W_q and W_k; ``concat`` has them as the halves of one W."""
    if call.spec.score == "concat":
        both = _param(call, "W", h, dtype)
        return both[: call.sizes.D], both[call.sizes.D :]
    return _param(call, "Wq", h, dtype), _param(call, "Wk", h, dtype)


def project(q: Float[Array, "Tq D"], k: Float[Array, "S D"], call: Call, h: int) -> Projected:
    """What the score of head h multiplies or sums."""
    if call.spec.score == "dot":
        return Projected(q, k, None)
    if call.spec.score == "general":
        return Projected(q @ _param(call, "W", h, q.dtype), k, None)
    to_query, to_key = _weights(call, h, q.dtype)
    query = q @ to_query
    if call.spec.score == "additive":
        query += _param(call, "b", h, q.dtype)
    return Projected(query, k @ to_key, _param(call, "v", h, q.dtype))


def tile_scores(head: Projected, rows: slice, keys: slice) -> Float[Array, "rows keys"]:
    """The scores of a tile."""
    query, key = head.query[rows], head.key[keys]
    if head.units is None:
        return query @ key.T
    scores = np.zeros((len(query), len(key)), query.dtype)
    for units, block, hidden in _hidden_blocks(query, key):
        scores[block] += (head.units[units] @ hidden.reshape(len(hidden), -1)).reshape(-1, len(key))
    return scores


# Of a hidden layer at a time: 512 KiB of float32 were as fast as 1 MiB where a core has 2 MiB of second-level cache; of
# units at least so many, that each matrix product is of some rows.
BLOCK_UNITS = 16
BLOCK_ELEMENTS = 1 << 17


def _hidden_blocks(
    query: Float[Array, "rows n"], key: Float[Array, "keys n"]
) -> Iterator[tuple[slice, slice, Float[Array, "units block keys"]]]:
    """Units, rows and tanh(query + key) of each block; every block lies in the same memory, which may be changed.

    The sum of a query and a key is the matrix product [query, 1] · [1; key]: both products are exact, so that it has
    the same bits, in a third of the time that NumPy takes to broadcast over two axes.
    """
    rows, keys, n = len(query), len(key), query.shape[1]
    left, right = np.ones((n, rows, 2), query.dtype), np.ones((n, 2, keys), query.dtype)
    left[:, :, 0], right[:, 1] = query.T, key.T
    most_units = min(max(BLOCK_UNITS, BLOCK_ELEMENTS // max(1, rows * keys)), n)
    most_rows = min(max(1, BLOCK_ELEMENTS // max(1, most_units * keys)), rows)
    buffer = np.empty((most_units * most_rows * keys), query.dtype)
    for unit in range(0, n, most_units):
        units = slice(unit, min(unit + most_units, n))
        for row in range(0, rows, most_rows):
            block = slice(row, min(row + most_rows, rows))
            sizes = (units.stop - unit, block.stop - row, keys)
            hidden = buffer[: math.prod(sizes)].reshape(sizes)
            np.matmul(left[units, block], right[units], out=hidden)
            yield units, block, np.tanh(hidden, out=hidden)


@dataclass(frozen=True)
class Gradients:
    """What the tiles of a head add up to, in the shapes of ``Projected``."""

    query: Float[Array, "Tq n"]
    key: Float[Array, "S n"]
    units: Float[Array, " n"] | None


def empty_gradients(head: Projected) -> Gradients:
    """Zeros to add to."""
    units = None if head.units is None else np.zeros_like(head.units)
    return Gradients(np.zeros_like(head.query), np.zeros_like(head.key), units)


def add_tile(into: Gradients, head: Projected, rows: slice, keys: slice, d_scores: Float[Array, "rows keys"]) -> None:
    """Add what a tile's d_scores give, each tanh computed again."""
    query, key = head.query[rows], head.key[keys]
    if head.units is None or into.units is None:
        into.query[rows] += d_scores @ key
        into.key[keys] += d_scores.T @ query
        return
    d_scores = np.ascontiguousarray(d_scores)
    over_keys, over_rows = np.ones(len(key), key.dtype), np.ones(len(query), key.dtype)
    for units, block, hidden in _hidden_blocks(query, key):
        weights, of_block = head.units[units, None], d_scores[block]
        into.units[units] += hidden.reshape(len(hidden), -1) @ of_block.reshape(-1)
        d_sums = np.multiply(hidden, hidden, out=hidden)
        np.subtract(1, d_sums, out=d_sums)
        np.multiply(d_sums, of_block, out=d_sums)
        into.query[rows][block, units] += (weights * (d_sums @ over_keys)).T
        into.key[keys, units] += (weights * (over_rows[block] @ d_sums)).T


def through_projection(
    of_head: Gradients, q: Float[Array, "Tq D"], k: Float[Array, "S D"], call: Call, h: int
) -> tuple[Float[Array, "Tq D"], Float[Array, "S D"], dict[str, Float[Array, " ..."]]]:
    """d_q, d_k and the gradients of the parameters of head h."""
    if call.spec.score == "dot":
        return of_head.query, of_head.key, {}
    if call.spec.score == "general":
        w = _param(call, "W", h, q.dtype)
        return of_head.query @ w.T, of_head.key, {"W": q.T @ of_head.query}
    to_query, to_key = _weights(call, h, q.dtype)
    halves = q.T @ of_head.query, k.T @ of_head.key
    grads = {"v": np.asarray(of_head.units)}
    if call.spec.score == "concat":
        grads["W"] = np.concatenate(halves)
    else:
        grads |= {"Wq": halves[0], "Wk": halves[1], "b": of_head.query.sum(0)}
    return of_head.query @ to_query.T, of_head.key @ to_key.T, grads
