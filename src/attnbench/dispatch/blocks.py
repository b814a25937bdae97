"""``blocks.jsonl`` and ``order.json``: the blocks of a plan, a line for each, and where each line begins.

One file for all of them: a hundred thousand files would be slow to write, to copy and to look through. What a listing
says of a block stands in ``order.json`` too, so that it reads no block.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from attnbench.dispatch.folder import as_text, damaged, from_text, read_record, streamed_synced, write_synced
from attnbench.dispatch.records import BlockNeeds, BlockOrder, DispatchBlock, DispatchPlan
from attnbench.errors import ResultsError, UsageError

BLOCKS, ORDER = "blocks.jsonl", "order.json"
ID = re.compile(r"[0-9a-f]{12}")


def write_blocks(folder: Path, plan: DispatchPlan, blocks: Iterable[DispatchBlock], planned: Sequence[int]) -> None:
    """Write the blocks in the order of their numbers; ``planned`` has these in planned order."""
    ids, at, cells, memory, suites, kinds = [], [0], [], [], [], []
    names: dict[str, int] = {}
    places: dict[str, int] = {}
    needs: list[BlockNeeds] = []

    def lines() -> Iterator[bytes]:
        for block in blocks:
            line = as_text(block).encode()
            ids.append(block.id)
            at.append(at[-1] + len(line))
            cells.append(len(block.cells))
            memory.append(block.needs.memory_bytes)
            suites.append(names.setdefault(block.suite, len(names)))
            kind = block.needs.model_copy(update={"memory_bytes": None})
            place = places.setdefault(kind.model_dump_json(), len(places))
            if place == len(needs):
                needs.append(kind)
            kinds.append(place)
            yield line

    streamed_synced(folder / BLOCKS, lines())
    order = BlockOrder(
        plan=plan.id,
        ids=tuple(ids),
        planned=tuple(planned),
        at=tuple(at),
        cells=tuple(cells),
        memory_bytes=tuple(memory),
        suites=tuple(names),
        suite=tuple(suites),
        needs=tuple(needs),
        kind=tuple(kinds),
    )
    write_synced(folder / ORDER, as_text(order))


class Blocks:
    """The blocks of a plan, each read when it is asked for; whoever hands out many keeps one of these."""

    def __init__(self, folder: Path, plan: DispatchPlan) -> None:
        self.folder, self.plan = folder, plan
        self.order = read_order(folder, plan)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {block_id: number for number, block_id in enumerate(self.order.ids)}

    def __len__(self) -> int:
        return len(self.order.ids)

    def __contains__(self, block_id: object) -> bool:
        return block_id in self._numbers

    def numbered(self, number: int) -> DispatchBlock:
        """One block, by its number."""
        path, begin, end = self.folder / BLOCKS, self.order.at[number], self.order.at[number + 1]
        try:
            with path.open("rb") as file:
                if end > os.fstat(file.fileno()).st_size:
                    damaged(path, f"it ends before line {number + 1} does; copy the plan's folder whole")
                file.seek(begin)
                line = file.read(end - begin)
        except FileNotFoundError as error:
            msg = f"{path} is missing; the folder of a plan is to be copied whole"
            raise ResultsError(msg) from error
        except OSError as error:
            msg = f"{path} cannot be read ({error.strerror})"
            raise ResultsError(msg) from error
        block = from_text(path, line, DispatchBlock, f"line {number + 1}")
        fits = (block.plan, block.id, block.number) == (self.plan.id, self.order.ids[number], number)
        if not fits or len(block.cells) != len(block.cell_ids):
            damaged(path, f"line {number + 1} belongs to another plan, or is another block")
        return block

    def number_of(self, block_id: str) -> int:
        """The number of a block; ``KeyError`` for one that the plan does not have."""
        return self._numbers[block_id]

    def by_id(self, block_id: str) -> DispatchBlock:
        """One block, by its id; ``KeyError`` likewise."""
        return self.numbered(self.number_of(block_id))

    def named(self, typed: str) -> DispatchBlock:
        """The block that ``--block`` names, by number or id. Raises ``UsageError``."""
        if ID.fullmatch(typed) and typed in self:
            return self.by_id(typed)
        if re.fullmatch(r"[0-9]{1,11}", typed) and int(typed) < len(self):
            return self.numbered(int(typed))
        listed = f"attnbench dispatch list {shlex.quote(str(self.folder))}"
        numbers = "block 0" if len(self) == 1 else f"blocks 0 to {len(self) - 1}"
        msg = f"--block {typed}: {self.folder} has {numbers}, by number or id; type: {listed}"
        raise UsageError(msg)

    def needs_of(self, number: int) -> BlockNeeds:
        """What a block asks of a machine, without reading it."""
        kind = self.order.needs[self.order.kind[number]]
        return kind.model_copy(update={"memory_bytes": self.order.memory_bytes[number]})

    def suite_of(self, number: int) -> str:
        """The suite of a block, without reading it."""
        return self.order.suites[self.order.suite[number]]


def read_order(folder: Path, plan: DispatchPlan) -> BlockOrder:
    """Ids and numbers of a plan's blocks, and what a listing says of them."""
    order = read_record(folder / ORDER, BlockOrder)
    if order.plan != plan.id or len(set(order.ids)) != plan.blocks or not _fits(order):
        damaged(folder / ORDER, "it does not fit plan.json")
    return order


def _fits(order: BlockOrder) -> bool:
    count = len(order.ids)
    columns: tuple[Sequence[object], ...] = (order.cells, order.memory_bytes, order.suite, order.kind, order.at[1:])
    return (
        all(len(column) == count for column in columns)
        and max(order.suite) < len(order.suites)
        and max(order.kind) < len(order.needs)
        and order.at[0] == 0
        and sorted(order.planned) == list(range(count))
        and all(begin < end for begin, end in zip(order.at, order.at[1:], strict=False))
    )


def read_block(folder: Path, plan: DispatchPlan, block_id: str) -> DispatchBlock:
    """One block of a plan, by its id."""
    blocks = Blocks(folder, plan)
    if block_id not in blocks:
        damaged(folder / ORDER, f"it has no block {block_id}")
    return blocks.by_id(block_id)


def block_named(folder: Path, plan: DispatchPlan, typed: str) -> DispatchBlock:
    """The block that ``--block`` names, by number or id. Raises ``UsageError``."""
    return Blocks(folder, plan).named(typed)
