"""Statistics on the bursts of two runs: a ratio of times with its interval, and equivalence.

The unit is the burst (``attnbench.results.summary``). The ratio is estimated on the log scale by Hodges and Lehmann
(1963): the median of all pairwise ratios, which is the ratio of medians where the two distributions differ by a
factor. Its interval inverts the Mann-Whitney test. That was chosen over a bootstrap of medians because it needs no
random numbers, keeps its level with as few as six bursts, where a resampled median takes only a few values, and
shrugs at the heavy tails of a shared machine. The null distribution is scipy's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import stats

from attnbench.results.summary import Bursts, median_interval

__all__ = ["MIN_BURSTS", "Ratio", "equivalent", "median_interval", "ratio_interval", "replicate_spread"]

MIN_BURSTS = 6


@dataclass(frozen=True)
class Ratio:
    """Head over base with its interval; the interval is unbounded where there are too few bursts for one.

    ``p`` is the Mann-Whitney p-value of no change, without any allowance for the spread between runs.
    """

    ratio: float
    low: float
    high: float
    confidence: float
    p: float

    @property
    def inverse(self) -> Ratio:
        """Base over head."""
        return Ratio(1 / self.ratio, 1 / self.high, 1 / self.low if self.low else math.inf, self.confidence, self.p)


def ratio_interval(
    base: Sequence[float], head: Sequence[float], confidence: float = 0.95, spread: float = 0.0
) -> Ratio:
    """The ratio head / base of two sets of burst values, with its interval.

    ``spread`` is the standard deviation of the log-ratio of two runs of the same code: what a run's own bursts
    cannot show. The interval is widened by it, in quadrature on the log scale. Values are above 0 and finite;
    anything else is a ``ValueError``, never an answer.
    """
    log_base, log_head = _checked_logs(base, "base"), _checked_logs(head, "head")
    differences = np.sort(np.subtract.outer(log_head, log_base), axis=None)
    centre = float(np.median(differences))
    below = _tail_count(log_base.size, log_head.size, 1 - confidence)
    p = float(stats.mannwhitneyu(log_base, log_head).pvalue)
    if below is None:
        return Ratio(math.exp(centre), 0.0, math.inf, confidence, p)
    extra = float(stats.norm.ppf((1 + confidence) / 2)) * spread
    down = math.hypot(centre - float(differences[below]), extra)
    up = math.hypot(float(differences[-1 - below]) - centre, extra)
    return Ratio(math.exp(centre), math.exp(centre - down), math.exp(centre + up), confidence, p)


def equivalent(base: Sequence[float], head: Sequence[float], margin: float, spread: float = 0.0) -> bool:
    """Two one-sided tests at 5 %: whether head is shown to lie within a factor 1 + ``margin`` of base, either way."""
    inner = ratio_interval(base, head, confidence=0.90, spread=spread)
    return 1 / (1 + margin) < inner.low and inner.high < 1 + margin


def replicate_spread(bursts: Bursts) -> float:
    """The standard error of a run's level that its own replicates show, on the log scale; 0 with fewer than two."""
    levels = [
        math.log(np.median([v for v, r in zip(bursts.values, bursts.replicates, strict=True) if r == replicate]))
        for replicate in sorted(set(bursts.replicates))
    ]
    return float(stats.sem(levels)) if len(levels) > 1 else 0.0


@lru_cache(maxsize=256)
def _tail_count(n: int, m: int, alpha: float) -> int | None:
    """How many pairwise differences lie outside the interval on each side; ``None`` if even none is too many.

    It is the largest c for which scipy's two-sided p-value of U = c is at most alpha, plus one less one: the interval
    runs from the (c + 1)-th smallest to the (c + 1)-th largest difference.
    """
    low, high = -1, n * m // 2
    while high - low > 1:
        middle = (low + high) // 2
        base, head = _samples_with_u(n, m, middle)
        rejected = stats.mannwhitneyu(base, head).pvalue <= alpha
        low, high = (middle, high) if rejected else (low, middle)
    return None if low < 0 else low


def _samples_with_u(n: int, m: int, u: int) -> tuple[list[float], list[float]]:
    """Two samples of sizes n and m without ties, for which exactly ``u`` pairs have the first above the second."""
    whole, rest = divmod(u, m)
    above = [m + 1.0 + i for i in range(whole)]
    between = [rest + 0.5] if whole < n else []
    below = [-1.0 - i for i in range(n - whole - len(between))]
    return above + between + below, [1.0 + i for i in range(m)]


def _checked_logs(values: Sequence[float], name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    data = np.asarray(values, dtype=np.float64).ravel()
    if data.size == 0 or not np.isfinite(data).all() or (data <= 0).any():
        msg = f"{name}: times are finite and above 0; got {data.size} values, {int((data > 0).sum())} of them above 0"
        raise ValueError(msg)
    return np.log(data)
