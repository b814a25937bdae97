"""Which tiles exist at all, and which pairs of a tile are allowed: causality, window, lengths, segments, mask, bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.api import Array, Call

if TYPE_CHECKING:
    from jaxtyping import Bool, Shaped

    from .layout import Heads


def offset_of(call: Call, b: int) -> int:
    """Where the first query of a batch entry stands among the keys."""
    return call.offset if isinstance(call.offset, int) else int(call.offset[b])


def bounds(call: Call) -> tuple[int | None, int | None]:
    """How far a query sees back and ahead from where it stands; ``None`` for as far as there are keys."""
    left, right = call.spec.window or (None, None)
    if call.spec.causal:
        right = 0 if right is None else min(right, 0)
    return left, right


def reach(call: Call, b: int, first: int, last: int) -> tuple[int, int]:
    """The keys that queries first..last - 1 can reach by position and length: low, and behind the last."""
    low, high = 0, call.sizes.S if call.kv_lengths is None else int(call.kv_lengths[b])
    offset, (left, right) = offset_of(call, b), bounds(call)
    if right is not None:
        high = min(high, last + offset + right)
    if left is not None:
        low = max(low, first + offset - left)
    if call.q_lengths is not None and first >= int(call.q_lengths[b]):
        high = 0
    return (low, high) if low < high else (0, 0)


def part(array: Shaped[Array, "#B #Hq #Tq #S"], heads: Heads, rows: slice, keys: slice) -> Shaped[Array, ...]:
    """A tile of an array that broadcasts to (B, Hq, Tq, S), in axes (G or 1, group or 1, rows or 1, keys or 1)."""
    plane: Array = array[heads.b if array.shape[0] > 1 else 0]
    plane = plane[
        heads.queries if plane.shape[0] > 1 else slice(None),
        rows if plane.shape[1] > 1 else slice(None),
        keys if plane.shape[2] > 1 else slice(None),
    ]
    of_groups = (heads.g1 - heads.g0, heads.group) if array.shape[1] > 1 else (1, 1)
    return plane.reshape(*of_groups, *plane.shape[1:])


def distances(call: Call, b: int, rows: slice, keys: slice) -> Shaped[Array, "rows keys"]:
    """How far behind its query each key of a tile stands: p − j."""
    p = np.arange(rows.start, rows.stop)[:, None] + offset_of(call, b)
    return p - np.arange(keys.start, keys.stop)[None, :]


def by_position(call: Call, b: int, rows: slice, keys: slice) -> slice | None:
    """The columns of a tile in which causality or the window forbids something, as a range; ``None`` for none."""
    offset, (left, right) = offset_of(call, b), bounds(call)
    begin, end = keys.stop, keys.start
    if right is not None and keys.stop - 1 > rows.start + offset + right:
        begin, end = max(keys.start, rows.start + offset + right + 1), keys.stop
    if left is not None and keys.start < rows.stop - 1 + offset - left:
        begin, end = keys.start, max(end, min(keys.stop, rows.stop - 1 + offset - left))
    return slice(begin - keys.start, end - keys.start) if begin < end else None


def rows_by_position(call: Call, b: int, rows: slice, keys: slice) -> slice:
    """The rows of a tile in which causality or the window forbids something, of those that a range can tell apart."""
    offset, (left, right) = offset_of(call, b), bounds(call)
    begin, end = rows.start, rows.stop
    if left is None and right is not None:
        end = min(end, keys.stop - 1 - offset - right)
    if right is None and left is not None:
        begin = max(begin, keys.start + 1 - offset + left)
    return slice(begin, end)


def in_reach(call: Call, b: int, rows: slice, keys: slice) -> Bool[Array, "rows keys"]:
    """Where causality and the window allow a pair."""
    left, right = bounds(call)
    behind = distances(call, b, rows, keys)
    allowed = np.ones(behind.shape, bool) if right is None else behind >= -right
    return allowed if left is None else allowed & (behind <= left)


# So many fences are kept at most.
FENCES = 8


class Fences:
    """By what terms are multiplied at an edge: 1, or 0 where causality or the window forbids. Kept for a call.

    Tiles that stand alike towards the diagonal share one.
    """

    def __init__(self, call: Call, dtype: Any) -> None:
        self._call, self._dtype = call, dtype
        self._known: dict[tuple[int, int, int], Array] = {}

    def fence(self, b: int, rows: slice, keys: slice) -> Shaped[Array, "rows keys"]:
        """That of one tile."""
        key = (rows.stop - rows.start, keys.stop - keys.start, rows.start + offset_of(self._call, b) - keys.start)
        fence = self._known.get(key)
        if fence is None:
            if len(self._known) >= FENCES:  # where no two tiles stand alike
                self._known.clear()
            fence = in_reach(self._call, b, rows, keys).astype(self._dtype)
            self._known[key] = fence
        return fence


def other_conditions(call: Call, heads: Heads, rows: slice, keys: slice) -> Bool[Array, ...] | None:
    """What query lengths, segments, mask and bias allow of a tile, in axes (G, group, rows, keys); ``None``: all."""
    conditions = []
    if call.q_lengths is not None and rows.stop > (length := int(call.q_lengths[heads.b])):
        conditions.append((np.arange(rows.start, rows.stop) < length)[None, None, :, None])
    if call.q_segments is not None:
        of_rows, of_keys = call.q_segments[heads.b, rows], call.kv_segments[heads.b, keys]
        if not (of_rows.min() == of_rows.max() == of_keys.min() == of_keys.max()):
            conditions.append((of_rows[:, None] == of_keys[None, :])[None, None])
    if call.mask is not None:
        conditions.append(part(call.mask, heads, rows, keys))
    if call.bias is not None:
        forbidden = part(call.bias, heads, rows, keys) == -np.inf
        if forbidden.any():
            conditions.append(~forbidden)
    if not conditions:
        return None
    allowed = conditions[0]
    for condition in conditions[1:]:
        allowed = allowed & condition
    return None if allowed.all() else allowed


def allowed_tile(call: Call, heads: Heads, rows: slice, keys: slice) -> Bool[Array, ...] | None:
    """A on one tile, in axes (G or 1, group or 1, rows or 1, keys or 1); ``None`` where all of it is allowed."""
    others = other_conditions(call, heads, rows, keys)
    if by_position(call, heads.b, rows, keys) is None:
        return others
    near = in_reach(call, heads.b, rows, keys)[None, None]
    return near if others is None else near & others
