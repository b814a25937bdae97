"""``openvino/sdpa*``: OpenVINO's ``ScaledDotProductAttention``, in float32 or by a hint in less.

The operator knows a top-left causal rule *or* one mask; every other restriction of the spec is folded into the mask.
Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from attnbench.api import Capabilities, Precision, implementation
from attnbench.impls.openvino_backend.allowed import added, allowed_keys, only_causal, zero_where_nothing_is_allowed
from attnbench.impls.openvino_backend.graph import constant, expanded, ops, reshaped, traced

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Call
    from attnbench.impls.openvino_backend.graph import Traced

SEEN = "openvino>=2026.4,<2026.5"
IN_Q = "it would have to be multiplied into q, which rounds q once more"
LACKS = {
    "float64": "OpenVINO's CPU plugin computes it in float32",
    "softcap": "the operator has no cap",
    "sinks": "the operator of opset 13 has no sink",
    "dropout": "the operator has no dropout",
    "stages": "the operator returns the output only",
    "lse": "the operator returns the output only",
    "gradients": "OpenVINO infers, and has no autograd",
    "head_scale": IN_Q,
    "log_n": IN_Q,
    "nan_isolation": "0 · NaN is NaN in its products",
}
CAN = Capabilities(
    dtypes=("float32", "bfloat16", "float16"),
    causal=True,
    gqa=True,
    mask=True,
    bias=True,
    window=True,
    lengths=True,
    segments=True,
    slopes=True,
    batch_offset=True,
    lacks=LACKS,
)
BF16 = replace(
    CAN,
    dtypes=("bfloat16",),
    precision={"bfloat16": Precision(p_cast="bfloat16", seen=SEEN)},
    lacks=LACKS | {"float32": "the hint rounds q, k and v to bfloat16 first: such are to be given"},
)


@implementation("openvino/sdpa", CAN)
def sdpa(
    q: Float[Traced, "B Hq Tq D"], k: Float[Traced, "B Hkv S D"], v: Float[Traced, "B Hkv S Dv"], call: Call
) -> Float[Traced, "B Hq Tq Dv"]:
    """With the precision hint f32: 16-bit inputs are widened."""
    return attend(q, k, v, call)


@implementation("openvino/sdpa-bf16", BF16)
def sdpa_bf16(
    q: Float[Traced, "B Hq Tq D"], k: Float[Traced, "B Hkv S D"], v: Float[Traced, "B Hkv S Dv"], call: Call
) -> Float[Traced, "B Hq Tq Dv"]:
    """With the precision hint bf16."""
    q.graph.settings.precision = "bf16"
    return attend(q, k, v, call)


def attend(
    q: Float[Traced, "B Hq Tq D"], k: Float[Traced, "B Hkv S D"], v: Float[Traced, "B Hkv S Dv"], call: Call
) -> Float[Traced, "B Hq Tq Dv"]:
    """One operator. Query heads that share keys are rows of one head, or have the keys repeated where it is causal."""
    sizes, causal = call.sizes, only_causal(call)
    mask = None if causal else added(q, call, allowed_keys(q, call))
    queries, both = q, mask
    if sizes.group > 1 and causal:
        k, v = (repeated(x, sizes.group) for x in (k, v))
    elif sizes.group > 1:
        queries = reshaped(q, (sizes.B, sizes.Hkv, sizes.group * sizes.Tq, sizes.D))
        both = None if mask is None else rows_of_groups(mask, sizes.Hkv, sizes.group)
    node = ops.scaled_dot_product_attention(
        queries.output,
        k.output,
        v.output,
        None if both is None else both.output,
        constant(float(call.scale), q.dtype),
        causal=causal,
    )
    output = reshaped(traced(q, node), (sizes.B, sizes.Hq, sizes.Tq, sizes.Dv))
    return zero_where_nothing_is_allowed(output, mask)


def repeated(x: Float[Traced, "B Hkv S n"], group: int) -> Float[Traced, "B Hq S n"]:
    """Each head ``group`` times, one behind the other."""
    b, heads, s, n = x.shape
    return reshaped(expanded(reshaped(x, (b, heads, 1, s, n)), (b, heads, group, s, n)), (b, heads * group, s, n))


def rows_of_groups(mask: Float[Traced, "#B #Hq Tq S"], heads: int, group: int) -> Float[Traced, "#B #Hkv rows S"]:
    """The mask of queries whose heads are rows of the key head that they read."""
    b, own, tq, s = mask.shape
    if own == 1:
        return reshaped(expanded(reshaped(mask, (b, 1, 1, tq, s)), (b, 1, group, tq, s)), (b, 1, group * tq, s))
    return reshaped(mask, (b, heads, group * tq, s))
