"""NumPy at its limit: the product of its BLAS, a copy, and exp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


def ceiling(kind: str, dtype: str, size: int) -> Callable[[], Any] | None:
    """A product of (size, size) matrices, a copy of ``size`` bytes, or exp of ``size`` numbers; ``None`` for others."""
    rng = np.random.default_rng(0)
    if kind == "product":
        if dtype not in ("float32", "float64"):
            return None  # NumPy multiplies these element by element
        a, b = (rng.standard_normal((size, size)).astype(dtype) for _ in range(2))
        out = np.empty_like(a)
        return lambda: np.matmul(a, b, out=out)
    if kind == "copy":
        source = np.ones(size // 8)
        target = np.empty_like(source)
        return lambda: np.copyto(target, source)
    numbers = rng.uniform(-8, 0, size).astype(dtype)
    target = np.empty_like(numbers)
    return lambda: np.exp(numbers, out=target)
