"""Keras' attention as its users call it, for ``attnbench semantics``, on whichever side this process has."""

from __future__ import annotations

from math import isqrt, prod
from typing import TYPE_CHECKING, Any

from attnbench.api.backends import NativeKernel

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

Tensor = Any  # of PyTorch, JAX or NumPy


def dot_product_attention(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    *,
    mask: Bool[Tensor, "Tq S"] | None = None,
    bias: Float[Tensor, "Tq S"] | None = None,
    causal: bool = False,
    softcap: float | None = None,
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``keras.ops.dot_product_attention``."""
    from keras import ops

    result = ops.dot_product_attention(
        *(x.swapaxes(1, 2) for x in (q, k, v)),
        bias=None if bias is None else bias[None, None],
        mask=None if mask is None else mask[None, None],
        is_causal=causal,
        attn_logits_soft_cap=softcap,
    )
    return result.swapaxes(1, 2)


def attention(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    *,
    causal: bool = False,
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``keras.layers.Attention``, which has one head (so heads go along the batch) and by default no scale."""
    import keras

    b, h = q.shape[:2]
    if k.shape[1] != h:
        msg = "the layer has one head"
        raise NotImplementedError(msg)
    one_headed = [x.reshape(b * h, *x.shape[2:]) for x in (q * q.shape[3] ** -0.5, v, k)]
    layer = keras.layers.Attention(dtype=keras.backend.standardize_dtype(q.dtype))
    return layer(one_headed, use_causal_mask=causal).reshape(b, h, q.shape[2], v.shape[3])


def multi_head(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    *,
    mask: Bool[Tensor, "Tq S"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``keras.layers.MultiHeadAttention``, with identities for its projections."""
    import keras

    heads, d, dv = q.shape[1], q.shape[3], v.shape[3]
    if k.shape[1] != heads:
        msg = "the layer has as many key/value heads as query heads"
        raise NotImplementedError(msg)
    dtype = keras.backend.standardize_dtype(q.dtype)
    layer = keras.layers.MultiHeadAttention(
        heads, d, value_dim=dv, use_bias=False, output_shape=heads * dv, dtype=dtype
    )
    return without_projections(layer, q, k, v, mask, causal=causal)


def group_query(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    *,
    mask: Bool[Tensor, "Tq S"] | None = None,
    causal: bool = False,
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``keras.layers.GroupQueryAttention``, with identities for its projections."""
    import keras

    dtype = keras.backend.standardize_dtype(q.dtype)
    layer = keras.layers.GroupQueryAttention(q.shape[3], q.shape[1], k.shape[1], use_bias=False, dtype=dtype)
    return without_projections(layer, q, k, v, mask, causal=causal)


def without_projections(
    layer: Any,
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    mask: Bool[Tensor, "Tq S"] | None,
    *,
    causal: bool,
) -> Float[Tensor, "B Hq Tq Dv"]:
    """A layer that takes (B, T, H·D), every one of its square projections an identity."""
    from keras import ops

    given = [x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1) for x in (q, v, k)]
    layer.build(*(tuple(x.shape) for x in given))
    for variable in layer.trainable_variables:
        variable.assign(ops.reshape(ops.eye(isqrt(prod(variable.shape)), dtype=variable.dtype), variable.shape))
    result = layer(*given, attention_mask=None if mask is None else mask[None], use_causal_mask=causal)
    return result.reshape(q.shape[0], q.shape[2], q.shape[1], v.shape[3]).swapaxes(1, 2)


def kernels(side: str) -> tuple[NativeKernel, ...]:
    """Those of one side; what stands in brackets is the framework below."""
    return (
        NativeKernel(f"keras.ops.dot_product_attention ({side})", dot_product_attention, OPTIONS),
        NativeKernel(f"keras.layers.Attention ({side})", attention, ("causal",)),
        NativeKernel(f"keras.layers.MultiHeadAttention ({side})", multi_head, ("mask", "causal")),
        NativeKernel(f"keras.layers.GroupQueryAttention ({side})", group_query, ("mask", "causal")),
    )


OPTIONS = ("mask", "bias", "causal", "softcap")
TORCH, JAX, NUMPY = (kernels(side) for side in ("torch", "jax", "numpy"))
