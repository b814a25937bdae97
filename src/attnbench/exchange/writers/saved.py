"""A saved run as exporters read it: its rows as records, and of every timed cell the bursts that count."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench.results.read import read_cells, read_info, read_samples, run_folder
from attnbench.results.schema import CellResult, RunInfo, Sample
from attnbench.results.summary import bursts, usable
from attnbench.show import units

FAILED_TO_RUN = ("oom", "timeout", "crashed")


@dataclass(frozen=True)
class Rounds:
    """The bursts of a cell that count: seconds per call, the process of each, and the calls of a typical burst."""

    seconds: tuple[float, ...]
    replicates: tuple[int, ...]
    calls: int


@dataclass(frozen=True)
class Saved:
    """A run: what is known of it, one row for each planned cell, and the bursts by cell_id."""

    folder: Path
    info: RunInfo
    cells: tuple[CellResult, ...]
    rounds: Mapping[str, Rounds]

    def without_time(self) -> list[CellResult]:
        """The cells that have no measurement, whatever the reason."""
        return [cell for cell in self.cells if cell.status != "ok"]


def read_saved(run: str | Path) -> Saved:
    """Read a run folder. Raises ``ResultsError``."""
    folder = run_folder(run)
    by_cell: dict[str, list[Sample]] = defaultdict(list)
    for sample in read_samples(folder):
        by_cell[sample.cell_id].append(sample)
    cells = read_cells(folder)
    rounds = {row.cell_id: rounds_of(row, by_cell[row.cell_id]) for row in cells if row.status == "ok"}
    return Saved(folder, read_info(folder), cells, rounds)


def rounds_of(row: CellResult, samples: Sequence[Sample]) -> Rounds:
    """The bursts behind the main time of a row: no warm-ups, nothing disturbed, one cache state."""
    counted = usable(samples, row.cache)
    counting = bursts(counted)
    calls = sorted(sample.calls for sample in counted)
    return Rounds(counting.values, counting.replicates, calls[len(calls) // 2] if calls else 1)


def setting(row: CellResult) -> str:
    """The device and the threads of a row, for people."""
    return f"{row.device}, {row.threads} thread" + ("s" if row.threads > 1 else "")


def case_text(row: CellResult) -> str:
    """The case of a row with its device and threads: what a block is about."""
    return f"{row.case_label} · {setting(row)}"


def counts(statuses: Iterable[str]) -> str:
    """How many cells there are and what became of them, such as ``12 cells: 10 ok, 2 wrong``."""
    by_status = Counter(statuses)
    return f"{by_status.total()} cells: " + (
        ", ".join(f"{n} {word}" for word, n in by_status.items()) or "none planned"
    )


def one_line(text: str | None) -> str:
    """A reason in one line."""
    return " ".join((text or "").split())


def plain(value: Any) -> Any:
    """A level of an axis as JSON and the tables of other tools have it."""
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def peak_text(row: CellResult) -> str:
    """The peak memory of a cell, or why it was not measured, where its row says it."""
    if row.peak_bytes is None and "source" in row.memory:
        return one_line(str(row.memory["source"]))
    return units.size(row.peak_bytes)
