"""``torch/mha*``: the core of ``nn.MultiheadAttention``, with identities for its four projections.

``torch/mha`` is the module without its weights (``need_weights=False``), ``torch/mha-weights`` with them, which is its
default and stores the whole matrix of weights. The module projects always: by identities, whose product is exact, that
is 8 B T E² operations more, E = H·D. They are part of its time, as they are in every layer that uses it. The identity
is made once, and is part of the memory of the call that makes it.

``torch/mha-fast`` is what the module calls on its fast path, in inference where query, key and value are one tensor:
``torch._native_multi_head_attention``. The operator itself takes three tensors of one shape, and bool masks alone.
Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import multi_head_attention_forward

from attnbench.api import Capabilities, Precision, implementation
from attnbench.impls.torch_backend.allowed import alibi, allowed_keys

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Shaped

    from attnbench.api import Call

SEEN = "torch>=2.13,<2.14"
ONLY_THE_OUTPUT = "the module returns the output, and weights without a use for them here"
NOT_IN_THE_MASK = "the module computes the logits inside, and an added mask cannot express it"
IN_16_BITS = "the products with its projections would round"
EXACT = Capabilities(
    causal=True,
    mask=True,
    bias=True,
    window=True,
    lengths=True,
    segments=True,
    slopes=True,
    batch_offset=True,
    gradients=True,
    only=("default_scale", "equal_head_sizes"),
    lacks={
        "gqa": "the module has as many key as query heads",
        "softcap": NOT_IN_THE_MASK,
        "sinks": NOT_IN_THE_MASK,
        "dropout": "it draws its own mask and takes no explicit one",
        "stages": ONLY_THE_OUTPUT,
        "lse": ONLY_THE_OUTPUT,
        "bfloat16": IN_16_BITS,
        "float16": IN_16_BITS,
        "nan_isolation": "0 · NaN is NaN in its products",
        "own_scale": "the module scales by 1/√D",
        "own_dv": "the module has one head size",
        "cuda": "it was not tried on a GPU",
    },
)
# Without weights the module calls SDPA, whose flash kernel has a coarse exponential in float32.
FUSED = replace(EXACT, precision={"float32": Precision(exp_ulp=20.0, flush=True, seen=SEEN)})

ONLY_BOOL = "the fast path takes bool masks alone"
FAST = replace(
    EXACT,
    bias=False,
    slopes=False,
    gradients=False,
    only=("default_scale", "equal_head_sizes", "square"),
    lacks={
        **EXACT.lacks,
        "bias": ONLY_BOOL,
        "slopes": ONLY_BOOL,
        "gradients": "the module takes its fast path in inference alone",
        "not_square": "the operator takes queries, keys and values of one shape",
    },
)
OF_ALL_PAIRS = 2  # the operator's number for a mask of (B, H, T, T)


@implementation("torch/mha", FUSED)
def mha(
    q: Float[Tensor, "B H Tq D"], k: Float[Tensor, "B H S D"], v: Float[Tensor, "B H S D"], call: Call
) -> Float[Tensor, "B H Tq D"]:
    """Without weights: SDPA between the projections."""
    return attend(q, k, v, call, weights=False)


@implementation("torch/mha-weights", EXACT)
def mha_weights(
    q: Float[Tensor, "B H Tq D"], k: Float[Tensor, "B H S D"], v: Float[Tensor, "B H S D"], call: Call
) -> Float[Tensor, "B H Tq D"]:
    """With the weights, averaged over the heads: two products and a softmax between the projections."""
    return attend(q, k, v, call, weights=True)


@implementation("torch/mha-fast", FAST)
def mha_fast(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H T D"], v: Float[Tensor, "B H T D"], call: Call
) -> Float[Tensor, "B H T D"]:
    """By the operator of the module's fast path."""
    sizes = call.sizes
    width = sizes.Hq * sizes.D
    identity = weights_of(width, q.dtype)
    zeros = torch.zeros(3 * width, dtype=q.dtype)
    forbidden, alive = forbidden_pairs(call, q.device)
    output, _ = torch._native_multi_head_attention(  # noqa: SLF001  (the module has it by this name alone)
        side_by_side(q),
        side_by_side(k),
        side_by_side(v),
        width,
        sizes.Hq,
        identity.repeat(3, 1),
        zeros,
        identity,
        zeros[:width],
        None if forbidden is None else forbidden.expand(sizes.B, sizes.Hq, sizes.Tq, sizes.S).contiguous(),
        need_weights=False,
        mask_type=None if forbidden is None else OF_ALL_PAIRS,
    )
    split = output.unflatten(2, (sizes.Hq, sizes.D)).transpose(1, 2)
    return split if alive is None else torch.where(alive, split, 0.0)


def side_by_side(x: Float[Tensor, "B H T D"]) -> Float[Tensor, "B T HD"]:
    """The heads of a token, as the fast path takes them."""
    return x.transpose(1, 2).flatten(2)


def attend(
    q: Float[Tensor, "B H Tq D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S D"],
    call: Call,
    *,
    weights: bool,
) -> Float[Tensor, "B H Tq D"]:
    """By the function that the module is made of."""
    sizes = call.sizes
    width = sizes.Hq * sizes.D
    identity = weights_of(width, q.dtype)
    forbidden, alive = forbidden_pairs(call, q.device)
    output, _ = multi_head_attention_forward(
        packed(q),
        packed(k),
        packed(v),
        width,
        sizes.Hq,
        in_proj_weight=None,
        in_proj_bias=None,
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=identity,
        out_proj_bias=None,
        training=False,
        need_weights=weights,
        attn_mask=mask_of(call, forbidden, q),
        use_separate_proj_weight=True,
        q_proj_weight=identity,
        k_proj_weight=identity,
        v_proj_weight=identity,
    )
    split = output.unflatten(2, (sizes.Hq, sizes.D)).permute(1, 2, 0, 3)
    return split if alive is None else torch.where(alive, split, 0.0)


@lru_cache(maxsize=1)
def weights_of(width: int, dtype: torch.dtype) -> Float[Tensor, "E E"]:
    """The identity that every projection has, kept as a module keeps its weights; for one width at a time."""
    return torch.eye(width, dtype=dtype)


def packed(x: Float[Tensor, "B H T D"]) -> Float[Tensor, "T B HD"]:
    """The heads side by side, as the function takes them."""
    return x.permute(2, 0, 1, 3).flatten(2)


def forbidden_pairs(
    call: Call, device: torch.device
) -> tuple[Bool[Tensor, "#B #H Tq S"] | None, Bool[Tensor, "#B #H Tq 1"] | None]:
    """What is outside A, and which rows have a key; those without one are let attend to all, and are 0 later."""
    allowed = allowed_keys(call, device)
    if allowed is None:
        return None, None
    alive = allowed.any(-1, keepdim=True)
    return ~allowed & alive, alive


def mask_of(
    call: Call,
    forbidden: Bool[Tensor, "#B #H Tq S"] | None,
    q: Float[Tensor, "B H Tq D"],
) -> Shaped[Tensor, " ..."] | None:
    """The function's mask: bool, True forbids, or float, added."""
    if call.bias is None and call.slopes is None:
        return None if forbidden is None else of_heads(forbidden, call)
    added = torch.zeros((1, 1, 1, 1), dtype=q.dtype, device=q.device)
    if call.bias is not None:
        added = added + torch.where(call.bias == -math.inf, 0.0, call.bias).to(q.dtype)
    if call.slopes is not None:
        added = added + alibi(replace(call, slopes=call.slopes.to(q.dtype)), q.device)
    return of_heads(added if forbidden is None else torch.where(forbidden, -math.inf, added), call)


def of_heads(mask: Shaped[Tensor, "#B #H #Tq #S"], call: Call) -> Shaped[Tensor, ...]:
    """(Tq, S) where it is the same for all heads, else (B·H, Tq, S)."""
    sizes = call.sizes
    if mask.shape[:2] == (1, 1):
        return mask[0, 0].expand(sizes.Tq, sizes.S)
    return mask.expand(sizes.B, sizes.Hq, sizes.Tq, sizes.S).flatten(0, 1)
