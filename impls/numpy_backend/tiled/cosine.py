"""The cosine score as a product: q/max(‖q‖, floor) · temperature with k/max(‖k‖, floor), and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from attnbench.api import Array, Call

if TYPE_CHECKING:
    from jaxtyping import Float

FLOOR = 1e-12


def unit(x: Float[Array, "*n D"]) -> tuple[Float[Array, "*n D"], Float[Array, "*n 1"]]:
    """x / max(‖x‖, floor), and ‖x‖; a power of two is taken out before squaring, so that no square leaves the range."""
    largest = np.max(np.abs(x), axis=-1, keepdims=True)
    exponent = np.where(np.isfinite(largest), np.frexp(largest)[1], 0)
    scaled = np.ldexp(x, -exponent)
    norm = np.ldexp(np.sqrt((scaled * scaled).sum(-1, keepdims=True)), exponent)
    return x / np.maximum(norm, x.dtype.type(FLOOR)), norm


def through_unit(x: Float[Array, "*n D"], d_unit: Float[Array, "*n D"]) -> Float[Array, "*n D"]:
    """The gradient of x, of that of its unit vector."""
    direction, norm = unit(x)
    along = np.where(norm > FLOOR, direction * (direction * d_unit).sum(-1, keepdims=True), 0)
    gradient: Array = (d_unit - along) / np.maximum(norm, x.dtype.type(FLOOR))
    return gradient


def temperatures(call: Call, heads: slice, dtype: type) -> Float[Array, "h 1 1"]:
    """Those of some query heads."""
    given: Array = call.params["temperature"]
    of_heads = given[heads] if len(given) > 1 else np.repeat(given, heads.stop - heads.start, axis=0)
    wide: Array = of_heads.astype(dtype)[:, None, None]
    return wide
