"""How the work is cut: blocks of key/value heads, pieces of them by rows and keys, and the sizes of tiles.

All of it follows from the sizes of one batch entry and never from the number of threads or of batch entries: the same
sums are made in the same order whoever makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .edges import bounds, offset_of, reach
from .products import MOST_UNPACKED, has_unpacked

if TYPE_CHECKING:
    from attnbench.api import Call


@dataclass(frozen=True)
class Tile:
    """Rows and keys of a tile. Rows are those of all query heads that share a key/value head, one below the other.

    ``lane``: so many rows make one product (0: all). ``together``: heads are put into one tile up to so many rows.
    """

    rows: int
    keys: int
    lane: int = 0
    together: int = 0


# Measured at B1 H8 float32, T 512 to 4096, D 64 and 128, on two processors (Xeon, AVX-512, second caches of 2 MiB):
# rows of 128 to 2048 against keys of 256 to 2048; ``python -m tests.benchmarks.ratios --tiles`` does it again. Smaller
# tiles pay more for packing (OpenBLAS packs both factors of every product) and wait more often for Python's lock;
# larger ones leave the cache. Each is within 10 % of the best at all of these sizes, so that one does for all.
FORWARD, CAUSAL = Tile(512, 512, together=1024), Tile(512, 256, together=2048)
BACKWARD, LEARNED = Tile(512, 256), Tile(128, 256)
# Where BLAS multiplies small matrices without packing (``products``), and keys and values of a head are narrow enough
# for that: 10 to 15 % less time at D 64. 128 keys of 64 numbers are 32 KiB, which the first cache holds with the lane.
UNPACKED, UNPACKED_CAUSAL = Tile(1024, 128, 64, 2048), Tile(512, 128, 64, 2048)
# On the diagonal so many keys are taken at a time, each time with the rows that see one of them: from a multiple of
# ALIGNED on, which is whole lanes.
DIAGONAL, ALIGNED = 128, 64
# A piece of fewer rows than this is bound by memory: each tile is then a product of the keys with the few rows.
FEW_ROWS = 16
# Heads whose scores are fewer than this stand in one product.
SMALL = 2**16
# The keys of a block of several heads have at most so many elements.
MOST_COPIED = 2**21
# Few rows are cut by keys, in pieces of at least as many keys as this, until there are as many pieces as this.
LEAST_KEYS, ENOUGH = 1024, 16


@dataclass(frozen=True)
class Piece:
    """Queries ``first``..``last`` - 1 of a block of heads, against keys ``low``..``high`` - 1 of it."""

    block: int
    first: int
    last: int
    low: int
    high: int
    part: int = 0

    @property
    def rows(self) -> slice:
        """Its queries."""
        return slice(self.first, self.last)

    @property
    def effort(self) -> int:
        """Pairs of query and key."""
        return (self.last - self.first) * (self.high - self.low)


@dataclass(frozen=True)
class Heads:
    """Key/value heads ``g0``..``g1`` - 1 of batch entry b, with the query heads ``h0``..``h1`` - 1 that read them."""

    b: int
    g0: int
    g1: int
    group: int

    @property
    def h0(self) -> int:
        """The first query head."""
        return self.g0 * self.group

    @property
    def h1(self) -> int:
        """Behind the last query head."""
        return self.g1 * self.group

    @property
    def queries(self) -> slice:
        """Its query heads."""
        return slice(self.h0, self.h1)


def is_learned(call: Call) -> bool:
    """Whether scores are sums over hidden units, and not one product."""
    return call.spec.score in ("additive", "concat")


def is_product(call: Call) -> bool:
    """Whether logits are scaled products and nothing besides, so that a product can subtract the shift of each row."""
    plain = (call.spec.softcap, call.bias, call.slopes, call.keep)
    return not is_learned(call) and all(part is None for part in plain)


def blocks(call: Call) -> list[Heads]:
    """All heads: one by one, where they are long two by two, where they are small as many as make a call worth it.

    Every call of NumPy gives up Python's lock and wants it back, and a thread that has to wait for it sleeps: two heads
    in one call wait half as often.
    """
    sizes = call.sizes
    least = 2 if sizes.group * sizes.Tq > BACKWARD.rows else 1
    return _in_blocks(call, max(least, _small(call)))


def _small(call: Call) -> int:
    """How many heads make a call worth it."""
    return SMALL // (call.sizes.group * call.sizes.Tq * call.sizes.S)


def _in_blocks(call: Call, together: int) -> list[Heads]:
    sizes = call.sizes
    count = 1 if is_learned(call) else max(1, min(sizes.Hkv, together))
    return [
        Heads(b, g, min(g + count, sizes.Hkv), sizes.group) for b in range(sizes.B) for g in range(0, sizes.Hkv, count)
    ]


def forward_tile(call: Call) -> Tile:
    """The tile of a forward pass."""
    if is_learned(call):
        return LEARNED
    if is_product(call) and call.dtype != "float64" and has_unpacked():
        unpacked = UNPACKED_CAUSAL if is_split(call) else UNPACKED
        if unpacked.lane * unpacked.keys * max(call.sizes.D + 1, call.sizes.Dv) <= MOST_UNPACKED:
            return unpacked
    return CAUSAL if is_split(call) else FORWARD


def forward_blocks(call: Call) -> list[Heads]:
    """The blocks of a forward pass: as many heads as make a tile of the rows that it may have together.

    At least four pieces are left of each batch entry, and copies of keys and values stay small.
    """
    sizes, tile = call.sizes, forward_tile(call)
    step = min(sizes.Tq, query_steps(call, tile))
    together = 1
    if step * sizes.group > FEW_ROWS:
        together = min(
            tile.together // (step * sizes.group),
            sizes.Hkv * -(-sizes.Tq // step) // 4,
            MOST_COPIED // (sizes.S * (sizes.D + 1)),
        )
    return _in_blocks(call, max(together, _small(call)))


def is_split(call: Call) -> bool:
    """Whether the rows of a piece are split on the diagonal."""
    return bounds(call)[1] is not None and call.sizes.group == 1


def query_steps(call: Call, tile: Tile) -> int:
    """How many queries make the rows of a tile."""
    return max(1, tile.rows // call.sizes.group)


def forward_pieces(call: Call, heads: list[Heads]) -> list[list[Piece]]:
    """The pieces of each block, the longest first; few rows are cut by keys."""
    step = query_steps(call, forward_tile(call))
    by_block = [_pieces_of(call, heads, at, step) for at in range(len(heads))]
    by_block.sort(key=lambda pieces: -sum(piece.effort for piece in pieces))
    return [sorted(pieces, key=lambda piece: -piece.effort) for pieces in by_block]


def key_parts(call: Call) -> int:
    """Into how many pieces the keys are cut: more than one where there is one tile of rows alone."""
    sizes = call.sizes
    if sizes.Tq > query_steps(call, forward_tile(call)):
        return 1
    return max(1, min(-(-ENOUGH // sizes.Hkv), sizes.S // LEAST_KEYS))


def _pieces_of(call: Call, heads: list[Heads], at: int, step: int) -> list[Piece]:
    parts, b = key_parts(call), heads[at].b
    pieces = []
    for first in range(0, call.sizes.Tq, step):
        last = min(first + step, call.sizes.Tq)
        low, high = reach(call, b, first, last)
        width = -(-(high - low) // parts)
        for part in range(parts):
            begin = min(low + part * width, high)
            pieces.append(Piece(at, first, last, begin, min(begin + width, high), part))
    return pieces


def key_tiles(low: int, high: int, width: int) -> list[slice]:
    """Keys low..high - 1 in tiles of about one width, at most ``width``."""
    count = -(-(high - low) // width)
    if count <= 0:
        return []
    even = -(-(high - low) // (16 * count)) * 16
    return [slice(at, min(at + even, high)) for at in range(low, high, even)]


def grid_tiles(low: int, high: int, width: int) -> list[slice]:
    """Keys low..high - 1 in tiles that end at multiples of ``width``."""
    begins = range(low - low % width, high, width) if low < high else ()
    return [slice(max(low, at), min(at + width, high)) for at in begins]


def row_and_key_tiles(
    call: Call, heads: Heads, piece: Piece, width: int, *, split: bool = True, grid: bool = False
) -> list[tuple[slice, slice]]:
    """The tiles of a piece: rows, counted from its first, and keys. To ``split`` them saves work on the diagonal."""
    cut = grid_tiles if grid else key_tiles
    queries, right = piece.last - piece.first, bounds(call)[1]
    every = slice(0, queries * heads.group)
    if not split or right is None or heads.group > 1 or queries <= DIAGONAL:
        return [(every, keys) for keys in cut(piece.low, piece.high, width)]
    ahead = offset_of(call, heads.b) + right
    edge = piece.first + ahead + 1
    edge = min(max(piece.low, edge - edge % width if grid else edge), piece.high)
    tiles = [(every, keys) for keys in cut(piece.low, edge, width)]
    for keys in cut(edge, piece.high, DIAGONAL):
        begin = max(0, keys.start - ahead - piece.first)  # the first row that sees one of them
        tiles.append((slice(begin - begin % ALIGNED, queries), keys))
    return tiles
