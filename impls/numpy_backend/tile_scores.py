"""The scores of ``numpy/blocked`` on one tile of one head, forward and backward, before the scale.

Every score is one of two products after a projection: a dot product of what stands for the query and the key (``dot``,
``general``), or a sum over hidden units of tanh (``additive``, ``concat``). The sum goes unit by unit, so that a tile
needs as much memory with it as without it.
"""

from __future__ import annotations

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
    hidden = np.empty_like(scores)
    for of_query, of_key, weight in zip(*_by_unit(query, key), head.units, strict=True):
        _activation(of_query, of_key, hidden)
        hidden *= weight
        scores += hidden
    return scores


def _by_unit(
    query: Float[Array, "rows n"], key: Float[Array, "keys n"]
) -> tuple[Float[Array, "n rows"], Float[Array, "n keys"]]:
    """The projections with the hidden unit first, each unit in one piece of memory."""
    return np.ascontiguousarray(query.T), np.ascontiguousarray(key.T)


def _activation(
    of_query: Float[Array, " rows"], of_key: Float[Array, " keys"], out: Float[Array, "rows keys"]
) -> Float[Array, "rows keys"]:
    np.add(of_query[:, None], of_key[None, :], out=out)
    return np.tanh(out, out=out)


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
    hidden = np.empty_like(d_scores)
    for unit, (of_query, of_key, weight) in enumerate(zip(*_by_unit(query, key), head.units, strict=True)):
        _activation(of_query, of_key, hidden)
        into.units[unit] += np.vdot(hidden, d_scores)
        hidden *= hidden
        np.subtract(1, hidden, out=hidden)
        hidden *= d_scores
        hidden *= weight
        into.query[rows, unit] += hidden.sum(1)
        into.key[keys, unit] += hidden.sum(0)


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
