"""The logits of a tile, in place: scores, scale, cap, bias, ALiBi, and −inf where a pair is not allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from attnbench.api import Array
from attnbench.impls.numpy_backend.tile_scores import tile_scores

from .edges import Fences, allowed_tile, by_position, distances, other_conditions, part, rows_by_position
from .layout import FEW_ROWS, is_learned

if TYPE_CHECKING:
    from jaxtyping import Float

    from .crew import Space
    from .operands import BlockOperands


def scaled_queries(
    operands: BlockOperands, rows: slice, factor: float, space: Space, extra: int = 0
) -> Float[Array, "G n width"]:
    """The rows of a piece one below the other, times scale and ``factor``; ``extra`` columns are left for others."""
    count, group = operands.count, operands.heads.group
    d = operands.k.shape[-1]
    held = space.array("q", (count, group, rows.stop - rows.start, d + extra), operands.dtype)
    query = operands.query[:, rows].reshape(count, group, -1, d)
    times = 1.0 if operands.call.spec.unscaled else operands.scale(rows)
    times = operands.dtype(times * factor) if isinstance(times, float) else (times * factor).astype(operands.dtype)
    if query.dtype == operands.dtype:
        np.multiply(query, times, out=held[..., :d])
    else:
        held[..., :d] = query
        held[..., :d] *= times
    return held.reshape(count, -1, d + extra)


def forbid(operands: BlockOperands, rows: slice, keys: slice, logits: Float[Array, "G n keys"]) -> None:
    """−inf where a pair is not allowed."""
    allowed = allowed_tile(operands.call, operands.heads, rows, keys)
    if allowed is not None:
        np.copyto(seen_by_heads(operands, logits), -np.inf, where=~allowed)


def clear(operands: BlockOperands, rows: slice, keys: slice, terms: Float[Array, "G n keys"], fences: Fences) -> None:
    """0 where a pair is not allowed. A product with 0: what is not finite becomes NaN, which whoever calls must see."""
    call, heads = operands.call, operands.heads
    of_heads = terms.reshape(operands.count, heads.group, -1, terms.shape[-1])
    if (columns := by_position(call, heads.b, rows, keys)) is not None:
        columns = slice(columns.start - columns.start % 16, columns.stop)  # whole rows of a tile on the diagonal
        fenced = slice(keys.start + columns.start, keys.start + columns.stop)
        near = rows_by_position(call, heads.b, rows, keys)
        of_rows = slice(near.start - rows.start, near.stop - rows.start)
        of_heads[:, :, of_rows, columns] *= fences.fence(heads.b, near, fenced)
    if (allowed := other_conditions(call, heads, rows, keys)) is not None:
        of_heads *= allowed


def logits_tile(
    operands: BlockOperands,
    q: Float[Array, "G n D"] | None,
    rows: slice,
    keys: slice,
    space: Space,
    *,
    slope: bool = False,
) -> tuple[Float[Array, "G n keys"], Float[Array, "G n keys"] | None]:
    """Logits of one tile, −inf outside A, and with ``slope`` the derivative of the cap (``None`` without a cap)."""
    call, heads = operands.call, operands.heads
    logits = _scores(operands, q, rows, keys, space)
    of_heads = seen_by_heads(operands, logits)
    derivative = None
    if call.spec.softcap is not None:
        logits /= logits.dtype.type(call.spec.softcap)
        np.tanh(logits, out=logits)
        derivative = 1 - logits * logits if slope else None
        logits *= logits.dtype.type(call.spec.softcap)
    if call.bias is not None:
        of_heads += part(call.bias, heads, rows, keys).astype(logits.dtype, copy=False)
    if call.slopes is not None:
        of_queries = call.slopes[heads.queries].astype(logits.dtype).reshape(operands.count, heads.group, 1, 1)
        of_heads -= of_queries * np.abs(distances(call, heads.b, rows, keys)).astype(logits.dtype)
    allowed = allowed_tile(call, heads, rows, keys)
    if allowed is not None:
        np.copyto(of_heads, -np.inf, where=~allowed)
    return logits, derivative


def seen_by_heads(operands: BlockOperands, tile: Float[Array, "G n keys"]) -> Float[Array, "G group rows keys"]:
    """A tile with an axis for the query heads that share a key/value head: the same memory."""
    shape = (operands.count, operands.heads.group, -1)
    if tile.strides[1] >= tile.strides[2]:
        return tile.reshape(*shape, tile.shape[-1])
    keys_first = tile.transpose(0, 2, 1)  # contiguous
    return keys_first.reshape(operands.count, tile.shape[-1], shape[1], -1).transpose(0, 2, 3, 1)


def _scores(operands: BlockOperands, q: Float[Array, "G n D"] | None, rows: slice, keys: slice, space: Space) -> Array:
    width = keys.stop - keys.start
    if q is None:
        return _learned_scores(operands, rows, keys, space)
    count, n = q.shape[:2]
    if n > FEW_ROWS:
        scores = space.array("scores", (count, n, width), operands.dtype)
        return np.matmul(q, operands.k[:, keys].transpose(0, 2, 1), out=scores)
    flat = space.array("scores", (count, width, n), operands.dtype)
    np.matmul(operands.k[:, keys], q.transpose(0, 2, 1), out=flat)
    return flat.transpose(0, 2, 1)


def _learned_scores(operands: BlockOperands, rows: slice, keys: slice, space: Space) -> Array:
    """Sums over hidden units, one query head after the other."""
    heads, count = operands.heads, rows.stop - rows.start
    scores = space.array("scores", (operands.count, heads.group, count, keys.stop - keys.start), operands.dtype)
    for at, projected in enumerate(operands.learned):
        scores[at // heads.group, at % heads.group] = tile_scores(projected, rows, keys)
    if not operands.call.spec.unscaled:
        scale = operands.scale(rows)
        scores *= scores.dtype.type(scale) if isinstance(scale, float) else scale.astype(scores.dtype)
    return scores.reshape(operands.count, -1, scores.shape[-1])


def plain_queries(operands: BlockOperands, rows: slice, space: Space) -> Float[Array, "G n D"] | None:
    """The rows of a piece, scaled; ``None`` where a score is no product."""
    return None if is_learned(operands.call) else scaled_queries(operands, rows, 1.0, space)
