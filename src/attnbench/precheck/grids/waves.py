"""How the programs of a launch go over the multiprocessors of a GPU: so many at once, wave after wave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from attnbench.precheck.triton.architectures import GRID, MULTIPROCESSORS


@dataclass(frozen=True)
class Waves:
    """``count`` waves of programs, of which ``per_multiprocessor`` are on each multiprocessor at once.

    ``last`` is the share of the places that the last wave fills: what is free then has nothing to do.
    """

    per_multiprocessor: int
    count: int
    last: float


def waves_of(programs: int, per_multiprocessor: int, multiprocessors: int) -> Waves | None:
    """``None`` where not one program fits on a multiprocessor, or there is none to run."""
    places = per_multiprocessor * multiprocessors
    if places < 1 or programs < 1:
        return None
    count = -(-programs // places)
    return Waves(per_multiprocessor, count, (programs - (count - 1) * places) / places)


def per_multiprocessor(arch: str, occupancy: float | None, warps: int | None) -> int | None:
    """How many programs of so many warps are on a multiprocessor at once; ``None`` where nobody knows."""
    if occupancy is None or not warps:
        return None
    return round(occupancy * MULTIPROCESSORS[arch].warps / warps)


def programs_of(grid: Sequence[int]) -> int:
    """How many there are in a grid."""
    return math.prod(grid)


def too_many(grid: Sequence[int]) -> str | None:
    """Why CUDA does not take a grid, or ``None``."""
    over = [f"{n:,} along axis {axis}" for axis, n in enumerate(grid) if n > GRID[axis]]
    return f"a grid of {' and '.join(over)} programs: CUDA takes {', '.join(f'{n:,}' for n in GRID)}" if over else None
