"""XLA at its limit: a matrix product in each dtype and exp. A copy by XLA would be a copy by the C library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from collections.abc import Callable


def ceiling(kind: str, dtype: str, size: int, device: jax.Device) -> Callable[[], Any] | None:
    """A product of (size, size) matrices or exp of ``size`` numbers; ``None`` for a copy."""
    if kind == "copy":
        return None
    keys = jax.random.split(jax.random.key(0), 2)
    if kind == "product":
        pair = [jax.device_put(jax.random.normal(key, (size, size), dtype), device) for key in keys]
        multiply = jax.jit(lambda a, b: jnp.matmul(a, b, precision="highest"))
        return lambda: multiply(*pair)
    numbers = jax.device_put(jax.random.uniform(keys[0], (size,), dtype, -8, 0), device)
    exp = jax.jit(jnp.exp)
    return lambda: exp(numbers)
