"""What Keras computes on drawn operands, written to a folder: ``python -m tests.differential.produce_keras DIR``.

A process of its own, because Keras reads its backend from the environment when it is imported.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from attnbench.attention.arrays import Array

B, TQ, S, D, DV, HEADS = 2, 5, 7, 8, 6, 3


def main(folder: Path) -> None:
    """Write ``ops.npz`` and ``additive.npz``."""
    os.environ.update(KERAS_BACKEND="numpy", KERAS_HOME=str(folder))
    found: dict[str, dict[str, Any]] = {"ops": ops(), "additive": additive()}
    for name, arrays in found.items():
        np.savez(folder / f"{name}.npz", **arrays)


def draw(*shapes: tuple[int, ...]) -> list[Array]:
    """N(0, 1), float32."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


def ops() -> dict[str, Array]:
    """``keras.ops.dot_product_attention``, which has (B, T, H, D); here (B, H, T, D)."""
    from keras import ops as keras_ops

    q, k, v, bias = draw((B, HEADS, TQ, D), (B, HEADS, S, D), (B, HEADS, S, DV), (B, HEADS, TQ, S))
    mask = np.random.default_rng(1).random((B, HEADS, TQ, S)) < 0.6
    mask[..., 0] = True  # every row has a key
    dead = mask.copy()
    dead[0, :, 2] = False

    def attend(**options: Any) -> Array:
        packed = (x.swapaxes(1, 2) for x in (q, k, v))
        return np.asarray(keras_ops.dot_product_attention(*packed, **options)).swapaxes(1, 2)

    return {
        "q": q,
        "k": k,
        "v": v,
        "bias": bias,
        "mask": mask,
        "dead": dead,
        "plain": attend(),
        "scaled": attend(scale=0.3),
        "causal": attend(is_causal=True),
        "masked": attend(mask=mask),
        "biased": attend(bias=bias),
        "everything": attend(mask=mask, bias=bias, is_causal=True, scale=0.3),
        "dead_row": attend(mask=dead),
    }


def additive() -> dict[str, Array]:
    """``keras.layers.AdditiveAttention``, which has no heads: scores Σ w·tanh(q + k)."""
    import keras

    q, k, v, w = draw((B, TQ, D), (B, S, D), (B, S, DV), (D,))
    lengths = np.array([7, 4])
    keys = np.arange(S) < lengths[:, None]
    layer = keras.layers.AdditiveAttention()
    layer.build([q.shape, v.shape, k.shape])
    layer.scale.assign(w)

    def attend(mask: list[Array | None] | None = None, **options: Any) -> Array:
        return np.asarray(layer([q, v, k], mask=mask, **options))

    dead = keys.copy()
    dead[0] = False
    return {
        "q": q,
        "k": k,
        "v": v,
        "w": w,
        "lengths": lengths,
        "plain": attend(),
        "masked": attend([None, keys]),
        "causal": attend(use_causal_mask=True),
        "everything": attend([None, keys], use_causal_mask=True),
        "dead": attend([None, dead]),
        "unscaled": np.asarray(keras.layers.AdditiveAttention(use_scale=False)([q, v, k])),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]))
