"""``mlx/sdpa``: ``mlx.core.fast.scaled_dot_product_attention``, as MLX's own models call it.

On the CPU it is composed of plain operations, in the input's dtype but for the softmax, and a causal mask stands at the
bottom right. Every other restriction of the spec is folded into the mask, whose building is part of the cost. Legend of
the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import mlx.core as mx

from attnbench.api import Capabilities, Precision, implementation
from attnbench.impls.mlx_backend.allowed import alibi, allowed_keys, only_where, sees_the_end

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped

    from attnbench.api import Call

NOT_IN_THE_MASK = "scaled_dot_product_attention computes the logits inside, and an added mask cannot express it"
IN_Q = "it would have to be multiplied into q, which rounds q once more"
ROUNDED_Q = "MLX multiplies the scale into q in 16 bits, which rounds q once more"
# Read in MLX's fast.cpp and observed with 0.32; the exponential as in formula.py.
SEEN = "mlx>=0.32,<0.33"

CAN = Capabilities(
    dtypes=("float64", "float32"),
    causal=True,
    gqa=True,
    mask=True,
    bias=True,
    window=True,
    lengths=True,
    segments=True,
    sinks=True,
    slopes=True,
    batch_offset=True,
    gradients=True,
    precision={
        "float64": Precision(accumulate="float64", exp_ulp=10.0, flush=True, seen=SEEN),
        "float32": Precision(exp_ulp=10.0, flush=True, seen=SEEN),
    },
    lacks={
        "bfloat16": ROUNDED_Q,
        "float16": ROUNDED_Q,
        "softcap": NOT_IN_THE_MASK,
        "dropout": "scaled_dot_product_attention has none",
        "stages": "scaled_dot_product_attention returns the output only",
        "lse": "scaled_dot_product_attention returns the output only",
        "head_scale": IN_Q,
        "log_n": IN_Q,
        "nan_isolation": "0 · NaN is NaN in its product of weights and values",
    },
)


@implementation("mlx/sdpa", CAN)
def sdpa(
    q: Float[mx.array, "B Hq Tq D"], k: Float[mx.array, "B Hkv S D"], v: Float[mx.array, "B Hkv S Dv"], call: Call
) -> Float[mx.array, "B Hq Tq Dv"]:
    """Attend. A bool mask is −(the largest number) inside, so that a row without keys is the mean of all values."""
    causal = only_causal(call)
    allowed = None if causal else allowed_keys(call)
    output = mx.fast.scaled_dot_product_attention(
        q,
        k,
        v,
        scale=call.scale,
        mask="causal" if causal else mask_of(call, allowed, q),
        sinks=None if call.sinks is None else call.sinks.astype(q.dtype),
    )
    return output if allowed is None else only_where(output, allowed.any(-1, keepdims=True))


def only_causal(call: Call) -> bool:
    """Whether a bottom-right causal mask is the only restriction, so that "causal" says it all without a mask."""
    spec, sizes = call.spec, call.sizes
    others = (call.mask, call.bias, call.q_lengths, call.kv_lengths, call.q_segments, call.slopes)
    bottom_right = isinstance(call.offset, int) and call.offset == sizes.S - sizes.Tq >= 0
    plain = spec.window is None and all(a is None for a in others)
    return spec.causal and bottom_right and plain and not sees_the_end(call)


def mask_of(
    call: Call, allowed: Bool[mx.array, "#B #Hq Tq S"] | None, q: Float[mx.array, "B Hq Tq D"]
) -> Shaped[mx.array, "#B #Hq #Tq #S"] | None:
    """A bool mask (True attends), or where there is a bias a float one with −inf outside A; ``None`` if neither.

    A row without keys keeps its biases: −inf everywhere would make it NaN.
    """
    if call.bias is None and call.slopes is None:
        return allowed
    added = mx.zeros((1, 1, 1, 1), q.dtype) if call.bias is None else call.bias.astype(q.dtype)
    if call.slopes is not None:
        added = added + alibi(call).astype(q.dtype)
    if allowed is None:
        return added
    alive = allowed.any(-1, keepdims=True)
    return mx.where(allowed, added, mx.where(alive, -math.inf, 0.0).astype(q.dtype))
