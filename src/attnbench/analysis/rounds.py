"""Two cells of one block, paired round by round: the ratio of their times, and whether it is 1 within a margin.

A round has one burst of each cell, moments apart (``TimedSuite.beside``), so that what disturbs the machine for longer
than that hits both. Two processes of the same code can differ by more than the rounds of either show. So nothing is
pooled over them: an interval spans those of every process, and a test is passed in every process or not at all.
Both are of the median and assume no distribution (SciPy's ``quantile_test``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attnbench.analysis.frames import METRIC
from attnbench.analysis.intervals import Interval
from attnbench.results.summary import ROUND, Bursts, process_interval

COLUMN = re.compile(re.escape(METRIC + ROUND) + r"(\d+)\.(\d+)$")

Rounds = Mapping[tuple[int, int], float]


@dataclass(frozen=True)
class Paired:
    """The logarithms of the ratios of two cells, for each process those of its rounds."""

    logs: tuple[tuple[float, ...], ...]

    @property
    def n(self) -> int:
        """How many rounds both cells were in."""
        return sum(len(process) for process in self.logs)

    def interval(self) -> Interval:
        """The median ratio with the hull of its intervals in every process; unbounded with fewer than six rounds."""
        values = tuple(value for process in self.logs for value in process)
        replicates = tuple(number for number, process in enumerate(self.logs) for _ in process)
        of_logs = process_interval(Bursts(values, replicates))
        if of_logs.low is None or of_logs.high is None:
            return Interval(math.exp(of_logs.median), 0.0, math.inf, 1)
        return Interval(math.exp(of_logs.median), math.exp(of_logs.low), math.exp(of_logs.high), 1)

    def p_equivalent(self, low: float, high: float) -> float:
        """The p of a median ratio within low..high: two one-sided tests (Schuirmann 1987), in the worst process."""
        return max(
            max(_p(process, math.log(low), "greater"), _p(process, math.log(high), "less")) for process in self.logs
        )


def _p(values: tuple[float, ...], bound: float, alternative: str) -> float:
    from scipy import stats

    return float(stats.quantile_test(values, q=bound, p=0.5, alternative=alternative).pvalue)  # type: ignore[arg-type]


def rounds(row: Mapping[Any, Any]) -> dict[tuple[int, int], float]:
    """The seconds of a row of a frame by (replicate, round); empty where its block was one case."""
    seconds = {}
    for column, value in row.items():
        place = COLUMN.match(str(column))
        if place and value is not None and not math.isnan(value):
            seconds[int(place[1]), int(place[2])] = float(value)
    return seconds


def paired(over: Rounds, under: Rounds) -> Paired | None:
    """One cell over another of its block, by the rounds that both were in; ``None`` where there is none."""
    logs: dict[int, list[float]] = {}
    for replicate, number in sorted(over.keys() & under.keys()):
        place = (replicate, number)
        logs.setdefault(replicate, []).append(math.log(over[place] / under[place]))
    return Paired(tuple(tuple(process) for process in logs.values())) if logs else None
