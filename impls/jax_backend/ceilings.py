"""XLA at its limit: a matrix product in each dtype and exp. A copy by XLA would be a copy by the C library."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from attnbench.impls.jax_backend.doubles import doubles

if TYPE_CHECKING:
    from collections.abc import Callable


def ceiling(kind: str, dtype: str, size: int, device: jax.Device) -> Callable[[], Any] | None:
    """A product of (size, size) matrices or exp of ``size`` numbers; ``None`` for a copy."""
    if kind == "copy":
        return None
    with doubles() if dtype == "float64" else nullcontext():
        keys = jax.random.split(jax.random.key(0), 2)
        if kind == "product":
            pair = [jax.device_put(jax.random.normal(key, (size, size), dtype), device) for key in keys]
            return _compiled(lambda a, b: jnp.matmul(a, b, precision="highest"), *pair)
        return _compiled(jnp.exp, jax.device_put(jax.random.uniform(keys[0], (size,), dtype, -8, 0), device))


def _compiled(function: Callable[..., Any], *arrays: Any) -> Callable[[], Any]:
    executable = jax.jit(function).lower(*arrays).compile()
    return lambda: executable(*arrays)
