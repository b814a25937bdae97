"""The answer as a grid: a row for each case, a cell for each implementation with its time over the fastest.

Who is not told from the fastest is what the paired rounds say (``analysis.leading``), and nothing is computed in its
place.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.analysis.leading import OverFastest, all_standings
from attnbench.report.glance.cases import case_names
from attnbench.report.tables import mark_of, reason
from attnbench.results.frames import records
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.analysis.intervals import Interval

# From these ratios on, a cell has the next paler colour.
STEPS = (1.1, 1.25, 1.6, 2.5, 5.0, 10.0)
FASTEST, TIED, BEHIND, FAILED, ABSENT, NOT_RUN, NOTHING = (
    *("fastest", "tied", "behind"),
    *("failed", "absent", "not-run", "nothing"),
)
SIGNS = {FAILED: "✕", ABSENT: "–", NOT_RUN: "…", NOTHING: ""}


@dataclass(frozen=True)
class GridCell:
    """One cell: its text, what it is (``kind``), the step of its colour (0 is the fastest), and all of it in words.

    ``within`` is the interval of its ratio where it is not told from the fastest, ``ratio`` the number of ``text``.
    """

    impl: str
    kind: str
    text: str = ""
    step: int = 0
    words: str = ""
    within: str = ""
    ratio: float | None = None


@dataclass(frozen=True)
class GridRow:
    """One case: its short name, the case in full, a cell for each implementation, and the time of the fastest."""

    name: str
    case: str
    cells: tuple[GridCell, ...]
    fastest: str = units.NOTHING


@dataclass(frozen=True)
class AnswerGrid:
    """The cases of a suite by implementation; ``absent`` names those that support none of them.

    One that the run did not reach keeps its column: nothing is known against it.
    """

    rows: tuple[GridRow, ...]
    impls: tuple[str, ...]
    absent: tuple[str, ...] = ()

    @property
    def libraries(self) -> tuple[tuple[str, int], ...]:
        """Each library with the number of its columns, which stand beside each other."""
        return tuple((name, len(list(group))) for name, group in itertools.groupby(self.impls, library))

    @property
    def kinds(self) -> frozenset[str]:
        """What cells there are, for a legend."""
        return frozenset(cell.kind for row in self.rows for cell in row.cells)


def library(impl: str) -> str:
    """The library of an implementation, such as ``torch``."""
    return impl.partition("/")[0]


def grid_of(frame: pd.DataFrame, over: Mapping[str, OverFastest] | None = None) -> AnswerGrid | None:
    """The grid of a suite's timed cells in planned order; ``None`` where none was tried."""
    timed = frame[frame["kind"] == "timed"]
    if all(mark_of(status) == ABSENT for status in timed["status"]):
        return None
    wanted = set(timed.loc[timed["status"] != "unsupported", "impl"])
    ratios = all_standings(timed) if over is None else over
    names = case_names(timed)
    every = [str(impl) for impl in timed["impl"].unique()]
    order = {name: place for place, name in enumerate(dict.fromkeys(map(library, every)))}
    impls = sorted((impl for impl in every if impl in wanted), key=lambda impl: order[library(impl)])
    rows = tuple(
        _row(block, names[key], impls, ratios) for key, block in timed.groupby(["block_id", "case_id"], sort=False)
    )
    return AnswerGrid(rows, tuple(impls), tuple(impl for impl in every if impl not in wanted))


def _row(block: pd.DataFrame, name: str, impls: Sequence[str], ratios: Mapping[str, OverFastest]) -> GridRow:
    rows = records(block)
    over = {row["impl"]: ratios.get(row["cell_id"]) for row in rows}
    tied = sum(each is not None and not each.told for each in over.values()) > 1
    cells = {row["impl"]: _cell(row, over[row["impl"]], tied=tied) for row in rows}
    of_impls = tuple(cells.get(impl) or GridCell(impl, NOTHING) for impl in impls)
    times = [row["time_median_s"] for row in rows if (first := over[row["impl"]]) is not None and first.ratio is None]
    return GridRow(name, str(rows[0]["case_label"]), of_impls, units.seconds(times[0]) if times else units.NOTHING)


def _cell(row: Mapping[str, Any], over: OverFastest | None, *, tied: bool) -> GridCell:
    impl = str(row["impl"])
    if over is None:
        kind = NOT_RUN if row["status"] == "not-run" else mark_of(row["status"]) or NOTHING
        return GridCell(impl, kind, SIGNS[kind], words=f"{row['status']}: {reason(dict(row))}")
    ratio = 1.0 if over.ratio is None else over.ratio.value
    kind = standing(over, tied=tied)
    within = _ends(over.ratio, " – ") if over.ratio is not None and kind == TIED else ""
    words = _words(row, over, kind)
    return GridCell(impl, kind, units.significant(ratio), bisect_right(STEPS, ratio), words, within, ratio)


def standing(over: OverFastest, *, tied: bool) -> str:
    """What a measured cell is beside the others of its case; ``tied``: the fastest does not lead alone."""
    return BEHIND if over.told else TIED if tied else FASTEST


def _words(row: Mapping[str, Any], over: OverFastest, kind: str) -> str:
    """A measured cell in words: its time and interval, how it stands, its memory."""
    time = units.seconds(row["time_median_s"])
    ends = units.interval(row["time_median_s"], row["time_low_s"], row["time_high_s"])
    parts = [f"{time} ({ends})"]
    if over.ratio is not None:
        parts.append(f"{units.significant(over.ratio.value)} [{_ends(over.ratio, ', ')}] times the fastest")
    standing = "the fastest, and others are not told from it" if over.ratio is None else "not told from the fastest"
    parts.append({FASTEST: "the fastest", TIED: standing, BEHIND: "slower than the fastest"}[kind])
    if units.known(row["peak_bytes"]):
        parts.append(f"peak memory {units.size(row['peak_bytes'])}")
    return "; ".join(parts)


def _ends(ratio: Interval, between: str) -> str:
    return between.join(map(units.significant, (ratio.low, ratio.high)))
