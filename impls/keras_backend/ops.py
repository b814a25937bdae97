"""``keras.ops.dot_product_attention``, brought to the spec: what it does with masks and biases depends on the side.

It takes (B, T, H, D), one scale, a mask, a bias and a top-left causal mask. Every other restriction is folded into
the mask, whose building and memory are part of the cost, as are transposes, padding and copies. It casts a bias to the
dtype of q. Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attnbench.api import Capabilities, UnsupportedError
from attnbench.impls.keras_backend.allowed import Tensor, allowed_keys, only_causal, zero_without_keys

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from attnbench.api import Call

HALF = ("bfloat16", "float16")
NOT_IN_THE_MASK = "dot_product_attention computes the logits inside, and a bias or mask cannot express it"
IN_Q = "it would have to be multiplied into q, which rounds q once more"
LACKS = {
    "float64": "Keras computes it in float32, and returns that (keras.backend.result_type knows no float64)",
    "softcap": "attn_logits_soft_cap is taken on a TPU alone",
    "sinks": NOT_IN_THE_MASK,
    "slopes": "its bias has the dtype of q, which rounds the distances in 16 bits",
    "dropout": "dot_product_attention has none",
    "stages": "dot_product_attention returns the output only",
    "lse": "dot_product_attention returns the output only",
    "head_scale": IN_Q,
    "log_n": IN_Q,
    "nan_isolation": "0 · NaN is NaN in its product of weights and values",
}
CAN: dict[str, Any] = {
    "causal": True,
    "gqa": True,
    "mask": True,
    "bias": True,
    "window": True,
    "lengths": True,
    "segments": True,
    "batch_offset": True,
    "gradients": True,
    "lacks": LACKS,
}
EVERYWHERE = Capabilities(**CAN, dtypes=("float32",))
# A bias that is lower counts as this low: it takes as much weight away, and stays above what masked keys get.
LOWEST = {"float32": -2.0e38, "bfloat16": -2.0e38, "float16": -39000.0}


def masking(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """Where a mask and a bias can be given together, as in JAX and NumPy."""
    from keras import ops

    causal = only_causal(call)
    allowed = None if causal else allowed_keys(call)
    bias = None if call.bias is None else ops.where(allowed, finite(as_wide_as(q, call.bias), call.dtype), 0)
    output = attended(q, k, v, call.scale, bias=bias, mask=allowed, is_causal=causal)
    return zero_without_keys(output, allowed)


def mask_or_bias(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """Where only one of them can be given, as in PyTorch: a bias is −inf where nothing is allowed.

    So is that of a mask in float16: Keras adds −45,850 there, and a masked key is attended whose logit is that much
    larger than the others.
    """
    causal = only_causal(call)
    allowed = None if causal else allowed_keys(call)
    q, scale = positively_scaled(q, call.scale)
    if call.bias is not None:
        output = attended(q, k, v, scale, bias=minus_inf_outside(allowed, as_wide_as(q, call.bias), call.dtype))
    elif allowed is not None and call.dtype == "float16":
        output = attended(q, k, v, scale, bias=minus_inf_outside(allowed, 0.0, call.dtype))
    else:
        output = attended(q, k, v, scale, mask=allowed, is_causal=causal)
    return zero_without_keys(output, allowed)


def minus_inf_outside(
    allowed: Bool[Tensor, "#B #Hq Tq S"], bias: Float[Tensor, "#B #Hq #Tq #S"] | float, dtype: str
) -> Float[Tensor, "#B #Hq Tq S"]:
    """The bias where it is allowed, else −inf."""
    from keras import ops

    return ops.cast(ops.where(allowed, bias, -math.inf), dtype)


def positively_scaled(q: Float[Tensor, "B Hq Tq D"], scale: float) -> tuple[Float[Tensor, "B Hq Tq D"], float]:
    """The same logits by a scale above 0.

    PyTorch's flash kernel for the CPU scales what its causal mask has made −inf: that is +inf by a negative scale, and
    NaN by 0.
    """
    if scale > 0:
        return q, scale
    return (-q, -scale) if scale < 0 else (q * 0, 1.0)


def attended(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    scale: float,
    **options: Any,
) -> Float[Tensor, "B Hq Tq Dv"]:
    """The public function, between (B, H, T, D) and its (B, T, H, D)."""
    from keras import ops

    output = ops.dot_product_attention(*(x.swapaxes(1, 2) for x in (q, k, v)), scale=scale, **options)
    return output.swapaxes(1, 2)


def as_wide_as(q: Float[Tensor, "B Hq Tq D"], bias: Bool[Tensor, " ..."] | Float[Tensor, " ..."]) -> Tensor:
    """The bias, refused where Keras would round it to 16 bits."""
    from keras import backend, ops

    wanted, given = (backend.standardize_dtype(x.dtype) for x in (q, bias))
    if wanted in HALF and given != wanted:
        msg = f"Keras casts a bias to the dtype of q: {given} would be rounded to {wanted}"
        raise UnsupportedError(msg)
    return ops.cast(bias, wanted)


def finite(bias: Float[Tensor, " *axes"], dtype: str) -> Float[Tensor, " *axes"]:
    """The bias, not lower than what masked keys get, and with the gradient of its own."""
    from keras import ops

    lowest = LOWEST[dtype]
    raised = ops.stop_gradient(ops.maximum(bias, lowest) - bias)
    return bias + ops.where(bias < lowest, raised, 0)


def repeated(x: Float[Tensor, "B Hkv S n"], call: Call) -> Float[Tensor, "B Hq S n"]:
    """Each key/value head once for every query head that reads it."""
    from keras import ops

    return x if call.sizes.group == 1 else ops.repeat(x, call.sizes.group, axis=1)


def padded(x: Float[Tensor, "B H T n"], width: int) -> Float[Tensor, "B H T width"]:
    """With zeros up to a head size of ``width``: they change no score, and add columns of zeros to the output."""
    from keras import ops

    return x if x.shape[3] == width else ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, width - x.shape[3])))
