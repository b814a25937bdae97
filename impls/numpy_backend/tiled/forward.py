"""Forward: every piece of rows against its keys, tile by tile, and what the pieces add up to.

Two ways, with the same result. Where logits are products (``is_product``) the shift of a row is *peeked*: it is the
largest of its first logits, any number near the maximum being as good. The product itself then subtracts it, so that a
tile is a product, an exponential and a product. Whether that was near enough, the sums show: a row whose sum is not
between 1/2 and 2^60, or whose output is not finite, sends its piece the other way. That is the online softmax
(Milakov & Gimelshein 2018; FlashAttention, Dao 2022), which looks for the maximum of each tile and rescales what was
summed. It is also the way of every other call.
"""

from __future__ import annotations

import itertools
import operator
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnbench.api import Array, Call

from . import crew
from .edges import Fences, allowed_tile, bounds, part
from .layout import (
    CAUSAL,
    FEW_ROWS,
    Piece,
    Tile,
    forward_blocks,
    forward_pieces,
    forward_tile,
    is_product,
    key_parts,
    key_tiles,
    row_and_key_tiles,
)
from .logits import clear, forbid, logits_tile, plain_queries, scaled_queries, seen_by_heads
from .operands import FACTOR, POWER, BlockOperands, wide_type
from .products import Accumulator

if TYPE_CHECKING:
    from jaxtyping import Float

    from .crew import Space

# The shift of a row is the largest of so many logits; fewer keys than WORTH_PEEKING are looked at at once.
PEEK, WORTH_PEEKING = 16, 128
LEAST, MOST = 0.5, 2.0**60
# Where logits that are peeked lie so far apart, terms may end below the smallest normal number, where POWER is slow.
WIDE = 60


@dataclass(frozen=True)
class Sums:
    """Of a piece, or of all rows: Σ exp(s − shift) v, the shift, and Σ exp(s − shift). Shift −inf: no key so far."""

    output: Float[Array, "*rows Dv"]
    shift: Float[Array, " *rows"]
    total: Float[Array, " *rows"]


@dataclass(frozen=True)
class RowSums:
    """What a forward pass knows: the output, and of each row shift and sum, in the wide dtype. Sinks are in them."""

    output: Float[Array, "B Hq Tq Dv"]
    shift: Float[Array, "B Hq Tq"]
    total: Float[Array, "B Hq Tq"]

    def lse(self) -> Float[Array, "B Hq Tq"]:
        """Shift and sum in one number; −inf without a key."""
        with np.errstate(divide="ignore"):
            lse: Array = np.log(self.total) + self.shift
        return lse


class Pass:
    """One forward pass: its blocks, its pieces, and the arrays that they fill."""

    def __init__(self, q: Array, k: Array, v: Array, call: Call) -> None:
        self.call, self.dtype = call, wide_type(call)
        self._arrays = q, k, v
        self._heads = forward_blocks(call)
        self._pieces = forward_pieces(call, self._heads)
        self._operands: dict[int, BlockOperands] = {}
        self._lock = threading.Lock()
        self._left = [0] * len(self._heads)
        for pieces in self._pieces:
            self._left[pieces[0].block] = len(pieces)
        self._fences = Fences(call, self.dtype)
        # Where rows begin at keys of their own, the first keys of a piece are not those of every row.
        self._peeks = is_product(call) and bounds(call)[0] is None and call.q_segments is None
        self._not_finite: list[Piece] = []
        self._tile = forward_tile(call)
        self._wide_keys = max(self._tile.keys, CAUSAL.keys)  # the online way does more for each tile
        self._parts = key_parts(call)
        sizes = call.sizes
        rows = (self._parts, sizes.B, sizes.Hq, sizes.Tq)
        self._sums = Sums(
            np.empty((*rows, sizes.Dv), self.dtype), np.empty(rows, self.dtype), np.empty(rows, self.dtype)
        )

    def run(self) -> RowSums:
        """Work off all pieces, those again whose outputs are not finite, and join those that were cut by keys."""
        crew.run(self._pieces, self._work, self._effort(self._pieces))
        if self._not_finite:
            again = [[piece] for piece in self._not_finite]
            crew.run(again, self._again, self._effort(again))
        output, shift, total = (array[0] for array in (self._sums.output, self._sums.shift, self._sums.total))
        if self._parts > 1:
            output = self._joined(shift, total)
        return RowSums(output, np.where(np.isneginf(shift), 0, shift), total)

    def _effort(self, groups: list[list[Piece]]) -> int:
        """Multiplications."""
        sizes = self.call.sizes
        of_heads = {at: heads.h1 - heads.h0 for at, heads in enumerate(self._heads)}
        return sum(piece.effort * of_heads[piece.block] for group in groups for piece in group) * (sizes.D + sizes.Dv)

    def _at(self, piece: Piece) -> tuple[int, int, slice, slice]:
        heads = self._heads[piece.block]
        return piece.part, heads.b, heads.queries, piece.rows

    @np.errstate(all="ignore")  # what is undefined in the operands is so in the output; threads do not inherit it
    def _work(self, piece: Piece, space: Space) -> None:
        operands = self._operands.get(piece.block)
        if operands is None:
            operands = BlockOperands(self.call, self._heads[piece.block], *self._arrays)
            operands = self._operands.setdefault(piece.block, operands)
        rows = (piece.last - piece.first) * operands.heads.group
        sums = None
        if self._peeks and rows > FEW_ROWS and piece.high - piece.low >= WORTH_PEEKING:
            sums = peeked(operands, piece, self._tile, space, self._fences)
        sums = sums or online(operands, piece, self._wide_keys, space)
        if not np.isfinite(sums.output.sum()):
            self._not_finite.append(piece)
        self._store(piece, sums)
        with self._lock:
            self._left[piece.block] -= 1
            if not self._left[piece.block]:
                self._operands.pop(piece.block).forget()

    @np.errstate(all="ignore")
    def _again(self, piece: Piece, space: Space) -> None:
        """Where something was not finite: with the largest logits looked for, and with no NaN where none may reach."""
        operands = BlockOperands(self.call, self._heads[piece.block], *self._arrays)
        self._store(piece, online(operands, piece, self._wide_keys, space, careful=self.call.restricted))

    def _store(self, piece: Piece, sums: Sums) -> None:
        """Put the sums of a piece where they belong; where it is not cut by keys, with the sink, and as means."""
        at = self._at(piece)
        output, shift, total = self._sums.output[at], self._sums.shift[at], self._sums.total[at]
        shift[...], total[...] = sums.shift.reshape(shift.shape), sums.total.reshape(shift.shape)
        raw = sums.output.reshape(output.shape)
        if self._parts > 1:
            output[...] = raw
            return
        if self.call.sinks is not None:
            raw = raw * self._with_sinks(shift, total, at[2])[..., None]
        np.divide(raw, np.where(total == 0, 1, total)[..., None], out=output)

    def _with_sinks(self, shift: Array, total: Array, queries: slice) -> Array:
        """Put the terms of the sinks into the sums, in place; by what the outputs change."""
        assert self.call.sinks is not None  # noqa: S101  (for a type checker)
        sink = self.call.sinks[queries].astype(self.dtype)[:, None]
        largest = np.maximum(shift, sink)
        safe = np.where(np.isneginf(largest), 0, largest)
        factor: Array = np.exp(shift - safe)
        total *= factor
        total += np.exp(sink - safe)
        shift[...] = largest
        return factor

    def _joined(self, shift: Array, total: Array) -> Array:
        """The parts of each row, always in the same order; writes the shift and the sum of all into the first part."""
        parts = self._sums
        with np.errstate(all="ignore"):
            largest = parts.shift.max(0)
            factor = np.exp(parts.shift - np.where(np.isneginf(largest), 0, largest))
            output: Array = (parts.output * factor[..., None]).sum(0)
            sums = (parts.total * factor).sum(0)
            shift[...], total[...] = largest, sums
            if self.call.sinks is not None:
                output *= self._with_sinks(shift, total, slice(None))[..., None]
            output /= np.where(total == 0, 1, total)[..., None]
        return output


def peeked(operands: BlockOperands, piece: Piece, tile: Tile, space: Space, fences: Fences) -> Sums | None:
    """A piece whose products subtract the shift; ``None`` where the shift that was peeked is not near enough."""
    q = scaled_queries(operands, piece.rows, FACTOR, space, extra=1)
    d = q.shape[2] - 1
    logits = _first_logits(operands, piece, q[..., :d], space)
    shift = logits.max(-1)
    if not np.isfinite(shift.min()) or not shift.max() - logits[..., 0].min() < WIDE:
        return None
    np.negative(shift, out=q[..., d])
    output, total = _summed(operands, piece, tile, q, space, fences)
    if not (total.min() >= LEAST and total.max() <= MOST):
        return None
    shift /= FACTOR
    return Sums(output, shift, total[..., 0])


def _first_logits(
    operands: BlockOperands, piece: Piece, q: Float[Array, "G n D"], space: Space
) -> Float[Array, "G n some"]:
    """Those that are peeked at."""
    first = slice(piece.low, piece.low + PEEK)
    out = space.array("peek", (q.shape[0], PEEK, q.shape[1]), operands.dtype)
    logits = np.matmul(operands.k[:, first], q.mT, out=out).mT
    if operands.call.restricted:
        forbid(operands, piece.rows, first, logits)
    return logits


def _summed(
    operands: BlockOperands, piece: Piece, tile: Tile, q: Array, space: Space, fences: Fences
) -> tuple[Float[Array, "G n Dv"], Float[Array, "G n 1"]]:
    """Σ exp(s − shift) v and Σ exp(s − shift); the last column of q is −shift."""
    v, restricted = operands.v, operands.call.restricted
    (count, n), width = q.shape[:2], tile.keys
    output = space.array("output", (count, n, v.shape[-1]), operands.dtype)
    total = np.zeros((count, n, 1), operands.dtype)
    across = operands.keys_across(width)
    every = slice(0, n)
    tiles = row_and_key_tiles(operands.call, operands.heads, piece, width, grid=True)
    if not (first := tiles[0][0] == every):
        output[...] = 0
    for some, of_rows in itertools.groupby(tiles, operator.itemgetter(0)):
        rows = piece.rows if some == every else slice(piece.first + some.start, piece.first + some.stop)
        sums = Accumulator(q[:, some], output[:, some], total[:, some], tile.lane, space)
        for _, keys in of_rows:
            begin = keys.start % width
            terms = sums.products(across[:, keys.start // width, :, begin : begin + keys.stop - keys.start])
            POWER(terms, out=terms)
            if restricted:
                clear(operands, rows, keys, terms, fences)
            sums.add(v[:, keys], first=first)
            first = False
        sums.finish()
    return output, total


def online(operands: BlockOperands, piece: Piece, width: int, space: Space, *, careful: bool = False) -> Sums:
    """A piece by online softmax. ``careful``: a NaN in a value reaches no row that may not attend it."""
    call, dtype, rows = operands.call, operands.dtype, piece.rows
    q = plain_queries(operands, rows, space)
    count, n, dv = operands.count, operands.heads.group * (piece.last - piece.first), operands.v.shape[-1]
    shift, total = np.full((count, n), -np.inf, dtype), np.zeros((count, n), dtype)
    output = np.zeros((count, n, dv), dtype)
    reached = np.zeros(output.shape, bool) if careful else None
    for keys in key_tiles(piece.low, piece.high, width if n > FEW_ROWS else max(width, 1024)):
        logits, _ = logits_tile(operands, q, rows, keys, space)
        largest = np.maximum(shift, logits.max(-1))
        safe = np.where(np.isneginf(largest), 0, largest)  # a row without a key so far must not give inf - inf
        logits -= safe[..., None]
        terms = np.exp(logits, out=logits)
        rescale = np.exp(shift - safe)
        total = total * rescale + terms.sum(-1)
        if call.keep is not None:
            kept = seen_by_heads(operands, terms)
            kept *= part(call.keep, operands.heads, rows, keys)
            kept *= dtype(1 / (1 - call.spec.dropout))
        v = operands.v[:, keys]
        if reached is not None:
            v = _without_nan(operands, rows, keys, v, reached)
        output *= rescale[..., None]
        output += np.matmul(terms, v, out=space.array("more", output.shape, dtype))
        shift = largest
    if reached is not None:
        output[reached] = np.nan
    return Sums(output, shift, total)


def _without_nan(operands: BlockOperands, rows: slice, keys: slice, v: Array, reached: Array) -> Array:
    """The values with 0 in the place of NaN; marks in ``reached`` the rows that may attend one."""
    missing = np.isnan(v)
    if not missing.any():
        return v
    heads, count = operands.heads, rows.stop - rows.start
    allowed = allowed_tile(operands.call, heads, rows, keys)
    shape = (operands.count, heads.group, count, keys.stop - keys.start)
    may = np.broadcast_to(True if allowed is None else allowed, shape).reshape(reached.shape[0], -1, shape[-1])
    reached |= may.astype(v.dtype) @ missing.astype(v.dtype) > 0
    return np.where(missing, 0, v)


def forward(q: Array, k: Array, v: Array, call: Call) -> RowSums:
    """Output, and shift and sum of each row."""
    return Pass(q, k, v, call).run()
