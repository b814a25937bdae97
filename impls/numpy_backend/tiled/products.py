"""Products of many rows, so many rows at a time as suit BLAS."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from . import crew

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Array

    from .crew import Space

# The processors, by OpenBLAS's names, for which it multiplies small matrices as they lie in memory. Elsewhere it copies
# ("packs") both factors of each product first; of larger products too.
UNPACKED = ("SkylakeX", "Cooperlake", "SapphireRapids")
# What it calls small: rows x columns x terms up to this (``sgemm_small_kernel_permit_skylakex.c``).
MOST_UNPACKED = 100**3


@cache
def has_unpacked() -> bool:
    """Whether NumPy's BLAS multiplies small matrices of float32 without packing them."""
    pools = crew.pools()
    return bool(pools) and pools[0].internal_api == "openblas" and pools[0].architecture in UNPACKED


def in_lanes(array: Float[Array, "G n m"], lane: int) -> list[Float[Array, "G lanes lane m"]]:
    """The same memory, ``lane`` rows at a time and those that are left; all rows at once where it is 0."""
    count, rows, columns = array.shape
    whole = rows - rows % lane if lane else 0
    views = [array[:, :whole].reshape(count, -1, lane, columns)] if whole else []
    return [*views, array[:, None, whole:]] if whole < rows else views


def multiply(left: list[Array], right: Float[Array, "G k m"], out: list[Array]) -> None:
    """Lanes of rows times ``right``, into lanes."""
    for lanes, result in zip(left, out, strict=True):
        np.matmul(lanes, right[:, None], out=result)


# Sums of so many tiles are kept before they are added up.
SUMS = 16


class Accumulator:
    """Some rows of a piece: of each tile the terms, and Σ terms and Σ terms · v of all of them.

    The views of memory are made once and not for each tile: while one thread makes them the others have to wait.
    """

    def __init__(
        self,
        q: Float[Array, "G n k"],
        output: Float[Array, "G n Dv"],
        total: Float[Array, "G n 1"],
        lane: int,
        space: Space,
    ) -> None:
        self._space, self._lane, self._shape = space, lane, q.shape[:2]
        self._q, self._dtype = in_lanes(q, lane), q.dtype
        self._output, self._total = output, total
        self._more = space.array("more", output.shape, q.dtype)
        self._more_lanes = in_lanes(self._more, lane)
        self._sums, self._count = space.array("sums", (SUMS, *total.shape), q.dtype), 0
        self._views: dict[int, tuple[Array, list[Array], Array]] = {}

    def products(self, columns: Float[Array, "G k m"]) -> Float[Array, "G n m"]:
        """The queries times some keys; in the memory of the tile before."""
        width = columns.shape[2]
        views = self._views.get(width)
        if views is None:
            terms = self._space.array("scores", (*self._shape, width), self._dtype)
            views = self._views[width] = terms, in_lanes(terms, self._lane), np.ones((width, 1), self._dtype)
        self._terms, self._lanes, self._ones = views
        multiply(self._q, columns, self._lanes)
        return self._terms

    def add(self, v: Float[Array, "G m Dv"], *, first: bool) -> None:
        """The terms that stand in memory, and their products with v; ``first``: there is nothing yet to add to."""
        if self._count == SUMS:
            self.finish()
        np.matmul(self._terms, self._ones, out=self._sums[self._count])  # faster than a sum along an axis
        self._count += 1
        if first:
            multiply(self._lanes, v, in_lanes(self._output, self._lane))
            return
        multiply(self._lanes, v, self._more_lanes)
        np.add(self._output, self._more, out=self._output)

    def finish(self) -> None:
        """Add up what is kept of the tiles."""
        self._total += self._sums[0] if self._count == 1 else self._sums[: self._count].sum(0)
        self._count = 0
