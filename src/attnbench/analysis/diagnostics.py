"""Diagnostics of attention weights and gradients, in NumPy, the last axis being the keys.

Everything is computed in float64 from what an implementation returned, so that a difference between frameworks is
theirs and not the diagnostic's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from attnbench.attention.arrays import Array

if TYPE_CHECKING:
    from attnbench.attention.call import Operands
    from attnbench.attention.spec import AttentionSpec

QUANTILES = {"p10": 0.10, "median": 0.50, "p90": 0.90}


def entropy(weights: Array) -> Array:
    """Shannon entropy of each row in nats, with 0·log 0 = 0; weights (..., S) to (...)."""
    p = np.asarray(weights, np.float64)
    return np.asarray(-np.where(p > 0, p * np.log(np.where(p > 0, p, 1.0)), 0.0).sum(-1))


def normalised_entropy(weights: Array) -> Array:
    """Entropy over log S: 1 for uniform weights, 0 for one key alone; 0 where S = 1. (..., S) to (...)."""
    keys = np.shape(weights)[-1]
    return entropy(weights) / math.log(keys) if keys > 1 else np.zeros(np.shape(weights)[:-1])


def max_weight(weights: Array) -> Array:
    """The largest weight of each row: 1/S for uniform weights, 1 when saturated. (..., S) to (...)."""
    return np.asarray(np.asarray(weights, np.float64).max(-1))


def softmax_jacobian_norm(weights: Array) -> Array:
    """Frobenius norm of diag(p) − p pᵀ, the derivative of the softmax at weights p. (..., S) to (...).

    ‖J‖² = Σ_i p_i² [(1 − p_i)² + Σ_{j≠i} p_j²]. Near saturation 1 − p_i is lost to rounding, so that for the largest
    weight both terms are summed over the others. At most ½, reached where two keys share all the weight.
    """
    p = np.asarray(weights, np.float64)
    largest = np.arange(p.shape[-1]) == p.argmax(-1)[..., None]
    others = np.where(largest, 0.0, p)
    rest, rest_squares = others.sum(-1, keepdims=True), (others**2).sum(-1, keepdims=True)
    top = p.max(-1, keepdims=True)
    without_me = np.where(largest, rest, 1.0 - p)
    squares_without_me = np.where(largest, rest_squares, top**2 + rest_squares - p**2)
    return np.asarray(np.sqrt((p**2 * (without_me**2 + squares_without_me)).sum(-1)))


def row_norms(gradient: Array) -> Array:
    """Euclidean norm of every row, (..., n) to (...); scaled first, so that tiny gradients do not underflow."""
    g = np.asarray(gradient, np.float64)
    scale = np.abs(g).max(-1, keepdims=True)
    safe = np.where(scale > 0, scale, 1.0)
    return np.asarray(np.sqrt(((g / safe) ** 2).sum(-1)) * safe[..., 0])


def quantile_fan(values: Array) -> dict[str, Array]:
    """``mean``, ``p10``, ``median``, ``p90`` over all axes but the first, that of the seeds: each (N, ...) to (N,)."""
    flat = np.asarray(values, np.float64).reshape(np.shape(values)[0], -1)
    return {"mean": flat.mean(-1)} | {name: np.quantile(flat, q, axis=-1) for name, q in QUANTILES.items()}


def loglog_slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The least-squares exponent b of y = a·xᵇ. Raises ``ValueError`` for fewer than two x, or values not above 0."""
    log_x, log_y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(set(log_x.tolist())) < 2 or not ((log_x > 0).all() and (log_y > 0).all()):  # noqa: PLR2004
        msg = f"an exponent needs two different x at least, and x and y above 0; got x = {list(x)}, y = {list(y)}"
        raise ValueError(msg)
    log_x, log_y = np.log(log_x), np.log(log_y)
    centred = log_x - log_x.mean()
    return float((centred * log_y).sum() / (centred**2).sum())


def by_seed(metrics: Mapping[str, Array], kept: Sequence[str] = ()) -> dict[str, float]:
    """Numbers for a row: the mean over seeds by name and, for the names in ``kept``, each seed as ``NAME.seed3``."""
    means = {name: float(np.mean(values)) for name, values in metrics.items()}
    return means | {f"{name}.seed{i}": float(value) for name in kept for i, value in enumerate(metrics[name])}


def entropy_floor(logit_norm: Array | float, keys: int) -> Array:
    """The least entropy, in nats, of a softmax over ``keys`` logits of this Euclidean norm; shape as given.

    It is reached where one logit stands above all the others, which are equal: Zhai et al. 2023, *Stabilizing
    Transformer Training by Preventing Attention Entropy Collapse*, theorem 3.1, with the norm of a row's logits in
    the place of the spectral norms that bound it there.
    """
    norm = np.asarray(logit_norm, np.float64)
    if keys == 1:
        return np.zeros_like(norm)
    gap = norm * math.sqrt(keys / (keys - 1))
    rest = (keys - 1) * np.exp(-gap)  # the weight of all the others over that of the highest
    return np.asarray(np.log1p(rest) + gap * rest / (1.0 + rest))


def exact_attention(spec: AttentionSpec, operands: Operands) -> tuple[Array, Array]:
    """Logits (B, Hq, Tq, S) and output (B, Hq, Tq, Dv) by the float64 oracle, of the values as they were rounded."""
    from attnbench.attention.call import prepare
    from attnbench.attention.oracle import reference

    exact = reference(*prepare(spec, operands))
    return exact.logits, exact.output


def row_errors(output: Array, exact: Array) -> Array:
    """The largest error of each row over the largest exact value of its batch entry: (B, ..., Dv) to (B, ...).

    NaN or infinite where the output is not finite.
    """
    difference = np.abs(np.asarray(output).astype(np.float64) - exact).max(axis=-1)
    largest = np.abs(exact).max(axis=tuple(range(1, exact.ndim)))
    return np.asarray(difference / largest.reshape(-1, *[1] * (difference.ndim - 1)))


def finite(values: Array) -> Array:
    """The values with 0 for those that are not finite."""
    return np.where(np.isfinite(values), values, 0.0)
