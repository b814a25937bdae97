"""MLX at its limit: a matrix product in each dtype and exp. A copy by MLX would be a copy by the C library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mlx.core as mx

if TYPE_CHECKING:
    from collections.abc import Callable


def ceiling(kind: str, dtype: str, size: int) -> Callable[[], Any] | None:
    """A product of (size, size) matrices or exp of ``size`` numbers; ``None`` for a copy."""
    if kind == "copy":
        return None
    with mx.stream(mx.cpu):
        shape = (2, size, size) if kind == "product" else (1, size)
        numbers = mx.random.uniform(-8, 0, shape).astype(getattr(mx, dtype))
        mx.eval(numbers)

    def product() -> mx.array:
        return _now(lambda: numbers[0] @ numbers[1])

    return product if kind == "product" else lambda: _now(lambda: mx.exp(numbers[0]))


def _now(function: Callable[[], mx.array]) -> mx.array:
    with mx.stream(mx.cpu):
        result = function()
        mx.eval(result)
    return result
