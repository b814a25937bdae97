"""The same values elsewhere in memory, as views of a user's own tensors lie (``Backend.laid_out``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Shaped

PAD = 8  # elements between two rows


def laid_out(tensor: Shaped[Tensor, " *axes"], layout: str) -> Shaped[Tensor, " *axes"]:
    """A view of other memory with the same shape and values."""
    return LAYOUTS[layout](tensor)


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.transpose(1, 2).clone(memory_format=torch.contiguous_format).transpose(1, 2)


def _padded(tensor: Tensor) -> Tensor:
    *lead, last = tensor.shape
    return _filled(tensor, *lead, last + PAD)[..., :last].copy_(tensor)


def _step(tensor: Tensor) -> Tensor:
    *lead, last = tensor.shape
    return _filled(tensor, *lead, 2 * last)[..., ::2].copy_(tensor)


def _offset(tensor: Tensor) -> Tensor:
    return _filled(tensor, 1 + tensor.numel())[1:].view(tensor.shape).copy_(tensor)


def _filled(like: Tensor, *shape: int) -> Tensor:
    """NaN, or true, so that what is read beside the tensor shows."""
    return like.new_full(shape, True if like.dtype == torch.bool else torch.nan)


def _expanded(tensor: Tensor) -> Tensor:
    return tensor[:1].clone().expand(tensor.shape)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "transposed": _transposed,
    "padded": _padded,
    "step": _step,
    "offset": _offset,
    "expanded": _expanded,
}
