"""``torch/flex``: ``torch.nn.attention.flex_attention``, compiled, with the spec's masks and scores as its functions.

What positions allow is a ``mask_mod``, whose block mask is made anew in each call and is part of its cost, where there
is more than one block. What masks, lengths and segments forbid is −inf in the ``score_mod``, since a block mask that
reads arrays cannot be made in compiled code; scale, softcap, bias and ALiBi stand there too.
Both are compiled into Inductor's C++ template for CPUs. Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from attnbench.api import Capabilities, Precision, implementation
from attnbench.impls.torch_backend.allowed import sees_the_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Shaped

    from attnbench.api import Call

SEEN = "torch>=2.13,<2.14"
INSIDE = "it is computed inside of flex_attention, between or behind what its functions see"
# Queries and keys of a block of the block mask. With fewer of either there is little to skip, and of one query or key
# Inductor writes C++ that does not compile (PyTorch 2.13: a mask of int beside one of float).
BLOCK = 128
NO_LSE = "flex_attention does not return the lse on a CPU"


def template(low: str | None) -> Precision:
    """The arithmetic of ``cpp_flex_attention_template.py`` (PyTorch 2.13).

    Scores and sums are float32; the exponential of whole vectors is ``exp_u20``, as in the flash kernel; with 16-bit
    inputs P is rounded before it meets V.
    """
    # float16 is not flushed: what underflows in float32 is far below what float16 can hold.
    return Precision(p_cast=low, exp_ulp=20.0, flush=low != "float16", seen=SEEN)


CAN = Capabilities(
    dtypes=("float32", "bfloat16", "float16"),
    causal=True,
    gqa=True,
    mask=True,
    bias=True,
    window=True,
    lengths=True,
    segments=True,
    softcap=True,
    slopes=True,
    head_scale=True,
    batch_offset=True,
    precision={"float32": template(None), "bfloat16": template("bfloat16"), "float16": template("float16")},
    lacks={
        "float64": "the template for CPUs takes float32 and 16 bits",
        "gradients": "flex_attention has no backward pass on a CPU",
        "lse": NO_LSE,
        "sinks": f"{NO_LSE}, with which a sink could be joined",
        "stages": INSIDE,
        "dropout": INSIDE,
        "log_n": "a score_mod sees one score, and not how many keys there are",
        "nan_isolation": "0 · NaN is NaN in the product with V",
    },
)


def template_on_gpu(dtype: str) -> Precision:
    """The template in Triton keeps scores and sums in float32, and rounds P to the input's dtype before it meets V."""
    return Precision(p_cast=dtype, exp_ulp=2.0, seen=SEEN)


# Forward, as on the CPU: what its functions say is the same. Its exponential is Triton's exp2.
ON_GPU = replace(
    CAN,
    devices=("cuda",),
    precision={"float32": Precision(exp_ulp=2.0, seen=SEEN)} | {d: template_on_gpu(d) for d in ("bfloat16", "float16")},
    lacks=dict(CAN.lacks)
    | {"float64": "the template in Triton takes float32 and 16 bits"}
    | dict.fromkeys(("gradients", "lse"), "what it returns on a GPU besides was never tried"),
)


@implementation("torch/flex", CAN, on={"cuda": ON_GPU}, compiled=True)
def attend(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """Attend; eager it would be another, slow implementation, and raises."""
    if not torch.compiler.is_compiling():
        msg = "torch/flex is compiled when it is bound: call it by attnbench.attend or attnbench.vjp"
        raise RuntimeError(msg)
    allows, sizes = mask_mod(call), call.sizes
    block_mask = None
    by_position = allows is not None and not reads_arrays(call) and min(sizes.Tq, sizes.S) >= BLOCK
    if allows is not None and by_position:
        block_mask = create_block_mask(allows, sizes.B, sizes.Hq, sizes.Tq, sizes.S, device=q.device.type)
    return flex_attention(
        q,
        k,
        v,
        score_mod=score_mod(call, None if by_position else allows),
        block_mask=block_mask,
        scale=call.scale if isinstance(call.scale, float) else 1.0,
        enable_gqa=sizes.group > 1,
    )


def mask_mod(call: Call) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None:
    """Whether query i of head h in batch entry b may attend key j; ``None`` where all may attend all."""
    spec, offset = call.spec, call.offset
    left, right = spec.window or (None, None)
    if spec.causal and not sees_the_end(call):
        right = 0 if right is None else min(right, 0)
    if left is None and right is None and not reads_arrays(call):
        return None

    def allows(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        allowed = j >= 0
        p = i + (offset if isinstance(offset, int) else offset[b])
        if left is not None:
            allowed = allowed & (j >= p - left)
        if right is not None:
            allowed = allowed & (j <= p + right)
        allowed = allowed & exist(call, b, i, j)
        if call.q_segments is not None:
            allowed = allowed & (call.q_segments[b, i] == call.kv_segments[b, j])
        if call.mask is not None:
            allowed = allowed & at(call.mask, b, h, i, j)
        if call.bias is not None:
            allowed = allowed & (at(call.bias, b, h, i, j) != -math.inf)
        return allowed

    return allows


def reads_arrays(call: Call) -> bool:
    """Whether what may be attended is read from arrays, and not from positions alone."""
    arrays = (call.mask, call.bias, call.kv_lengths, call.q_lengths, call.q_segments)
    return not isinstance(call.offset, int) or any(array is not None for array in arrays)


def exist(call: Call, b: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Whether the lengths of batch entry b have query i and key j."""
    there = (i >= 0) & (j >= 0)
    if call.kv_lengths is not None:
        there = there & (j < call.kv_lengths[b])
    return there if call.q_lengths is None else there & (i < call.q_lengths[b])


def score_mod(
    call: Call, allows: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None
) -> Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor] | None:
    """What becomes of a score, −inf where ``allows`` says no; ``None`` where it stays."""
    cap, scale, offset = call.spec.softcap, call.scale, call.offset
    if cap is None and call.bias is None and call.slopes is None and allows is None and isinstance(scale, float):
        return None

    def changed(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        if not isinstance(scale, float):
            score = score * scale[h].to(torch.float32)
        if cap is not None:
            score = cap * torch.tanh(score / cap)
        if call.bias is not None:
            score = score + at(call.bias, b, h, i, j).to(torch.float32)
        if call.slopes is not None:
            p = i + (offset if isinstance(offset, int) else offset[b])
            score = score - call.slopes[h].to(torch.float32) * (p - j).abs()
        return score if allows is None else torch.where(allows(b, h, i, j), score, -math.inf)

    return changed


def at(x: Shaped[Tensor, "#B #Hq #Tq #S"], b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """The element for these indices of what broadcasts to (B, Hq, Tq, S)."""
    index = tuple(0 if size == 1 else n for size, n in zip(x.shape, (b, h, i, j), strict=True))
    return x[index]
