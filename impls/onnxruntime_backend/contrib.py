"""``onnxruntime/mha`` and ``onnxruntime/gqa``: Microsoft's own two operators of attention, older than ONNX's.

Both take packed arrays (B, T, H·D), as their users have them. Here arrays are (B, H, T, D), so that there is a
transposition before and behind the node, which is part of the time. Legend of the shapes in
``attnbench.attention.spec``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from attnbench.api import Capabilities, Limit, Precision, implementation
from attnbench.impls.onnxruntime_backend.allowed import added, allowed_keys, zero_where_nothing_is_allowed
from attnbench.impls.onnxruntime_backend.attention import IN_HALF, LACKS, SEEN, positive
from attnbench.impls.onnxruntime_backend.graph import (
    CONTRIB,
    cast,
    constant,
    expanded,
    numbers,
    op,
    ops,
    reshaped,
    sliced,
    transposed,
)

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.api import Call
    from attnbench.impls.onnxruntime_backend.graph import Symbol

MHA = Capabilities(
    dtypes=("float32",),
    causal=True,
    mask=True,
    bias=True,
    window=True,
    lengths=True,
    segments=True,
    slopes=True,
    batch_offset=True,
    lacks=LACKS
    | {
        "float16": "its kernel on the CPU is one of float32",
        "float64": "its kernel on the CPU is one of float32",
        "gqa": "it has one number of heads; onnxruntime/gqa has two",
        "softcap": "the node has no cap",
        "stages": "its output of Q·K is one of them, and the spec asks for all",
    },
)


@implementation("onnxruntime/mha", MHA)
def mha(
    q: Float[Symbol, "B H Tq D"], k: Float[Symbol, "B H S D"], v: Float[Symbol, "B H S Dv"], call: Call
) -> Float[Symbol, "B H Tq Dv"]:
    """Blocked (as FlashAttention) where nothing restricts the keys; else it stores the logits."""
    mask = added(q, call, allowed_keys(q, call))
    scaled, scale = positive(q, call.scale)
    sizes = call.sizes
    output = op(
        "MultiHeadAttention",
        *(packed(x) for x in (scaled, k, v)),
        None,
        None,
        mask,
        domain=CONTRIB,
        shape=(sizes.B, sizes.Tq, sizes.Hq * sizes.Dv),
        num_heads=sizes.Hq,
        scale=scale,
    )
    return zero_where_nothing_is_allowed(unpacked(output, sizes.Hq), mask)


GQA = Capabilities(
    dtypes=("float32",),
    causal=True,
    gqa=True,
    mask=True,
    bias=True,
    window=True,
    segments=True,
    slopes=True,
    softcap=True,
    sinks=True,
    alignments=("bottom_right",),
    only=("causal", "equal_head_sizes"),
    limits=(
        Limit("B", "with several queries behind a cache the node takes one batch entry", at_most=1),
        Limit("D", "the node takes no other head size", multiple_of=8),
    ),
    lacks={name: why for name, why in LACKS.items() if name != "sinks"}
    | {
        "float64": "its kernels on the CPU are of float32 and float16",
        "float16": "onnxruntime/gqa-f16 has it, which can do less",
        "lengths": "its lengths say where the queries stand as well",
        "causal": "the node has no other rule",
        "own_dv": "the node has one head size",
        "stages": "its output of Q·K is one of them, and the spec asks for all",
        "top_left": "the node's queries stand behind its cache",
        "offset": "the node's queries stand behind its cache",
    },
)


HALF_GQA = replace(
    GQA,
    dtypes=("float16",),
    bias=False,
    slopes=False,
    precision={"float16": Precision(logits="float16", p_cast="float16", seen=SEEN)},
    lacks={name: why for name, why in GQA.lacks.items() if name != "float16"}
    | {"float32": "onnxruntime/gqa has it", "bias": IN_HALF, "slopes": IN_HALF},
)


@implementation("onnxruntime/gqa", GQA)
def gqa(
    q: Float[Symbol, "B Hq Tq D"], k: Float[Symbol, "B Hkv S D"], v: Float[Symbol, "B Hkv S D"], call: Call
) -> Float[Symbol, "B Hq Tq D"]:
    """In float32."""
    return grouped(q, k, v, call)


@implementation("onnxruntime/gqa-f16", HALF_GQA)
def gqa_f16(
    q: Float[Symbol, "B Hq Tq D"], k: Float[Symbol, "B Hkv S D"], v: Float[Symbol, "B Hkv S D"], call: Call
) -> Float[Symbol, "B Hq Tq D"]:
    """The same node on float16."""
    return grouped(q, k, v, call)


def grouped(
    q: Float[Symbol, "B Hq Tq D"], k: Float[Symbol, "B Hkv S D"], v: Float[Symbol, "B Hkv S D"], call: Call
) -> Float[Symbol, "B Hq Tq D"]:
    """Keys before the first query are its cache, which it copies behind the new ones' into a new cache."""
    sizes = call.sizes
    dead = max(0, sizes.Tq - sizes.S)  # the first of more queries than keys have none
    queries, past = sizes.Tq - dead, max(0, sizes.S - sizes.Tq)
    # The node has the rules of causality and window, but does not see which rows a mask besides them leaves no key.
    restricted = added(q, call, allowed_keys(q, call, causal=False, window=False)) is not None
    mask = added(q, call, allowed_keys(q, call)) if restricted else None
    scaled, scale = positive(q, call.scale)
    if dead:
        scaled = sliced(scaled, 2, dead, sizes.Tq)
        mask = None if mask is None else sliced(mask, 2, dead, sizes.Tq)
    left = (call.spec.window or (None, None))[0]
    cache = [sliced(x, 2, 0, past) if past else None for x in (k, v)]
    new = [packed(sliced(x, 2, past, sizes.S) if past else x) for x in (k, v)]
    ends = expanded(reshaped(constant(q, sizes.S - 1, "int32"), (1,)), (sizes.B,))
    present = (q.dtype, (sizes.B, sizes.Hkv, sizes.S, sizes.D))
    outputs = ops(
        "GroupQueryAttention",
        *(packed(scaled), *new, *cache, ends, cast(numbers(q, (sizes.S,)), "int32"), None, None, None, mask),
        None if call.sinks is None else cast(call.sinks, q.dtype),
        outputs={0: (q.dtype, (sizes.B, queries, sizes.Hq * sizes.D)), 1: present, 2: present},
        domain=CONTRIB,
        num_heads=sizes.Hq,
        kv_num_heads=sizes.Hkv,
        scale=scale,
        softcap=float(call.spec.softcap or 0.0),
        local_window_size=-1 if left is None else left + 1,
    )
    output = zero_where_nothing_is_allowed(unpacked(outputs[0], sizes.Hq), mask)
    if not dead:
        return output
    zeros = expanded(constant(q, 0.0, q.dtype), (sizes.B, sizes.Hq, dead, sizes.D))
    return op("Concat", zeros, output, shape=(sizes.B, sizes.Hq, sizes.Tq, sizes.D), axis=2)


def packed(x: Float[Symbol, "B H T n"]) -> Float[Symbol, "B T Hn"]:
    """Heads side by side."""
    b, h, t, n = x.shape
    return reshaped(transposed(x, (0, 2, 1, 3)), (b, t, h * n))


def unpacked(x: Float[Symbol, "B T Hn"], heads: int) -> Float[Symbol, "B H T n"]:
    """The inverse of ``packed``."""
    b, t, width = x.shape
    return transposed(reshaped(x, (b, t, heads, width // heads)), (0, 2, 1, 3))
