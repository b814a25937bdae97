"""Whether a comparison can fail: what share of an array lies where its bound leaves room for a wrong answer to show.

A case that cannot fail is not covered. An element of the output is a mean of values, and whatever a kernel does wrong
with its weights, it lands about as far off as these values lie apart; so that the element tells if what agrees (within
``SLACK`` · E) is at most half their standard deviation. Elements whose values are all alike say nothing about weights
and are not counted. In other arrays a number tells if it stands out of its bound: what agrees is at most half its size.
There the numbers count by their squares, since one that is nearly 0 says little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from attnbench.agree.judge.weight_bounds import SLACK
from attnbench.attention.arrays import Array

if TYPE_CHECKING:
    from attnbench.attention.oracle import HeadReference

ROOM = 0.5  # what agrees, over what a wrong answer would be off by, up to which an element tells
ALIKE = 1e-12  # relative spread of values below which they are all the same


def spread(head: HeadReference, *, sink: bool) -> Array:
    """Standard deviation (T, Dv) of the values that a row may weigh, each counted once; a sink's is 0."""
    v = np.where(np.isfinite(head.v), head.v, 0.0)
    largest = np.abs(v).max(0, initial=0.0)
    v = v / np.where(largest > 0, largest, 1.0)  # no square vanishes
    factor = np.where(head.allowed, head.keep, 0.0)
    count = np.maximum(head.allowed.sum(1) + sink, 1)[:, None]
    mean = factor @ v / count
    squares = (factor * factor) @ (v * v) / count - mean * mean
    some = np.isfinite(head.output) & (squares > ALIKE)  # a NaN is compared exactly
    return np.asarray(np.sqrt(np.where(some, squares, 0.0)) * largest)


def of_output(expected: Array, bound: Array, spreads: Array) -> float:
    """The share of the elements of an output that tell, 1 where none could; a NaN does, which a number is not."""
    undefined = np.isnan(expected)
    counted = (spreads > 0) | undefined
    return float(((SLACK * bound <= ROOM * spreads) | undefined)[counted].mean()) if counted.any() else 1.0


def of_numbers(expected: Array, bound: Array) -> float:
    """The share of an array that stands out of its bound, by squares; 1 where it is 0 throughout."""
    size = np.abs(expected)
    largest = size.max(initial=0.0)
    if not largest < np.inf:
        size = np.where(np.isfinite(size), size, 0.0)
        largest = size.max()
    if largest == 0:
        return 1.0
    squares = (size / largest) ** 2
    return float(squares[SLACK * bound <= ROOM * size].sum() / squares.sum())
