"""CuPy at its limit: a matrix product in each dtype, a copy, and exp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy
import numpy as np

from attnbench.api import numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Callable


def ceiling(kind: str, dtype: str, size: int) -> Callable[[], Any] | None:
    """A product of (size, size) matrices, a copy of ``size`` bytes, or exp of ``size`` numbers."""
    rng = np.random.default_rng(0)
    if kind == "product":
        drawn = rng.standard_normal((2, size, size), np.float32)
        a, b = (cupy.array(each.astype(numpy_dtype(dtype))) for each in drawn)
        product = cupy.empty_like(a)
        return lambda: cupy.matmul(a, b, out=product)
    if kind == "copy":
        source = cupy.zeros(size // 4, dtype="float32")
        copied = cupy.empty_like(source)
        return lambda: cupy.copyto(copied, source)
    numbers = cupy.array(rng.uniform(-8, 0, size).astype(numpy_dtype(dtype)))
    exponentials = cupy.empty_like(numbers)
    return lambda: cupy.exp(numbers, out=exponentials)
