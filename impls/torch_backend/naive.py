"""``torch/naive``: the formula of the spec in plain PyTorch operations, in the order in which it is written there.

allowed → scores → cap → logits → weights → output, every stage a full (B, Hq, Tq, S) tensor. It covers the whole spec
and is differentiated by autograd. 16-bit inputs are computed in float32, float64 in float64. Legend of the shapes in
``attnbench.attention.spec``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from attnbench.api import AttentionOutput, Capabilities, implementation
from attnbench.impls.torch_backend.allowed import alibi, allowed_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jaxtyping import Bool, Float, Shaped

    from attnbench.api import Call

EVERYTHING = Capabilities(
    scores=("dot", "general", "additive", "concat", "cosine"),
    dtypes=("float64", "float32", "bfloat16", "float16"),
    devices=("cpu", "cuda"),
    causal=True,
    gqa=True,
    mask=True,
    bias=True,
    window=True,
    lengths=True,
    segments=True,
    softcap=True,
    sinks=True,
    dropout=True,
    slopes=True,
    head_scale=True,
    log_n=True,
    batch_offset=True,
    lse=True,
    stages=True,
    nan_isolation=True,
    gradients=True,
)


@implementation("torch/naive", EVERYTHING)
def attend(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend as the spec says it."""
    dtype = q.dtype
    q, k, v, call = in_wide_precision(q, k, v, call)
    allowed = allowed_keys(call, q.device)
    seen_q, seen_k, seen_v = without_the_unseen(q, k, v, allowed)

    scores = scaled_scores(seen_q, seen_k, call, allowed)
    capped = cap(scores, call)
    logits = restrict(add_biases(capped, call), allowed)
    weights, lse, alive = softmax(logits, allowed, call)
    output = weighted_sum(weights, seen_v, call, allowed)
    # Not a product with 0: an undefined cotangent of a row without keys must not come through.
    output = torch.where(alive, output, 0.0)

    if allowed is not None and (call.wants("scores") or call.wants("capped")):
        scores = scaled_scores(q, k, call, allowed)  # these two stages are defined outside A as well
        capped = cap(scores, call)
    if allowed is not None and call.wants("weights"):
        weights = torch.where(allowed, weights, 0.0)  # a row that is NaN is so in A alone
    stages = {"scores": scores, "capped": capped, "logits": logits, "weights": weights, "lse": lse}
    return AttentionOutput(output.to(dtype), **{name: a for name, a in stages.items() if call.wants(name)})


def in_wide_precision(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
) -> tuple[Float[Tensor, "B Hq Tq D"], Float[Tensor, "B Hkv S D"], Float[Tensor, "B Hkv S Dv"], Call]:
    """Every floating operand in float64 if q is float64, else in float32."""
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32

    def widen(array: Shaped[Tensor, " *axes"]) -> Shaped[Tensor, " *axes"]:
        return array.to(wide) if array.is_floating_point() else array

    return widen(q), widen(k), widen(v), call.map_arrays(widen)


# Queries and keys outside A


def without_the_unseen(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    v: Float[Tensor, "B Hkv S Dv"],
    allowed: Bool[Tensor, "#B #Hq Tq S"] | None,
) -> tuple[Float[Tensor, "B Hq Tq D"], Float[Tensor, "B Hkv S D"], Float[Tensor, "B Hkv S Dv"]]:
    """Zeros for the queries that see no key and the keys that no query sees.

    What lies outside A does not exist: a NaN there must not reach anything, and 0 · NaN would, in the backward pass.
    """
    if allowed is None:
        return q, k, v
    asks = allowed.any(-1)[..., None]
    seen = allowed.any(-2)
    if seen.shape[1] > 1:  # a key/value head is seen by all query heads of its group
        seen = seen.unflatten(1, (k.shape[1], -1)).any(2)
    return torch.where(asks, q, 0.0), torch.where(seen[..., None], k, 0.0), torch.where(seen[..., None], v, 0.0)


# Scores


def grouped(x: Shaped[Tensor, "B Hq T n"], kv_heads: int) -> Shaped[Tensor, "B Hkv group_T n"]:
    """The query heads of a group side by side, as more rows of one head: no key is copied."""
    return x.reshape(x.shape[0], kv_heads, -1, x.shape[3])


def dot(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], params: Mapping[str, Float[Tensor, " ..."]]
) -> Float[Tensor, "B Hq Tq S"]:
    """Score q·k (Vaswani 2017)."""
    del params
    return (grouped(q, k.shape[1]) @ k.mT).reshape(*q.shape[:3], k.shape[2])


def general(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], params: Mapping[str, Float[Tensor, " ..."]]
) -> Float[Tensor, "B Hq Tq S"]:
    """Score q W kᵀ (Luong 2015)."""
    return dot(q @ params["W"], k, params)


def additive(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], params: Mapping[str, Float[Tensor, " ..."]]
) -> Float[Tensor, "B Hq Tq S"]:
    """Score v·tanh(q W_q + k W_k + b) (Bahdanau 2014); holds a (B, Hq, Tq, S, Da) tensor."""
    keys = k.repeat_interleave(q.shape[1] // k.shape[1], 1)  # W_k differs between the query heads of a group
    query_part = q @ params["Wq"] + params["b"][:, None, :]
    key_part = keys @ params["Wk"]
    features = torch.tanh(query_part[:, :, :, None, :] + key_part[:, :, None, :, :])
    return torch.einsum("bhtsa,ha->bhts", features, params["v"].expand(q.shape[1], -1))


def concat(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], params: Mapping[str, Float[Tensor, " ..."]]
) -> Float[Tensor, "B Hq Tq S"]:
    """Score v·tanh(W [q; k]) (Luong 2015): additive with W = [W_q; W_k] and b = 0."""
    w, v = params["W"], params["v"]
    d = q.shape[-1]
    return additive(q, k, {"Wq": w[:, :d], "Wk": w[:, d:], "b": torch.zeros_like(v), "v": v})


def cosine(
    q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], params: Mapping[str, Float[Tensor, " ..."]]
) -> Float[Tensor, "B Hq Tq S"]:
    """Score cos(q, k) · temperature."""
    return dot(unit(q), unit(k), params) * params["temperature"][:, None, None]


def unit(x: Float[Tensor, "B H T D"]) -> Float[Tensor, "B H T D"]:
    """Normalise x / max(‖x‖, 1e-12) without overflow or underflow of the squares.

    After division by the largest element (or the floor, if that is larger) the norm is at least 1, unless x is below
    the floor; so one maximum with 1 does it, and its gradient below the floor is that of division by the floor.
    """
    floor = 1e-12
    x = x / x.detach().abs().amax(-1, keepdim=True).clamp_min(floor)
    square = (x * x).sum(-1, keepdim=True)
    return x / torch.where(square < 1.0, 1.0, square).sqrt()


SCORE: dict[str, Callable[[Tensor, Tensor, Mapping[str, Tensor]], Tensor]] = {
    "dot": dot,
    "general": general,
    "additive": additive,
    "concat": concat,
    "cosine": cosine,
}


def scaled_scores(
    q: Float[Tensor, "B Hq Tq D"],
    k: Float[Tensor, "B Hkv S D"],
    call: Call,
    allowed: Bool[Tensor, "#B #Hq Tq S"] | None,
) -> Float[Tensor, "B Hq Tq S"]:
    """The score of q_i and k_j times the scale, computed for every key, allowed or not."""
    scores = SCORE[call.spec.score](q, k, call.params)
    if call.spec.unscaled:
        return scores
    scale = call.scale if isinstance(call.scale, float) else call.scale[:, None, None]
    if call.spec.scale == "log_n":
        scale = scale * log_of_count(scores, allowed)
    return scores * scale


def log_of_count(
    scores: Float[Tensor, "B Hq Tq S"], allowed: Bool[Tensor, "#B #Hq Tq S"] | None
) -> Float[Tensor, "#B #Hq Tq 1"] | float:
    """ln(max(n_i, 2)) with n_i the size of A_i."""
    if allowed is None:
        return math.log(max(scores.shape[-1], 2))
    return allowed.sum(-1, keepdim=True).clamp_min(2).to(scores.dtype).log()


# From scores to the output


def cap(scores: Float[Tensor, "B Hq Tq S"], call: Call) -> Float[Tensor, "B Hq Tq S"]:
    """Softcap c · tanh(s / c) (Gemma 2), before bias and mask."""
    c = call.spec.softcap
    return scores if c is None else c * torch.tanh(scores / c)


def add_biases(capped: Float[Tensor, "B Hq Tq S"], call: Call) -> Float[Tensor, "B Hq Tq S"]:
    """The given bias, and ALiBi's −slope · abs(p_i − j) (Press 2021)."""
    logits = capped if call.bias is None else capped + call.bias
    return logits if call.slopes is None else logits + alibi(call, capped.device)


def restrict(
    logits: Float[Tensor, "B Hq Tq S"], allowed: Bool[Tensor, "#B #Hq Tq S"] | None
) -> Float[Tensor, "B Hq Tq S"]:
    """−inf outside A."""
    return logits if allowed is None else torch.where(allowed, logits, -math.inf)


def softmax(
    logits: Float[Tensor, "B Hq Tq S"], allowed: Bool[Tensor, "#B #Hq Tq S"] | None, call: Call
) -> tuple[Float[Tensor, "B Hq Tq S"], Float[Tensor, "B Hq Tq"], Bool[Tensor, "B Hq Tq 1"]]:
    """P, lse, and which rows have a key at all.

    Every logarithm and quotient is of a substitute where the row has nothing to sum, so that the backward pass meets
    no undefined number either. The maximum is a constant for autograd: P and lse do not depend on it.
    """
    row_max = logits.detach().amax(-1, keepdim=True)
    alive = ~row_max.isneginf()
    sink = None if call.sinks is None else call.sinks[:, None, None]
    if sink is not None:
        row_max = torch.maximum(row_max, sink.detach())
    shift = torch.where(row_max.isneginf(), 0.0, row_max)
    terms = torch.exp(logits - shift)
    if allowed is not None:
        terms = torch.where(allowed, terms, 0.0)  # also in a row whose maximum is NaN
    total = terms.sum(-1, keepdim=True)
    if sink is not None:
        total = total + torch.exp(sink - shift)
    some = total != 0
    total = torch.where(some, total, 1.0)
    lse = torch.where(some, shift + total.log(), -math.inf)
    return terms / total, lse.squeeze(-1), alive


def weighted_sum(
    weights: Float[Tensor, "B Hq Tq S"],
    v: Float[Tensor, "B Hkv S Dv"],
    call: Call,
    allowed: Bool[Tensor, "#B #Hq Tq S"] | None,
) -> Float[Tensor, "B Hq Tq Dv"]:
    """Σ over A of P · keep / (1 − dropout) · v."""
    kept = weights if call.keep is None else weights * call.keep / (1.0 - call.spec.dropout)
    if allowed is None or not (missing := v.isnan()).any():
        return values_of_groups(kept, v)
    # 0 · NaN is NaN: sum without the missing values, then make NaN what an allowed one belongs to, and, through the
    # product with a weight, the gradients of that row's logits.
    reached = values_of_groups(allowed.expand_as(weights).to(v.dtype), missing.to(v.dtype)) > 0
    output = values_of_groups(kept, torch.where(missing, 0.0, v))
    return output + torch.where(reached, math.nan, 0.0) * weights[..., :1]


def values_of_groups(
    weights: Float[Tensor, "B Hq Tq S"], v: Float[Tensor, "B Hkv S Dv"]
) -> Float[Tensor, "B Hq Tq Dv"]:
    """The weights times the values of each head's group."""
    return (grouped(weights, v.shape[1]) @ v).reshape(*weights.shape[:3], v.shape[3])
