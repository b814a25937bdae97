"""How large the tiles are, by architecture: a table, so that the same call always runs the same program."""

from __future__ import annotations

from typing import Any, NamedTuple


class Tile(NamedTuple):
    """Queries and keys of a tile, warps of a program, and stages of its pipeline of loads."""

    queries: int
    keys: int
    warps: int
    stages: int

    def options(self) -> dict[str, Any]:
        """What a launch takes besides arguments. Fused multiply-adds round once instead of twice: they are wanted."""
        return {"num_warps": self.warps, "num_stages": self.stages, "enable_fp_fusion": True}


def width_of(size: int) -> int:
    """The power of two that holds a head size; a product on tensor cores has 16 terms at least."""
    return max(16, 1 << (size - 1).bit_length())


def forward(architecture: int, dtype: str, width: int) -> Tile:
    """Of the forward kernel."""
    del architecture, dtype, width
    return Tile(32, 32, 4, 2)
