"""Times of a day over the least that the data sheet of its GPU leaves them.

Cold calls read all their bytes from the GPU's memory. Hot ones, and graphs, may find them in its cache: bytes are no
part of their floor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.day.comparison import FloorRow, FloorVerdict
from attnbench.errors import ResultsError
from attnbench.measure.clock.named import LIMITS, NamedDevice
from attnbench.measure.clock.roofline import Work, least_by
from attnbench.results.read import read_cells, read_info

if TYPE_CHECKING:
    from attnbench.results.schema import CellResult

COLD, BYTES, EXPONENTIALS = "cold", "copy", "exp"
# A GPU may clock so much higher than its data sheet counts: an H100 up to 1.98 GHz, of 1.83.
HIGHER = 1.1


@dataclass(frozen=True)
class TimedOnGpu:
    """The timed cells of a suite in some runs, with the name of each one's run, and the GPU that they ran on."""

    cells: tuple[tuple[str, CellResult], ...]
    gpu: str | None
    notes: tuple[str, ...]


def measured(runs: Path, suite: str, device: str) -> TimedOnGpu:
    """What is in the run folders of a folder; one that cannot be read is a note, and the others count."""
    cells: list[tuple[str, CellResult]] = []
    gpus: dict[str, None] = {}
    notes = []
    for file in sorted(runs.glob("*/run.json")):
        try:
            info, of_run = read_info(file.parent), read_cells(file.parent)
        except ResultsError as error:
            notes.append(f"{file.parent.name} was left out: {error}")
            continue
        gpus |= dict.fromkeys(gpu.name for gpu in info.fingerprint.hardware.gpus)
        timed = [cell for cell in of_run if cell.suite == suite and cell.device == device and cell.status == "ok"]
        cells += [(info.run_id, cell) for cell in timed if cell.time_median_s and cell.imported is None]
    if len(gpus) > 1:
        notes.append(f"the runs are of several GPUs ({', '.join(gpus)}): floors are those of the first")
    if not cells:
        notes.append(f"no cell of suite {suite} was timed on {device}")
    return TimedOnGpu(tuple(cells), next(iter(gpus), None), tuple(notes))


def floor_rows(seen: TimedOnGpu, device: NamedDevice | None) -> list[FloorRow]:
    """A row for each state of each cell, by implementation and case."""
    return [
        _row(run, cell, state, time_s, device)
        for run, cell in seen.cells
        for state, time_s in _times(cell).items()
    ]  # fmt: skip


def label_of(point: Mapping[str, object]) -> str:
    """A case by its levels, as the table of rooflines names it."""
    return " ".join(str(level) for level in point.values() if level)


def _times(cell: CellResult) -> Mapping[str, float]:
    """The states that it was timed in, that of the main time first."""
    states: dict[str, float] = {}
    hot, graph = ("hot", cell.time_hot_median_s), ("graph", cell.time_graph_median_s)
    for state, time_s in ((cell.cache or "none", cell.time_median_s), hot, graph):
        if time_s:
            states.setdefault(state, time_s)
    return states


def _row(run: str, cell: CellResult, state: str, time_s: float, device: NamedDevice | None) -> FloorRow:
    floor_s, limit = None, None
    known = None not in (cell.flops, cell.min_bytes, cell.exponentials)
    if device is not None and known and cell.dtype:
        needed = Work(cell.flops or 0.0, cell.min_bytes or 0.0, cell.exponentials or 0.0)
        least = least_by(needed, cell.dtype, device.rates())
        least = {name: s for name, s in least.items() if state == COLD or name != BYTES}
        if least:
            limit = max(least, key=lambda name: least[name])
            floor_s = least[limit]
    verdict = _verdict(time_s, floor_s, limit)
    words = None if limit is None else LIMITS[limit]
    return FloorRow(run, cell.impl, label_of(cell.point), cell.case_id, state, time_s, floor_s, words, verdict)


def _verdict(time_s: float, floor_s: float | None, limit: str | None) -> FloorVerdict:
    if floor_s is None:
        return "unknown"
    if time_s >= floor_s:
        return "ok"
    if time_s * HIGHER >= floor_s:
        return "clock"
    return "exponentials" if limit == EXPONENTIALS else "impossible"
