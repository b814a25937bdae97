"""Whether there is a GPU to ask for: seen without a framework, and without a process where there is none.

Light on purpose: ``attnbench list`` imports it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from functools import cache
from pathlib import Path

CPU = "cpu"
# A driver of a GPU shows itself by one of these: NVIDIA's, of WSL, of Jetson, AMD's.
DRIVERS = ("dev/nvidiactl", "dev/nvidia0", "dev/dxg", "dev/nvhost-gpu", "dev/kfd")


def why_not_here(backend: str, device: str) -> str | None:
    """Why a framework has no such device here; ``None`` where it has it, or does not tell.

    It is asked, which takes seconds, only where a GPU is in sight.
    """
    if device == CPU:
        return None
    if not gpu_in_sight():
        return f"needs {device}: no GPU here"
    from attnbench.workers.devices import devices_of

    there = devices_of(backend)
    if there is None or device in there:
        return None
    return f"needs {device}; {backend} has {', '.join(there) or 'none'} here"


def why_nowhere(backend: str, devices: Iterable[str]) -> str | None:
    """Why a framework has none of these devices here; ``None`` where it has one, or where none is named."""
    whys = [why_not_here(backend, device) for device in devices]
    return whys[0] if whys and all(whys) else None


@cache
def gpu_in_sight(root: Path = Path("/")) -> bool:
    """Whether there is any sign of a GPU: the file of a driver, or one that ``nvidia-smi`` lists."""
    if any((root / file).exists() for file in DRIVERS):
        return True
    if shutil.which("nvidia-smi") is None:
        return False
    from attnbench.results.fingerprint import collect_hardware

    return bool(collect_hardware().gpus)
