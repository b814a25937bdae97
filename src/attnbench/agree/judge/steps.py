"""The backward pass in steps that a kernel may leave out or bend; the defaults are the spec's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnbench.attention.arrays import Array

if TYPE_CHECKING:
    from attnbench.attention.call import Sizes


@dataclass(frozen=True)
class Steps:
    """The steps of a backward pass.

    ``delta`` and ``lse`` are factors on Σ P·dP and on dlse; ``scale`` makes the factor on dS of the scale; ``cap`` says
    whether the cap is differentiated, ``keep_in_weights`` and ``keep_in_values`` whether dropout counts in dP and dV.
    ``group`` and ``reduce`` say how the gradients of k and v over the query heads of a group, and those of a bias over
    its broadcast axes, become one: their ``sum``, their ``mean``, or the ``first`` or ``last`` alone.
    """

    delta: float = 1.0
    lse: float = 1.0
    scale: Callable[[Array], Array] = lambda x: x
    cap: bool = True
    group: str = "sum"
    reduce: str = "sum"
    keep_in_weights: bool = True
    keep_in_values: bool = True

    def of_head(self, h: int, group: int) -> float:
        """How much of query head h's part is in the gradients of its key/value head."""
        alone = {"first": 0, "last": group - 1}
        if self.group in alone:
            return float(h % group == alone[self.group])
        return 1 / group if self.group == "mean" else 1.0

    def of_bias(self, shape: tuple[int, ...], sizes: Sizes, b: int, h: int, rows: Array) -> Array:
        """How much of the pairs (T, S) of one head is in the gradient of a bias of this shape."""
        full = (sizes.B, sizes.Hq, sizes.Tq, sizes.S)
        part = np.ones((len(rows), sizes.S))
        if self.reduce == "mean":
            return part * math.prod(shape) / math.prod(full)
        if self.reduce == "first":
            index = (b, h, rows[:, None], np.arange(sizes.S))
            for n, at in zip(shape, index, strict=True):
                part = part * (np.asarray(at) < n)
        return part


SPEC = Steps()
