"""The statistics that pytest-benchmark keeps with every benchmark, computed as it does; a test compares them."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any


def benchmark_stats(seconds: Sequence[float], iterations: int) -> dict[str, Any]:
    """The ``stats`` of a benchmark from its rounds (seconds per call of each). Raises ``ValueError`` without one."""
    data, ordered = list(seconds), sorted(seconds)
    if not ordered:
        msg = "a benchmark needs at least one round"
        raise ValueError(msg)
    mean = statistics.mean(data)
    stddev = statistics.stdev(data) if len(data) > 1 else 0
    q1, q3 = quartiles(ordered)
    iqr = q3 - q1
    far = sum(value < mean - stddev or value > mean + stddev for value in data)
    tukey = sum(value < q1 - 1.5 * iqr or value > q3 + 1.5 * iqr for value in data)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": mean,
        "stddev": stddev,
        "rounds": len(data),
        "median": statistics.median(data),
        "iqr": iqr,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": tukey,
        "stddev_outliers": far,
        "outliers": f"{far};{tukey}",
        "ld15iqr": ordered[bisect_left(ordered, q1 - 1.5 * iqr)],
        "hd15iqr": ordered[bisect_right(ordered, q3 + 1.5 * iqr) - 1],
        "ops": len(data) / sum(data) if sum(data) else 0,
        "total": sum(data),
        "data": data,
        "iterations": iterations,
    }


def no_stats() -> dict[str, Any]:
    """The ``stats`` of a cell without a time: infinitely slow, after no round, so that no table ranks it first."""
    times = ("min", "max", "mean", "stddev", "median", "iqr", "q1", "q3", "ld15iqr", "hd15iqr", "total")
    none = {"rounds": 0, "iqr_outliers": 0, "stddev_outliers": 0, "outliers": "0;0", "ops": 0}
    return dict.fromkeys(times, math.inf) | none | {"data": [], "iterations": 1}


def quartiles(ordered: Sequence[float]) -> tuple[float, float]:
    """The first and third quartile: halves for an even number of values, interpolated for an odd one."""
    n, rest = divmod(len(ordered), 4)
    if len(ordered) == 1:
        return ordered[0], ordered[0]
    if rest == 1:
        return 0.25 * ordered[n - 1] + 0.75 * ordered[n], 0.75 * ordered[3 * n] + 0.25 * ordered[3 * n + 1]
    if rest == 3:  # noqa: PLR2004  (the two odd remainders)
        low = 0.75 * ordered[n] + 0.25 * ordered[n + 1]
        return low, 0.25 * ordered[3 * n + 1] + 0.75 * ordered[3 * n + 2]
    half = len(ordered) // 2
    return statistics.median(ordered[:half]), statistics.median(ordered[half:])
