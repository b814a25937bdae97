"""``numpy/naive``: attention as the spec writes it, one array per stage, the whole T × S matrix in memory.

16-bit inputs are widened to float32, everything is computed in float32 (float64 for float64), and the output is
rounded back. Gradients are derived by hand. Read it top to bottom: allowed set, scores, cap, softmax, weighted sum,
and then the same backwards.

A new array is made ``like`` one of the operands: of arrays of CuPy NumPy's functions make such arrays, and so this file
is ``cupy/naive`` too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.api import Array, AttentionOutput, Call, Capabilities, implementation

from .scores import SCORES, Gradients

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped


@dataclass(frozen=True)
class Forward:
    """What the backward pass reads again."""

    allowed: Bool[Array, "#B #Hq #Tq #S"]
    scale: Float[Array, "#B #Hq #Tq 1"] | float
    scores: Float[Array, "B Hq Tq S"]
    capped: Float[Array, "B Hq Tq S"]
    logits: Float[Array, "B Hq Tq S"]
    weights: Float[Array, "B Hq Tq S"]
    sink_weight: Float[Array, "B Hq Tq 1"]
    lse: Float[Array, "B Hq Tq"]
    output: Float[Array, "B Hq Tq Dv"]


def widen(array: Float[Array, " *axes"], dtype: str) -> Float[Array, " *axes"]:
    """float64 stays float64, everything else becomes float32."""
    return array.astype(np.float64 if dtype == "float64" else np.float32, copy=False)


def allowed_set(call: Call, like: Array) -> Bool[Array, "#B #Hq #Tq #S"]:
    """A; where heads or batch entries agree one stands for all."""
    i, j = np.arange(call.sizes.Tq, like=like)[:, None], np.arange(call.sizes.S, like=like)[None, :]
    p = key_positions(call, like)
    left, right = call.spec.window or (None, None)
    conditions = [((i >= 0) & (j >= 0))[None, None]]
    if call.spec.causal:
        conditions.append(j <= p)
    if left is not None:
        conditions.append(j >= p - left)
    if right is not None:
        conditions.append(j <= p + right)
    if call.kv_lengths is not None:
        conditions.append(j < call.kv_lengths[:, None, None, None])
    if call.q_lengths is not None:
        conditions.append(i < call.q_lengths[:, None, None, None])
    if call.q_segments is not None:
        conditions.append(call.q_segments[:, None, :, None] == call.kv_segments[:, None, None, :])
    if call.mask is not None:
        conditions.append(call.mask)
    if call.bias is not None:
        conditions.append(widen(call.bias, call.dtype) != -np.inf)
    allowed = conditions[0]
    for condition in conditions[1:]:
        allowed = allowed & condition
    return allowed


def key_positions(call: Call, like: Array) -> Int[Array, "#B 1 Tq 1"]:
    """p = i + offset: where each query stands among the keys."""
    offset = call.offset if isinstance(call.offset, int) else call.offset[:, None, None, None]
    p: Array = np.arange(call.sizes.Tq, like=like)[None, None, :, None] + offset
    return p


def row_scale(call: Call, allowed: Bool[Array, "#B #Hq #Tq #S"], dtype: Any) -> Float[Array, "#B #Hq #Tq 1"] | float:
    """The factor on the scores: one for all or one for each head, times ln(max(n_i, 2)) for ``log_n``."""
    scale = call.scale if isinstance(call.scale, float) else call.scale.astype(dtype)[None, :, None, None]
    if call.spec.scale == "log_n":
        scaled: Array = scale * np.log(np.maximum(allowed.sum(-1, keepdims=True), 2))
        return scaled.astype(dtype)
    return scale


def add_bias(
    capped: Float[Array, "B Hq Tq S"], call: Call, allowed: Bool[Array, "#B #Hq #Tq #S"]
) -> Float[Array, "B Hq Tq S"]:
    """Logits: capped scores plus bias plus ALiBi inside A, −inf outside."""
    logits = capped
    if call.bias is not None:
        bias = widen(call.bias, call.dtype)
        logits = logits + np.where(bias == -np.inf, 0, bias)
    if call.slopes is not None:
        keys = np.arange(call.sizes.S, like=capped)
        distance = np.abs(key_positions(call, like=capped) - keys).astype(capped.dtype)
        logits = logits - widen(call.slopes, call.dtype)[None, :, None, None] * distance
    return np.where(allowed, logits, -np.inf)


def softmax(
    logits: Float[Array, "B Hq Tq S"], sinks: Float[Array, " Hq"] | None
) -> tuple[Float[Array, "B Hq Tq S"], Float[Array, "B Hq Tq 1"], Float[Array, "B Hq Tq"]]:
    """Weights, the sink's weight and lse; a row without keys has zeros and −inf."""
    row_max = logits.max(-1, keepdims=True)
    if sinks is not None:
        row_max = np.maximum(row_max, sinks[None, :, None, None])
    row_max = np.where(row_max == -np.inf, 0, row_max)
    terms = np.exp(logits - row_max)
    total = terms.sum(-1, keepdims=True)
    sink_term = np.zeros_like(total) if sinks is None else np.exp(sinks[None, :, None, None] - row_max)
    total = total + sink_term
    safe = np.where(total == 0, 1, total)
    lse = np.where(total == 0, -np.inf, np.log(safe) + row_max)[..., 0]
    return terms / safe, sink_term / safe, lse


def grouped(array: Shaped[Array, "B Hq *axes"], call: Call) -> Shaped[Array, "B Hkv group *axes"]:
    """Query-head arrays (B, Hq, ...) seen as (B, Hkv, group, ...)."""
    return array.reshape(array.shape[0], call.sizes.Hkv, call.sizes.group, *array.shape[2:])


def weighted_sum(
    weights: Float[Array, "B Hq Tq S"], v: Float[Array, "B Hkv S Dv"], call: Call, allowed: Bool[Array, "#B #Hq #Tq #S"]
) -> Float[Array, "B Hq Tq Dv"]:
    """Σ P v over A. A NaN in v reaches only the rows that may attend it."""
    missing = np.isnan(v)
    shape = (*weights.shape[:3], v.shape[-1])
    if not (call.restricted and missing.any()):
        return (grouped(weights, call) @ v[:, :, None]).reshape(shape)
    output = (grouped(weights, call) @ np.where(missing, 0, v)[:, :, None]).reshape(shape)
    reach = grouped(np.broadcast_to(allowed, weights.shape).astype(v.dtype), call)
    output[(reach @ missing.astype(v.dtype)[:, :, None]).reshape(shape) > 0] = np.nan
    return output


def keep_factor(call: Call, dtype: Any) -> Float[Array, "B Hq Tq S"] | float:
    """keep/(1 − dropout), or 1 without dropout."""
    return 1.0 if call.keep is None else call.keep.astype(dtype) / dtype(1 - call.spec.dropout)


def run(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> Forward:
    """Every stage, in the order of the spec; q, k, v already widened."""
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        allowed = allowed_set(call, like=q)
        scale = row_scale(call, allowed, q.dtype.type)
        scores = SCORES[call.spec.score].forward(q, k, call)
        if not call.spec.unscaled:
            scores = scores * scale
        cap = call.spec.softcap
        capped = scores if cap is None else cap * np.tanh(scores / cap)
        logits = add_bias(capped, call, allowed)
        sinks = None if call.sinks is None else widen(call.sinks, call.dtype)
        weights, sink_weight, lse = softmax(logits, sinks)
        weights = np.where(allowed, weights, 0)
        output = weighted_sum(weights * keep_factor(call, q.dtype.type), v, call, allowed)
    return Forward(allowed, scale, scores, capped, logits, weights, sink_weight, lse, output)


def vjp(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    call: Call,
    d_output: Float[Array, "B Hq Tq Dv"],
    d_lse: Float[Array, "B Hq Tq"] | None,
) -> Gradients:
    """Gradients of q, k, v and of bias, sinks and parameters where the call has them."""
    dtypes = {"q": q.dtype, "k": k.dtype, "v": v.dtype}
    q, k, v, d_output = (widen(a, call.dtype) for a in (q, k, v, d_output))
    forward = run(q, k, v, call)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        grads = backward(q, k, v, call, forward, d_output, d_lse)
    operands = {"bias": call.bias, "sinks": call.sinks} | {f"params.{n}": p for n, p in call.params.items()}
    dtypes |= {name: a.dtype for name, a in operands.items() if a is not None}
    with np.errstate(over="ignore"):  # a gradient may lie beyond float16's range
        return {name: grad.astype(dtypes[name], copy=False) for name, grad in grads.items()}


def backward(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    call: Call,
    forward: Forward,
    d_output: Float[Array, "B Hq Tq Dv"],
    d_lse: Float[Array, "B Hq Tq"] | None,
) -> Gradients:
    """The chain rule from the output back to every operand, in the wide dtype."""
    allowed = np.broadcast_to(forward.allowed, forward.weights.shape)
    q, k, v, d_output = without_dead(q, k, v, call, allowed, d_output)
    keep = keep_factor(call, q.dtype.type)
    d_values = (np.swapaxes(grouped(forward.weights * keep, call), -1, -2) @ grouped(d_output, call)).sum(2)
    d_weights = keep * (grouped(d_output, call) @ np.swapaxes(v, -1, -2)[:, :, None]).reshape(allowed.shape)
    delta = np.where(allowed, forward.weights * d_weights, 0).sum(-1, keepdims=True)
    d_row = -delta
    if d_lse is not None:
        d_row = d_row + np.where(forward.lse == -np.inf, 0, d_lse).astype(q.dtype)[..., None]
    d_logits = np.where(allowed, forward.weights * (d_weights + d_row), 0)
    d_scores = d_logits if call.spec.unscaled else d_logits * forward.scale
    if call.spec.softcap is not None:
        d_scores = d_scores * (1 - (forward.capped / call.spec.softcap) ** 2)
    d_scores = np.where(allowed, d_scores, 0)
    grads = {"v": d_values} | SCORES[call.spec.score].backward(q, k, call, d_scores)
    if call.bias is not None:
        axes = tuple(axis for axis, n in enumerate(call.bias.shape) if n == 1)
        grads["bias"] = d_logits.sum(axes, keepdims=True) if axes else d_logits
    if call.sinks is not None:
        grads["sinks"] = (forward.sink_weight * d_row).sum((0, 2, 3))
    return grads


def without_dead(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    call: Call,
    allowed: Bool[Array, "B Hq Tq S"],
    d_output: Float[Array, "B Hq Tq Dv"],
) -> tuple[
    Float[Array, "B Hq Tq D"], Float[Array, "B Hkv S D"], Float[Array, "B Hkv S Dv"], Float[Array, "B Hq Tq Dv"]
]:
    """Zero what lies outside every allowed set, so that a NaN there cannot reach a gradient."""
    row_lives = np.any(allowed, axis=-1, keepdims=True)
    key_lives = np.any(grouped(np.any(allowed, axis=-2), call), axis=2)[..., None]
    q, d_output = np.where(row_lives, q, 0), np.where(row_lives, d_output, 0)
    return q, np.where(key_lives, k, 0), np.where(key_lives, v, 0), d_output


@implementation(
    "numpy/naive",
    Capabilities(
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
    ),
    vjp=vjp,
)
def naive(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
) -> AttentionOutput:
    """Attend, keeping every stage that was asked for."""
    forward = run(widen(q, call.dtype), widen(k, call.dtype), widen(v, call.dtype), call)
    full = forward.weights.shape
    extra = {name: np.broadcast_to(getattr(forward, name), full) for name in call.outputs if name != "lse"}
    lse = forward.lse if call.wants("lse") else None
    return AttentionOutput(forward.output.astype(q.dtype, copy=False), lse=lse, **extra)
