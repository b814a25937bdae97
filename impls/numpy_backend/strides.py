"""The same values elsewhere in memory, as views of a user's own arrays lie (``Backend.laid_out``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.api import Array

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Shaped

PAD = 8  # elements between two rows


def laid_out(array: Shaped[Array, " *axes"], layout: str) -> Shaped[Array, " *axes"]:
    """A view of other memory with the same shape and values, which can be read but not written through."""
    view = LAYOUTS[layout](array)
    view.flags.writeable = False
    return view


def _transposed(array: Array) -> Array:
    return np.array(array.swapaxes(1, 2), order="C").swapaxes(1, 2)


def _padded(array: Array) -> Array:
    *lead, last = array.shape
    return _filled((*lead, last + PAD), array.dtype)[..., :last]


def _step(array: Array) -> Array:
    *lead, last = array.shape
    return _filled((*lead, 2 * last), array.dtype)[..., ::2]


def _offset(array: Array) -> Array:
    return _filled((1 + array.size,), array.dtype)[1:].reshape(array.shape)


def _filled(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """NaN, or true, so that what is read beside the array shows."""
    return np.full(shape, True if dtype == np.bool_ else np.nan, dtype)


def _copied_into(place: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def lay(array: Array) -> Array:
        view = place(array)
        view[...] = array
        return view

    return lay


def _expanded(array: Array) -> Array:
    return np.broadcast_to(array[:1].copy(), array.shape)


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "transposed": _transposed,
    "padded": _copied_into(_padded),
    "step": _copied_into(_step),
    "offset": _copied_into(_offset),
    "expanded": _expanded,
}
