"""Keras on PyTorch: what its entry points can do there.

Below ``ops`` stands ``torch.nn.functional.scaled_dot_product_attention``: a mask becomes an added one, beside which
there is no bias, and key/value heads are repeated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from attnbench.api import Precision, implementation
from attnbench.impls.keras_backend import layers, ops

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Call
    from attnbench.impls.keras_backend.allowed import Tensor

# The arithmetic is PyTorch's, and which kernels of it are reached is Keras' doing.
SEEN = "keras>=3.15,<3.16; torch>=2.13,<2.14"


def of_sdpa(dtype: str) -> Precision:
    """Either of the CPU's kernels, flash or math: the longer chain of the one, the coarser arithmetic of the other.

    FlashAttentionKernel.cpp of PyTorch 2.13: an exponential of 20 unit roundoffs whose small results are 0; with 16-bit
    inputs P is rounded before it meets V, the backward pass reads the rounded output and adds to 16-bit gradients.
    """
    low = dtype if dtype in ops.HALF else None
    rounded = Precision(p_cast=low, stored_output=low, stored_sums=64 if low else None)
    return replace(rounded, exp_ulp=20.0, flush=dtype != "float16", seen=SEEN)


OPS = replace(
    ops.EVERYWHERE,
    dtypes=("float32", *ops.HALF),
    precision={dtype: of_sdpa(dtype) for dtype in ("float32", *ops.HALF)},
)
ATTENTION, ADDITIVE = layers.DOT, layers.ADDITIVE


@implementation("keras_torch/ops", OPS)
def attend_by_ops(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``keras.ops.dot_product_attention``."""
    return ops.mask_or_bias(q, k, v, call)


@implementation("keras_torch/attention", ATTENTION)
def attend_by_attention(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``keras.layers.Attention``."""
    return layers.attention(q, k, v, call, layers.kept_layer)


@implementation("keras_torch/additive", ADDITIVE)
def attend_by_additive(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``keras.layers.AdditiveAttention``."""
    return layers.additive(q, k, v, call, layers.kept_layer)
