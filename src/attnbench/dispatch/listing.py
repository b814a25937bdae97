"""What is done of a plan, and by whom: read from ``order.json``, and from the names and the ends of the results.

A result that is visibly damaged is none: its block is missing, and the file is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from attnbench.dispatch.blocks import Blocks
from attnbench.dispatch.folder import ResultFile, looks_whole, read_plan, read_result, result_files
from attnbench.dispatch.needs import kind_of
from attnbench.dispatch.records import BlockNeeds, DispatchPlan
from attnbench.errors import ResultsError


@dataclass(frozen=True)
class ListedBlock:
    """A block by number: its id, what it asks of a machine, its cells, and the machines that have measured it."""

    number: int
    id: str
    suite: str
    needs: BlockNeeds
    kind: str
    cells: int
    machines: tuple[str, ...]


@dataclass(frozen=True)
class Listing:
    """A plan with the machines of each block that has a result, and the numbers of those that have none.

    ``damaged`` are files that count as no result, being cut or not of this plan.
    """

    plan: DispatchPlan
    planned: Blocks
    machines: dict[str, tuple[str, ...]]
    missing: tuple[int, ...]
    damaged: tuple[Path, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder of the plan."""
        return self.planned.folder

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the blocks by number."""
        return self.planned.order.ids

    def blocks(self) -> Iterator[ListedBlock]:
        """The blocks in the order of their numbers; none of them is read."""
        kinds = [kind_of(needs) for needs in self.planned.order.needs]
        for number, block_id in enumerate(self.planned.order.ids):
            yield ListedBlock(
                number,
                block_id,
                self.planned.suite_of(number),
                self.planned.needs_of(number),
                kinds[self.planned.order.kind[number]],
                self.planned.order.cells[number],
                self.machines.get(block_id, ()),
            )


def listed(folder: Path) -> Listing:
    """What is done of the plan in a folder. Raises ``UsageError`` where there is none."""
    plan = read_plan(folder)
    blocks = Blocks(folder, plan)
    machines: dict[str, set[str]] = {}
    damaged: list[Path] = []
    for file in result_files(folder):
        if file.block in blocks and not is_whole(file, blocks):
            damaged.append(file.path)
            continue
        machines.setdefault(file.block, set()).add(file.machine)
    missing = tuple(number for number, block_id in enumerate(blocks.order.ids) if block_id not in machines)
    by_block = {block_id: tuple(sorted(names)) for block_id, names in machines.items()}
    return Listing(plan, blocks, by_block, missing, tuple(sorted(damaged)))


def is_whole(file: ResultFile, blocks: Blocks) -> bool:
    """Whether a file is a result; one whose ends are unusual is read as a whole before it is called damaged."""
    if looks_whole(file, blocks.plan):
        return True
    try:
        read_result(file, blocks.plan, blocks.by_id(file.block))
    except ResultsError:
        return False
    return True


def in_ranges(numbers: Sequence[int]) -> str:
    """Numbers as schedulers take them, such as ``0-5,9``."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def in_arrays(numbers: Sequence[int], size: int) -> list[tuple[int, str]]:
    """Numbers, in order, for arrays whose tasks are counted from 0: where each begins, and its tasks in ranges.

    A scheduler that takes arrays of ``size`` tasks takes no task beyond that number either.
    """
    arrays: dict[int, list[int]] = {}
    for number in numbers:
        arrays.setdefault(number - number % size, []).append(number % size)
    return [(first, in_ranges(tasks)) for first, tasks in arrays.items()]
