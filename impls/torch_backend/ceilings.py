"""PyTorch at its limit: a matrix product in each dtype, a copy, and exp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def ceiling(kind: str, dtype: str, size: int, device: str) -> Callable[[], Any] | None:
    """A product of (size, size) matrices, a copy of ``size`` bytes, or exp of ``size`` numbers."""
    generator = torch.Generator().manual_seed(0)
    kind_of = getattr(torch, dtype)
    if kind == "product":
        a, b = (torch.randn(size, size, generator=generator).to(device, kind_of) for _ in range(2))
        product = torch.empty_like(a)
        return lambda: torch.mm(a, b, out=product)
    if kind == "copy":
        source = torch.ones(size // 4, device=device)
        copied = torch.empty_like(source)
        return lambda: copied.copy_(source)
    numbers = torch.rand(size, generator=generator).mul(-8).to(device, kind_of)
    exponentials = torch.empty_like(numbers)
    return lambda: torch.exp(numbers, out=exponentials)
