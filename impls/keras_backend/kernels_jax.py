"""Keras on JAX: what its entry points can do there, compiled by ``jax.jit`` as ``model.predict`` compiles them.

Below ``ops`` stands ``jax.nn.dot_product_attention`` (xla). Where that raises, Keras logs it and computes a formula of
its own: so values are padded to the width of the keys, which is all that it refuses of what is declared.
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

SEEN = "keras>=3.15,<3.16; jax>=0.10,<0.11"
FLOAT32 = Precision(tanh_ulp=5.0, flush=True, seen=SEEN)
FLOAT64 = Precision(accumulate="float64", softmax="float64", exp_ulp=2.0, flush=True, seen=SEEN)

# jax.nn has logits and softmax in float32, and rounds P to the dtype of the inputs before it meets V.
BFLOAT16 = Precision(p_cast="bfloat16", flush=True, stored_output="bfloat16", seen=SEEN)
OPS = replace(
    ops.EVERYWHERE,
    dtypes=("float32", "bfloat16"),
    precision={"float32": replace(FLOAT32, tanh_ulp=2.0), "bfloat16": BFLOAT16},
    lacks=ops.LACKS | {"float16": "jax.nn asks for a float16 product that XLA cannot compile for the CPU"},
)

# Nothing in layers.Attention casts float64 here: jax.numpy keeps it, where jax_enable_x64 is on. ops.tanh does.
ATTENTION = replace(
    layers.DOT,
    dtypes=("float64", "float32"),
    precision={"float64": FLOAT64, "float32": FLOAT32},
    lacks={name: why for name, why in layers.LACKS.items() if name != "float64"},
)
ADDITIVE = replace(
    layers.ADDITIVE,
    precision={"float32": FLOAT32},
    lacks=layers.LACKS | {"float64": "keras.ops.tanh turns float64 into float32"},
)

# A bfloat16 product over a single column ends the process on the CPU, or is not compiled (XLA of jax 0.10).
NARROWEST = 2


@implementation("keras_jax/ops", OPS)
def attend_by_ops(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``keras.ops.dot_product_attention``, padded to one head size."""
    width = max(q.shape[3], v.shape[3], NARROWEST)
    wide_q, wide_k, wide_v = (ops.padded(x, width) for x in (q, k, v))
    return ops.masking(wide_q, wide_k, wide_v, call)[..., : v.shape[3]]


@implementation("keras_jax/attention", ATTENTION)
def attend_by_attention(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``keras.layers.Attention``."""
    return layers.attention(q, k, v, call, layers.new_layer)


@implementation("keras_jax/additive", ADDITIVE)
def attend_by_additive(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """``keras.layers.AdditiveAttention``."""
    return layers.additive(q, k, v, call, layers.new_layer)
