"""The signed-rank statistic on log-ratios of pairs: exact error rates over several looks, estimate and interval.

Where A and B are the same code, a log-ratio is as likely to be x as -x, whatever its distribution: the signs are fair
coins, independent of the sizes. So the signed-rank statistic (Wilcoxon 1945) has one null distribution for all noise,
heavy tails included, and so has its whole path as pairs come in: the boundaries below, found once by drawing such
paths, keep their error rate on any machine. A t-test would not: the spread of ratios on a shared machine is two or
three times as large by its standard deviation as by its quantiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats

Array = np.ndarray[Any, np.dtype[np.float64]]

PATHS = 100_000
CHUNK = 20_000
SEED = 20_140_901
# A median absolute deviation times this is the standard deviation of a normal distribution.
MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class Looks:
    """When a stage is judged: after so many pairs, spending so much of its error at each look."""

    pairs: tuple[int, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.pairs, self.pairs[1:], strict=False))
        if not rising or len(self.pairs) != len(self.shares) or sum(self.shares) > 1 + 1e-9:
            msg = f"looks rise and have a share each, of 1 in all; got {self.pairs} and {self.shares}"
            raise ValueError(msg)


def statistic(values: Sequence[float]) -> float:
    """The sum of the ranks of the positive values by size. A value of 0 has its rank and speaks for neither side."""
    x = _checked(values)
    ranks = stats.rankdata(np.abs(x))
    return float(ranks[x > 0].sum())


@lru_cache(maxsize=64)
def boundaries(looks: Looks, error: float) -> tuple[float, ...]:
    """At each look the statistic from which a stage is decided; infinite where the share cannot be spent yet.

    Of all paths under fair signs, at most ``error`` ever reach a boundary.
    """
    statistics = _null_paths(looks.pairs)
    alive = np.ones(len(statistics), dtype=bool)
    allowed, spent, found = 0.0, 0.0, []
    for seen, share in zip(statistics.T, looks.shares, strict=True):
        allowed += error * share
        values, counts = np.unique(seen[alive], return_counts=True)
        crossing = counts[::-1].cumsum()[::-1] / len(statistics)  # of all paths, those at or above each value
        within = values[crossing <= allowed - spent + 1e-12]
        boundary = float(within[0]) if len(within) else math.inf
        crossed = alive & (seen >= boundary)
        spent += float(crossed.mean())
        alive &= ~crossed
        found.append(boundary)
    return tuple(found)


@lru_cache(maxsize=8)
def _null_paths(pairs: tuple[int, ...]) -> Any:
    """The statistic at every look of many paths; the k-th value's rank among the first k is uniform."""
    rng = np.random.default_rng(SEED)
    found = []
    for _ in range(PATHS // CHUNK):
        sizes = rng.random((CHUNK, pairs[-1]))
        positive = rng.random((CHUNK, pairs[-1])) < 0.5  # noqa: PLR2004  (a fair coin)
        looks = [((sizes[:, :n].argsort(1).argsort(1) + 1) * positive[:, :n]).sum(1, dtype=np.int32) for n in pairs]
        found.append(np.stack(looks, axis=1))
    return np.concatenate(found)


@dataclass(frozen=True)
class Estimate:
    """The centre of some log-ratios with its interval at ``confidence``; infinite ends where there are too few."""

    centre: float
    low: float
    high: float
    n: int
    confidence: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Hodges and Lehmann's centre: the median of all means of two; the interval inverts the signed-rank test.

    The attainable level nearest to ``confidence`` is taken, and given back.
    """
    x = _checked(values)
    first, second = np.triu_indices(len(x))
    walsh = np.sort((x[first] + x[second]) / 2)
    centre = float(np.median(walsh))
    place = interval_places(len(x), confidence)
    if place is None:
        return Estimate(centre, -math.inf, math.inf, len(x), confidence)
    return Estimate(centre, float(walsh[place[0]]), float(walsh[-1 - place[0]]), len(x), place[1])


@lru_cache(maxsize=512)
def interval_places(n: int, confidence: float = 0.95) -> tuple[int, float] | None:
    """Which of the sorted means of two, from either end, ends the interval of n values, and its attained level.

    ``None`` where no level near to ``confidence`` can be attained.
    """
    levels = 1 - 2 * _null_tail(n)
    count = int(np.argmin(np.abs(levels - confidence)))
    if levels[count] <= 0 or abs(levels[count] - confidence) > (1 - confidence):
        return None
    return count, float(levels[count])


@lru_cache(maxsize=512)
def _null_tail(n: int) -> Array:
    """P(statistic <= c) under fair signs, for c = 0 … up to a half, by scipy's exact distribution."""
    most = n * (n + 1) // 2
    if n > 50:  # noqa: PLR2004  (scipy's exact distribution is meant for fewer)
        mean, sd = most / 2, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return np.asarray(stats.norm.cdf((np.arange(most // 2 + 1) + 0.5 - mean) / sd))
    rows = np.stack([_signed(n, total) for total in range(most // 2 + 1)])
    return np.asarray(stats.wilcoxon(rows, alternative="less", method="exact", axis=1).pvalue)


def _signed(n: int, total: int) -> Array:
    """The values 1 … n, signed so that the positive ones sum to ``total``."""
    signs, left = -np.ones(n), total
    for rank in range(n, 0, -1):
        if rank <= left:
            signs[rank - 1], left = 1.0, left - rank
    return np.asarray(signs * np.arange(1, n + 1))


def robust_spread(values: Sequence[float]) -> float:
    """The standard deviation that the median absolute deviation stands for."""
    x = _checked(values)
    return MAD_TO_SD * float(np.median(np.abs(x - np.median(x))))


def _checked(values: Sequence[float]) -> Array:
    x = np.asarray(values, dtype=np.float64).ravel()
    if not x.size or not np.isfinite(x).all():
        msg = f"log-ratios are finite numbers, at least one; got {values!r}"
        raise ValueError(msg)
    return x
