"""What Triton needs of the harness: PyTorch's tensors and clocks, on the device that this process computes for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnbench.impls.torch_backend.adapter import Adapter as TorchAdapter
from attnbench.impls.triton_backend.importing import INTERPRETED, triton

if TYPE_CHECKING:
    from collections.abc import Hashable


class Adapter(TorchAdapter):
    """PyTorch's adapter; kernels are interpreted on the CPU, or compiled for the GPU."""

    name = "triton"

    def versions(self) -> dict[str, str]:
        """Those of PyTorch's adapter, and Triton's."""
        return {"triton": triton.__version__} | super().versions()

    def devices(self) -> tuple[str, ...]:
        """``cpu`` where Triton interprets, ``cuda`` where it compiles and a GPU is usable."""
        return ("cpu",) if INTERPRETED else tuple(device for device in super().devices() if device != "cpu")

    def settings(self) -> Hashable:
        """Those of PyTorch's adapter, and whether kernels are interpreted."""
        return INTERPRETED, super().settings()
