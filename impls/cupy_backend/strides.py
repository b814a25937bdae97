"""The same values elsewhere in memory, as views of a user's own arrays lie (``Backend.laid_out``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Shaped

PAD = 8  # elements between two rows


def laid_out(array: Shaped[cupy.ndarray, " *axes"], layout: str) -> Shaped[cupy.ndarray, " *axes"]:
    """A view of other memory with the same shape and values."""
    return LAYOUTS[layout](array)


def _transposed(array: Any) -> Any:
    return cupy.array(array.swapaxes(1, 2), order="C").swapaxes(1, 2)


def _padded(array: Any) -> Any:
    *lead, last = array.shape
    return _filled((*lead, last + PAD), array)[..., :last]


def _step(array: Any) -> Any:
    *lead, last = array.shape
    return _filled((*lead, 2 * last), array)[..., ::2]


def _offset(array: Any) -> Any:
    return _filled((1 + array.size,), array)[1:].reshape(array.shape)


def _filled(shape: tuple[int, ...], like: Any) -> Any:
    """NaN, or true, so that what is read beside the array shows."""
    return cupy.full(shape, True if like.dtype == bool else float("nan"), like.dtype)


def _copied_into(place: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def lay(array: Any) -> Any:
        view = place(array)
        view[...] = array
        return view

    return lay


def _expanded(array: Any) -> Any:
    return cupy.broadcast_to(array[:1].copy(), array.shape)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "transposed": _transposed,
    "padded": _copied_into(_padded),
    "step": _copied_into(_step),
    "offset": _copied_into(_offset),
    "expanded": _expanded,
}
