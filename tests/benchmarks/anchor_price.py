"""What the anchor costs: ``python -m tests.benchmarks.anchor_price [--budget 40]``; nothing else should run.

One run of smoke in which the anchor has a burst in every second round alone. So each cell's bursts that come after one
of the anchor's have beside them those of the same process that come after none: the ratio of their medians, process by
process, is what the anchor does to the cells. The seconds in which it was prepared, and those of its bursts twice, over
those of the run are its share.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy import stats

from attnbench.measure.anchor.beside import AsksAnchor, BesideBlock
from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.run import run
from attnbench.results import load
from attnbench.suite import Cell

IMPLS = ("numpy/blocked", "torch/sdpa")
OVERRIDES = ("setting=forward,decode", "T=128,512,2048")
# A process of a cell counts with so many bursts of each kind; asking for two would leave out most of a short run's.
FEWEST = 1


class EverySecondRound(BesideBlock):
    """An anchor that has a burst in every second round; it keeps the seconds that it took."""

    preparing_s = 0.0
    asking_s = 0.0
    bursts = 0

    def begin(self, pool: AsksAnchor) -> None:
        """Prepare it."""
        self._asked: dict[str, int] = defaultdict(int)
        began = time.perf_counter()
        super().begin(pool)
        EverySecondRound.preparing_s += time.perf_counter() - began

    def burst(self, pool: AsksAnchor, cell: Cell) -> float | None:
        """A burst, or none in its turn."""
        self._asked[cell.id] += 1
        if self._asked[cell.id] % 2:
            return None
        began = time.perf_counter()
        value = super().burst(pool, cell)
        EverySecondRound.asking_s += time.perf_counter() - began
        EverySecondRound.bursts += 1
        return value


def after_and_not(samples: Any) -> dict[str, list[float]]:
    """For each cell the logarithms of its times after the anchor over those after none, a value for each process.

    A burst comes after the anchor where the burst of its block just before it, of whichever cell, had one.
    """
    times: dict[tuple[str, int], tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    for _, process in samples.sort_values("t_start").groupby("replicate"):
        before = process["anchor_s"].notna().shift(1, fill_value=False)
        for (cell, number), mine in process.groupby(["cell_id", "replicate"]):
            for had, seconds, disturbed in zip(before[mine.index], mine["wall_s"], mine["disturbed"], strict=True):
                if not disturbed:
                    times[cell, number][0 if had else 1].append(seconds)
    logs: dict[str, list[float]] = defaultdict(list)
    for (cell, _), (after, others) in times.items():
        if min(len(after), len(others)) >= FEWEST:
            logs[cell].append(float(np.log(np.median(after) / np.median(others))))
    return logs


def told(samples: Any, names: dict[str, str], run_s: float) -> Sequence[str]:
    """The figures, in lines."""
    logs = after_and_not(samples)
    lines = [
        f"{names[cell]}: {_percent(float(np.mean(values)))} after the anchor, {len(values)} processes"
        for cell, values in sorted(logs.items(), key=lambda known: names[known[0]])
    ]
    every = np.concatenate([*logs.values(), []])
    if every.size > 1:
        ends = stats.t.interval(0.95, every.size - 1, np.mean(every), stats.sem(every))
        text = f"{_percent(float(np.mean(every)))} [{_percent(ends[0])}, {_percent(ends[1])}]"
        lines.append(f"all {every.size} processes of cells: {text}")
    return [*lines, *_share(run_s)]


def _share(run_s: float) -> Sequence[str]:
    preparing_s, asking_s = EverySecondRound.preparing_s, 2 * EverySecondRound.asking_s
    burst_ms = 1e3 * EverySecondRound.asking_s / max(1, EverySecondRound.bursts)
    taken = f"{preparing_s:.1f} s of preparing, {asking_s:.1f} s of bursts ({burst_ms:.1f} ms each, question and all)"
    share = 100 * (preparing_s + asking_s) / run_s
    return [f"with a burst in every round: {taken}, {share:.1f} % of {run_s:.1f} s"]


def _percent(log: float) -> str:
    return f"{100 * np.expm1(log):+.1f} %"


def main() -> None:
    """Measure it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=40.0, help="seconds")
    given = parser.parse_args()
    folder, began = Path(tempfile.mkdtemp()), time.monotonic()
    options = RunOptions(
        suites=["smoke"], patterns=IMPLS, overrides=OVERRIDES, budget_s=given.budget, out=folder, threads=(1,)
    )
    try:
        with patch("attnbench.measure.run.ongoing.BesideBlock", EverySecondRound):
            outcome = run(options)
        samples = load(outcome.folder, samples=True)
        names = {row.cell_id: f"{row.impl} {row.case_label}" for row in outcome.rows}
        for line in told(samples[~samples["warmup"]], names, time.monotonic() - began):
            print(line, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
