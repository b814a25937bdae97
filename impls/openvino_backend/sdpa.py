"""``openvino/sdpa``: OpenVINO's ``ScaledDotProductAttention``, in float32. Shapes as in ``attnbench.attention.spec``.

The operator takes a mask too, and none is offered here: a row that it leaves no key is NaN, and an operator behind the
attention that would make it 0 has wrong outputs (OpenVINO 2026.4.1 on x86-64, such as Tq = 63, S = 64, D = 192; right
with D = 64). The precision hint bf16 is not offered either: it rounds float32 inputs first, and where bfloat16 is given
errs by more than a P in bfloat16 explains. The hint f16 computes in float32 on x86-64 without a word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnbench.api import Capabilities, implementation
from attnbench.impls.openvino_backend.graph import constant, expanded, ops, reshaped, traced

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Call
    from attnbench.impls.openvino_backend.graph import Traced

IN_Q = "it would have to be multiplied into q, which rounds q once more"
NO_MASK = "a row that a mask leaves no key is NaN, and what would make it 0 behind the operator errs (OpenVINO 2026.4)"
MASKS = ("mask", "bias", "window", "lengths", "segments", "slopes", "batch_offset")
CAN = Capabilities(
    dtypes=("float32",),
    causal=True,
    gqa=True,
    alignments=("top_left",),
    lacks=dict.fromkeys((*MASKS, "bottom_right", "offset"), NO_MASK)
    | {
        "float64": "OpenVINO's CPU plugin computes it in float32",
        "bfloat16": "the plugin converts it behind the operator, where its outputs err (OpenVINO 2026.4)",
        "float16": "the plugin converts it behind the operator, where its outputs err (OpenVINO 2026.4)",
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

    The operator itself has one number of heads.
    """
    sizes, causal = call.sizes, call.spec.causal
    queries = q
    if sizes.group > 1 and causal:
        k, v = (repeated(x, sizes.group) for x in (k, v))
    elif sizes.group > 1:
        queries = reshaped(q, (sizes.B, sizes.Hkv, sizes.group * sizes.Tq, sizes.D))
    scale = constant(float(call.scale), q.dtype)
    arrays = (queries.output, k.output, v.output)
    node = ops.scaled_dot_product_attention(*arrays, None, scale, causal=causal)
    return reshaped(traced(q, node), (sizes.B, sizes.Hq, sizes.Tq, sizes.Dv))


def repeated(x: Float[Traced, "B Hkv S n"], group: int) -> Float[Traced, "B Hq S n"]:
    """Each head ``group`` times, one behind the other."""
    b, heads, s, n = x.shape
    return reshaped(expanded(reshaped(x, (b, heads, 1, s, n)), (b, heads, group, s, n)), (b, heads * group, s, n))
