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
from statistics import median
from typing import Any, Literal

import numpy as np
from scipy import stats

from attnbench.comparing.repeated.levels import By, levels
from attnbench.comparing.repeated.spread import CellLevel, CellSpread, Spread, of_cells
from attnbench.comparing.runs import Key, unlike_machine
from attnbench.comparing.signed_rank import robust_spread
from attnbench.errors import ResultsError
from attnbench.results.calibrations import for_machine
from attnbench.results.read import RUN, read_info
from attnbench.results.schema import RunInfo

# What is assumed where nothing is recorded: the spread of pairs that shared machines were seen to have.
ASSUMED = 0.04
# Of the ratio of two runs' ratios to the anchor: 5.9 % for each was recorded (results/noise, docs/regression.md).
ASSUMED_OF_RATIOS = 0.085
BY: tuple[By, ...] = ("raw", "anchor")
# The least where another tool measured all in one process, whose rounds do not show how processes differ.
IMPORTED = 0.05
# Fewer repeats than this say little of a spread; Student's t takes what uncertainty is left into account.
FEWEST_REPEATS = 5
FEWEST_PAIRS = 12
# The newest runs are enough, and reading all of a large folder is not worth the wait.
MOST_RUNS = 40
HELD = 0.95


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
    by: By = "raw"
    cells: Mapping[Key, CellSpread] = field(default_factory=dict)

    def of(self, key: Key, base: CellLevel, head: CellLevel) -> Spread:
        """The spread of a cell: its own where that is known, at the machine's speed in these two runs."""
        if (known := self.cells.get(key)) is not None:
            return known.pair(base, head)
        return Spread(self.value, float(self.count)) if self.whole else Spread(self.value)

    @property
    def usual(self) -> float | None:
        """The median of the cells' spreads at the machine's usual speed."""
        return median(cell.sd for cell in self.cells.values()) if self.cells else None

    @property
    def whole(self) -> bool:
        """Whether it is of the levels of whole runs: then it holds what their processes and bursts add."""
        return self.source == "earlier runs"

    def describe(self) -> dict[str, Any]:
        """JSON-ready: what is known of all cells together."""
        return {name: getattr(self, name) for name in ("value", "source", "count", "imported", "by", "usual")}

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
            if self.by == "anchor" and self.usual is not None:
                size += f" ({100 * self.usual:.1f} % where the machine has its usual speed)"
            return f"Intervals are widened by the recorded spread between runs, {size}, from {runs}."
        if self.source == "calibration":
            pairs = f"{self.count} calibrated pairs of processes; what changes here from hour to hour is not in it"
            return f"Intervals are widened by this machine's recorded spread, {size}, from {pairs}."
        what = f"{size} is assumed and every interval is widened by it"
        known = f"No spread between runs is recorded for this machine, so {what}."
        return known if self.imported else f"{known} Type: attnbench calibrate"


def recorded(base: RunInfo, head: RunInfo, folders: Iterable[Path] = (), by: By = "raw") -> BetweenRuns:
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


def _of_runs(base: RunInfo, left_out: set[str], folders: Iterable[Path], by: By) -> BetweenRuns | None:
    alike: dict[str, list[Path]] = {}
    for path in _newest(folders):
        with suppress(ResultsError):
            info = read_info(path)
            if info.run_id not in left_out and _repeats(info, base):
                left_out = {*left_out, info.run_id}  # a copy of a run is no repeat of it
                alike.setdefault(f"{info.fingerprint.git} {sorted(info.fingerprint.packages.items())}", []).append(path)
    repeats = sum(len(again) - 1 for again in alike.values())
    if repeats < FEWEST_REPEATS:
        return None
    cells = levels(alike.values(), by)
    deviations = [_deviations(group) for groups in cells.values() for group in groups]
    freedom = sum(len(values) - 1 for values in deviations)
    if not freedom:
        return None
    variance = sum(float(np.sum(values**2)) for values in deviations) / freedom
    return BetweenRuns(_held(2 * variance, repeats), "earlier runs", repeats, cells=of_cells(cells))


def _deviations(group: Sequence[CellLevel]) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = np.array([level.value for level in group], dtype=np.float64)
    return np.asarray(values - values.mean(), dtype=np.float64)


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
