"""``onnxruntime/attention*``: the operator ``Attention`` of ONNX, one node, its opset 24 or 23.

The node knows a top-left causal rule and one boolean or added mask; opset 24 also lengths of the keys, behind which the
queries end. Every other restriction of the spec is folded into the mask. Legend of the shapes in
``attnbench.attention.spec``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.api import AttentionOutput, Capabilities, Precision, implementation
from attnbench.impls.onnxruntime_backend.allowed import added, allowed_keys, sees_the_end
from attnbench.impls.onnxruntime_backend.graph import cast, op, ops

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Call
    from attnbench.impls.onnxruntime_backend.graph import Symbol

SEEN = "onnxruntime>=1.32,<1.33"
LENGTHS = 24  # the opset that knows them
STAGES = ("scores", "capped", "logits", "weights")  # by their qk_matmul_output_mode
NO_GRADIENTS = "onnxruntime infers; its training build is another package"
IN_Q = "it would have to be multiplied into q, which rounds q once more"
LACKS: dict[str, str] = {
    "bfloat16": "onnxruntime has no kernel for it on the CPU",
    "float64": "it has no kernel for it, and its function body takes the root of the scale in float32",
    "sinks": "the node has no sink",
    "dropout": "the node has no dropout",
    "lse": "the node returns no sums",
    "gradients": NO_GRADIENTS,
    "head_scale": IN_Q,
    "log_n": IN_Q,
    "nan_isolation": "0 · NaN is NaN in its products",
}
CAN = Capabilities(
    dtypes=("float32",),
    causal=True,
    gqa=True,
    mask=True,
    bias=True,
    window=True,
    lengths=True,
    segments=True,
    slopes=True,
    softcap=True,
    batch_offset=True,
    stages=True,
    lacks=LACKS | {"float16": "onnxruntime/attention-f16 has it, which can do less"},
)
# On x86-64 (1.32): both products in float32, the logits and P stored in float16 in between (attention.cc).
IN_HALF = "its logits are stored in float16, where a finite sum below -65,504 becomes -inf and its row 0"
HALF = replace(
    CAN,
    dtypes=("float16",),
    bias=False,
    slopes=False,
    stages=False,
    precision={"float16": Precision(logits="float16", p_cast="float16", seen=SEEN)},
    lacks=LACKS
    | {
        "float32": "onnxruntime/attention has it",
        "bias": IN_HALF,
        "slopes": IN_HALF,
        "stages": "it returns them in float16, and they are float32 at least",
    },
)


@implementation("onnxruntime/attention", CAN)
def attention(
    q: Float[Symbol, "B Hq Tq D"], k: Float[Symbol, "B Hkv S D"], v: Float[Symbol, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Opset 24: lengths of the keys, and queries that end behind them, are the node's own."""
    return attend(q, k, v, call, opset=24)


@implementation("onnxruntime/attention-f16", HALF)
def attention_f16(
    q: Float[Symbol, "B Hq Tq D"], k: Float[Symbol, "B Hkv S D"], v: Float[Symbol, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """The same node on float16."""
    return attend(q, k, v, call, opset=24)


@implementation("onnxruntime/attention-23", CAN)
def attention_23(
    q: Float[Symbol, "B Hq Tq D"], k: Float[Symbol, "B Hkv S D"], v: Float[Symbol, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Opset 23: lengths of the keys are folded into the mask."""
    return attend(q, k, v, call, opset=23)


def attend(
    q: Float[Symbol, "B Hq Tq D"],
    k: Float[Symbol, "B Hkv S D"],
    v: Float[Symbol, "B Hkv S Dv"],
    call: Call,
    *,
    opset: int,
) -> AttentionOutput:
    """One node; where stages are asked for, one for each of them, since a node returns one."""
    # What the node excludes by itself, and by a boolean mask, has the lowest number in its logits, and not -inf.
    folded = call.wants("logits")
    lengths = call.kv_lengths if opset >= LENGTHS and by_lengths(call) and not folded else None
    causal = call.spec.causal and not sees_the_end(call) and (lengths is not None or top_left(call)) and not folded
    allowed = allowed_keys(q, call, causal=not causal, lengths=lengths is None)
    adds = folded or call.bias is not None or call.slopes is not None
    mask = added(q, call, allowed) if adds else allowed
    nonpad = None if lengths is None else cast(lengths, "int64")
    settings: dict[str, Any] = {"is_causal": int(causal), "softcap": float(call.spec.softcap or 0.0)}
    scaled, settings["scale"] = positive(q, call.scale)
    operands = (scaled, k, v, mask, None, None, nonpad)
    sizes = call.sizes
    shape, square = (sizes.B, sizes.Hq, sizes.Tq, sizes.Dv), (sizes.B, sizes.Hq, sizes.Tq, sizes.S)
    outputs: dict[str, Symbol] = {}
    for mode, stage in enumerate(STAGES):
        if call.wants(stage):
            both = {0: (q.dtype, shape), 3: (q.dtype, square)}
            returned = ops("Attention", *operands, outputs=both, opset=opset, qk_matmul_output_mode=mode, **settings)
            outputs |= {"output": returned[0], stage: cast(returned[3], "float32")}
    if not outputs:
        outputs["output"] = op("Attention", *operands, shape=shape, opset=opset, **settings)
    return AttentionOutput(**outputs)


def top_left(call: Call) -> bool:
    """Whether the queries stand where the node's causal rule has them."""
    return isinstance(call.offset, int) and call.offset == 0


def by_lengths(call: Call) -> bool:
    """Whether the node's own lengths say all that the call says of positions: its queries end where its keys end."""
    if call.kv_lengths is None:
        return False
    return not call.spec.causal or (call.spec.align == "bottom_right" and call.q_lengths is None)


def positive(q: Float[Symbol, "B Hq Tq D"], scale: float) -> tuple[Float[Symbol, "B Hq Tq D"], float]:
    """Queries and a scale above 0, since the node takes no other: the sign goes to q, which is exact, and so does 0."""
    if scale > 0:
        return q, float(scale)
    return (op("Neg", q), -float(scale)) if scale < 0 else (op("Mul", q, 0.0), 1.0)
