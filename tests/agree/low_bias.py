"""Additive masks of low finite values: inputs for testing the bounds, and the implementations that are tried on them.

    python -m tests.agree.low_bias    # every implementation on every kind, some minutes

prints the largest ratio of correct implementations for each kind and dtype; above 1 would be a false alarm.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from attnbench.agree.judge.array import Judgement
from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands
from attnbench.attention.precision import DTYPES, LARGEST, numpy_dtype
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import resolve
from attnbench.backends.implementation import Implementation
from tests.agree.judging import judged

B, H, T, S, D, DV = 2, 2, 9, 17, 8, 4
IMPLEMENTATIONS = (
    "numpy/naive", "numpy/blocked", "torch/naive", "torch/sdpa", "torch/sdpa-math", "jax/naive", "jax/nn-xla",
)  # fmt: skip
PLAIN = AttentionSpec()


def lowest(dtype: str) -> float:
    """finfo.min."""
    return -LARGEST[dtype]


def _level(dtype: str, level: float | None) -> float:
    return lowest(dtype) if level is None else max(level, lowest(dtype))


def single(level: float | None) -> Callable[[np.random.Generator, str], Array]:
    """Some keys at a level (``None``: finfo.min), the others near 0."""

    def kind(rng: np.random.Generator, dtype: str) -> Array:
        bias = rng.standard_normal((B, H, T, S))
        return np.where(rng.random(bias.shape) < 0.3, _level(dtype, level), bias)

    return kind


def rows(level: float | None, *, noise: float = 0.0) -> Callable[[np.random.Generator, str], Array]:
    """Every third row wholly at a level, with some noise."""

    def kind(rng: np.random.Generator, dtype: str) -> Array:
        bias = rng.standard_normal((B, H, T, S))
        low = np.maximum(_level(dtype, level) + noise * rng.standard_normal(bias.shape), lowest(dtype))
        bias[:, :, ::3] = low[:, :, ::3]
        return bias

    return kind


def padding(level: float | None) -> Callable[[np.random.Generator, str], Array]:
    """(B, 1, 1, S), the last keys of each batch entry at a level; of the last entry all."""

    def kind(rng: np.random.Generator, dtype: str) -> Array:
        lengths = np.append(rng.integers(1, S, B - 1), 0)
        return np.where(np.arange(S) < lengths[:, None], 0.0, _level(dtype, level))[:, None, None, :]

    return kind


def mixed(rng: np.random.Generator, dtype: str) -> Array:
    """Levels of every magnitude in one row, and rows without a key near 0."""
    levels = np.array([_level(dtype, level) for level in (0.0, -30.0, -1e4, -1e9, None)])
    bias = levels[rng.integers(0, len(levels), (B, H, T, S))] + rng.standard_normal((B, H, T, S))
    bias[:, :, ::3] = levels[rng.integers(2, len(levels), (B, H, 3, S))]
    return np.maximum(bias, lowest(dtype))


LEVELS: tuple[float | None, ...] = (-1e4, -1e9, None)
KINDS: dict[str, Callable[[np.random.Generator, str], Array]] = {
    **{f"keys at {level or 'finfo.min'}": single(level) for level in LEVELS},
    **{f"padding at {level or 'finfo.min'}": padding(level) for level in LEVELS},
    **{f"rows at {level or 'finfo.min'}": rows(level) for level in LEVELS},
    "rows around -1e4": rows(-1e4, noise=1.0),
    "rows around -1e9": rows(-1e9, noise=1e3),
    "mixed": mixed,
}


def operands(kind: str, dtype: str, seed: int = 0, **given: Any) -> tuple[Operands, Array, Array]:
    """Operands with such a bias, and cotangents of the output and of lse."""
    rng = np.random.default_rng([seed, *kind.encode()])
    low = numpy_dtype(dtype)
    q, k, v = (rng.standard_normal((B, H, n, d)).astype(low) for n, d in ((T, D), (S, D), (S, DV)))
    bias = KINDS[kind](rng, dtype).astype(low)
    d_output = rng.standard_normal((B, H, T, DV)).astype(low)
    d_lse = rng.standard_normal((B, H, T)).astype(np.float64 if dtype == "float64" else np.float32)
    return Operands(q, k, v, bias=bias, **given), d_output, d_lse


def judged_at(
    implementation: Implementation, kind: str, dtype: str, seed: int = 0, values: float = 0.0, **given: Any
) -> dict[str, Judgement]:
    """A judgement of each array that it returns; ``values`` is the mean of the values, ``given`` further operands."""
    operands_of_kind, d_output, d_lse = operands(kind, dtype, seed, **given)
    operands_of_kind = replace(operands_of_kind, v=operands_of_kind.v + operands_of_kind.v.dtype.type(values))
    outputs = ("lse",) if implementation.capabilities.lse else ()
    cotangents = (d_output, d_lse if outputs else None) if implementation.has_gradients() else (None, None)
    backend = implementation.name.split("/")[0]
    return judged(implementation, PLAIN, operands_of_kind, cotangents[0], cotangents[1], outputs, backend)


def alarms(kinds: Iterable[str], dtypes: Iterable[str], names: Iterable[str], seeds: int = 1) -> Iterator[str]:
    """One line for each kind and dtype with the largest ratio of each implementation, without and with sinks."""
    for kind, dtype in itertools.product(kinds, dtypes):
        worst = []
        for implementation in (resolve(name)[1] for name in names):
            if dtype not in implementation.capabilities.dtypes or not implementation.capabilities.bias:
                continue
            sinks: list[dict[str, Any]] = [{}, {"sinks": np.array([0.5, -np.inf], numpy_dtype(dtype))}][
                : 1 + implementation.capabilities.sinks
            ]
            tried = [judged_at(implementation, kind, dtype, seed, **given) for seed in range(seeds) for given in sinks]
            largest = max((j for judgements in tried for j in judgements.values()), key=lambda j: j.error_ratio)
            worst.append(f"{implementation.name} {largest.error_ratio:.2f} ({largest.tensor})")
        yield f"{kind}, {dtype}: {', '.join(worst)}"


if __name__ == "__main__":
    for line in alarms(KINDS, DTYPES, IMPLEMENTATIONS, seeds=3):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
