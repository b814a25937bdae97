"""The same values elsewhere in memory, as views of a user's own arrays lie (``Backend.laid_out``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.api import Array

if TYPE_CHECKING:
    from jaxtyping import Shaped

PAD = 8  # elements between two rows


def of_array(array: Shaped[Array, " *axes"], layout: str) -> Shaped[Array, " *axes"]:
    """A view of other memory with the same shape and values, which can be read but not written through."""
    view = np.broadcast_to(array[:1].copy(), array.shape) if layout == "expanded" else _placed(array, layout)
    view.flags.writeable = False
    return view


def of_tensor(tensor: Any, layout: str) -> Any:
    """The same of a tensor of PyTorch."""
    if layout == "expanded":
        return tensor[:1].clone().expand(tensor.shape)
    view = _place(tensor.new_full, tuple(tensor.shape), str(tensor.dtype), layout)
    return view.copy_(tensor)


def _placed(array: Array, layout: str) -> Array:
    view: Array = _place(lambda shape, fill: np.full(shape, fill, array.dtype), array.shape, array.dtype.name, layout)
    view[...] = array
    return view


def _place(filled: Any, shape: tuple[int, ...], dtype: str, layout: str) -> Any:
    """A view of this shape; what lies between its elements is NaN, or true, so that to read it shows."""
    *lead, last = shape
    fill = True if "bool" in dtype else float("nan")
    if layout == "transposed":
        return filled((shape[0], shape[2], shape[1], *shape[3:]), fill).swapaxes(1, 2)
    if layout == "padded":
        return filled((*lead, last + PAD), fill)[..., :last]
    if layout == "step":
        return filled((*lead, 2 * last), fill)[..., ::2]
    return filled((1 + int(np.prod(shape)),), fill)[1:].reshape(shape)
