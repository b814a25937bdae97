"""``openvino/sdpa``: OpenVINO's ``ScaledDotProductAttention``, in float32. Shapes as in ``attnbench.attention.spec``.

The precision hint bf16 is not offered: it rounds float32 inputs first, and where bfloat16 is given errs by more than a
P in bfloat16 explains. The hint f16 computes in float32 on x86-64 without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnbench.api import Capabilities, implementation
from attnbench.impls.openvino_backend.graph import cast, constant, expanded, ops, reshaped, traced
from attnbench.impls.openvino_backend.masks import added, by_head, sees_the_end, without_dead_rows

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Call
    from attnbench.impls.openvino_backend.graph import Traced

IN_Q = "it would have to be multiplied into q, which rounds q once more"
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
    lacks={
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
    },
)


@implementation("openvino/sdpa", CAN)
def sdpa(
    q: Float[Traced, "B Hq Tq D"], k: Float[Traced, "B Hkv S D"], v: Float[Traced, "B Hkv S Dv"], call: Call
) -> Float[Traced, "B Hq Tq Dv"]:
    """With the precision hint f32. Query heads that share keys are rows of one head, or where causal have them copied.

    The operator itself has one number of heads. It knows the top-left causal rule; everything else is an added mask.
    16-bit inputs are converted in front of it, and its float32 output is rounded once it is there.
    """
    sizes = call.sizes
    causal = by_itself(call)
    mask = None if causal else added(q, call)
    q, k, v = (cast(x, "float32") for x in (q, k, v))
    if mask is not None:
        mask, q.graph.dead = without_dead_rows(mask)
    queries, stacked = q, sizes.group > 1 and not causal
    if stacked:
        queries = reshaped(q, (sizes.B, sizes.Hkv, sizes.group * sizes.Tq, sizes.D))
    elif sizes.group > 1:
        k, v = (repeated(x, sizes.group) for x in (k, v))
    mask = by_head(mask, call, stacked=stacked)
    scale = constant(float(call.scale), q.dtype)
    arrays = (queries.output, k.output, v.output, None if mask is None else mask.output)
    node = ops.scaled_dot_product_attention(*arrays, scale, causal=causal)
    return reshaped(traced(q, node), (sizes.B, sizes.Hq, sizes.Tq, sizes.Dv))


def by_itself(call: Call) -> bool:
    """Whether the operator's own causal rule is all that restricts: it reads no mask beside it."""
    others = (call.bias, call.slopes, call.mask, call.q_lengths, call.kv_lengths, call.q_segments, call.spec.window)
    plain = all(given is None for given in others) and isinstance(call.offset, int) and call.offset == 0
    return call.spec.causal and plain and not sees_the_end(call)


def repeated(x: Float[Traced, "B Hkv S n"], group: int) -> Float[Traced, "B Hq S n"]:
    """Each head ``group`` times, one behind the other."""
    b, heads, s, n = x.shape
    return reshaped(expanded(reshaped(x, (b, heads, 1, s, n)), (b, heads, group, s, n)), (b, heads * group, s, n))
