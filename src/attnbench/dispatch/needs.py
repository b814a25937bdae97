"""What a block asks of a machine, and the order in which blocks are numbered.

Blocks that ask the same of a machine have numbers that follow each other, so that each kind of machine is given one
range. Within it, all arms of the first seed come before any of the second, so that what is stopped at any time is
balanced; and then the longest first, so that nobody waits for one at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from attnbench.backends import discover
from attnbench.backends.implementation import DEVICES
from attnbench.dispatch.records import BlockNeeds, Labels
from attnbench.errors import UsageError, check_known
from attnbench.measure.clock.roofline import array_bytes, work
from attnbench.suite import Cell

SEED = "seed"
LABEL = re.compile(r"(?:(?P<device>[a-z]+):)?(?P<name>[A-Za-z0-9][\w.-]*)=(?P<value>[\w.+/-]+)")

LabelsOfDevices = dict[str, Labels]


def labels(typed: Sequence[str], *, of_devices: bool = False) -> LabelsOfDevices:
    """Labels such as ``gpu=h100``, by device; those of every device stand under an empty name.

    With ``of_devices`` one may be of the blocks of one device alone, as ``cuda:gpu=h100``. Raises ``UsageError``.
    """
    by_device: LabelsOfDevices = {}
    for text in typed:
        match = LABEL.fullmatch(text)
        if match is None or (match["device"] and not of_devices):
            also = ", or of the blocks of one device, such as cuda:gpu=h100" if of_devices else ""
            msg = f"--label {text}: write NAME=VALUE, such as gpu=h100{also}"
            raise UsageError(msg)
        device = match["device"] or ""
        check_known("--label: device", [device] if device else [], DEVICES)
        mine = by_device.setdefault(device, {})
        if mine.get(match["name"], match["value"]) != match["value"]:
            msg = f"--label {text}: {match['name']} is {mine[match['name']]} already; give it once"
            raise UsageError(msg)
        mine[match["name"]] = match["value"]
    return by_device


def needs_of(cells: Sequence[Cell], by_device: Mapping[str, Labels]) -> BlockNeeds:
    """What the cells of a block ask of a machine."""
    device = cells[0].device
    return BlockNeeds(
        device=device,
        threads=cells[0].threads,
        memory_bytes=_memory(cells),
        packages=_packages(cells),
        labels={**by_device.get("", {}), **by_device.get(device, {})},
    )


def _memory(cells: Sequence[Cell]) -> int | None:
    cases = {cell.case_id: cell.case for cell in cells if cell.case is not None}
    return int(max(map(array_bytes, cases.values()))) if cases else None


def _packages(cells: Iterable[Cell]) -> tuple[str, ...]:
    cards = discover.backends()
    backends = dict.fromkeys(cell.backend for cell in cells if cell.backend in cards)
    return tuple(
        dict.fromkeys(name for backend in backends for name in (cards[backend].requires, *cards[backend].also))
    )


@dataclass(frozen=True)
class LaidOut:
    """A block before it has a number: its place in planned order, its needs, and the operations of a call of all."""

    place: int
    cells: Sequence[Cell]
    needs: BlockNeeds
    work: float


def laid_out(blocks: Sequence[Sequence[Cell]], by_device: Mapping[str, Labels]) -> list[LaidOut]:
    """The blocks in the order of their numbers."""
    many = [LaidOut(place, cells, needs_of(cells, by_device), _work(cells)) for place, cells in enumerate(blocks)]
    kinds: dict[str, int] = {}
    seeds: dict[tuple[str, str], int] = {}
    ranks: dict[str, int] = {}

    def key(block: LaidOut) -> tuple[int, int, bool, float, int]:
        first = block.cells[0]
        kind = kinds.setdefault(kind_of(block.needs), len(kinds))
        seed = (first.suite, str(first.point.get(SEED, "")))
        if seed not in seeds:
            seeds[seed] = ranks.get(first.suite, 0)
            ranks[first.suite] = seeds[seed] + 1
        return kind, seeds[seed], first.case is not None, -block.work, block.place

    return sorted(many, key=key)


def kind_of(needs: BlockNeeds) -> str:
    """What blocks share that ask the same of a machine, memory aside, in words."""
    threads = "1 thread" if needs.threads == 1 else f"{needs.threads} threads"
    return ", ".join([needs.device, threads, *(f"{name}={value}" for name, value in sorted(needs.labels.items()))])


def _work(cells: Sequence[Cell]) -> float:
    return sum(work(cell.case).flops for cell in cells if cell.case is not None)
