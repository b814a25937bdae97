"""A small attention in NumPy with switches, each of which is one fault that kernels have had."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from attnbench.attention.arrays import Array

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def arrays(seed: int = 0, dtype: Any = np.float32, **changes: int) -> dict[str, Any]:
    """q, k and v with grouped heads, more keys than queries, and another Dv than D."""
    sizes = {"B": 2, "Hq": 4, "Hkv": 2, "Tq": 24, "S": 40, "D": 16, "Dv": 12} | changes
    b, hq, hkv, tq, s, d, dv = sizes.values()
    rng = np.random.default_rng(seed)
    shapes = {"q": (b, hq, tq, d), "k": (b, hkv, s, d), "v": (b, hkv, s, dv)}
    return {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def low(array: Array) -> Array:
    """Through bfloat16 and back."""
    return array.astype(BFLOAT16).astype(array.dtype)


def attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    causal: bool = False,
    corner: str = "top_left",
    scale: float | None = None,
    window: tuple[int, int] | None = None,
    softcap: float | None = None,
    mask: Array | None = None,
    bias: Array | None = None,
    kv_lengths: Array | None = None,
    sinks: Array | None = None,
    tiled: bool = False,
    bias_scaled: bool = False,
    cap_last: bool = False,
    low_logits: bool = False,
    low_weights: bool = False,
) -> Array:
    """(B, Hq, Tq, Dv) in the dtype of q; computed in float32 or wider. What is left out is a fault for whoever asks."""
    wide = np.float64 if q.dtype == np.float64 else np.float32
    group, (tq, s) = q.shape[1] // k.shape[1], (q.shape[2], k.shape[2])
    heads = np.arange(q.shape[1]) % k.shape[1] if tiled else np.arange(q.shape[1]) // group
    q32: Any
    q32, k32, v32 = q.astype(wide), k.astype(wide)[:, heads], v.astype(wide)[:, heads]
    factor = wide(q.shape[-1] ** -0.5 if scale is None else scale)
    scores = (q32 @ k32.swapaxes(-1, -2)) * factor
    if softcap is not None and not cap_last:
        scores = softcap * np.tanh(scores / softcap)
    if bias is not None:
        scores = scores + bias * (factor if bias_scaled else 1)
    scores = low(scores) if low_logits else scores
    position = np.arange(tq)[:, None] + (s - tq if corner == "bottom_right" else 0)
    key = np.arange(s)
    allowed = np.ones((1, 1, tq, s), bool)
    if causal:
        allowed = allowed & (key <= position)
    if window is not None:
        allowed = allowed & (key >= position - window[0]) & (key <= position + window[1])
    if mask is not None:
        allowed = allowed & mask
    if kv_lengths is not None:
        allowed = allowed & (key < kv_lengths[:, None, None, None])
    if softcap is not None and cap_last:
        scores = softcap * np.tanh(np.where(allowed, scores, -1e9) / softcap)
        allowed = np.ones_like(allowed)
    return _weighed(np.where(allowed, scores, -np.inf), v32, sinks, low_weights=low_weights).astype(q.dtype)


def _weighed(logits: Array, v: Array, sinks: Array | None, *, low_weights: bool) -> Array:
    sink = np.full((1, 1, 1, 1), -np.inf) if sinks is None else sinks[None, :, None, None]
    top = np.maximum(logits.max(-1, keepdims=True), sink)
    terms = np.exp(logits - np.where(np.isneginf(top), 0, top))
    total = terms.sum(-1, keepdims=True) + np.exp(sink - np.where(np.isneginf(top), 0, top))
    weights = (terms / np.where(total == 0, 1, total)).astype(v.dtype)
    return np.asarray((low(weights) if low_weights else weights) @ v)
