"""Draws for the analytic ablations: components of mean 0 and variance 1, one batch entry for each seed.

The seeds lie along the batch axis, so that one call of an implementation answers for all of them; each has random
streams of its own, one for each operand's name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands
from attnbench.attention.inputs import stream
from attnbench.attention.precision import numpy_dtype
from attnbench.attention.spec import Scale
from attnbench.errors import UsageError, not_one_of

Drawer = Callable[[np.random.Generator, tuple[int, ...]], Array]

# Eight paired seeds: exact paired tests have a floor of 2/2ⁿ, and five could never reach .05.
SEEDS = tuple(range(8))

STANDARDISED: dict[str, Drawer] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "uniform": lambda rng, shape: rng.uniform(-math.sqrt(3.0), math.sqrt(3.0), shape),
    "rademacher": lambda rng, shape: 2.0 * rng.integers(0, 2, shape) - 1.0,
}

# The scales that ablations compare, by the names that their axes and reports use, as ``AttentionSpec.scale``.
SCALES: dict[str, Scale] = {"none": "none", "1/sqrt(d)": None, "1/d": "1/d"}


def named_scale(name: str) -> Scale:
    """The ``AttentionSpec.scale`` of a level of an ablation's ``scale`` axis; ``UsageError`` for another name."""
    if name not in SCALES:
        raise UsageError(not_one_of("scale", name, SCALES))
    return SCALES[name]


def standardised(
    distribution: str, name: str, shape: tuple[int, ...], seeds: Sequence[int] = SEEDS, dtype: str = "float64"
) -> Array:
    """An array (len(seeds), *shape) of independent components of mean 0 and variance 1, a stream for each seed."""
    if distribution not in STANDARDISED:
        raise UsageError(not_one_of("distribution", distribution, STANDARDISED))
    drawer = STANDARDISED[distribution]
    return np.stack([drawer(stream(seed, name), shape) for seed in seeds]).astype(numpy_dtype(dtype))


def seeded_operands(
    *,
    heads: int,
    queries: int,
    keys: int,
    d: int,
    values: int = 1,
    distribution: str = "normal",
    seeds: Sequence[int] = SEEDS,
    dtype: str = "float64",
) -> Operands:
    """q (N, heads, queries, d), k (N, heads, keys, d) and v (N, heads, keys, values), N being the number of seeds."""

    def drawn(name: str, rows: int, columns: int) -> Array:
        return standardised(distribution, name, (heads, rows, columns), seeds, dtype)

    return Operands(q=drawn("q", queries, d), k=drawn("k", keys, d), v=drawn("v", keys, values))


def as_dtype(array: Array, dtype: str) -> Array:
    """The array rounded to a dtype by its name."""
    return array.astype(numpy_dtype(dtype))


def with_zero_bias(operands: Operands) -> Operands:
    """The same with a bias of zeros, (N, heads, queries, keys): it changes nothing, and its gradient is dL/dlogits."""
    q, k = operands.q, operands.k
    return replace(operands, bias=np.zeros((*q.shape[:3], k.shape[2]), q.dtype))
