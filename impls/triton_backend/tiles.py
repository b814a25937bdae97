"""How large the tiles are, by architecture: a table, so that the same call always runs the same program.

Nothing is tried out at a call, which would take minutes and choose by chance. Each row of the table was compiled for
its architecture: none keeps variables in memory for want of registers, and all fit its shared memory.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from attnbench.impls.triton_backend.table import PLAIN, RICH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jaxtyping import Float
    from torch import Tensor

# Operands that make a tile's program larger: it holds more in registers, and loads more.
LOADED = ("bias", "mask", "q_segments", "slopes", "softcap")
# In Triton's interpreter a tile takes as long whatever its size: few large ones. There is no architecture then.
INTERPRETED = 0
# Keys of decoding are split until this many programs run for each multiprocessor of a GPU, of which an H100 has 132.
PER_MULTIPROCESSOR, MULTIPROCESSORS = 2, 132
MOST_PARTS = 128


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


class _Assumed:
    """The architecture for which launches are laid out where there is no GPU."""

    architecture = INTERPRETED


@contextmanager
def assuming(architecture: int) -> Iterator[None]:
    """Within it launches without a GPU are those of an architecture, such as 90: for who compiles them elsewhere."""
    before, _Assumed.architecture = _Assumed.architecture, architecture
    try:
        yield
    finally:
        _Assumed.architecture = before


def of(kernel: str, q: Float[Tensor, "B Hq Tq D"], v: Float[Tensor, "B Hkv S Dv"], rules: dict[str, Any]) -> Tile:
    """The tile of a kernel for these operands."""
    width, value_width = width_of(q.shape[3]), width_of(v.shape[3])
    architecture = architecture_of(q)
    rich = any(rules[name] is not None for name in LOADED)
    if architecture == INTERPRETED:
        return Tile(16 if kernel == "decode" else 64, 64, 4, 1, width, value_width)
    table = RICH if rich else PLAIN
    row = table[row_of(architecture), "wide" if q.element_size() > 2 else "half", kernel]  # noqa: PLR2004  (bytes)
    least = next(size for size in row if size >= max(width, value_width))
    return Tile(*row[least], width, value_width)


def architecture_of(x: Float[Tensor, " ..."]) -> int:
    """Such as 90 of a Hopper GPU; without a GPU what is assumed."""
    if x.device.type != "cuda":
        return _Assumed.architecture
    major, minor = torch.cuda.get_device_capability(x.device)
    return 10 * major + minor


def row_of(architecture: int) -> int:
    """The row of the table: Hopper's and the large Blackwells' are their own, all others are taken as Ampere."""
    return {9: 90, 10: 100}.get(architecture // 10, 80)


def parts_of(keys: int, step: int, programs: int, x: Float[Tensor, " ..."]) -> tuple[int, int]:
    """Keys of a part, in whole tiles, and how many parts there are: enough programs for all multiprocessors."""
    many = MULTIPROCESSORS
    if x.device.type == "cuda":
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
