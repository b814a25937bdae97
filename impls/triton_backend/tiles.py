"""How large the tiles are, by architecture: a table, so that the same call always runs the same program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor


class Tile(NamedTuple):
    """Queries and keys of a tile, warps of a program, stages of its pipeline of loads, and columns that hold D, Dv."""

    queries: int
    keys: int
    warps: int
    stages: int
    width: int
    value_width: int

    def shape(self) -> dict[str, int]:
        """The sizes, by the names that kernels have for them."""
        return {
            "BLOCK_M": self.queries,
            "BLOCK_N": self.keys,
            "BLOCK_D": self.width,
            "BLOCK_DV": self.value_width,
        }

    def options(self) -> dict[str, Any]:
        """What a launch takes besides arguments. Fused multiply-adds round once instead of twice: they are wanted."""
        return {"num_warps": self.warps, "num_stages": self.stages, "enable_fp_fusion": True}


def of(kernel: str, q: Float[Tensor, "B Hq Tq D"], v: Float[Tensor, "B Hkv S Dv"]) -> Tile:
    """The tile of a kernel for these operands."""
    del kernel
    return Tile(32, 32, 4, 2, width_of(q.shape[3]), width_of(v.shape[3]))


def width_of(size: int) -> int:
    """The power of two that holds a head size; a product on tensor cores has 16 terms at least."""
    return max(16, 1 << (size - 1).bit_length())


def count(size: int, step: int) -> int:
    """Tiles of ``step`` that hold this many."""
    return -(-size // step)
