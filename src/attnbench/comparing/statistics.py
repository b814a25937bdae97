"""Statistics on the bursts of two runs: a ratio of times with its interval, and equivalence.

The unit is the burst (``attnbench.results.summary``). The ratio is estimated on the log scale by Hodges and Lehmann
(1963): the median of all pairwise ratios, which is the ratio of medians where the two distributions differ by a
factor. Its interval inverts the Mann-Whitney test. That was chosen over a bootstrap of medians because it needs no
random numbers, keeps its level with as few as six bursts, where a resampled median takes only a few values, and
shrugs at the heavy tails of a shared machine. Its null distribution is held to scipy's by tests.

Nothing here grows with the product of the numbers of bursts: files of other tools hold 60,000 rounds of a benchmark.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import numpy as np
from scipy import special, stats

from attnbench.results.summary import Bursts, median_interval

__all__ = [
    "MIN_BURSTS",
    "Ratio",
    "equivalent",
    "median_interval",
    "process_level",
    "ratio_interval",
    "replicate_spread",
]

MIN_BURSTS = 6
WITHIN = 0.90
# Up to so many pairwise differences are written out at once; of more, those that are left are, at the end of a search.
AT_ONCE = 1 << 18
# Where a side has no more bursts than this, the null distribution is exact, as scipy has it, else it is normal.
FEW = 8

Array = np.ndarray[Any, np.dtype[np.float64]]
Places = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Ratio:
    """Head over base with its interval; the interval is unbounded where there are too few bursts for one."""

    ratio: float
    low: float
    high: float
    confidence: float

    @property
    def inverse(self) -> Ratio:
        """Base over head."""
        return Ratio(1 / self.ratio, 1 / self.high, 1 / self.low if self.low else math.inf, self.confidence)


def ratio_interval(
    base: Sequence[float], head: Sequence[float], confidence: float = 0.95, spread: float = 0.0
) -> Ratio:
    """The ratio head / base of two sets of burst values, with its interval.

    ``spread`` is the standard deviation of the log-ratio of two runs of the same code: what a run's own bursts
    cannot show. The interval is widened by it, in quadrature on the log scale. Values are above 0 and finite;
    anything else is a ``ValueError``, never an answer.
    """
    log_base, log_head = _checked_logs(base, "base"), _checked_logs(head, "head")
    differences = Differences(log_base, log_head)
    centre = differences.median()
    below = tail_count(log_base.size, log_head.size, 1 - confidence)
    if below is None:
        return Ratio(math.exp(centre), 0.0, math.inf, confidence)
    extra = float(special.ndtri((1 + confidence) / 2)) * spread
    down = math.hypot(centre - differences.at(below), extra)
    up = math.hypot(differences.at(differences.size - 1 - below) - centre, extra)
    return Ratio(math.exp(centre), math.exp(centre - down), math.exp(centre + up), confidence)


def equivalent(base: Sequence[float], head: Sequence[float], margin: float, spread: float = 0.0) -> bool:
    """Two one-sided tests at 5 %: whether head is shown to lie within a factor 1 + ``margin`` of base, either way."""
    return within(ratio_interval(base, head, WITHIN, spread), margin)


def within(inner: Ratio, margin: float) -> bool:
    """Whether an interval at ``WITHIN`` lies within a factor 1 + ``margin``: two one-sided tests at 5 %."""
    return 1 / (1 + margin) < inner.low and inner.high < 1 + margin


def replicate_spread(bursts: Bursts) -> float:
    """The standard error of a run's level that its own replicates show, on the log scale; 0 with fewer than two."""
    levels = _process_levels(bursts)
    return float(stats.sem(levels)) if len(levels) > 1 else 0.0


def process_level(bursts: Bursts) -> float:
    """The level of a run on the log scale: the mean over its processes of their medians, each as good as another."""
    return float(np.mean(_process_levels(bursts)))


def _process_levels(bursts: Bursts) -> list[float]:
    by_replicate: dict[int, list[float]] = {}
    for value, replicate in zip(bursts.values, bursts.replicates, strict=True):
        by_replicate.setdefault(replicate, []).append(value)
    return [math.log(np.median(values)) for _, values in sorted(by_replicate.items())]


class Differences:
    """All differences of a value of ``head`` and a value of ``base``, in ascending order, of which few are written out.

    Row j holds head[j] less every value of base, in ascending order too; so the place of any number in a row is found
    by halving. The k-th of all is selected by Johnson and Mizoguchi's search (1978): the median of the rows' medians
    leaves at most three quarters of the differences each time. It is the very difference, to the last bit.
    """

    def __init__(self, base: Array, head: Array) -> None:
        self.size = base.size * head.size
        self._falling, self._head = np.sort(base)[::-1], np.sort(head)
        self._all: Array | None = None
        if self.size <= AT_ONCE:
            self._all = np.sort(np.subtract.outer(head, base), axis=None)

    def median(self) -> float:
        """The middle one, or the mean of the two in the middle."""
        middle = self.size // 2
        return self.at(middle) if self.size % 2 else (self.at(middle - 1) + self.at(middle)) / 2

    def at(self, k: int) -> float:
        """The k-th, counted from 0."""
        if self._all is not None:
            return float(self._all[k])
        low, high = np.zeros(self._head.size, np.int64), np.full(self._head.size, self._falling.size, np.int64)
        while int((high - low).sum()) > AT_ONCE:
            pivot = self._pivot(low, high)
            below = self._place(pivot, low, high, including=False)
            upto = self._place(pivot, below, high, including=True)
            if k < int(below.sum()):
                high = below
            elif k >= int(upto.sum()):
                low = upto
            else:
                return pivot
        left = self._between(low, high)
        return float(np.partition(left, k - int(low.sum()))[k - int(low.sum())])

    def _pivot(self, low: Places, high: Places) -> float:
        """The median of the medians of what is left of every row, each counting as often as its row has values left."""
        rows = np.flatnonzero(high > low)
        medians = self._head[rows] - self._falling[(low[rows] + high[rows]) // 2]
        order = np.argsort(medians)
        counted = np.cumsum((high - low)[rows][order])
        return float(medians[order][np.searchsorted(counted, counted[-1] / 2)])

    def _place(self, pivot: float, low: Places, high: Places, *, including: bool) -> Places:
        """For every row, how many of its values are below ``pivot``, or at most that; from ``low`` to ``high``."""
        low, high = low.copy(), high.copy()
        while (rows := np.flatnonzero(low < high)).size:
            middle = (low[rows] + high[rows]) // 2
            values = self._head[rows] - self._falling[middle]
            before = values <= pivot if including else values < pivot
            low[rows[before]] = middle[before] + 1
            high[rows[~before]] = middle[~before]
        return low

    def _between(self, low: Places, high: Places) -> Array:
        """The values that are left, written out."""
        counts = high - low
        rows = np.repeat(np.arange(counts.size), counts)
        before = np.cumsum(counts) - counts
        return np.asarray(self._head[rows] - self._falling[np.arange(rows.size) - before[rows] + low[rows]])


@lru_cache(maxsize=256)
def tail_count(n: int, m: int, alpha: float) -> int | None:
    """How many pairwise differences lie outside the interval on each side; ``None`` if even none is too many.

    It is the largest c for which the two-sided p-value of U = c is at most alpha: the interval runs from the
    (c + 1)-th smallest to the (c + 1)-th largest difference.
    """
    if min(n, m) <= FEW:
        counts, total = _counts_of_u(min(n, m), max(n, m)), math.comb(n + m, n)
        rejected = bisect_right(range(n * m // 2), alpha, key=lambda u: min(2 * (counts[u] / total), 1.0))
    else:
        rejected = bisect_right(range(n * m // 2), alpha, key=lambda u: _normal_p(n, m, u))
    return rejected - 1 if rejected else None


def _normal_p(n: int, m: int, u: int) -> float:
    """The two-sided p-value of a U up to n·m/2 without ties, with a correction for continuity."""
    z = (n * m - u - n * m / 2 - 0.5) / math.sqrt(n * m / 12 * (n + m + 1))
    return min(2 * float(special.ndtr(-z)), 1.0)


@lru_cache(maxsize=4)
def _counts_of_u(few: int, many: int) -> list[int]:
    """In how many of the orders of two samples U is at most 0, 1, 2, ... up to half of few · many; exact.

    The generating function is Gauss's binomial: the product of (1 - q^(many + i)) / (1 - q^i) for i from 1 to few.
    """
    counts = [1] + [0] * (few * many // 2)
    for i in range(1, few + 1):
        for u in range(len(counts) - 1, many + i - 1, -1):
            counts[u] -= counts[u - many - i]
        for start in range(min(i, len(counts))):
            counts[start::i] = accumulate(counts[start::i])
    return list(accumulate(counts))


def _checked_logs(values: Sequence[float], name: str) -> Array:
    data = np.asarray(values, dtype=np.float64).ravel()
    if data.size == 0 or not np.isfinite(data).all() or (data <= 0).any():
        msg = f"{name}: times are finite and above 0; got {data.size} values, {int((data > 0).sum())} of them above 0"
        raise ValueError(msg)
    return np.log(data)
