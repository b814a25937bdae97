"""Where the tiles of ``jax/blocked`` lie: how many heads, queries and keys stand in one, and which tiles are left out.

XLA's CPU code runs one operation after the other and shares each of them among its threads. So a tile is large: one
head (several where they are short), up to 2,048 queries and as many keys. Every array has five axes here: batch,
key/value head, query head of its group, and two more, such as queries and keys. Axes on which nothing varies have
size 1; a tile of one head is computed in two axes, those of the group and the queries as one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jaxtyping import Bool, Shaped

    from attnbench.api import Call

    Arrays = dict[str, Array]
    Range = tuple[int, int]

# By measurement (2 cores of a Xeon with AVX-512, 2 MiB of L2 each; B1 H8 D64 float32): the numbers of a tile, its query
# rows (all heads of a group together), its keys (FEW times as many for few queries), and the numbers up to which it
# holds several heads. Forward in ms, by rows and keys of a tile of one head, at T 2,048 and 4,096:
#     512, all  49, 198    1,024, all  49, 192    2,048, all  46, 188    2,048 × 2,048  46, 182
# XLA's CPU code lays the keys and values out anew for each tile (as much work as 64 queries at 2,048 keys), so a tile
# has many queries. The rest are two products, exp and a sum. Measured and of no use: two loops for half of the heads
# each, several heads in one product, the sum as a column of ones behind V (one call of XLA's library then holds the
# whole tile), and a bound in the place of the row maximum: finding it is hidden behind the memory.
# A learned score is computed unit by unit into a tile, which is to stay in the cache.
NUMBERS = {"product": 2**22, "learned": 2**19}
BATCHED = {"product": 2**19, "learned": 2**19}
ROWS = {"product": 2048, "learned": 256}
KEYS, FEW = 2048, 4
# The backward pass has three such arrays at once: this times the numbers for several heads, and half of so many rows
# (forward and backward at T 2,048: 240 ms with 2,048 rows, 222 with 1,024).
BACKWARD, MANY = 0.5, 2048
# Where positions exclude keys: queries that are computed for the keys that all of them reach, in at most so many parts;
# and those of an edge, where only some do, of which there are at most so many in a part. Causal, forward, in ms, by
# these rows and those of an edge, at T 2,048 and 4,096: 2,048 and 512  37, 129; 1,024 and 512  43, 141; 1,024 and 256
# 39, 145; 512 and 512  41, 134. Each small tile costs some thirty operations.
SKIPPING_ROWS, STRIPS = {"product": 2048, "learned": 512}, 8
EDGE, EDGES = {"product": 512, "learned": 128}, 4

# Axes of an array.
ALL = 5
# What stands on the last two axes of each operand, and of what is kept of each query.
AXES: Mapping[str, tuple[str, str]] = {
    "q": ("rows", ""), "k": ("keys", ""), "v": ("keys", ""), "unit": ("", ""), "bias": ("rows", "keys"),
    "mask": ("rows", "keys"), "keep": ("rows", "keys"), "slopes": ("", ""), "sinks": ("", ""), "scale": ("rows", ""),
    "q_segments": ("rows", ""), "kv_segments": ("", "keys"), "q_lengths": ("", ""), "kv_lengths": ("", ""),
    "offset": ("", ""), "output": ("rows", ""), "largest": ("rows", ""), "total": ("rows", ""), "alive": ("rows", ""),
    "d_output": ("rows", ""), "delta": ("rows", ""), "count": ("rows", ""), "finite": ("rows", "keys"),
}  # fmt: skip


@dataclass(frozen=True)
class Strip:
    """Tiles of a size: ``blocks`` of ``rows`` queries from ``first``, each with ``chunks`` of ``keys`` from ``low``."""

    first: int
    rows: int
    blocks: int
    low: int
    keys: int
    chunks: int

    @property
    def ends(self) -> tuple[int, int]:
        """The query and the key behind the last."""
        return self.first + self.rows * self.blocks, self.low + self.keys * self.chunks


@dataclass(frozen=True)
class Place:
    """Where one tile lies: starts, which may be traced, and sizes by axis; and in which strip."""

    start: Mapping[str, int | Array]
    size: Mapping[str, int]
    strip: Strip


def strips(call: Call) -> tuple[Strip, ...]:
    """The tiles of a call; what positions exclude for all queries of a strip is in none."""
    sizes = call.sizes
    if not isinstance(call.offset, int) or not (call.spec.causal or call.spec.window):
        return tuple(_pieces(call, (0, sizes.Tq), (0, sizes.S)))
    each = max(SKIPPING_ROWS[_kind(call)] // sizes.group, -(-sizes.Tq // STRIPS), 1)
    return tuple(s for i in range(0, sizes.Tq, each) for s in _skipping(call, (i, min(i + each, sizes.Tq))))


def halved(strip: Strip) -> Strip:
    """In tiles of half as many queries where they are many: the backward pass needs three such arrays at once."""
    if strip.rows < MANY or strip.rows % 2:
        return strip
    return replace(strip, rows=strip.rows // 2, blocks=strip.blocks * 2)


def several(strips: tuple[Strip, ...]) -> bool:
    """Whether the keys of some query stand in several tiles."""
    ranges = sorted((strip.first, strip.ends[0]) for strip in strips)
    return any(s.chunks > 1 for s in strips) or any(end > then for (_, end), (then, _) in pairwise(ranges))


def untouched(strips: tuple[Strip, ...]) -> set[Strip]:
    """Those of which no query stands in an earlier tile."""
    return {
        strip
        for number, strip in enumerate(strips)
        if strip.chunks == 1 and all(s.first >= strip.ends[0] or s.ends[0] <= strip.first for s in strips[:number])
    }


def _skipping(call: Call, queries: Range) -> list[Strip]:
    """Queries with the keys that all of them reach, and fewer of them with the other keys that some of them reach."""
    (first, end), edge = queries, EDGE[_kind(call)]
    whole = _reach(call, first, first + 1)[1], _reach(call, end - 1, end)[0]
    low, high = whole[1], whole[0] - (whole[0] % 8 if whole[0] < call.sizes.S else 0)
    strips = _pieces(call, queries, (low, high)) if high - low >= edge else []
    if not strips:
        low = high = 0
    rows = max(edge // call.sizes.group, -(-(end - first) // EDGES), 1)
    for i in range(first, end, rows):
        block = i, min(i + rows, end)
        begin, stop = _reach(call, *block)
        for keys in ((begin, min(stop, low)), (max(begin, high), stop)):
            strips += _pieces(call, block, keys) if keys[0] < keys[1] else []
    return strips


def _reach(call: Call, first: int, end: int) -> Range:
    """The keys that some of these queries can reach by its position."""
    low, high, offset = 0, call.sizes.S, call.offset
    left, right = call.spec.window or (None, None)
    if call.spec.causal:
        high = min(high, end + offset)
    if right is not None:
        high = min(high, end + offset + right)
    if left is not None:
        low = max(low, first + offset - left)
    return low, max(low, high)


def all_reach(call: Call, strip: Strip) -> bool:
    """Whether the positions of a strip of one tile let each query see a key, and each key be seen by a query."""
    if strip.blocks > 1 or strip.chunks > 1 or not isinstance(call.offset, int):
        return False
    reach = np.array([_reach(call, i, i + 1) for i in range(strip.first, strip.ends[0])])
    low, high = np.maximum(reach[:, 0], strip.low), np.minimum(reach[:, 1], strip.ends[1])
    # The ranges of queries in sequence begin and end in sequence, none before the one before.
    together = low[0] == strip.low and high[-1] == strip.ends[1] and (low[1:] <= high[:-1]).all()
    return bool((low < high).all() and together)


def _pieces(call: Call, queries: Range, keys: Range) -> list[Strip]:
    """Strips of tiles that are small enough; the last tiles may be smaller than the others."""
    kind, group = _kind(call), call.sizes.group
    rows = max(1, min(queries[1] - queries[0], ROWS[kind] // group))
    columns = _even(keys[1] - keys[0], max(KEYS, min(FEW * KEYS, NUMBERS[kind] // (rows * group))))
    rows = _even(queries[1] - queries[0], max(1, min(rows, NUMBERS[kind] // (columns * group))))
    return [
        Strip(first, each, blocks, low, wide, chunks)
        for first, each, blocks in _split(queries, rows)
        for low, wide, chunks in _split(keys, columns)
    ]


def _split(along: Range, each: int) -> list[tuple[int, int, int]]:
    """Start, size and number of equal parts; and of what is left of it."""
    number, rest = divmod(along[1] - along[0], each)
    parts = [(along[0], each, number), (along[1] - rest, rest, 1)]
    return [part for part in parts if part[1] and part[2]]


def _kind(call: Call) -> str:
    return "learned" if call.spec.score in ("additive", "concat") else "product"


def _even(size: int, most: int) -> int:
    """Size of parts that are about equal, and multiples of 8 where there are several."""
    parts = -(-size // most)
    even = -(-size // parts)
    return even if parts == 1 else -(-even // 8) * 8


def _divisor(size: int, most: int) -> int:
    """The largest divisor of a size that is at most this, and 1 at least."""
    return max(d for d in range(1, size + 1) if size % d == 0 and d <= max(most, 1))


def together(call: Call, strip: Strip, factor: float) -> tuple[int, int]:
    """Batch entries and key/value heads in a tile of a strip: as many as ``factor`` times the numbers allow."""
    sizes = call.sizes
    most = int(BATCHED[_kind(call)] * factor) // (sizes.group * strip.rows * strip.keys)
    heads = _divisor(sizes.Hkv, most)
    return (_divisor(sizes.B, most // heads) if heads == sizes.Hkv else 1), heads


def over_tiles(
    call: Call, strip: Strip, step: Callable[[Place, Arrays], Arrays], state: Arrays, factor: float = 1.0
) -> Arrays:
    """``step`` for every tile of a strip, one after the other: all keys of a query, all queries of a head in sequence.

    A loop for each axis: XLA takes the keys and values of a head out of the inner one.
    """
    batches, heads = together(call, strip, factor)
    counts = (call.sizes.B // batches, call.sizes.Hkv // heads, strip.blocks, strip.chunks)
    steps = (batches, heads, strip.rows, strip.keys)
    names, firsts = ("batch", "heads", "rows", "keys"), (0, 0, strip.first, strip.low)
    size = dict(zip(names, steps, strict=True))

    def along(axis: int, start: Mapping[str, int | Array], state: Arrays) -> Arrays:
        if axis == len(names):
            return step(Place(start, size, strip), state)

        def at(number: int | Array, state: Arrays) -> Arrays:
            return along(axis + 1, {**start, names[axis]: firsts[axis] + number * steps[axis]}, state)

        return at(0, state) if counts[axis] == 1 else lax.fori_loop(0, counts[axis], at, state)

    return along(0, {}, state)


def compact(x: Shaped[Array, "_ _ _ _ _"]) -> Shaped[Array, "_ _ ... _ _"]:
    """Without the axis of the group where it is 1: XLA's CPU code copies what comes into a loop with such an axis."""
    return x.reshape(*x.shape[:2], *x.shape[3:]) if x.shape[2] == 1 else x


def with_group(x: Shaped[Array, "_ _ ... _ _"]) -> Shaped[Array, "_ _ _ _ _"]:
    """With the axis of the group."""
    return x if x.ndim == ALL else x.reshape(*x.shape[:2], 1, *x.shape[2:])


def part(name: str, array: Shaped[Array, "_ _ ... _ _"], place: Place) -> tuple[list[int | Array], list[int]]:
    """Starts and sizes of the part of an operand that a tile reads; an axis of size 1 is there for every tile."""
    axes = ("batch", "heads", "", *AXES[name]) if array.ndim == ALL else ("batch", "heads", *AXES[name])
    varies = [axis if size > 1 else "" for axis, size in zip(axes, array.shape, strict=True)]
    start = [place.start.get(axis, 0) for axis in varies]
    return start, [place.size.get(axis, size) for axis, size in zip(varies, array.shape, strict=True)]


def take(name: str, array: Shaped[Array, "_ _ ... _ _"], place: Place) -> Shaped[Array, "_ _ _ _ _"]:
    """The part of an operand that a tile reads."""
    start, size = part(name, array, place)
    return with_group(array if tuple(size) == array.shape else lax.dynamic_slice(array, start, size))


def put(
    name: str, array: Shaped[Array, "_ _ ... _ _"], tile: Shaped[Array, "_ _ _ _ _"], place: Place
) -> Shaped[Array, "_ _ ... _ _"]:
    """The array with a tile in its place."""
    start, size = part(name, array, place)
    tile = jnp.broadcast_to(tile, size if array.ndim == ALL else (*size[:2], 1, *size[2:])).reshape(size)
    return tile if tile.shape == array.shape else lax.dynamic_update_slice(array, tile, start)


def add(
    name: str, array: Shaped[Array, "_ _ ... _ _"], tile: Shaped[Array, "_ _ _ _ _"], place: Place
) -> Shaped[Array, "_ _ ... _ _"]:
    """The array with a tile added in its place; what is there once for several gets the sum."""
    before = take(name, array, place)
    shared = [axis for axis in range(5) if before.shape[axis] == 1 < tile.shape[axis]]
    return put(name, array, before + (tile.sum(shared, keepdims=True) if shared else tile), place)


def lies_flat(given: Arrays, parts: Arrays, place: Place) -> bool:
    """Whether a tile is computed in two axes: of one head, and of a product, with no distance for each head."""
    alone = place.size["batch"] == place.size["heads"] == 1
    return alone and "unit" not in given and "slopes" not in parts


def flattened(
    given: Arrays, parts: Arrays, allowed: Bool[Array, "_ _ _ _ _"] | None, rows: int
) -> tuple[Arrays, Arrays, Bool[Array, "_ _"] | None]:
    """The same in two axes, the query heads of a group below each other.

    With two axes XLA's CPU code leaves product, maximum and exp to one call of the library that it has for them
    (YNNPACK, jax 0.10); with five it takes exp apart and lays the keys out anew for each tile.
    """
    group = given["q"].shape[2]

    def flat(name: str, x: Shaped[Array, "_ _ _ _ _"]) -> Shaped[Array, "_ _"]:
        if name not in ("k", "v") and group > 1:
            x = jnp.broadcast_to(x, (1, 1, group, rows, x.shape[4]))
        return x.reshape(-1, x.shape[4])

    given = {name: flat(name, x) for name, x in given.items()}
    parts = {name: flat(name, x) for name, x in parts.items() if name in ("scale", "keep")}
    return given, parts, None if allowed is None else flat("allowed", allowed)
