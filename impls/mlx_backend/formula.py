"""``mlx/formula``: the formula of the spec in mlx.core operations, in the order in which it is written there.

allowed → scores → cap → logits → weights → output, every stage a full (B, Hq, Tq, S) array. It covers the whole spec
and is differentiated by ``mx.vjp``. 16-bit inputs are computed in float32, float64 in float64 as far as MLX does.
``mx.compile`` is left out: it fuses what stands between the products, and on a CPU these take nearly all of the time.
Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import mlx.core as mx

from attnbench.api import AttentionOutput, Capabilities, Precision, implementation
from attnbench.impls.mlx_backend.allowed import alibi, allowed_keys, only_where

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jaxtyping import Bool, Float, Shaped

    from attnbench.api import Call

# MLX's exponential on the CPU is one of float32, of float64 too, and 0 below float32's normal numbers. Observed with
# 0.32: it is off by what rounding its argument does (|x| unit roundoffs) and 9 more, and the hyperbolic tangent by 3.
SEEN = "mlx>=0.32,<0.33"
IN_FLOAT32 = Precision(exp_ulp=10.0, tanh_ulp=3.0, flush=True, seen=SEEN)
IN_FLOAT64 = Precision(accumulate="float64", exp_ulp=10.0, tanh_ulp=3.0, flush=True, seen=SEEN)

EVERYTHING = Capabilities(
    scores=("dot", "general", "additive", "concat", "cosine"),
    dtypes=("float64", "float32", "bfloat16", "float16"),
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
    precision={"float64": IN_FLOAT64, "float32": IN_FLOAT32, "bfloat16": IN_FLOAT32, "float16": IN_FLOAT32},
)


@implementation("mlx/formula", EVERYTHING)
def attend(
    q: Float[mx.array, "B Hq Tq D"], k: Float[mx.array, "B Hkv S D"], v: Float[mx.array, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend as the spec says it, stage by stage."""
    dtype = q.dtype
    q, k, v, call = in_wide_precision(q, k, v, call)
    allowed = allowed_keys(call)
    seen_q, seen_k, seen_v = without_the_unseen(q, k, v, allowed)

    scores = scaled_scores(seen_q, seen_k, call, allowed)
    capped = cap(scores, call)
    logits = restrict(add_biases(capped, call), allowed)
    weights, lse, alive = softmax(logits, allowed, call)
    output = weighted_sum(weights, seen_v, call, allowed)
    # Not a product with 0: an undefined cotangent of a row without keys must not come through.
    output = only_where(output, alive)

    if allowed is not None and (call.wants("scores") or call.wants("capped")):
        scores = scaled_scores(q, k, call, allowed)  # these two stages are defined outside A as well
        capped = cap(scores, call)
    if allowed is not None and call.wants("weights"):
        weights = mx.where(allowed, weights, 0.0)  # a row that is NaN is so in A alone
    stages = {"scores": scores, "capped": capped, "logits": logits, "weights": weights, "lse": lse}
    return AttentionOutput(output.astype(dtype), **{name: a for name, a in stages.items() if call.wants(name)})


def in_wide_precision(
    q: Float[mx.array, "B Hq Tq D"], k: Float[mx.array, "B Hkv S D"], v: Float[mx.array, "B Hkv S Dv"], call: Call
) -> tuple[Float[mx.array, "B Hq Tq D"], Float[mx.array, "B Hkv S D"], Float[mx.array, "B Hkv S Dv"], Call]:
    """Every floating operand in float64 if q is float64, else in float32."""
    wide = mx.float64 if q.dtype == mx.float64 else mx.float32

    def widen(array: Shaped[mx.array, " *axes"]) -> Shaped[mx.array, " *axes"]:
        return array.astype(wide) if mx.issubdtype(array.dtype, mx.floating) else array

    return widen(q), widen(k), widen(v), call.map_arrays(widen)


# Queries and keys outside A


def without_the_unseen(
    q: Float[mx.array, "B Hq Tq D"],
    k: Float[mx.array, "B Hkv S D"],
    v: Float[mx.array, "B Hkv S Dv"],
    allowed: Bool[mx.array, "#B #Hq Tq S"] | None,
) -> tuple[Float[mx.array, "B Hq Tq D"], Float[mx.array, "B Hkv S D"], Float[mx.array, "B Hkv S Dv"]]:
    """Zeros for the queries that see no key and the keys that no query sees.

    What lies outside A does not exist: a NaN there must not reach anything, and 0 · NaN would, in the backward pass.
    """
    if allowed is None:
        return q, k, v
    asks = allowed.any(-1)[..., None]
    seen = allowed.any(-2)
    if seen.shape[1] > 1:  # a key/value head is seen by all query heads of its group
        seen = seen.reshape(seen.shape[0], k.shape[1], -1, k.shape[2]).any(2)
    return only_where(q, asks), only_where(k, seen[..., None]), only_where(v, seen[..., None])


# Scores


def grouped(x: Shaped[mx.array, "B Hq T n"], kv_heads: int) -> Shaped[mx.array, "B Hkv group_T n"]:
    """The query heads of a group side by side, as more rows of one head: no key is copied."""
    return x.reshape(x.shape[0], kv_heads, -1, x.shape[3])


def dot(
    q: Float[mx.array, "B Hq Tq D"], k: Float[mx.array, "B Hkv S D"], params: Mapping[str, Float[mx.array, " ..."]]
) -> Float[mx.array, "B Hq Tq S"]:
    """Score q·k (Vaswani 2017)."""
    del params
    return (grouped(q, k.shape[1]) @ k.swapaxes(-1, -2)).reshape(*q.shape[:3], k.shape[2])


def general(
    q: Float[mx.array, "B Hq Tq D"], k: Float[mx.array, "B Hkv S D"], params: Mapping[str, Float[mx.array, " ..."]]
) -> Float[mx.array, "B Hq Tq S"]:
    """Score q W kᵀ (Luong 2015)."""
    return dot(q @ params["W"], k, params)


def additive(
    q: Float[mx.array, "B Hq Tq D"], k: Float[mx.array, "B Hkv S D"], params: Mapping[str, Float[mx.array, " ..."]]
) -> Float[mx.array, "B Hq Tq S"]:
    """Score v·tanh(q W_q + k W_k + b) (Bahdanau 2014); a (B, Hq, Tq, S, Da) array."""
    keys = mx.repeat(k, q.shape[1] // k.shape[1], axis=1)  # W_k differs between the query heads of a group
    query_part = q @ params["Wq"] + params["b"][:, None, :]
    key_part = keys @ params["Wk"]
    features = mx.tanh(query_part[:, :, :, None, :] + key_part[:, :, None, :, :])
    heads = (q.shape[1], params["v"].shape[-1])
    return (features * mx.broadcast_to(params["v"], heads)[:, None, None]).sum(-1)


def concat(
    q: Float[mx.array, "B Hq Tq D"], k: Float[mx.array, "B Hkv S D"], params: Mapping[str, Float[mx.array, " ..."]]
) -> Float[mx.array, "B Hq Tq S"]:
    """Score v·tanh(W [q; k]) (Luong 2015): additive with W = [W_q; W_k] and b = 0."""
    w, v = params["W"], params["v"]
    d = q.shape[-1]
    return additive(q, k, {"Wq": w[:, :d], "Wk": w[:, d:], "b": mx.zeros_like(v), "v": v})


def cosine(
    q: Float[mx.array, "B Hq Tq D"], k: Float[mx.array, "B Hkv S D"], params: Mapping[str, Float[mx.array, " ..."]]
) -> Float[mx.array, "B Hq Tq S"]:
    """Score cos(q, k) · temperature."""
    return dot(unit(q), unit(k), params) * params["temperature"][:, None, None]


def unit(x: Float[mx.array, "B H T D"]) -> Float[mx.array, "B H T D"]:
    """Normalise x / max(‖x‖, 1e-12) without overflow or underflow of the squares.

    After division by the largest element (or the floor, if that is larger) the norm is at least 1, unless x is below
    the floor; so one maximum with 1 does it, and its gradient below the floor is that of division by the floor.
    """
    floor = 1e-12
    x = x / mx.maximum(mx.abs(mx.stop_gradient(x)).max(-1, keepdims=True), floor)
    square = (x * x).sum(-1, keepdims=True)
    return x / mx.sqrt(mx.where(square < 1.0, 1.0, square))


SCORE: dict[str, Callable[[mx.array, mx.array, Mapping[str, mx.array]], mx.array]] = {
    "dot": dot,
    "general": general,
    "additive": additive,
    "concat": concat,
    "cosine": cosine,
}


def scaled_scores(
    q: Float[mx.array, "B Hq Tq D"],
    k: Float[mx.array, "B Hkv S D"],
    call: Call,
    allowed: Bool[mx.array, "#B #Hq Tq S"] | None,
) -> Float[mx.array, "B Hq Tq S"]:
    """The score of q_i and k_j times the scale, computed for every key, allowed or not."""
    scores = SCORE[call.spec.score](q, k, call.params)
    if call.spec.unscaled:
        return scores
    scale = call.scale if isinstance(call.scale, float) else call.scale[:, None, None]
    if call.spec.scale == "log_n":
        scale = scale * log_of_count(scores, allowed)
    return scores * scale


def log_of_count(
    scores: Float[mx.array, "B Hq Tq S"], allowed: Bool[mx.array, "#B #Hq Tq S"] | None
) -> Float[mx.array, "#B #Hq Tq 1"] | float:
    """ln(max(n_i, 2)) with n_i the size of A_i."""
    if allowed is None:
        return math.log(max(scores.shape[-1], 2))
    return mx.log(mx.maximum(allowed.sum(-1, keepdims=True), 2).astype(scores.dtype))


# From scores to the output


def cap(scores: Float[mx.array, "B Hq Tq S"], call: Call) -> Float[mx.array, "B Hq Tq S"]:
    """Softcap c · tanh(s / c) (Gemma 2), before bias and mask."""
    c = call.spec.softcap
    return scores if c is None else c * mx.tanh(scores / c)


def add_biases(capped: Float[mx.array, "B Hq Tq S"], call: Call) -> Float[mx.array, "B Hq Tq S"]:
    """The given bias, and ALiBi's −slope · abs(p_i − j) (Press 2021)."""
    logits = capped if call.bias is None else capped + call.bias
    return logits if call.slopes is None else logits + alibi(call)


def restrict(
    logits: Float[mx.array, "B Hq Tq S"], allowed: Bool[mx.array, "#B #Hq Tq S"] | None
) -> Float[mx.array, "B Hq Tq S"]:
    """−inf outside A."""
    return logits if allowed is None else mx.where(allowed, logits, -mx.inf)


def softmax(
    logits: Float[mx.array, "B Hq Tq S"], allowed: Bool[mx.array, "#B #Hq Tq S"] | None, call: Call
) -> tuple[
    Float[mx.array, "B Hq Tq S"], Float[mx.array, "B Hq Tq"], Bool[mx.array, "#B #Hq Tq 1"] | Bool[mx.array, ""]
]:
    """P, lse, and which rows have a key at all.

    Every logarithm and quotient is of a substitute where the row has nothing to sum, so that the backward pass meets
    no undefined number either. The maximum is a constant for autodiff: P and lse do not depend on it.
    """
    row_max = mx.stop_gradient(logits.max(-1, keepdims=True))
    alive = mx.array(True) if allowed is None else allowed.any(-1, keepdims=True)  # noqa: FBT003  (a value)
    sink = None if call.sinks is None else call.sinks[:, None, None]
    if sink is not None:
        row_max = mx.maximum(row_max, mx.stop_gradient(sink))
    shift = mx.where(mx.isneginf(row_max), 0.0, row_max)
    terms = mx.exp(logits - shift)
    if allowed is not None:
        terms = only_where(terms, allowed)  # also in a row whose maximum is NaN
    total = terms.sum(-1, keepdims=True)
    if sink is not None:
        total = total + mx.exp(sink - shift)
    some = total != 0
    total = mx.where(some, total, 1.0)
    lse = mx.where(some, only_where(shift + mx.log(total), some), -mx.inf)
    return terms / total, lse.squeeze(-1), alive


def weighted_sum(
    weights: Float[mx.array, "B Hq Tq S"],
    v: Float[mx.array, "B Hkv S Dv"],
    call: Call,
    allowed: Bool[mx.array, "#B #Hq Tq S"] | None,
) -> Float[mx.array, "B Hq Tq Dv"]:
    """Σ over A of P · keep / (1 − dropout) · v."""
    kept = weights if call.keep is None else weights * call.keep / (1.0 - call.spec.dropout)
    if allowed is None:
        return values_of_groups(kept, v)
    # 0 · NaN is NaN: sum without the missing values, then make NaN what an allowed one belongs to, and, through the
    # product with a weight, the gradients of that row's logits.
    missing = mx.isnan(v)
    if not missing.any().item():
        return values_of_groups(kept, v)
    output = values_of_groups(kept, mx.where(missing, 0.0, v))
    everywhere = mx.broadcast_to(allowed, weights.shape).astype(v.dtype)
    reached = values_of_groups(everywhere, missing.astype(v.dtype)) > 0
    return output + mx.where(reached, mx.nan, 0.0).astype(v.dtype) * weights[..., :1]


def values_of_groups(
    weights: Float[mx.array, "B Hq Tq S"], v: Float[mx.array, "B Hkv S Dv"]
) -> Float[mx.array, "B Hq Tq Dv"]:
    """The weights times the values of each head's group."""
    return (grouped(weights, v.shape[1]) @ v).reshape(*weights.shape[:3], v.shape[3])
