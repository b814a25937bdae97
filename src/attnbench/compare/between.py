"""How much two runs of the same code differ on this machine: recorded by earlier runs or a calibration, else assumed.

A saved run cannot show what its machine does between runs, so ``compare`` widens its intervals by this. In order:
runs of one clean commit on this machine that were made again and again; pairs of processes that ``calibrate`` measured;
a stated assumption.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import stats

from attnbench.compare.anchored.basis import MADE_OF
from attnbench.compare.runs import CELL, Key, none, unlike, unlike_machine
from attnbench.compare.signed_rank import robust_spread
from attnbench.errors import ResultsError
from attnbench.results.calibrations import for_machine
from attnbench.results.dataset import load
from attnbench.results.frames import records
from attnbench.results.read import RUN, read_info
from attnbench.results.schema import RunInfo

# What is assumed where nothing is recorded: the spread of pairs that shared machines were seen to have.
ASSUMED = 0.04
# Of the ratio of two runs' ratios to the anchor: 5.9 % for each was recorded (results/noise, docs/regression.md).
ASSUMED_OF_RATIOS = 0.085
BY: tuple[Literal["raw", "anchor"], ...] = ("raw", "anchor")
# The least where another tool measured all in one process, whose rounds do not show how processes differ.
IMPORTED = 0.05
# Fewer repeats than this say little of a spread; Student's t takes what uncertainty is left into account.
FEWEST_REPEATS = 5
FEWEST_PAIRS = 12
# The newest runs are enough, and reading all of a large folder is not worth the wait.
MOST_RUNS = 40
HELD = 0.95
# Beside the runs of a cell, what all cells show of the spread counts as so many further runs.
SHARED = 1


@dataclass(frozen=True)
class BetweenRuns:
    """The standard deviation of the log-ratio of two runs of the same code, and where it is known from.

    ``by``: whether of raw times, or of ratios to the anchor. ``count``: repeats of runs (degrees of freedom), or pairs
    of processes. What ``calibrate`` would record of a machine is not found for an ``imported`` run, whose file says
    it in other words.
    """

    value: float
    source: Literal["earlier runs", "calibration", "assumed"] = "assumed"
    count: int = 0
    imported: bool = False
    by: Literal["raw", "anchor"] = "raw"
    cells: Mapping[Key, float] = field(default_factory=dict)

    def of(self, key: Key) -> float:
        """The spread of a cell: its own where that is known."""
        return self.cells.get(key, self.value)

    @property
    def whole(self) -> bool:
        """Whether it is of the levels of whole runs: then it holds what their processes and bursts add."""
        return self.source == "earlier runs"

    def describe(self) -> dict[str, Any]:
        """JSON-ready: what is known of all cells together."""
        return {name: getattr(self, name) for name in ("value", "source", "count", "imported", "by")}

    @property
    def sentence(self) -> str:
        """What to know of it, in one sentence."""
        size = f"{100 * self.value:.1f} %"
        if self.imported and self.value < IMPORTED:
            size += f" (or {100 * IMPORTED:.1f} % where all rounds of a cell are of one process)"
        if self.by == "anchor":
            size += " of ratios to the anchor"
        if self.source == "earlier runs":
            runs = f"{self.count} repeats of runs of unchanged code on this machine"
            return f"Intervals are widened by the recorded spread between runs, {size}, from {runs}."
        if self.source == "calibration":
            pairs = f"{self.count} calibrated pairs of processes; what changes here from hour to hour is not in it"
            return f"Intervals are widened by this machine's recorded spread, {size}, from {pairs}."
        what = f"{size} is assumed and every interval is widened by it"
        known = f"No spread between runs is recorded for this machine, so {what}."
        return known if self.imported else f"{known} Type: attnbench calibrate"


def recorded(
    base: RunInfo, head: RunInfo, folders: Iterable[Path] = (), by: Literal["raw", "anchor"] = "raw"
) -> BetweenRuns:
    """What is known of the machine of ``base``; ``folders`` hold runs, those of base and head are left out.

    Pairs of a calibration are of two processes of one code that took turns. A cell and its anchor differ by more, and a
    comparison has two such pairs: without repeated runs at least ``ASSUMED_OF_RATIOS`` is taken.
    """
    by_runs = _of_runs(base, {base.run_id, head.run_id}, folders, by)
    known = by_runs or _of_calibration(base.fingerprint.machine_id) or BetweenRuns(ASSUMED)
    if by == "anchor" and by_runs is None:
        known = replace(known, value=max(math.sqrt(2) * known.value, ASSUMED_OF_RATIOS))
    return replace(known, imported=base.imported is not None, by=by)


def _of_calibration(machine_id: str) -> BetweenRuns | None:
    """By the pairs of a version with itself: twice this value holds 95 of 100 of them, heavy tails or not."""
    known = for_machine(machine_id)
    values = np.abs(known.log_ratios) if known is not None else np.array([])
    if values.size < FEWEST_PAIRS:
        return None
    holding = float(np.quantile(values, HELD)) / float(stats.norm.ppf((1 + HELD) / 2))
    both = robust_spread([*values, *(-values)])
    return BetweenRuns(max(holding, both), "calibration", int(values.size))


def _of_runs(base: RunInfo, left_out: set[str], folders: Iterable[Path], by: str) -> BetweenRuns | None:
    alike: dict[str, list[Path]] = {}
    for path in _newest(folders):
        with suppress(ResultsError):
            info = read_info(path)
            if info.run_id not in left_out and _repeats(info, base):
                left_out = {*left_out, info.run_id}  # a copy of a run is no repeat of it
                alike.setdefault(f"{info.fingerprint.git} {sorted(info.fingerprint.packages.items())}", []).append(path)
    cells: dict[Key, _Squares] = {}
    for again in alike.values():
        for key, levels in _levels(again, by):
            known = cells.get(key, _Squares(0.0, 0))
            cells[key] = _Squares(known.sum + float(np.sum((levels - levels.mean()) ** 2)), known.n + levels.size - 1)
    repeats = sum(len(again) - 1 for again in alike.values())
    if repeats < FEWEST_REPEATS or not cells:
        return None
    every = _Squares(sum(cell.sum for cell in cells.values()), sum(cell.n for cell in cells.values()))
    pooled = _held(2 * every.sum / every.n, repeats)
    return BetweenRuns(pooled, "earlier runs", repeats, cells={key: cell.held(every) for key, cell in cells.items()})


@dataclass(frozen=True)
class _Squares:
    """A sum of squares of logarithms around their mean, and its degrees of freedom."""

    sum: float
    n: int

    def held(self, every: _Squares) -> float:
        """The spread of one cell: cells differ in it by far, and its runs are few, so that all count beside them."""
        variance = (self.sum + SHARED * every.sum / every.n) / (self.n + SHARED)
        return _held(2 * variance, self.n)


def _held(variance: float, freedom: int) -> float:
    """The standard deviation that stands for a variance of so many degrees of freedom in an interval of 95 %."""
    return math.sqrt(variance) * float(stats.t.ppf((1 + HELD) / 2, freedom)) / float(stats.norm.ppf((1 + HELD) / 2))


def _newest(folders: Iterable[Path]) -> list[Path]:
    runs = {path.parent.resolve() for folder in folders for path in folder.glob(f"*/{RUN}")}
    return sorted(runs, key=lambda path: path.name)[-MOST_RUNS:]


def _repeats(info: RunInfo, base: RunInfo) -> bool:
    """Whether a run is of known, unchanged code on the machine of ``base``."""
    commit = info.fingerprint.git
    clean = commit is not None and not commit.endswith("+")
    same_tool = (info.imported and info.imported.tool) == (base.imported and base.imported.tool)
    return clean and same_tool and info.status == "complete" and unlike_machine(info, base) is None


def _levels(runs: Sequence[Path], by: str) -> list[tuple[Key, Any]]:
    """The logarithms of the medians, or of the ratios to one anchor, of all cells that two of the runs have."""
    level, kept = ("anchor_ratio", tuple(MADE_OF)) if by == "anchor" else ("time_median_s", ())
    levels: dict[tuple[Any, ...], list[float]] = {}
    infos: dict[tuple[Any, ...], RunInfo] = {}
    for run in runs:
        info = read_info(run)
        for row in records(load(run)):
            key = tuple(row[name] for name in (*CELL, "cache", *kept))
            if row["status"] != "ok" or row["kind"] != "timed" or none(row[level]) is None:
                continue
            # Another version of the framework is other code.
            if unlike(infos.setdefault(key, info), info, str(row["backend"])) is None:
                levels.setdefault(key, []).append(math.log(row[level]))
    return [(key[: len(CELL)], np.asarray(values)) for key, values in levels.items() if len(values) > 1]
