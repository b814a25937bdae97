"""How large the tiles are, by architecture: a table, so that the same call always runs the same program.

Nothing is tried out at a call, which would take minutes and choose by chance. ``attnbench precheck`` compiles its rows
for head sizes of 64, 128 and 256, with every feature at 64, and interprets them: with Triton 3.9 none keeps variables
in memory for want of registers, and all fit the shared memory. Other head sizes may keep some bytes (48 at most were
seen).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from attnbench.impls.triton_backend.table import TABLE

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

# Operands that make a tile's program larger: it holds more in registers, and loads more. So do columns that are filled
# up, as of a head size of 80.
LOADED = ("bias", "mask", "q_segments", "slopes", "softcap")
# The kernels that have a row with them and a row without.
SPLIT_BY_LOAD = ("forward", "queries", "keys")
# In Triton's interpreter a tile takes as long whatever its size: few large ones. There is no architecture then, unless
# ``attnbench precheck`` stands in for a GPU, to see the tiles that it would be given.
INTERPRETED = 0
# Keys of decoding are split until this many programs run for each multiprocessor of a GPU, of which an H100 has 132.
PER_MULTIPROCESSOR, MULTIPROCESSORS = 2, 132
MOST_PARTS = 128


class TileSize(NamedTuple):
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


def of(kernel: str, q: Float[Tensor, "B Hq Tq D"], v: Float[Tensor, "B Hkv S Dv"], rules: dict[str, Any]) -> TileSize:
    """The tile of a kernel for these operands."""
    width, value_width = width_of(q.shape[3]), width_of(v.shape[3])
    architecture = architecture_of(q)
    if architecture == INTERPRETED:
        return TileSize(16 if kernel == "decode" else 64, 64, 4, 1, width, value_width)
    filled = (width, value_width) != (q.shape[3], v.shape[3])
    loaded = filled or any(rules[name] is not None for name in LOADED)
    name = f"{kernel} loaded" if loaded and kernel in SPLIT_BY_LOAD else kernel
    row = TABLE[row_of(architecture)]["wide" if q.element_size() > 2 else "half"][name]  # noqa: PLR2004  (bytes)
    least = next(size for size in row if size >= max(width, value_width))
    return TileSize(*row[least], width, value_width)


def architecture_of(x: Float[Tensor, " ..."]) -> int:
    """Such as 90 of a Hopper GPU, also of one that ``attnbench precheck`` stands in for; none on a CPU."""
    if not x.is_cuda:
        return INTERPRETED
    major, minor = torch.cuda.get_device_capability(x.device)
    return 10 * major + minor


def row_of(architecture: int) -> int:
    """The row of the table: Hopper's and the large Blackwells' are their own, all others are taken as Ampere."""
    return {9: 90, 10: 100}.get(architecture // 10, 80)


def parts_of(keys: int, step: int, programs: int, x: Float[Tensor, " ..."]) -> tuple[int, int]:
    """Keys of a part, in whole tiles, and how many parts there are: enough programs for all multiprocessors."""
    many = MULTIPROCESSORS
    if x.is_cuda:
        many = torch.cuda.get_device_properties(x.device).multi_processor_count
    wanted = min(max(1, count(PER_MULTIPROCESSOR * many, programs)), MOST_PARTS, count(keys, step))
    part = count(count(keys, step), wanted) * step
    return part, count(keys, part)


def width_of(size: int) -> int:
    """The power of two that holds a head size; a product on tensor cores has 16 terms at least."""
    return max(16, power_of_two(size))


def power_of_two(size: int) -> int:
    """The smallest that is as large."""
    return 1 << (size - 1).bit_length()


def count(size: int, step: int) -> int:
    """Tiles of ``step`` that hold this many."""
    return -(-size // step)
