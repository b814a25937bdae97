"""``torch/sdpa*``: ``torch.nn.functional.scaled_dot_product_attention``, free to choose its kernel or held to one.

PyTorch's function knows a top-left causal mask and one added or boolean mask. Every other restriction of the spec is
folded into that mask, whose building and memory are part of the cost. A held kernel that cannot take a call raises;
nothing falls back to another one. Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import pad, scaled_dot_product_attention

from attnbench.api import Capabilities, Limit, Precision, implementation
from attnbench.impls.torch_backend.allowed import alibi, allowed_keys, sees_the_end

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped

    from attnbench.api import Call

NOT_IN_THE_MASK = "scaled_dot_product_attention computes the logits inside, and an added mask cannot express it"
IN_Q = "it would have to be multiplied into q, which rounds q once more"
LACKS = {
    "softcap": NOT_IN_THE_MASK,
    "sinks": NOT_IN_THE_MASK,
    "dropout": "it draws its own mask and takes no explicit one",
    "stages": "scaled_dot_product_attention returns the output only",
    "lse": "scaled_dot_product_attention returns the output only",
    "head_scale": IN_Q,
    "log_n": IN_Q,
    "nan_isolation": "0 · NaN is NaN in its kernels",
}
HALF = ("bfloat16", "float16")

# The versions that the kernels' own arithmetic was seen with.
SEEN = "torch>=2.13,<2.14"

# Observed with PyTorch 2.13: the math kernel widens 16-bit inputs to float32 (so the default precision holds).
MATH = Capabilities(
    dtypes=("float64", "float32", *HALF),
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
    lacks=LACKS,
)


def blocked(dtype: str) -> Precision:
    """The CPU flash kernel's arithmetic (FlashAttentionKernel.cpp, PyTorch 2.13).

    Blocks of 512 keys, the last level of the chain being the blocks (up to 65,536 keys). In float32 and below the
    exponential is ``exp_u20`` (its source says 20 ULP; half of that, 20 unit roundoffs, has held in every check of
    ours; results below the smallest normal number are 0). With 16-bit inputs P is rounded before it meets V, and the
    backward pass reads the rounded output and adds to the gradients block by block, in their own 16 bits: after 32
    queries, or 64 of at least 192, 256 of at least 768; and after 512 keys.
    """
    if dtype == "float64":
        return Precision(accumulate="float64", softmax="float64", chain=640, seen=SEEN)
    low = dtype if dtype in HALF else None
    # float16 is not flushed: what underflows in float32 is far below what float16 can hold.
    stored = Precision(p_cast=low, stored_output=low, stored_sums=64 if low else None)
    return replace(stored, chain=640, exp_ulp=20.0, flush=dtype != "float16", seen=SEEN)


BLOCKED = {dtype: blocked(dtype) for dtype in ("float64", "float32", *HALF)}
FLASH = replace(
    MATH,
    devices=("cpu",),
    precision=BLOCKED,
    bias=False,
    lacks=LACKS
    | {
        "bias": "the flash kernel has no gradient of an added mask",
        "lse": "the lse of the flash kernel has no gradient",
    },
)

# On the GPU the kernels store P in the input's dtype between the two products, and O for the backward pass. Where heads
# share keys, FlashAttention stores the gradients of k and v for each query head in 16 bits before it adds them
# (``dk_expanded`` in flash_api.cpp). That is not declared: the bound has a rounding for each head of a group anyway.
GPU_PRECISION = {dtype: Precision(p_cast=dtype, stored_output=dtype, seen=SEEN) for dtype in HALF}
GPU_LACKS = LACKS | {"slopes": "its mask has the input's dtype, which rounds the distances"}
FUSED_GPU = replace(MATH, devices=("cuda",), dtypes=HALF, slopes=False, precision=GPU_PRECISION, lacks=GPU_LACKS)
NO_MASK = dict.fromkeys(
    ("mask", "bias", "window", "lengths", "segments", "slopes", "batch_offset"), "the GPU kernel takes no mask"
)
FLASH_GPU = replace(
    FUSED_GPU,
    mask=False,
    bias=False,
    window=False,
    lengths=False,
    segments=False,
    batch_offset=False,
    lacks=GPU_LACKS | NO_MASK,
    limits=(Limit("D", "the GPU kernel has head sizes up to 256", at_most=256),),
)
ON_GPU = {"cuda": replace(MATH, slopes=False, lacks=GPU_LACKS, precision=GPU_PRECISION)}


# Either kernel may be chosen: the longer chain of the one, the coarser arithmetic of the other.
CHOOSING = replace(MATH, precision={dtype: replace(precision, chain=None) for dtype, precision in BLOCKED.items()})


@implementation("torch/sdpa", CHOOSING, on=ON_GPU)
def sdpa(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """PyTorch's own choice of kernel: on the CPU flash, or math where D ≠ Dv or the bias needs a gradient."""
    return attend(q, k, v, call)


@implementation("torch/sdpa-math", MATH, on={"cuda": replace(MATH, slopes=False, lacks=GPU_LACKS)})
def sdpa_math(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """The unfused kernel, which stores the whole matrix of weights."""
    with sdpa_kernel(SDPBackend.MATH):
        return attend(q, k, v, call)


@implementation("torch/sdpa-flash", FLASH, on={"cuda": FLASH_GPU})
def sdpa_flash(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """The blocked kernel with an online softmax (Dao 2022); it takes one head size, so the smaller one is padded."""
    width, wanted = max(q.shape[3], v.shape[3]), v.shape[3]
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        q, k, v = (in_rows(padded(x, width)) for x in (q, k, v))
        return attend(q, k, v, call)[..., :wanted]


@implementation("torch/sdpa-efficient", FUSED_GPU)
def sdpa_efficient(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """The memory-efficient kernel of xFormers (Rabe and Staats 2021); on the GPU only."""
    with sdpa_kernel(SDPBackend.EFFICIENT_ATTENTION):
        return attend(in_rows(q), in_rows(k), in_rows(v), call)


@implementation("torch/sdpa-cudnn", FUSED_GPU)
def sdpa_cudnn(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """The kernel of cuDNN; on the GPU only."""
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return attend(in_rows(q), in_rows(k), in_rows(v), call)


def attend(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> Float[Tensor, "B Hq Tq Dv"]:
    """Attend with whatever kernel is allowed now.

    ``enable_gqa`` rather than expanded keys: the CPU flash kernel then shares them between the heads of a group (with
    4,096 keys, one query and groups of 4 that took 0.5 ms instead of 2.2 ms); the math kernel copies them either way.
    """
    is_causal = only_causal(call)
    allowed = None if is_causal else allowed_keys(call, q.device)
    q, scale = positively_scaled(q, call.scale)
    output = scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=mask_of(call, allowed, q),
        is_causal=is_causal,
        scale=scale,
        enable_gqa=call.sizes.group > 1,
    )
    return zero_where_nothing_is_allowed(output, allowed)


def positively_scaled(q: Float[Tensor, "B Hq Tq D"], scale: float) -> tuple[Float[Tensor, "B Hq Tq D"], float]:
    """The same logits by a scale above 0.

    The CPU flash kernel scales what its causal mask has made −inf: by a negative scale that is +inf, by 0 it is NaN.
    """
    if scale > 0:
        return q, scale
    # The product may give another order in memory where D is 1.
    return (in_rows(-q), -scale) if scale else (in_rows(q * 0), 1.0)


def only_causal(call: Call) -> bool:
    """Whether a top-left causal mask is the only restriction, so that ``is_causal`` says it all without a mask."""
    spec = call.spec
    others = (call.mask, call.bias, call.q_lengths, call.kv_lengths, call.q_segments, call.slopes)
    top_left = spec.causal and isinstance(call.offset, int) and call.offset == 0
    # With one key top left excludes nothing, and the plain call is simpler.
    return top_left and not sees_the_end(call) and spec.window is None and all(a is None for a in others)


def mask_of(
    call: Call, allowed: Bool[Tensor, "#B #Hq Tq S"] | None, q: Float[Tensor, "B Hq Tq D"]
) -> Shaped[Tensor, "#B #Hq #Tq #S"] | None:
    """A bool mask (True attends), or where there is a bias a float one with −inf outside A; ``None`` if neither.

    On the CPU a float32 mask goes with 16-bit inputs, so that distances and sums of biases are not rounded.
    """
    if call.bias is None and call.slopes is None:
        return allowed
    dtype = torch.float32 if q.device.type == "cpu" and q.element_size() < 4 else q.dtype  # noqa: PLR2004  (bytes)
    added = call.bias.to(dtype) if call.bias is not None else torch.zeros((), dtype=dtype, device=q.device)
    if call.slopes is not None:
        added = added + alibi(replace(call, slopes=call.slopes.to(dtype)), q.device)
    return added if allowed is None else torch.where(allowed, added, -math.inf)


def zero_where_nothing_is_allowed(
    output: Float[Tensor, "B Hq Tq Dv"], allowed: Bool[Tensor, "#B #Hq Tq S"] | None
) -> Float[Tensor, "B Hq Tq Dv"]:
    """PyTorch's kernels give 0 there by themselves, but an undefined cotangent would still come through."""
    return output if allowed is None else torch.where(allowed.any(-1, keepdim=True), output, 0.0)


def padded(x: Float[Tensor, "B H T n"], width: int) -> Float[Tensor, "B H T width"]:
    """With zeros up to a head size of ``width``: they change no score, and add columns of zeros to the output."""
    return x if x.shape[3] == width else pad(x, (0, width - x.shape[3]))


def in_rows(x: Float[Tensor, " *axes"]) -> Float[Tensor, " *axes"]:
    """With the elements of each row side by side: the fused kernels take no others, even where a row has but one.

    ``contiguous()`` does not help there, since it leaves the stride of an axis of one element as it is.
    """
    return x if x.stride(-1) == 1 else x.clone(memory_format=torch.contiguous_format)
