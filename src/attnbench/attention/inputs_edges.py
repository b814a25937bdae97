"""Operands at the boundaries: what a kernel can get wrong in some places only, drawn so that there are such places.

Lengths on the edges of tiles, one key alone, tiles without a key, offsets just before the first key and far behind the
last, finite biases as low as their dtype goes. Every drawer gets the problem and a random stream of its own
(``attnbench.attention.inputs.stream``) and returns operands by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.precision import LARGEST, numpy_dtype

if TYPE_CHECKING:
    from attnbench.attention.problem import Problem

Random = np.random.Generator
Drawer = Callable[["Problem", Random], dict[str, Any]]

DENSITY = 0.7  # of a mask
KEY_TILE, ROW_TILE = (32, 64), (16, 32)
TILES, SEGMENT_TILES = (16, 32, 64, 128), (16, 64)
LOW, WHOLE_ROWS = 0.25, 0.2  # of the entries of a bias, of its rows
LOW_LEVELS = (-1e4, -1e9, -np.inf)  # the last is cut off at the dtype's lowest number
SINKS = (-np.inf, 30.0, -30.0, 0.0)


def in_turn(rng: Random, values: Sequence[Any], count: int) -> list[Any]:
    """``count`` of the values, one after the other and round again, from a random place on."""
    start = int(rng.integers(len(values)))
    return [values[(start + i) % len(values)] for i in range(count)]


# Masks


def mask_batch(p: Problem, rng: Random) -> dict[str, Any]:
    """One for all heads."""
    return {"mask": rng.random((p.B, 1, p.Tq, p.S)) < DENSITY}


def mask_shared(p: Problem, rng: Random) -> dict[str, Any]:
    """Keys, the same for all: some, and where there are two not all."""
    return {"mask": _mixed(rng, rng.random((1, p.S)) < DENSITY)[:, None, None, :]}


def mask_pairs(p: Problem, rng: Random) -> dict[str, Any]:
    """One for all heads and batch entries."""
    return {"mask": rng.random((1, 1, p.Tq, p.S)) < DENSITY}


def mask_head_keys(p: Problem, rng: Random) -> dict[str, Any]:
    """Keys of each head and batch entry: some, and where there are two not all."""
    return {"mask": _mixed(rng, rng.random((p.B * p.Hq, p.S)) < DENSITY).reshape(p.B, p.Hq, 1, p.S)}


def mask_rows(p: Problem, rng: Random) -> dict[str, Any]:
    """Queries that have all keys or none: some, and where there are two not all."""
    return {"mask": _mixed(rng, rng.random((p.B, p.Tq)) < DENSITY)[:, None, :, None]}


def _mixed(rng: Random, drawn: Array) -> Array:
    """The same (N, n) with one element turned where a row is all true or all false; a single element is true."""
    if drawn.shape[1] < 2:  # noqa: PLR2004  (a mixture takes two)
        return np.ones_like(drawn)
    alike = np.flatnonzero(drawn.all(1) | ~drawn.any(1))
    drawn[alike, rng.integers(drawn.shape[1], size=len(alike))] ^= True
    return drawn


def mask_single(p: Problem, rng: Random) -> dict[str, Any]:
    """One key for each query."""
    mask = np.zeros((p.B, 1, p.Tq, p.S), bool)
    if p.S:
        np.put_along_axis(mask, rng.integers(p.S, size=(p.B, 1, p.Tq, 1)), values=True, axis=-1)
    return {"mask": mask}


def mask_tile(p: Problem, rng: Random) -> dict[str, Any]:
    """A tile of keys that no query may attend, and a tile of queries without a key; where that is too long, a part."""
    mask = rng.random((p.B, p.Hq, p.Tq, p.S)) < DENSITY
    first, last = KEY_TILE if KEY_TILE[1] <= p.S else (0, p.S // 2)
    mask[:, :, :, first:last] = False
    first, last = ROW_TILE if p.Tq >= ROW_TILE[1] else (0, p.Tq // 3)
    mask[:, :, first:last] = False
    return {"mask": mask}


# Biases


def bias_batch(p: Problem, rng: Random) -> dict[str, Any]:
    """One for all heads."""
    return {"bias": rng.standard_normal((p.B, 1, p.Tq, p.S)).astype(numpy_dtype(p.dtype))}


def bias_shared(p: Problem, rng: Random) -> dict[str, Any]:
    """One value for each key, the same for all."""
    return {"bias": rng.standard_normal((1, 1, 1, p.S)).astype(numpy_dtype(p.dtype))}


def bias_pairs(p: Problem, rng: Random) -> dict[str, Any]:
    """One for all heads and batch entries."""
    return {"bias": rng.standard_normal((1, 1, p.Tq, p.S)).astype(numpy_dtype(p.dtype))}


def bias_head_keys(p: Problem, rng: Random) -> dict[str, Any]:
    """One value for each key of each head, the same for all batch entries."""
    return {"bias": rng.standard_normal((1, p.Hq, 1, p.S)).astype(numpy_dtype(p.dtype))}


def bias_rows(p: Problem, rng: Random) -> dict[str, Any]:
    """One value for all keys of a query: it moves lse, and the output only where there is a sink."""
    return {"bias": rng.standard_normal((1, 1, p.Tq, 1)).astype(numpy_dtype(p.dtype))}


def bias_low(p: Problem, rng: Random) -> dict[str, Any]:
    """A normal bias of which a quarter is low and finite, and about every fifth row of each head as a whole.

    Every other row has an ordinary key among its first i + 1, so that it has one where causality leaves no more. A row
    that is low as a whole keeps its answer: it is the dtype's lowest number throughout, which takes in every score (in
    float16 it takes in none), or normal around one value near -1e4.
    """
    shape = (p.B, p.Hq, p.Tq, p.S)
    low = _but_one(rng, rng.random(shape) < LOW)
    bias = np.where(low, _low_values(rng, shape, p.dtype), rng.standard_normal(shape))
    whole, lowest = rng.random(shape[:3]) < WHOLE_ROWS, rng.random(shape[:3]) < 1 / 2
    if p.Tq > 1:
        np.put_along_axis(whole, rng.integers(p.Tq, size=(p.B, p.Hq, 1)), values=True, axis=-1)
    around = -1e4 * 2.0 ** rng.uniform(-1, 1, shape[:3])
    rows = np.where(lowest[..., None], -LARGEST[p.dtype], around[..., None] + rng.standard_normal(shape))
    return {"bias": np.where(whole[..., None], rows, bias).astype(numpy_dtype(p.dtype))}


def bias_low_keys(p: Problem, rng: Random) -> dict[str, Any]:
    """A quarter of the keys of each batch entry is low for all queries, as padding is: some, and never all of two."""
    low = _mixed(rng, rng.random((p.B, p.S)) < LOW) & (p.S > 1)
    bias = np.where(low, _low_values(rng, low.shape, p.dtype), rng.standard_normal(low.shape))
    return {"bias": bias.astype(numpy_dtype(p.dtype))[:, None, None, :]}


def _low_values(rng: Random, shape: tuple[int, ...], dtype: str) -> Array:
    """Around -1e4, around -1e9, or the dtype's lowest number; float64."""
    levels = np.asarray(LOW_LEVELS)[rng.integers(len(LOW_LEVELS), size=shape)]
    return np.asarray(np.maximum(levels * 2.0 ** rng.uniform(-1, 1, shape), -LARGEST[dtype]))


def _but_one(rng: Random, low: Array) -> Array:
    """The same (..., Tq, S) with a key of the first i + 1 left out in row i, where all of these are in it."""
    if not low.size:
        return low
    tq, s = low.shape[-2:]
    first = np.arange(s) <= np.arange(tq)[:, None]
    place = rng.integers(np.minimum(np.arange(tq) + 1, s), size=low.shape[:-1])[..., None]
    ordinary = np.any(~low & first, axis=-1, keepdims=True)
    np.put_along_axis(low, place, np.take_along_axis(low, place, -1) & ordinary, -1)
    return low


# Positions, lengths, segments, sinks


def offset_below(p: Problem, rng: Random) -> dict[str, Any]:
    """The first query stands more than a tile of 32 before the first key."""
    del p
    return {"offset": -(41 + int(rng.integers(10)))}


def offset_beyond(p: Problem, rng: Random) -> dict[str, Any]:
    """All queries stand behind the last key."""
    return {"offset": p.S + 1 + int(rng.integers(10))}


def offsets_edges(p: Problem, rng: Random) -> dict[str, Any]:
    """In turn at, just before and far before the first key, behind the last, at the bottom right, and half before."""
    near = int(rng.integers(10))
    edges = (0, -1, -2, -(41 + near), p.S + 1 + near, p.S - p.Tq, -(p.Tq // 2))
    return {"offset": np.array(in_turn(rng, edges, p.B), np.int32)}


def _lengths(name: str, size: str) -> Drawer:
    """In turn none, one, all, all but one, up to the last edge of a tile, and one more."""

    def drawer(p: Problem, rng: Random) -> dict[str, Any]:
        longest = getattr(p, size)
        tile = rng.choice([tile for tile in TILES if tile < longest] or TILES)
        edge = int((longest - 1) // tile * tile)
        lengths = in_turn(rng, (0, 1, longest, longest - 1, edge, edge + 1), p.B)
        return {name: np.clip(np.array(lengths, np.int32), 0, longest).astype(np.int32)}

    return drawer


def segments_edges(p: Problem, rng: Random) -> dict[str, Any]:
    """Runs of ids: 1 has one key, 2 lies across the edge of a tile of 16 or 64, and 3 has queries and no key.

    With Tq = S the queries have the ids of the keys at their places, but for those of 3. Fewer than six queries have
    some of the ids.
    """
    q_ids, kv_ids = [np.zeros((0, p.Tq), np.int32)], [np.zeros((0, p.S), np.int32)]
    for _ in range(p.B):
        alone, end = _around_an_edge(rng, p.S)
        kv_ids.append(_runs(p.S, alone, alone + 1, end, end))
        alone, end = (alone, end) if p.Tq == p.S else _around_an_edge(rng, p.Tq)
        some = sorted(in_turn(rng, (2, 1, 3, 4, 0), p.Tq))
        many = _runs(p.Tq, alone, alone + 1, end, end + 1 + int(rng.integers(4)))
        q_ids.append(np.array([some], np.int32) if p.Tq < 6 else many)  # noqa: PLR2004  (one of each and one more)
    return {"q_segments": np.concatenate(q_ids), "kv_segments": np.concatenate(kv_ids)}


def _runs(length: int, *ends: int) -> Array:
    """Ids (1, length): 0 before the first end, 1 before the next, and so on."""
    return np.searchsorted(ends, np.arange(length), side="right").astype(np.int32)[None]


def _around_an_edge(rng: Random, length: int) -> tuple[int, int]:
    """Two places below ``length`` with the edge of a tile between them, and an element on either side of that edge."""
    if length < 4:  # noqa: PLR2004  (one alone, two around the edge, one behind)
        return 0, max(1, length - 1)
    tiles = [tile for tile in SEGMENT_TILES if tile <= length - 2]
    tile = int(rng.choice(tiles)) if tiles else length // 2
    edge = tile * int(rng.integers(1, (length - 2) // tile + 1))
    return edge - 2 - int(rng.integers(min(8, edge - 1))), edge + 1 + int(rng.integers(min(8, length - 1 - edge)))


def sinks_edges(p: Problem, rng: Random) -> dict[str, Any]:
    """In turn -inf, which is no sink, 30, -30 and 0."""
    return {"sinks": np.array(in_turn(rng, SINKS, p.Hq)).astype(numpy_dtype(p.dtype))}


EDGES: dict[str, Drawer] = {
    "mask_batch": mask_batch,
    "mask_shared": mask_shared,
    "mask_pairs": mask_pairs,
    "mask_head_keys": mask_head_keys,
    "mask_rows": mask_rows,
    "mask_single": mask_single,
    "mask_tile": mask_tile,
    "bias_batch": bias_batch,
    "bias_shared": bias_shared,
    "bias_pairs": bias_pairs,
    "bias_head_keys": bias_head_keys,
    "bias_rows": bias_rows,
    "bias_low": bias_low,
    "bias_low_keys": bias_low_keys,
    "offset_minus_1": lambda p, rng: {"offset": -1},  # noqa: ARG005
    "offset_minus_2": lambda p, rng: {"offset": -2},  # noqa: ARG005
    "offset_below": offset_below,
    "offset_beyond": offset_beyond,
    "offsets_edges": offsets_edges,
    "q_lengths_edges": _lengths("q_lengths", "Tq"),
    "kv_lengths_edges": _lengths("kv_lengths", "S"),
    "segments_edges": segments_edges,
    "sinks_edges": sinks_edges,
}
