"""Two cells of one block, paired round by round: the ratio of their times, with an interval over processes.

A round has one burst of each cell, moments apart, so that what disturbs the machine for longer than that hits both.
Two processes of the same code can differ by more than the rounds of either show. So rounds are never pooled over
processes: each process gives one number, the median over its rounds of the logarithm of the ratio, and the interval is
Student's over processes (SciPy).

Five processes may agree by luck. So the spread is no less than what their run shows elsewhere (``least``): where many
cells are compared, those that agree by luck would else be the ones that are told apart. Where there are fewer than
``FEWEST`` processes it is no less than what is assumed of every machine either, and the interval spans those of the
rounds in each process. ``python -m tests.benchmarks.told_apart`` simulates what this is worth.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from statistics import fmean, median, stdev, variance
from typing import Any

from attnbench.analysis.frames import METRIC
from attnbench.analysis.intervals import CONFIDENCE, Interval
from attnbench.results.summary import ROUND, median_interval

# The column of a frame with the rounds of each cell (``attnbench.analysis.sampled``); a suite of cells that stand
# beside each other has them as metrics too.
ROUNDS = "rounds"
COLUMN = re.compile(re.escape(METRIC + ROUND) + r"(\d+)\.(\d+)$")

# An interval rests on its processes alone from so many on.
FEWEST = 5
# By so much, relatively, the ratio of two cells is taken to differ from process to process (standard deviation) where
# fewer were seen, and where one alone was.
ASSUMED, ASSUMED_OF_ONE = 0.08, 0.3
# No two cells are taken to agree better than this from process to process.
LEAST = 0.002
# A run shows its own spread by so many degrees of freedom at least, of all its cells or pairs together.
FREEDOM = 10

Rounds = Mapping[tuple[int, int], float]


@dataclass(frozen=True)
class Paired:
    """The logarithms of the ratios of two cells, for each process those of its rounds.

    ``least`` is the standard deviation between processes that their run shows elsewhere, 0 where nothing is known.
    """

    logs: tuple[tuple[float, ...], ...]
    least: float = 0.0

    @property
    def n(self) -> int:
        """How many rounds both cells were in."""
        return sum(len(process) for process in self.logs)

    @property
    def processes(self) -> int:
        """In how many processes."""
        return len(self.logs)

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """One number for each process: the median over its rounds."""
        return tuple(median(process) for process in self.logs)

    @property
    def estimate(self) -> float:
        """The logarithm of the ratio."""
        return fmean(self.levels)

    @property
    def freedom(self) -> int:
        """The degrees of freedom of the spread."""
        return max(self.processes, FEWEST) - 1

    @cached_property
    def spread(self) -> float:
        """The standard deviation between processes: the largest of those that are seen or assumed."""
        seen = stdev(self.levels) if self.processes > 1 else ASSUMED_OF_ONE
        shown = self.processes >= FEWEST or (self.processes > 1 and self.least > 0)
        return max(seen, self.least, LEAST if shown else ASSUMED)

    @property
    def error(self) -> float:
        """The standard error of the estimate."""
        return self.spread / math.sqrt(self.processes)

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """The ratio with its interval and the p of no difference; ``n`` is the number of processes."""
        half = student(confidence, self.freedom) * self.error
        low, high = self._hull()
        low, high = min(low, self.estimate - half), max(high, self.estimate + half)
        return Interval(_exp(self.estimate), _exp(low), _exp(high), self.processes, self.p())

    def p(self) -> float:
        """The two-sided p of no difference; 1 where there are few processes, and the rounds of one allow it."""
        low, high = self._hull()
        if low <= 0 <= high and self.processes < FEWEST:
            return 1.0
        return 2 * _above(abs(self.estimate) / self.error, self.freedom)

    def p_equivalent(self, low: float, high: float) -> float:
        """The p of a ratio within low..high, by two one-sided tests (Schuirmann 1987)."""
        ends = self._hull()
        if self.processes < FEWEST and not math.log(low) < ends[0] <= ends[1] < math.log(high):
            return 1.0
        over, under = self.estimate - math.log(low), math.log(high) - self.estimate
        return max(_above(over / self.error, self.freedom), _above(under / self.error, self.freedom))

    def rests_on(self) -> str:
        """What the interval rests on, for people."""
        if self.processes >= FEWEST:
            return f"{self.processes} processes"
        seen = "one process" if self.processes == 1 else f"{self.processes} processes"
        return f"{seen} only, so that a spread of at least {self.spread:.0%} between processes is assumed"

    def _hull(self) -> tuple[float, float]:
        """The logarithms between which the rounds of every process leave their median; none with enough processes."""
        if self.processes >= FEWEST:
            return self.estimate, self.estimate
        ends = [_ends(process) for process in self.logs]
        return min(low for low, _ in ends), max(high for _, high in ends)


def _ends(rounds: tuple[float, ...]) -> tuple[float, float]:
    """The interval of the median of one process; of too few rounds for one, the least and the largest."""
    inner = median_interval(rounds)
    if inner.low is None or inner.high is None:
        return min(rounds), max(rounds)
    return inner.low, inner.high


@lru_cache(maxsize=256)
def student(confidence: float, freedom: int) -> float:
    """How many standard errors an interval reaches, either way."""
    from scipy import special

    return float(special.stdtrit(freedom, (1 + confidence) / 2))


def _above(errors: float, freedom: int) -> float:
    from scipy import special

    return float(special.stdtr(freedom, -errors))


def _exp(log: float) -> float:
    return math.exp(log) if log < math.log(1e300) else math.inf


def rounds(row: Mapping[Any, Any]) -> dict[tuple[int, int], float]:
    """The seconds of a row of a frame by (replicate, round); empty where the frame does not have them."""
    known = row.get(ROUNDS)
    if isinstance(known, Mapping) and known:
        return dict(known)
    seconds = {}
    for column, value in row.items():
        place = COLUMN.match(str(column))
        if place and value is not None and not math.isnan(value):
            seconds[int(place[1]), int(place[2])] = float(value)
    return seconds


def levels(known: Rounds) -> dict[int, float]:
    """For each process the logarithm of the median of a cell's rounds."""
    by_process: dict[int, list[float]] = {}
    for (process, _), seconds in known.items():
        by_process.setdefault(process, []).append(math.log(seconds))
    return {process: median(logs) for process, logs in by_process.items()}


def paired(over: Rounds, under: Rounds, least: float = 0.0) -> Paired | None:
    """One cell over another of its block, by the rounds that both were in; ``None`` where there is none."""
    logs: dict[int, list[float]] = {}
    for place in sorted(over.keys() & under.keys()):
        logs.setdefault(place[0], []).append(math.log(over[place] / under[place]))
    return Paired(tuple(tuple(process) for process in logs.values()), least) if logs else None


def usual_spread(pairs: Iterable[Paired | None]) -> float:
    """The spread between processes that these pairs show; 0 where they are too few to show one."""
    return math.sqrt(middle_square([pair.levels for pair in pairs if pair is not None]))


def middle_square(levels: Iterable[Sequence[float]]) -> float:
    """The square of the spread that half of these stay below, were all of them alike; 0 where they are too few.

    Those that differ most do not decide it.
    """
    several = [each for each in levels if len(each) > 1]
    if sum(len(each) - 1 for each in several) < FREEDOM:
        return 0.0
    freedoms = (len(each) - 1 for each in several)
    return median(
        variance(each) * freedom / _median_of_squares(freedom) for each, freedom in zip(several, freedoms, strict=True)
    )


def with_least(pairs: Iterable[Paired | None]) -> list[Paired | None]:
    """The same pairs; none agrees better between processes than pairs of their run usually do."""
    several = list(pairs)
    least = usual_spread(several)
    return [None if pair is None else replace(pair, least=least) for pair in several]


@lru_cache(maxsize=64)
def _median_of_squares(freedom: int) -> float:
    from scipy import special

    return float(special.chdtri(freedom, 0.5))
