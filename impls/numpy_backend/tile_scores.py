"""The scores of ``numpy/blocked`` on one tile of one head, forward and backward, before the scale.

Every score is one of two products after a projection: a dot product of what stands for the query and the key (``dot``,
``general``), or a sum over hidden units of tanh (``additive``, ``concat``). The sum goes unit by unit, so that a tile
needs as much memory with it as without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from attnbench.api import Array, Call


@dataclass(frozen=True)
class Projected:
    """A head as its score reads it: query (Tq, n), key (S, n), and for a learned sum the weights of its n units."""

    query: Array
    key: Array
    units: Array | None


def _param(call: Call, name: str, h: int, dtype: Any) -> Array:
    param: Array = call.params[name]
    own: Array = param[h if param.shape[0] > 1 else 0].astype(dtype, copy=False)
    return own


def _weights(call: Call, h: int, dtype: Any) -> tuple[Array, Array]:
    """W_q and W_k (D, Da); ``concat`` has them as the halves of one."""
    if call.spec.score == "concat":
        both = _param(call, "W", h, dtype)
        return both[: call.sizes.D], both[call.sizes.D :]
    return _param(call, "Wq", h, dtype), _param(call, "Wk", h, dtype)


def project(q: Array, k: Array, call: Call, h: int) -> Projected:
    """What the score of head h multiplies or sums, of q (Tq, D) and k (S, D)."""
    if call.spec.score == "dot":
        return Projected(q, k, None)
    if call.spec.score == "general":
        return Projected(q @ _param(call, "W", h, q.dtype), k, None)
    to_query, to_key = _weights(call, h, q.dtype)
    query = q @ to_query
    if call.spec.score == "additive":
        query += _param(call, "b", h, q.dtype)
    return Projected(query, k @ to_key, _param(call, "v", h, q.dtype))


def tile_scores(one: Projected, rows: slice, keys: slice) -> Array:
    """The scores of a tile, (rows, keys)."""
    query, key = one.query[rows], one.key[keys]
    if one.units is None:
        return query @ key.T
    scores = np.zeros((len(query), len(key)), query.dtype)
    hidden = np.empty_like(scores)
    for of_query, of_key, weight in zip(*_by_unit(query, key), one.units, strict=True):
        _activation(of_query, of_key, hidden)
        hidden *= weight
        scores += hidden
    return scores


def _by_unit(query: Array, key: Array) -> tuple[Array, Array]:
    """The projections with the hidden unit first, each unit in one piece of memory."""
    return np.ascontiguousarray(query.T), np.ascontiguousarray(key.T)


def _activation(of_query: Array, of_key: Array, out: Array) -> Array:
    np.add(of_query[:, None], of_key[None, :], out=out)
    return np.tanh(out, out=out)


@dataclass(frozen=True)
class Gradients:
    """What the tiles of a head add up to, in the shapes of ``Projected``."""

    query: Array
    key: Array
    units: Array | None


def empty_gradients(one: Projected) -> Gradients:
    """Zeros to add to."""
    units = None if one.units is None else np.zeros_like(one.units)
    return Gradients(np.zeros_like(one.query), np.zeros_like(one.key), units)


def add_tile(into: Gradients, one: Projected, rows: slice, keys: slice, d_scores: Array) -> None:
    """Add what a tile's d_scores give, each tanh computed again."""
    query, key = one.query[rows], one.key[keys]
    if one.units is None or into.units is None:
        into.query[rows] += d_scores @ key
        into.key[keys] += d_scores.T @ query
        return
    hidden = np.empty_like(d_scores)
    for unit, (of_query, of_key, weight) in enumerate(zip(*_by_unit(query, key), one.units, strict=True)):
        _activation(of_query, of_key, hidden)
        into.units[unit] += np.vdot(hidden, d_scores)
        hidden *= hidden
        np.subtract(1, hidden, out=hidden)
        hidden *= d_scores
        hidden *= weight
        into.query[rows, unit] += hidden.sum(1)
        into.key[keys, unit] += hidden.sum(0)


def through_projection(
    found: Gradients, q: Array, k: Array, call: Call, h: int
) -> tuple[Array, Array, dict[str, Array]]:
    """d_q (Tq, D), d_k (S, D) and the gradients of the parameters of head h."""
    if call.spec.score == "dot":
        return found.query, found.key, {}
    if call.spec.score == "general":
        w = _param(call, "W", h, q.dtype)
        return found.query @ w.T, found.key, {"W": q.T @ found.query}
    to_query, to_key = _weights(call, h, q.dtype)
    halves = q.T @ found.query, k.T @ found.key
    grads = {"v": np.asarray(found.units)}
    if call.spec.score == "concat":
        grads["W"] = np.concatenate(halves)
    else:
        grads |= {"Wq": halves[0], "Wk": halves[1], "b": found.query.sum(0)}
    return found.query @ to_query.T, found.key @ to_key.T, grads
