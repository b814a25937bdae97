"""Change points in the times of a cell over many runs: where its level moved, and by how much.

Detection is PELT with the rank cost (Lung-Yut-Fong, Lévy-Leduc and Cappé 2015), by the library ruptures. Ranks make it
blind to how heavy the tails are, and give the penalty: where nothing changed every order of n runs is as likely, so the
penalty that false alarms pass in at most ``error`` of such histories is found by simulating orders, once for each n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from attnbench.comparing.statistics import ratio_interval
from attnbench.errors import MissingExtraError

# Runs on each side of a change point: one odd run is no change of level.
SMALLEST = 3
# At most this share of histories without any change show one, all their cells together.
ERROR = 0.05
MOST_RUNS = 100
ORDERS = 4000
CHUNK = 200
SEED = 20_151
CONFIDENCE = 0.95

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class ChangePoint:
    """The level changed between runs ``at - 1`` and ``at`` (counted from 0): ``ratio`` is after over before.

    ``low`` and ``high`` are its 95 % interval, ``None`` where the runs on the two sides are too few for one; the levels
    are those of the runs up to the neighbouring change points.
    """

    at: int
    ratio: float
    low: float | None
    high: float | None
    before: int
    after: int


def change_points(values: Sequence[float] | Array, cells: int = 1, margin: float = 0.0) -> list[ChangePoint]:
    """The change points of a cell's times in the order of its runs; ``cells`` are looked at together.

    Those whose size is below ``margin`` are not told, and their runs are one level. Times are finite and above 0, else
    it is a ``ValueError``. Fewer than ``fewest_runs(cells)`` of them never show a change point. Raises
    ``MissingExtraError`` without ruptures.
    """
    ruptures = require_ruptures()
    times = np.asarray(values, dtype=np.float64)
    if times.size and (not np.isfinite(times).all() or (times <= 0).any()):
        msg = f"times are finite and above 0; {int(((times <= 0) | ~np.isfinite(times)).sum())} of {times.size} are not"
        raise ValueError(msg)
    if times.size < fewest_runs(cells):
        return []
    search = ruptures.Pelt(model="rank", min_size=SMALLEST, jump=1).fit(np.log(times))
    ends = _placed(np.log(times), [0, *search.predict(pen=penalty(times.size, cells))])
    while points := [_change_point(times, *ends[i : i + 3]) for i in range(len(ends) - 2)]:
        smallest = min(points, key=lambda point: abs(math.log(point.ratio)))
        if abs(math.log(smallest.ratio)) >= math.log1p(margin):
            break
        ends.remove(smallest.at)
    return points


def _placed(logs: Array, ends: list[int]) -> list[int]:
    """Each change point where the distances to the medians of its two sides are least.

    Ranks tell that there is a change, and are no good at its place: the highest run before a step is nearer in rank to
    those after it.
    """
    ruptures, placed = require_ruptures(), list(ends)
    for i in range(1, len(placed) - 1):
        start, end = placed[i - 1], placed[i + 1]
        search = ruptures.Dynp(model="l1", min_size=SMALLEST, jump=1).fit(logs[start:end])
        placed[i] = start + int(search.predict(n_bkps=1)[0])
    return placed


def require_ruptures() -> Any:
    """The library, or the ``MissingExtraError`` that says how to get it."""
    try:
        import ruptures
    except ImportError as error:
        raise MissingExtraError("attnbench history", "history", "ruptures") from error
    return ruptures


def _change_point(times: Array, start: int, at: int, end: int) -> ChangePoint:
    before, after = times[start:at], times[at:end]
    interval = ratio_interval(list(before), list(after), CONFIDENCE)
    low, high = (interval.low, interval.high) if math.isfinite(interval.high) else (None, None)
    return ChangePoint(at, interval.ratio, low, high, before.size, after.size)


@lru_cache(maxsize=256)
def penalty(n: int, cells: int = 1) -> float:
    """The penalty for n runs: in at most ``ERROR / cells`` of histories without a change PELT finds one."""
    gains = _null_gains(n)
    allowed = int(ERROR / cells * (gains.size + 1))
    # PELT splits where the gain is above the penalty, so the largest gains that may not split are the penalty itself.
    return float(gains[-1 - allowed]) * (1 + 1e-9)


@lru_cache(maxsize=16)
def fewest_runs(cells: int = 1) -> int:
    """How many runs it takes before even the clearest step would be told from chance."""
    for n in range(2 * SMALLEST, MOST_RUNS):
        clear = np.arange(n, dtype=np.float64)
        if float(_gains(clear[None, :]).max()) > penalty(n, cells) * (1 + 1e-9):
            return n
    return MOST_RUNS


@lru_cache(maxsize=64)
def _null_gains(n: int) -> Array:
    """Of simulated orders of n runs, sorted: the smallest penalty under which PELT leaves them whole."""
    rng = np.random.default_rng(SEED + n)
    parts = [_gains(rng.permuted(np.tile(np.arange(n, dtype=np.float64), (CHUNK, 1)), axis=1)) for _ in _chunks()]
    return np.sort(np.concatenate(parts))


def _chunks() -> range:
    return range(ORDERS // CHUNK)


def _gains(orders: Array) -> Array:
    """For each row: the largest gain of one split, or half of that of two, in the units of ruptures' rank cost."""
    rows, n = orders.shape
    centred = orders - (n - 1) / 2
    sums = np.concatenate([np.zeros((rows, 1)), np.cumsum(centred, axis=1)], axis=1)
    variance = (n * n - 1) / 12
    # All ranks together have mean 0, so a split is worth the sum of n_i mean_i² over its segments.
    at = np.arange(SMALLEST, n - SMALLEST + 1)
    of_one = sums[:, at] ** 2 * (1 / at + 1 / (n - at))
    best = of_one.max(axis=1)
    for start in range(SMALLEST, n - 2 * SMALLEST + 1):
        ends = np.arange(start + SMALLEST, n - SMALLEST + 1)
        inner = (sums[:, ends] - sums[:, [start]]) ** 2 / (ends - start)
        of_two = sums[:, [start]] ** 2 / start + inner + sums[:, ends] ** 2 / (n - ends)
        best = np.maximum(best, of_two.max(axis=1) / 2)
    return np.asarray(best / variance)
