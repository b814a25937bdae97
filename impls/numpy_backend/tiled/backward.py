"""Backward: the weights of each tile computed again from what the forward pass knows of its rows, and the chain rule.

A task is a run of rows of one block of heads: it alone adds to its own sums for keys and values, tile by tile, and the
sums of the tasks of a block are added in the order of their rows, whoever has computed them. How many tasks there are
follows from the sizes alone. So the bits do not depend on the number of threads.

Where logits are products, the product that gives them subtracts lse, so that the exponential is P at once. Elsewhere
P is exp(logit − shift) / sum, with the two numbers apart: beside a shift that a finite bias has made very low the
logarithm of the sum would be rounded away.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.api import Array, Call
from attnbench.impls.numpy_backend.tile_scores import Gradients, add_tile, empty_gradients

from . import crew, sanitary
from .edges import allowed_tile, part, reach
from .gather import Gathered
from .layout import BACKWARD, LEARNED, Piece, blocks, is_learned, is_product, query_steps, row_and_key_tiles
from .logits import logits_tile, plain_queries, scaled_queries, seen_by_heads
from .operands import FACTOR, POWER, BlockOperands, wide_type

if TYPE_CHECKING:
    from .crew import Space
    from .forward import RowSums

# So many tasks there are at least for each batch entry, where it has the rows.
TASKS = 8


@dataclass(frozen=True)
class Task:
    """Some pieces of one block of heads, in their order."""

    block: int
    part: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Added:
    """What the tiles of a task add up to: gradients of the values, and of the keys or of what a learned score reads."""

    k: Array
    v: Array
    learned: list[Gradients]
    bias: Array | None


class BackwardPass:
    """One backward pass."""

    def __init__(
        self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None, known: RowSums
    ) -> None:
        self.call, self.dtype, self._known = call, wide_type(call), known
        self._heads = blocks(call)
        self._q, self._k, self._v, self._d_output = sanitary.without_dead(q, k, v, call, d_output, self._heads)
        self._d_lse = d_lse
        self._product = is_product(call)
        self._gathered = Gathered(call, self._heads, (self._q, self._k, self._v))
        self._lock = threading.Lock()
        self._operands: dict[int, BlockOperands] = {}
        self._added: dict[int, dict[int, Added]] = {at: {} for at in range(len(self._heads))}
        self._tile = LEARNED if is_learned(call) else BACKWARD

    def run(self) -> dict[str, Array]:
        """All gradients, in the wide dtype."""
        sizes = self.call.sizes
        tasks = self._tasks()
        self._parts = len({task.part for task in tasks})
        pairs = (
            sum(piece.effort for task in tasks for piece in task.pieces)
            * sizes.Hq
            // max(1, len(self._heads) // sizes.B)
        )
        crew.run(self._chains(tasks), self._work, pairs * 3 * (sizes.D + sizes.Dv))
        return self._gathered.finished(self._known)

    def _tasks(self) -> list[Task]:
        """Every block's rows in as many runs as there are for a block of this size."""
        call, step = self.call, query_steps(self.call, self._tile)
        starts = list(range(0, call.sizes.Tq, step))
        each = len(self._heads) // call.sizes.B
        wanted = 4 if self._gathered.is_chained else -(-TASKS // each)
        length = -(-len(starts) // max(1, min(wanted, len(starts))))
        tasks = []
        for at, heads in enumerate(self._heads):
            for number, begin in enumerate(range(0, len(starts), length)):
                pieces = []
                for first in starts[begin : begin + length]:
                    last = min(first + step, call.sizes.Tq)
                    pieces.append(Piece(at, first, last, *reach(call, heads.b, first, last)))
                tasks.append(Task(at, number, tuple(pieces)))
        return tasks

    def _chains(self, tasks: list[Task]) -> list[list[list[Task]]]:
        """What one thread does in order: a task; or those of all heads, where they add to the same plane of a bias."""
        if self._gathered.is_chained:
            parts = sorted({task.part for task in tasks})
            return [[[task for task in tasks if task.part == number]] for number in parts]
        by_effort = sorted(tasks, key=lambda task: (-sum(piece.effort for piece in task.pieces), task.block, task.part))
        return [[[task]] for task in by_effort]

    def _work(self, chain: list[Task], space: Space) -> None:
        for task in chain:
            operands = self._operands.get(task.block)
            if operands is None:
                made = BlockOperands(self.call, self._heads[task.block], self._q, self._k, self._v)
                operands = self._operands.setdefault(task.block, made)
            added = self._empty(operands)
            for piece in task.pieces:
                self._rows(operands, piece, added, space)
            self._hand_in(task, operands, added)

    def _empty(self, operands: BlockOperands) -> Added:
        sizes, count = self.call.sizes, operands.count
        learned = [empty_gradients(projected) for projected in operands.learned] if is_learned(self.call) else []
        k = np.zeros((count, sizes.S, sizes.D), self.dtype)
        return Added(
            k, np.zeros((count, sizes.S, sizes.Dv), self.dtype), learned, self._gathered.bias_of_task(operands)
        )

    def _hand_in(self, task: Task, operands: BlockOperands, added: Added) -> None:
        """Whoever hands in the last task of a block adds up all of them, in their order."""
        with self._lock:
            handed_in = self._added[task.block]
            handed_in[task.part] = added
            if len(handed_in) < self._parts:
                return
            del self._added[task.block], self._operands[task.block]
        self._gathered.add_block(operands, [handed_in[number] for number in sorted(handed_in)])

    def _rows(self, operands: BlockOperands, piece: Piece, added: Added, space: Space) -> None:
        """One piece of rows: its cotangents, and then tile by tile."""
        heads, rows, count = operands.heads, piece.rows, operands.count
        at = heads.b, heads.queries, rows
        total, shift = self._known.total[at], self._known.shift[at]
        dv = self.call.sizes.Dv
        held = space.array("d_output", (heads.h1 - heads.h0, rows.stop - rows.start, dv + 1), self.dtype)
        held[..., :dv] = self._d_output[at]
        d_row = -np.matmul(held[..., None, :dv], self._known.output[at][..., None])[..., 0, 0]
        if self._d_lse is not None:
            d_row += self._d_lse[at]
        dead = total == 0
        if dead.any():
            held[dead] = 0
            d_row[dead] = 0
        held[..., dv] = d_row
        self._gathered.d_row[at] = d_row
        d_output = held.reshape(count, -1, dv + 1)
        safe = np.where(dead, 1, total).reshape(count, -1, 1)
        if piece.low >= piece.high:
            return
        d_query: Array | None
        if self._product:
            lse = np.where(dead, np.inf, (shift + np.log(safe.reshape(shift.shape))) * FACTOR).reshape(count, -1)
            d_query = self._by_products(operands, piece, lse, d_output, added, space)
        else:
            d_query = self._by_steps(operands, piece, (shift.reshape(count, -1, 1), safe), d_output, added, space)
        if d_query is not None:
            d_query = d_query.reshape(count, heads.group, rows.stop - rows.start, -1)
            if not self.call.spec.unscaled:
                scale = operands.scale(rows)
                d_query *= self.dtype(scale) if isinstance(scale, float) else scale.astype(self.dtype)
            self._gathered.q[at] = d_query.reshape(self._gathered.q[at].shape)

    def _by_products(
        self, operands: BlockOperands, piece: Piece, lse: Array, d_output: Array, added: Added, space: Space
    ) -> Array:
        call, dtype, heads = self.call, self.dtype, operands.heads
        q = scaled_queries(operands, piece.rows, FACTOR, space, extra=1)
        count, n, d = q.shape[0], q.shape[1], q.shape[2] - 1
        np.negative(lse, out=q[..., d])
        k, keys_across, values_across = operands.k, operands.k_and_one.mT, operands.v_and_one.mT
        d_query = space.array("d_query", (count, n, d), dtype)
        d_query[...] = 0
        more = space.array("more", (count, n, d), dtype)
        for some, keys in row_and_key_tiles(call, heads, piece, self._tile.keys):
            size = some.stop - some.start
            whole = size == n
            rows = piece.rows if whole else slice(piece.first + some.start, piece.first + some.stop)
            shape = (count, size, keys.stop - keys.start)
            p = np.matmul(q[:, some], keys_across[..., keys], out=space.array("scores", shape, dtype))
            allowed = allowed_tile(call, heads, rows, keys) if call.restricted else None
            if allowed is not None:  # what is not allowed may be anything, and is not to overflow
                np.minimum(p, 1, out=p)
            POWER(p, out=p)
            d_p = np.matmul(d_output[:, some], values_across[..., keys], out=space.array("d_p", shape, dtype))
            if allowed is not None:
                np.copyto(seen_by_heads(operands, p), 0, where=~allowed)
                np.copyto(seen_by_heads(operands, d_p), 0, where=~allowed)
            _add(added.v[:, keys], p.mT, d_output[:, some, :-1], space)
            p *= d_p
            d_query[:, some] += np.matmul(p, k[:, keys], out=more[:, :size])
            _add(added.k[:, keys], p.mT, q[:, some, :d], space)
        return d_query

    def _by_steps(
        self,
        operands: BlockOperands,
        piece: Piece,
        known: tuple[Array, Array],
        d_output: Array,
        added: Added,
        space: Space,
    ) -> Array | None:
        call, dtype, heads, rows = self.call, self.dtype, operands.heads, piece.rows
        q = plain_queries(operands, rows, space)
        d_query = None if q is None else np.zeros(q.shape, dtype)
        for _, keys in row_and_key_tiles(call, heads, piece, self._tile.keys, split=False):
            p, slope = logits_tile(operands, q, rows, keys, space, slope=True)
            p -= known[0]
            np.exp(p, out=p)
            p /= known[1]
            d_p = np.matmul(d_output[..., :-1], operands.v[:, keys].mT)
            kept = p
            if call.keep is not None:
                factor = part(call.keep, heads, rows, keys) * dtype(1 / (1 - call.spec.dropout))
                kept = (seen_by_heads(operands, p) * factor).reshape(p.shape)
                d_p = (seen_by_heads(operands, d_p) * factor).reshape(p.shape)
            _add(added.v[:, keys], kept.mT, d_output[..., :-1], space)
            d_p += d_output[..., -1:]
            d_p *= p
            if (allowed := allowed_tile(call, heads, rows, keys)) is not None:
                np.copyto(seen_by_heads(operands, d_p), 0, where=~allowed)
            self._gathered.add_bias(operands, rows, keys, d_p, added.bias)
            if slope is not None:
                d_p *= np.where(p == 0, 0, slope) if call.restricted else slope
            self._add_scores(operands, q, rows, keys, d_p, d_query, added, space)
        return d_query

    def _add_scores(
        self, operands: BlockOperands, q: Array | None, rows: slice, keys: slice, d_scores: Array,
        d_query: Array | None,
        added: Added, space: Space,
    ) -> None:  # fmt: skip
        """What the gradients of the scores of a tile give to queries and keys."""
        if q is not None and d_query is not None:
            d_query += d_scores @ operands.k[:, keys]
            _add(added.k[:, keys], d_scores.mT, q, space)
            return
        of_heads: Any = d_scores.reshape(operands.heads.h1 - operands.heads.h0, -1, d_scores.shape[-1])
        if not self.call.spec.unscaled:
            scale = operands.scale(rows)
            if isinstance(scale, float):
                of_heads = of_heads * self.dtype(scale)
            else:
                of_heads = of_heads * scale.reshape(len(of_heads), -1, 1).astype(self.dtype)
        for at, projected in enumerate(operands.learned):
            add_tile(added.learned[at], projected, rows, keys, of_heads[at])


def _add(target: Array, left: Array, right: Array, space: Space) -> None:
    target += np.matmul(left, right, out=space.array("of_keys", target.shape, target.dtype))


def backward(
    q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None, known: RowSums
) -> dict[str, Array]:
    """Gradients of every operand by name, each in its operand's dtype."""
    with np.errstate(all="ignore"):
        return BackwardPass(q, k, v, call, d_output, d_lse, known).run()
