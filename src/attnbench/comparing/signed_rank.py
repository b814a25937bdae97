"""A signed-rank statistic on log-ratios of pairs: exact error rates over several looks, estimate and interval.

Where A and B are the same code, a log-ratio is as likely to be x as -x, whatever its distribution: the signs are fair
coins, independent of the sizes. So a signed-rank statistic (Wilcoxon 1945) has one null distribution for all noise,
heavy tails included, and so has its whole path as pairs come in: the boundaries below, found once by drawing such
paths, keep their error rate on any machine. A t-test would not: the spread of ratios on a shared machine is two or
three times as large by its standard deviation as by its quantiles.

The scores are ranks up to half the number of values, and no larger beyond (winsorised: Policello and Hettmansperger
1976). By plain ranks one disturbed pair of twenty, being the largest, takes back what the five smallest said for a
change. docs/regression.md says what the bound gains here, and what it costs where noise is normal.
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
# Paths that must be allowed to reach a boundary for their number to be known to 3 % or so.
FEWEST = 1000
CHUNK = 20_000
SEED = 20_140_901
# Ranks are bounded by this share of the number of values: by 1 the scores would be Wilcoxon's, by 0 the signs alone.
SHARE = 0.5
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


def bound(n: int, share: float = SHARE) -> int:
    """The largest score among n values."""
    return max(1, math.ceil(share * n))


def untied(n: int, share: float = SHARE) -> Any:
    """The scores of n values of different sizes, the smallest first."""
    return np.minimum(np.arange(1, n + 1), bound(n, share))


def most(n: int) -> int:
    """The statistic of n positive values."""
    return int(untied(n).sum())


def scores(x: Array, share: float = SHARE) -> Array:
    """The score of every value among those along the last axis: the rank of its size, bounded.

    Values of one size share the scores of their places, so that ties never count for more than what they stand for.
    """
    n, sizes = x.shape[-1], np.abs(x)
    first, last = (stats.rankdata(sizes, method=end, axis=-1).astype(int) for end in ("min", "max"))
    below = np.concatenate([[0], untied(n, share).cumsum()])
    return np.asarray((below[last] - below[first - 1]) / (last - first + 1))


def statistic(values: Sequence[float], share: float = SHARE) -> float:
    """The sum of the scores of the positive values. A value of 0 has its score and speaks for neither side."""
    x = _checked(values)
    return float(scores(x, share)[x > 0].sum())


@lru_cache(maxsize=64)
def boundaries(looks: Looks, error: float) -> tuple[float, ...]:
    """At each look the statistic from which a stage is decided; infinite where the share cannot be spent yet.

    Of all paths under fair signs, at most ``error`` ever reach a boundary: by drawn paths where enough of them do to
    be counted; for smaller errors by the sum of the exact chances at the looks, which is more than that of any of them.
    """
    drawn = _Drawn(_null_paths(looks.pairs)) if error * PATHS >= FEWEST else _Summed(looks.pairs)
    allowed, spent, limits = 0.0, 0.0, []
    for look, share in enumerate(looks.shares):
        allowed += error * share
        boundary, cost = drawn.boundary(look, allowed - spent)
        spent += cost
        limits.append(boundary)
    return tuple(limits)


class _Drawn:
    """Paths that no boundary has stopped yet."""

    def __init__(self, statistics: Array) -> None:
        self._statistics, self._alive = statistics, np.ones(len(statistics), dtype=bool)

    def boundary(self, look: int, allowed: float) -> tuple[float, float]:
        """The least statistic that at most so many reach, and how many do."""
        seen = self._statistics[:, look]
        values, counts = np.unique(seen[self._alive], return_counts=True)
        crossing = counts[::-1].cumsum()[::-1] / len(seen)  # of all paths, those at or above each value
        within = values[crossing <= allowed + 1e-12]
        boundary = float(within[0]) if len(within) else math.inf
        crossed = self._alive & (seen >= boundary)
        self._alive &= ~crossed
        return boundary, float(crossed.mean())


class _Summed:
    """The chance of each look by itself."""

    def __init__(self, pairs: tuple[int, ...]) -> None:
        self._pairs = pairs

    def boundary(self, look: int, allowed: float) -> tuple[float, float]:
        """The least statistic whose chance is allowed, and its chance."""
        n = self._pairs[look]
        tail = null_tail(n)  # of a statistic as far below the largest as its place says
        place = int(np.searchsorted(tail, allowed + 1e-15, side="right")) - 1
        return (float(most(n) - place), float(tail[place])) if place >= 0 else (math.inf, 0.0)


@lru_cache(maxsize=8)
def _null_paths(pairs: tuple[int, ...]) -> Any:
    """The statistic at every look of many paths; the k-th value's rank among the first k is uniform."""
    rng = np.random.default_rng(SEED)
    paths = []
    for _ in range(PATHS // CHUNK):
        sizes = rng.random((CHUNK, pairs[-1]))
        positive = rng.random((CHUNK, pairs[-1])) < 0.5  # noqa: PLR2004  (a fair coin)
        looks = []
        for n in pairs:
            ranks = sizes[:, :n].argsort(1).argsort(1) + 1
            looks.append((np.minimum(ranks, bound(n)) * positive[:, :n]).sum(1, dtype=np.int32))
        paths.append(np.stack(looks, axis=1))
    return np.concatenate(paths)


@dataclass(frozen=True)
class Estimate:
    """The centre of some log-ratios with its interval at ``confidence``; infinite ends where there are too few."""

    centre: float
    low: float
    high: float
    n: int
    confidence: float


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The median of the means of two (after Hodges and Lehmann 1963); the interval inverts the signed-rank test.

    The attainable level nearest to ``confidence`` is taken, and given back.
    """
    x = _checked(values)
    means = means_of_two(x)
    centre, place = float(np.median(means)), interval_places(len(x), confidence)
    if place is None:
        return Estimate(centre, -math.inf, math.inf, len(x), confidence)
    return Estimate(centre, float(means[place[0]]), float(means[-1 - place[0]]), len(x), place[1])


def means_of_two(x: Array) -> Array:
    """Along the last axis the means of two values, or of one, whose places in order differ by less than the bound.

    They are sorted. The statistic of ``x - t`` is the number of them above t, so that all that is known of the centre
    is read off their order.
    """
    first, second = np.triu_indices(x.shape[-1])
    near = second - first < bound(x.shape[-1])
    ordered = np.sort(x, axis=-1)
    return np.asarray(np.sort((ordered[..., first[near]] + ordered[..., second[near]]) / 2, axis=-1))


@lru_cache(maxsize=512)
def interval_places(n: int, confidence: float = 0.95) -> tuple[int, float] | None:
    """Which of the sorted means of two, from either end, ends the interval of n values, and its attained level.

    ``None`` where no level near to ``confidence`` can be attained.
    """
    levels = 1 - 2 * null_tail(n)
    count = int(np.argmin(np.abs(levels - confidence)))
    if levels[count] <= 0 or abs(levels[count] - confidence) > (1 - confidence):
        return None
    return count, float(levels[count])


@lru_cache(maxsize=512)
def null_tail(n: int, share: float = SHARE) -> Array:
    """P(statistic <= c) under fair signs, for c = 0 … up to a half: exactly, a score after the other."""
    chances = np.ones(1)
    for score in untied(n, share):
        chances = (np.pad(chances, (0, score)) + np.pad(chances, (score, 0))) / 2
    return np.asarray(chances.cumsum()[: (len(chances) + 1) // 2])


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
