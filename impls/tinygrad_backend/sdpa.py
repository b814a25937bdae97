"""``tinygrad/sdpa``: ``Tensor.scaled_dot_product_attention``, captured by TinyJit.

It knows one scale, a top-left causal mask, and one added or boolean mask. Every other restriction of the spec is folded
into that mask, whose building is part of the cost. Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tinygrad.dtype import dtypes
from tinygrad.tensor import Tensor

from attnbench.api import Capabilities, Limit, Precision, implementation
from attnbench.impls.tinygrad_backend.allowed import alibi, allowed_keys, sees_the_end

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped

    from attnbench.api import Call

NOT_IN_THE_MASK = "scaled_dot_product_attention computes the logits inside, and an added mask cannot express it"
IN_Q = "it would have to be multiplied into q, which rounds q once more"
NO_BF16 = "tinygrad writes __bf16 in C, which clang 14 does not know on x86; nothing was tried with a later one"
# Observed with 0.14: e^x is 2^(x / ln 2), off by what rounding the argument does (|x| unit roundoffs) and 2 more.
SEEN = "tinygrad>=0.14,<0.15"

CAN = Capabilities(
    dtypes=("float64", "float32"),
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
    precision={
        "float64": Precision(accumulate="float64", softmax="float64", exp_ulp=3.0, seen=SEEN),
        "float32": Precision(exp_ulp=3.0, seen=SEEN),
    },
    lacks={
        "bfloat16": NO_BF16,
        "own_scale": "scaled_dot_product_attention divides by the root of D",
        "softcap": NOT_IN_THE_MASK,
        "sinks": NOT_IN_THE_MASK,
        "dropout": "it draws its own mask and takes no explicit one",
        "stages": "scaled_dot_product_attention returns the output only",
        "lse": "scaled_dot_product_attention returns the output only",
        "head_scale": IN_Q,
        "log_n": IN_Q,
        "nan_isolation": "0 · NaN is NaN in its product of weights and values",
    },
    only=("default_scale",),
    limits=(
        Limit("S", "with one key tinygrad makes the softmax 1 without looking, so that a NaN is lost", at_least=2),
    ),
)


@implementation("tinygrad/sdpa", CAN)
def sdpa(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """Attend; a row without keys would be NaN, so it attends to all keys and is made 0."""
    causal = only_causal(call)
    allowed = None if causal else allowed_keys(call)
    alive = None if allowed is None else allowed.any(-1, keepdim=True)
    output: Tensor = q.scaled_dot_product_attention(
        k,
        v,
        attn_mask=mask_of(call, allowed, alive, q),
        is_causal=causal,
        enable_gqa=call.sizes.group > 1,
    )
    return output if alive is None else alive.where(output, 0)


def only_causal(call: Call) -> bool:
    """Whether a top-left causal mask is the only restriction, so that ``is_causal`` says it all without a mask."""
    spec = call.spec
    others = (call.mask, call.bias, call.q_lengths, call.kv_lengths, call.q_segments, call.slopes)
    top_left = spec.causal and isinstance(call.offset, int) and call.offset == 0
    return top_left and not sees_the_end(call) and spec.window is None and all(a is None for a in others)


def mask_of(
    call: Call,
    allowed: Bool[Tensor, "#B #Hq Tq S"] | None,
    alive: Bool[Tensor, "#B #Hq Tq 1"] | None,
    q: Float[Tensor, "B Hq Tq D"],
) -> Shaped[Tensor, "#B #Hq #Tq #S"] | None:
    """A bool mask (True attends), or where there is a bias a float one with −inf outside A; ``None`` if neither."""
    lifted = None if allowed is None or alive is None else allowed | alive.logical_not()
    if call.bias is None and call.slopes is None:
        return lifted
    wide = dtypes.float64 if q.dtype == dtypes.float64 else dtypes.float32
    added = Tensor.zeros(1, 1, 1, 1, dtype=wide, device="CPU") if call.bias is None else call.bias.cast(wide)
    if call.slopes is not None:
        added = added + alibi(call).cast(wide)
    if allowed is None or alive is None:
        return added
    return allowed.where(added, alive.where(-math.inf, 0.0))
