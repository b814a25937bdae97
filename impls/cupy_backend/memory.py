"""The peak of CuPy's pool of memory: it tells what it holds now, and a hook sees what is taken out and given back."""

from __future__ import annotations

from typing import Any

import cupy


class PeakHook(cupy.cuda.MemoryHook):  # type: ignore[misc]  # CuPy publishes no types
    """Counts bytes in blocks of the pool, within ``with``, in the thread that entered it."""

    name = "attnbench peak"

    def __init__(self) -> None:
        self.held = self.most = 0

    def malloc_postprocess(self, **block: Any) -> None:
        """A block was taken."""
        self.held += block["mem_size"]
        self.most = max(self.most, self.held)

    def free_postprocess(self, **block: Any) -> None:
        """A block was given back, of before or of since."""
        self.held -= block["mem_size"]
