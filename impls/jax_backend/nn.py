"""``jax/nn-*``: ``jax.nn.dot_product_attention``, compiled by XLA or handed to cuDNN.

It takes (B, T, H, D) and values as wide as the keys, aligns causal masks top left, and gives a row without keys the
mean of all values. The transposes, the padding, the mask for everything that is not a plain causal one, and the zeros
are the adapter's, and part of the cost. Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from attnbench.api import Capabilities, Limit, Precision, implementation
from attnbench.impls.jax_backend.allowed import alibi, allowed_keys, sees_the_end

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

    from attnbench.api import Call

NOT_IN_THE_MASK = "dot_product_attention computes the logits inside, and a bias or mask cannot express it"
IN_Q = "it would have to be multiplied into q, which rounds q once more"
LACKS = {
    "float64": "jax.nn computes the softmax in float32 whatever the inputs are",
    "softcap": NOT_IN_THE_MASK,
    "sinks": NOT_IN_THE_MASK,
    "dropout": "dot_product_attention has none",
    "stages": "dot_product_attention returns the output only",
    "lse": "its residual is rounded to the input's dtype and has no gradient",
    "head_scale": IN_Q,
    "log_n": IN_Q,
    "nan_isolation": "0 · NaN is NaN in its product of weights and values",
}
HALF = ("bfloat16", "float16")
LOWEST = -0.6 * float(np.finfo(np.float32).max)

# A bfloat16 product over a single column ends the process on the CPU (XLA of jax 0.10, ynn_emitter.cc: "Check failed:
# instr->opcode() == HloOpcode::kBitcast"), or is not compiled ("ALG_DOT_BF16_BF16_F32"); over two it is neither.
NARROWEST = 2

# With which versions the arithmetic below was seen, on the CPU and on a GPU.
SEEN, SEEN_ON_GPU = "jax>=0.9,<0.13", "jax>=0.10,<0.11"


def precision(seen: str) -> dict[str, Precision]:
    """Logits and softmax in float32, P rounded to the input's dtype before it meets V (nn/functions.py of jax 0.10)."""
    return {
        "float32": Precision(flush=True, seen=seen),
        "bfloat16": Precision(p_cast="bfloat16", flush=True, stored_output="bfloat16", seen=seen),
        "float16": Precision(p_cast="float16", stored_output="float16", seen=seen),
    }


XLA_ON_GPU = Capabilities(
    dtypes=("float32", *HALF),
    devices=("cpu", "cuda"),
    causal=True,
    gqa=True,
    mask=True,
    bias=True,
    window=True,
    lengths=True,
    segments=True,
    slopes=True,
    batch_offset=True,
    gradients=True,
    precision=precision(SEEN_ON_GPU),
    lacks=LACKS,
)

# With float16 the call asks for a product that the CPU cannot compile: its fallback guards the tracing, not the
# lowering, which is what fails ("precision 'F16_F16_F32' is not supported by dot_general on CPU", jax 0.10).
XLA_ON_CPU = replace(
    XLA_ON_GPU,
    dtypes=("float32", "bfloat16"),
    precision=precision(SEEN),
    lacks=LACKS | {"float16": "jax.nn asks for a float16 product that XLA cannot compile for the CPU"},
)

CUDNN = replace(
    XLA_ON_GPU,
    dtypes=HALF,
    devices=("cuda",),
    lacks=LACKS | {"float32": "cuDNN's attention takes 16-bit inputs"},
    limits=(
        Limit("D", "cuDNN's attention needs aligned head sizes", multiple_of=8),
        Limit("Dv", "cuDNN's attention needs aligned head sizes", multiple_of=8),
    ),
)


@implementation("jax/nn-xla", XLA_ON_CPU, on={"cuda": XLA_ON_GPU})
def nn_xla(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> Float[Array, "B Hq Tq Dv"]:
    """The path that XLA compiles: two products and a softmax, fused as far as XLA can."""
    return attend(q, k, v, call, "xla")


@implementation("jax/nn-cudnn", CUDNN)
def nn_cudnn(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> Float[Array, "B Hq Tq Dv"]:
    """The fused kernel of cuDNN; on the GPU only."""
    return attend(q, k, v, call, "cudnn")


def attend(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    call: Call,
    kernel: Literal["xla", "cudnn"],
) -> Float[Array, "B Hq Tq Dv"]:
    """Attend by one of the two kernels."""
    is_causal = only_causal(call)
    allowed = None if is_causal else allowed_keys(call)
    width = max(q.shape[3], v.shape[3], NARROWEST)
    with jax.default_matmul_precision("highest"):  # never TF32 for float32; the 16-bit products say their own
        output = jax.nn.dot_product_attention(
            heads_last(q, width),
            heads_last(k, width),
            held_apart(heads_last(v, width)),
            bias=finite_bias(call, allowed),
            mask=allowed,
            scale=call.scale,
            is_causal=is_causal,
            implementation=kernel,
        )
    output = output.swapaxes(1, 2)[..., : v.shape[3]]
    # By itself the row's output is the mean of all values, for its logits are all the same large negative number.
    return output if allowed is None else jnp.where(allowed.any(-1, keepdims=True), output, 0)


def heads_last(x: Float[Array, "B H T n"], width: int) -> Float[Array, "B T H width"]:
    """In the order that JAX takes, and padded with zeros, which change no score."""
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, width - x.shape[3]))).swapaxes(1, 2)


def held_apart(v: Float[Array, "B S Hkv width"]) -> Float[Array, "B S Hkv width"]:
    """On the CPU, in 16 bits: the values as an array of its own, so that XLA does not fold their transpose into P·V.

    XLA 0.12 leaves a bfloat16 product as it is where YNNPACK would take it. Once a transpose has been folded into it
    YNNPACK does not, and the product is summed in bfloat16, which is several times worse than to round P to it.
    """
    if v.dtype == jnp.float32:
        return v
    apart: Array = jax.lax.platform_dependent(v, cpu=jax.lax.optimization_barrier, default=lambda same: same)
    return apart


def only_causal(call: Call) -> bool:
    """Whether a top-left causal mask is the only restriction, so that ``is_causal`` says it all without a mask."""
    spec = call.spec
    others = (call.mask, call.bias, call.q_lengths, call.kv_lengths, call.q_segments)
    top_left = spec.causal and isinstance(call.offset, int) and call.offset == 0
    return top_left and not sees_the_end(call) and spec.window is None and all(a is None for a in others)


def finite_bias(call: Call, allowed: Bool[Array, "#B #Hq Tq S"] | None) -> Float[Array, "#B #Hq Tq S"] | None:
    """The given bias and ALiBi's in float32; 0 outside A, for −inf is the mask's work.

    Its mask is −0.7 of the largest float32 number, to which an allowed key with a lower bias would lose: such a bias
    counts as −0.6 of it, which takes as much weight away, and has the gradient of its own.
    """
    if call.bias is None and call.slopes is None:
        return None
    added = jnp.zeros((1, 1, call.sizes.Tq, call.sizes.S), jnp.float32)
    if call.bias is not None:
        added = added + call.bias.astype(jnp.float32)
    if call.slopes is not None:
        added = added + alibi(replace(call, slopes=call.slopes.astype(jnp.float32)))
    if allowed is None:
        return added
    raised = jax.lax.stop_gradient(jnp.maximum(added, LOWEST) - added)
    return jnp.where(allowed, added + jnp.where(added < LOWEST, raised, 0.0), 0.0)
