"""Ceilings: how fast this machine multiplies matrices and copies memory with the threads of this process.

By NumPy and its BLAS, so that every cell of a run is held against the same two numbers (Williams 2009, roofline).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from attnbench.measure.protocol import Ceilings

MATRIX = 768
COPIED_BYTES = 64 * 2**20


def measure(seconds: float) -> Ceilings:
    """The best rates seen in ``seconds`` each: float32 and float64 products, and a copy (read and write counted)."""
    return Ceilings(_product(np.float32, seconds), _product(np.float64, seconds), _copy(seconds))


def _product(dtype: type[np.floating], seconds: float) -> float:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((MATRIX, MATRIX)).astype(dtype) for _ in range(2))
    out = np.empty_like(a)
    return 2.0 * MATRIX**3 / _fastest(lambda: np.matmul(a, b, out=out), seconds)


def _copy(seconds: float) -> float:
    source = np.ones(COPIED_BYTES // 8)
    target = np.empty_like(source)
    return 2.0 * COPIED_BYTES / _fastest(lambda: np.copyto(target, source), seconds)


def _fastest(work: Callable[[], object], seconds: float) -> float:
    work()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
