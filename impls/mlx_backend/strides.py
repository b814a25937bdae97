"""The same values elsewhere in memory, as views of a user's own arrays lie (``Backend.laid_out``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import mlx.core as mx

if TYPE_CHECKING:
    from jaxtyping import Shaped

PAD = 8  # elements between two rows


def laid_out(array: Shaped[mx.array, " *axes"], layout: str) -> Shaped[mx.array, " *axes"]:
    """A view of other memory with the same shape and values."""
    view = LAYOUTS[layout](array)
    mx.eval(view)
    return view


def _transposed(array: mx.array) -> mx.array:
    return mx.contiguous(array.swapaxes(1, 2)).swapaxes(1, 2)


def _padded(array: mx.array) -> mx.array:
    last = array.shape[-1]
    return mx.concatenate([array, _filled(array, *array.shape[:-1], PAD)], -1)[..., :last]


def _step(array: mx.array) -> mx.array:
    *lead, last = array.shape
    between = mx.stack([array, _filled(array, *array.shape)], -1)
    return between.reshape(*lead, 2 * last)[..., ::2]


def _offset(array: mx.array) -> mx.array:
    return mx.concatenate([_filled(array, 1), array.reshape(-1)])[1:].reshape(array.shape)


def _filled(like: mx.array, *shape: int) -> mx.array:
    """NaN, or true, so that what is read beside the array shows."""
    return mx.full(shape, True if like.dtype == mx.bool_ else mx.nan, dtype=like.dtype)


def _expanded(array: mx.array) -> mx.array:
    return mx.broadcast_to(mx.contiguous(array[:1]), array.shape)


LAYOUTS: dict[str, Callable[[mx.array], mx.array]] = {
    "transposed": _transposed,
    "padded": _padded,
    "step": _step,
    "offset": _offset,
    "expanded": _expanded,
}
