"""How other tools decide that B is slower, for many cells at once; each is held to the tool itself by a test.

Read from the sources of pytest-benchmark 5.3.1 (``utils.PercentageRegressionCheck``), asv 0.6.6
(``commands.compare._is_result_better``, ``_stats.is_different``) and pyperf 2.10.0 (``_utils.is_significant``,
``_compare.CompareResult``).
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special, stats

from attnbench.attention.arrays import Array

ASV_P = 0.002
# asv computes Mann and Whitney's p exactly up to so many samples, and by the normal distribution above.
ASV_EXACT = 20
# With fewer samples than these asv falls back to overlapping intervals, which no replay here needs.
ASV_FEWEST = 6
# Degrees of freedom from which pyperf takes a value of its table; below the last, the table has each.
PYPERF_STEPS = ((200, 1.960), (100, 1.984), (80, 1.990), (60, 2.000), (50, 2.009), (40, 2.021))
PYPERF_TABLE = 30


def pytest_benchmark_fails(base: Array, head: Array, percent: float) -> Array:
    """``--benchmark-compare-fail=FIELD:N%`` on the values of that field."""
    return np.asarray(head / base * 100 - 100 > percent)


def asv_worse(base: Array, head: Array, factor: float) -> Array:
    """``asv continuous -f FACTOR`` and ``asv compare``: rows are benchmarks, columns the samples of all processes."""
    if min(base.shape[1], head.shape[1]) < ASV_FEWEST:
        msg = f"asv's test needs {ASV_FEWEST} samples on a side; got {base.shape[1]} and {head.shape[1]}"
        raise ValueError(msg)
    worse = np.median(base, axis=1) < np.median(head, axis=1) / factor
    worse[worse] = asv_different(base[worse], head[worse])
    return np.asarray(worse)


def asv_different(x: Array, y: Array) -> Array:
    """asv's Mann-Whitney test at p < 0.002, two-sided; times have no ties."""
    m, n = x.shape[1], y.shape[1]
    if not len(x):
        return np.zeros(0, bool)
    if max(m, n) <= ASV_EXACT:
        return np.asarray(stats.mannwhitneyu(x, y, axis=1, method="exact").pvalue < ASV_P)
    ranks = stats.rankdata(np.concatenate([x, y], axis=1), axis=1)
    above = ranks[:, :m].sum(1) - m * (m + 1) / 2
    z = (np.minimum(above, m * n - above) - m * n / 2) / math.sqrt(m * n * (m + n + 1) / 12)
    return np.asarray(special.erfc(-z / math.sqrt(2)) < ASV_P)


def pyperf_slower(base: tuple[Array, Array], head: tuple[Array, Array], n: int) -> Array:
    """``pyperf compare_to``: slower, and significant by its t-test; means and variances of ``n`` values on each side.

    Variances are sums of squares by n - 1.
    """
    error = (base[1] + head[1]) / 2 / n
    score = (head[0] - base[0]) / np.sqrt(2 * error)
    return np.asarray(score >= pyperf_critical(2 * n - 2))


def pyperf_critical(freedom: int) -> float:
    """pyperf's table of Student's t at 95 %."""
    for least, critical in PYPERF_STEPS:
        if freedom >= least:
            return critical
    return round(float(stats.t.ppf(0.975, min(freedom, PYPERF_TABLE))), 3)
