"""Keras on NumPy: what its entry points can do there. It has no gradients.

Below ``ops`` stand two ``numpy.einsum`` and a softmax; it takes as many key/value heads as query heads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.api import Precision, implementation
from attnbench.impls.keras_backend import layers, ops

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Call
    from attnbench.impls.keras_backend.allowed import Tensor

SEEN = "keras>=3.15,<3.16; numpy>=2,<3"
NONE = {"gradients": "Keras has no gradients on NumPy"}
WITHOUT_GRADIENTS: dict[str, Any] = {"gradients": False, "lacks": layers.LACKS | NONE}

OPS = replace(
    ops.EVERYWHERE,
    dtypes=("float32", "bfloat16"),
    gradients=False,
    # Keys and values are widened to float32, and the weights rounded before they are.
    precision={"bfloat16": Precision(p_cast="bfloat16", seen=SEEN)},
    lacks=ops.LACKS | NONE | {"float16": "numpy.einsum multiplies and adds float16 numbers in float16"},
)
ATTENTION, ADDITIVE = (replace(can, **WITHOUT_GRADIENTS) for can in (layers.DOT, layers.ADDITIVE))


@implementation("keras_numpy/ops", OPS)
def attend_by_ops(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``keras.ops.dot_product_attention``, with repeated key/value heads."""
    return ops.masking(q, ops.repeated(k, call), ops.repeated(v, call), call)


@implementation("keras_numpy/attention", ATTENTION)
def attend_by_attention(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``keras.layers.Attention``."""
    return layers.attention(q, k, v, call, layers.kept_layer)


@implementation("keras_numpy/additive", ADDITIVE)
def attend_by_additive(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``keras.layers.AdditiveAttention``."""
    return layers.additive(q, k, v, call, layers.kept_layer)
