"""Where the tiles of ``jax/blocked`` lie: how many heads, queries and keys stand in one, and which tiles are left out.

XLA's CPU code runs one operation after the other and shares each of them among its threads. So a tile is large: a few
heads, some hundred queries, all of their keys. Every array has five axes here: batch, key/value head, query head of
its group, and two more, such as queries and keys. Axes on which nothing varies have size 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import Array, lax

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jaxtyping import Shaped

    from attnbench.api import Call

    Arrays = dict[str, Array]

# By measurement (2 cores of a Xeon with AVX-512, 2 MiB of L2 each; B1 H8 D64 float32, forward and with gradients): the
# numbers of a tile, the query rows of a tile (all heads of a group together), and the keys of a tile. In the backward
# pass a tile has fewer heads, for it needs three such arrays at once: BACKWARD times the numbers.
# Forward in ms, by numbers and rows of a tile, at T 2,048 and 4,096 (causal stands beside full):
#   2**20,   512    60, 263
#   2**21,   512    60, 232
#   2**21, 1,024    59, 233    causal 53, 161; in strips of 256 queries 56, 231; of 1,024 queries 53, 162
#   2**22, 2,048    63, 215    causal 61, 164
# Without the pass for the row maximum 52 at T 2,048, and no less with the sum as a column of ones behind V: the rest
# are the two products and exp.
# A learned score is computed unit by unit into a tile, which is to stay in the cache.
NUMBERS = {"product": 2**21, "learned": 2**19}
ROWS = {"product": 1024, "learned": 256}
KEYS = 4096
BACKWARD = 0.5
# Where positions exclude keys: queries of a strip, which is computed for the keys that it can reach. At most so many.
SKIPPING_ROWS, STRIPS = 512, 8

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
    """Blocks of queries that are computed for the same keys: from ``first`` and from ``low``, ``chunks`` of keys."""

    first: int
    blocks: int
    low: int
    keys: int
    chunks: int = 1


@dataclass(frozen=True)
class Tiling:
    """Batch entries, key/value heads and queries (of each head of a group) of a tile, and the strips."""

    batches: int
    heads: int
    rows: int
    strips: tuple[Strip, ...]
    queries: int
    keys: int

    @property
    def several(self) -> bool:
        """Whether the keys of some query stand in several tiles."""
        return any(strip.chunks > 1 for strip in self.strips)


@dataclass(frozen=True)
class Place:
    """Where one tile lies: starts, which may be traced, and sizes by axis; in which strip, and of which tiling."""

    start: Mapping[str, int | Array]
    size: Mapping[str, int]
    strip: Strip
    tiling: Tiling


def tiling(call: Call) -> Tiling:
    """The tiles of a call in the forward pass."""
    sizes, kind = call.sizes, _kind(call)
    keys = min(sizes.S, KEYS)
    skips = isinstance(call.offset, int) and (call.spec.causal or call.spec.window is not None)
    most = max(1, min(ROWS[kind] // sizes.group, NUMBERS[kind] // (keys * sizes.group)))
    rows = _even(sizes.Tq, min(most, SKIPPING_ROWS) if skips else most)
    blocks = -(-sizes.Tq // rows)
    each = -(-blocks // STRIPS) if skips else blocks
    strips = [_strip(call, rows, first, min(each, blocks - first), keys) for first in range(0, blocks, each)]
    padded = -(-sizes.S // keys) * keys
    return with_heads(Tiling(1, 1, rows, tuple(s for s in strips if s.keys), blocks * rows, padded), call, 1.0)


def with_heads(tiling: Tiling, call: Call, factor: float) -> Tiling:
    """The same with as many heads and batch entries in a tile as ``factor`` times its numbers allow."""
    sizes, numbers = call.sizes, int(NUMBERS[_kind(call)] * factor)
    heads = _divisor(sizes.Hkv, numbers // (sizes.group * tiling.rows * min(sizes.S, KEYS)))
    whole = heads == sizes.Hkv
    batches = _divisor(sizes.B, numbers // (sizes.Hq * tiling.rows * min(sizes.S, KEYS))) if whole else 1
    return replace(tiling, batches=batches, heads=heads)


def _kind(call: Call) -> str:
    return "learned" if call.spec.score in ("additive", "concat") else "product"


def _even(size: int, most: int) -> int:
    """Rows of a block, so that blocks are of equal size and of multiples of 8 where there are several."""
    blocks = -(-size // most)
    even = -(-size // blocks)
    return even if blocks == 1 else -(-even // 8) * 8


def _divisor(size: int, most: int) -> int:
    """The largest divisor of a size that is at most this, and 1 at least."""
    return max(d for d in range(1, size + 1) if size % d == 0 and d <= max(most, 1))


def _strip(call: Call, rows: int, first: int, blocks: int, keys: int) -> Strip:
    """The keys that some query of these blocks can reach by its position; none where ``keys`` is 0."""
    low, high = 0, call.sizes.S
    begin, end = first * rows, min((first + blocks) * rows, call.sizes.Tq)
    left, right = call.spec.window or (None, None)
    if isinstance(call.offset, int):
        if call.spec.causal:
            high = min(high, end + call.offset)
        if right is not None:
            high = min(high, end + call.offset + right)
        if left is not None:
            low = max(low, begin + call.offset - left)
    if high <= low:
        return Strip(begin, blocks, 0, 0)
    if keys == call.sizes.S:
        return Strip(begin, blocks, low, high - low)
    low = low // keys * keys
    return Strip(begin, blocks, low, keys, -(-(high - low) // keys))


def over_tiles(
    call: Call, tiling: Tiling, strip: Strip, step: Callable[[Place, Arrays], Arrays], state: Arrays
) -> Arrays:
    """``step`` for every tile of a strip, one after the other, the keys of a query in sequence."""
    counts = (call.sizes.B // tiling.batches, call.sizes.Hkv // tiling.heads, strip.blocks, strip.chunks)
    steps = (tiling.batches, tiling.heads, tiling.rows, strip.keys)
    names, firsts = ("batch", "heads", "rows", "keys"), (0, 0, strip.first, strip.low)
    size = dict(zip(names, steps, strict=True))

    def through(axes: tuple[int, ...], start: Mapping[str, int | Array], state: Arrays) -> Arrays:
        if not axes:
            return step(Place(start, size, strip, tiling), state)
        axis, *inner = axes
        first, count, each = firsts[axis], counts[axis], steps[axis]

        def at(number: int | Array, state: Arrays) -> Arrays:
            return through(tuple(inner), {**start, names[axis]: first + number * each}, state)

        return at(0, state) if count == 1 else lax.fori_loop(0, count, at, state)

    return through((0, 1, 2, 3), {}, state)


def compact(x: Shaped[Array, "_ _ _ _ _"]) -> Shaped[Array, "_ _ _ ..."]:
    """Without the axis of the group, where nothing varies on it: XLA's CPU code copies what comes into a loop with it."""
    return x.reshape(*x.shape[:2], *x.shape[3:]) if x.shape[2] == 1 else x


def with_group(x: Shaped[Array, "_ _ _ ..."]) -> Shaped[Array, "_ _ _ _ _"]:
    """With the axis of the group."""
    return x if x.ndim == 5 else x.reshape(*x.shape[:2], 1, *x.shape[2:])


def part(name: str, array: Shaped[Array, "_ _ _ _ _"], place: Place) -> tuple[list[int | Array], list[int]]:
    """Starts and sizes of the part of an operand that a tile reads; an axis of size 1 is there for every tile."""
    axes = ("batch", "heads", "", *AXES[name]) if array.ndim == 5 else ("batch", "heads", *AXES[name])
    varies = [axis if size > 1 else "" for axis, size in zip(axes, array.shape, strict=True)]
    start = [place.start.get(axis, 0) for axis in varies]
    return start, [place.size.get(axis, size) for axis, size in zip(varies, array.shape, strict=True)]


def take(name: str, array: Shaped[Array, "_ _ _ _ _"], place: Place) -> Shaped[Array, "_ _ _ _ _"]:
    """The part of an operand that a tile reads."""
    start, size = part(name, array, place)
    return with_group(array if tuple(size) == array.shape else lax.dynamic_slice(array, start, size))


def put(
    name: str, array: Shaped[Array, "_ _ _ _ _"], tile: Shaped[Array, "_ _ _ _ _"], place: Place
) -> Shaped[Array, "_ _ _ _ _"]:
    """The array with a tile in its place."""
    start, size = part(name, array, place)
    tile = jnp.broadcast_to(tile, size if array.ndim == 5 else (*size[:2], 1, *size[2:])).reshape(size)
    return tile if tile.shape == array.shape else lax.dynamic_update_slice(array, tile, start)


def add(
    name: str, array: Shaped[Array, "_ _ _ _ _"], tile: Shaped[Array, "_ _ _ _ _"], place: Place
) -> Shaped[Array, "_ _ _ _ _"]:
    """The array with a tile added in its place; what is there once for several gets the sum."""
    before = take(name, array, place)
    shared = [axis for axis in range(5) if before.shape[axis] == 1 < tile.shape[axis]]
    return put(name, array, before + (tile.sum(shared, keepdims=True) if shared else tile), place)


def padded(name: str, array: Shaped[Array, "_ _ _ _ _"], tiling: Tiling) -> Shaped[Array, "_ _ _ _ _"]:
    """Zeros behind the queries and keys, where the last tile is not full."""
    full = {"rows": tiling.queries, "keys": tiling.keys}
    behind = [
        full[axis] - size if axis and size > 1 else 0 for axis, size in zip(AXES[name], array.shape[3:], strict=True)
    ]
    return jnp.pad(array, ((0, 0), (0, 0), (0, 0), *((0, most) for most in behind))) if any(behind) else array
