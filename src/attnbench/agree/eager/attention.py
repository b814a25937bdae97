"""Plain eager attention in steps that can be replaced one by one: each mutant replaces some of them.

It computes in float32 (float64 for float64), rounds the output, and supports the whole spec, forward and backward. It
leans on neither the oracle nor ``impls``. Arrays are whole, (B, Hq, ...), with keys and values as each query head reads
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from attnbench.agree.eager.scores import Scores
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call
from attnbench.attention.precision import DTYPES
from attnbench.attention.spec import SCORES, STAGES
from attnbench.backends.implementation import AttentionOutput, Capabilities, Implementation

CAPABILITIES = Capabilities(
    scores=SCORES,
    dtypes=DTYPES,
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
)


class Softmax(NamedTuple):
    """Weights (B, Hq, Tq, S), the sink's weight (B, Hq, Tq, 1) and lse (B, Hq, Tq)."""

    weights: Array
    sink: Array
    lse: Array


@dataclass
class ForwardState:
    """What the steps of the forward pass made of one call, kept for the backward pass and for stages.

    q, k, v are as each query head reads them, in the wide dtype; the other arrays are (B, Hq, Tq, S), except scale,
    sink, lse and output.
    """

    call: Call
    q: Array
    k: Array
    v: Array
    allowed: Array
    scale: Array | float
    scores: Array
    capped: Array
    logits: Array
    weights: Array
    sink: Array
    lse: Array
    keep: Array | float
    output: Array


class Eager(Scores):
    """Attention, step by step. A mutant overrides one step."""

    def implementation(self, name: str) -> Implementation:
        """The steps as an implementation ``numpy/<name>`` with gradients."""
        return Implementation(f"numpy/{name}", CAPABILITIES, self.attend, vjp=self.vjp)

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        """Forward."""
        state = self.forward(q, k, v, call)
        stages = {name: getattr(state, name) for name in STAGES if call.wants(name)}
        lse = state.lse if call.wants("lse") else None
        return AttentionOutput(self.finish(state.output, q.dtype), lse=lse, **stages)

    def forward(self, q: Array, k: Array, v: Array, call: Call) -> ForwardState:
        """All steps in order."""
        wide = np.dtype(np.float64 if call.dtype == "float64" else np.float32)
        with np.errstate(all="ignore"):
            q, k, v = (a.astype(wide) for a in (q, self.heads_of_keys(k, call), self.heads_of_values(v, call)))
            allowed = self.allowed(call)
            scale = self.scale(call, allowed)
            scores = self.stored((self.score(q, k, call) * scale).astype(wide), call)
            capped = self.stored(self.cap(scores, call), call)
            logits = self.mask_logits(self.add_bias(capped, call), allowed, call)
            logits = self.stored(logits.astype(wide), call)
            weights, sink, lse = self.softmax(logits, allowed, self.sink(call, wide))
            keep = self.keep(call, wide)
            weights = self.stored(weights, call)
            output = self.weighted_sum(weights * keep, v, allowed)
            output = self.dead_rows(output, allowed, v)
        return ForwardState(call, q, k, v, allowed, scale, scores, capped, logits, weights, sink, lse, keep, output)

    def stored(self, array: Array, call: Call) -> Array:
        """What remains of an array between two steps: all of it."""
        del call
        return array

    def finish(self, output: Array, dtype: Any) -> Array:
        """The output in the input's dtype."""
        return output.astype(dtype)

    # Heads and scale

    def heads_of_keys(self, array: Array, call: Call) -> Array:
        """Query head h reads key/value head h // group."""
        return np.repeat(array, call.sizes.group, axis=1)

    def heads_of_values(self, array: Array, call: Call) -> Array:
        """The same map for values."""
        return self.heads_of_keys(array, call)

    def scale(self, call: Call, allowed: Array) -> Array | float:
        """The factor on the scores: a float, (1, Hq, 1, 1), or for ``log_n`` (B, Hq, Tq, 1)."""
        scale: Array | float = call.scale
        if isinstance(scale, np.ndarray):
            scale = scale[None, :, None, None]
        return scale if call.spec.scale != "log_n" else scale * np.log(np.maximum(self.count(allowed), 2))

    def count(self, allowed: Array) -> Array:
        """n_i, the number of allowed keys of each row."""
        return np.asarray(allowed.sum(-1, keepdims=True))

    def cap(self, scores: Array, call: Call) -> Array:
        """c·tanh(s/c)."""
        cap = call.spec.softcap
        return scores if cap is None else cap * np.tanh(scores / cap)

    # The allowed set

    def positions(self, call: Call) -> Array:
        """Where each query stands among the keys, (1 or B, 1, Tq, 1)."""
        return np.arange(call.sizes.Tq)[None, None, :, None] + np.reshape(call.offset, (-1, 1, 1, 1))

    def allowed(self, call: Call) -> Array:
        """A, (B, Hq, Tq, S)."""
        s = call.sizes
        allowed = np.ones((s.B, s.Hq, s.Tq, s.S), bool)
        parts = (self.causal(call), self.window(call), self.lengths(call), self.segments(call), self.mask(call))
        for part in parts:
            if part is not None:
                allowed &= part
        return allowed if call.bias is None else allowed & (call.bias != -np.inf)

    def causal(self, call: Call) -> Array | None:
        """Keys up to the query's position."""
        return np.arange(call.sizes.S) <= self.positions(call) if call.spec.causal else None

    def window(self, call: Call) -> Array | None:
        """Keys within (left, right), inclusive."""
        left, right = call.spec.window or (None, None)
        distance = np.arange(call.sizes.S) - self.positions(call)
        inside = np.ones(distance.shape, bool)
        if left is not None:
            inside &= distance >= -left
        if right is not None:
            inside &= distance <= right
        return inside

    def lengths(self, call: Call) -> Array | None:
        """Keys and queries within their lengths."""
        within = np.ones((1, 1, 1, 1), bool)
        if call.kv_lengths is not None:
            within = within & (np.arange(call.sizes.S) < call.kv_lengths[:, None, None, None])
        if call.q_lengths is not None:
            within = within & (np.arange(call.sizes.Tq)[:, None] < call.q_lengths[:, None, None, None])
        return within

    def segments(self, call: Call) -> Array | None:
        """Keys of the query's own document."""
        if call.q_segments is None:
            return None
        return np.asarray(call.q_segments[:, None, :, None] == call.kv_segments[:, None, None, :])

    def mask(self, call: Call) -> Array | None:
        """True attends."""
        return None if call.mask is None else np.asarray(call.mask)

    # Logits and softmax

    def add_bias(self, capped: Array, call: Call) -> Array:
        """The additive bias, and ALiBi's."""
        if call.bias is not None:
            capped = capped + np.where(call.bias == -np.inf, 0, call.bias.astype(capped.dtype))
        if call.slopes is not None:
            slopes = self.slopes(call).astype(capped.dtype)[None, :, None, None]
            capped = capped - slopes * self.distance(call).astype(capped.dtype)
        return capped

    def slopes(self, call: Call) -> Array:
        """One slope per query head."""
        return np.asarray(call.slopes)

    def distance(self, call: Call) -> Array:
        """|p_i − j|."""
        return np.asarray(np.abs(self.positions(call) - np.arange(call.sizes.S)))

    def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
        """−inf outside A."""
        del call
        return np.where(allowed, logits, -np.inf)

    def sink(self, call: Call, dtype: Any) -> Array:
        """The sink's logit for each head, (1, Hq, 1, 1); −inf where there is none."""
        sinks = np.full(call.sizes.Hq, -np.inf) if call.sinks is None else call.sinks
        return np.asarray(sinks.astype(dtype)[None, :, None, None])

    def softmax(self, logits: Array, allowed: Array, sink: Array) -> Softmax:
        """Weights and lse, step by step."""
        row_max = self.row_max(logits, sink)
        row_max = np.where(np.isneginf(row_max), 0, row_max)
        terms = self.terms(logits, row_max, allowed)
        sink_term = np.exp(sink - row_max)
        total = self.total(terms, sink_term)
        safe = np.where(total == 0, 1, total)
        lse = np.where(total == 0, -np.inf, self.lse(total, row_max, sink_term))[..., 0]
        return Softmax(terms / safe, sink_term / safe, lse.astype(logits.dtype))

    def row_max(self, logits: Array, sink: Array) -> Array:
        """m, (B, Hq, Tq, 1)."""
        return np.asarray(np.maximum(logits.max(-1, keepdims=True), sink))

    def terms(self, logits: Array, row_max: Array, allowed: Array) -> Array:
        """exp(s − m) inside A."""
        return np.where(allowed, np.exp(logits - row_max), 0)

    def total(self, terms: Array, sink_term: Array) -> Array:
        """Z."""
        return np.asarray(terms.sum(-1, keepdims=True) + sink_term)

    def lse(self, total: Array, row_max: Array, sink_term: Array) -> Array:
        """m + ln Z."""
        del sink_term
        return np.asarray(row_max + np.log(total))

    def keep(self, call: Call, dtype: Any) -> Array | float:
        """keep/(1 − dropout)."""
        return 1.0 if call.keep is None else call.keep.astype(dtype) / dtype.type(1 - call.spec.dropout)

    # Output

    def weighted_sum(self, weights: Array, v: Array, allowed: Array) -> Array:
        """P v, where a NaN in v reaches only the rows that may attend it."""
        missing = np.isnan(v)
        output = weights @ np.where(missing, 0, v)
        if missing.any():
            output[(allowed.astype(v.dtype) @ missing.astype(v.dtype)) > 0] = np.nan
        return np.asarray(output)

    def dead_rows(self, output: Array, allowed: Array, v: Array) -> Array:
        """Rows without a key are 0."""
        del v
        return np.where(np.any(allowed, axis=-1, keepdims=True), output, 0)

    # Backward

    def vjp(self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None) -> dict[str, Array]:
        """Gradients of q, k, v, bias, sinks and parameters."""
        state = self.forward(q, k, v, call)
        q_, k_, v_ = self.without_dead(state)
        d_o = self.cotangent(state, d_output)
        with np.errstate(all="ignore"):
            keep = self.keep_in_backward(state)
            d_weights = self.stored(keep * (d_o @ np.swapaxes(v_, -1, -2)), call)
            d_row = self.lse_cotangent(state, d_lse) - self.delta(state.weights, d_weights)
            d_logits = np.where(state.allowed, state.weights * (d_weights + d_row), 0)
            d_scores = d_logits * self.cap_slope(state) * self.scale_in_backward(state)
            d_scores = self.stored(np.where(state.allowed, d_scores, 0).astype(q_.dtype), call)
            grads = self.score_vjp(q_, k_, call, d_scores)
            grads["v"] = self.to_kv_heads(np.swapaxes(state.weights * keep, -1, -2) @ d_o, call)
            grads["k"] = self.to_kv_heads(grads["k"], call)
            if call.bias is not None:
                grads["bias"] = self.reduce_bias(d_logits, call.bias.shape)
            if call.sinks is not None:
                grads["sinks"] = (state.sink * d_row).sum((0, 2, 3))
        operands = {"q": q, "k": k, "v": v, "bias": call.bias, "sinks": call.sinks}
        operands |= {f"params.{name}": param for name, param in call.params.items()}
        with np.errstate(all="ignore"):
            return self.handed_out({name: grad.astype(operands[name].dtype) for name, grad in grads.items()})

    def without_dead(self, state: ForwardState) -> tuple[Array, Array, Array]:
        """q, k, v with zeros where no pair is allowed, so that a NaN there cannot reach a gradient."""
        live = np.any(state.allowed, axis=-1, keepdims=True)
        used = np.any(state.allowed, axis=-2)[..., None]
        return np.where(live, state.q, 0), np.where(used, state.k, 0), np.where(used, state.v, 0)

    def cotangent(self, state: ForwardState, d_output: Array) -> Array:
        """dO, 0 in rows without a key, whatever was handed in."""
        return np.where(np.any(state.allowed, axis=-1, keepdims=True), d_output.astype(state.q.dtype), 0)

    def lse_cotangent(self, state: ForwardState, d_lse: Array | None) -> Array | float:
        """dlse as a column, 0 where lse is −inf."""
        return 0.0 if d_lse is None else np.where(np.isneginf(state.lse), 0, d_lse)[..., None].astype(state.q.dtype)

    def delta(self, weights: Array, d_weights: Array) -> Array:
        """Σ P dP, the term of the softmax's normaliser."""
        return np.asarray((weights * d_weights).sum(-1, keepdims=True))

    def cap_slope(self, state: ForwardState) -> Array | float:
        """The derivative of the cap."""
        cap = state.call.spec.softcap
        return 1.0 if cap is None else 1 - (state.capped / cap) ** 2

    def scale_in_backward(self, state: ForwardState) -> Array | float:
        """The factor on dS."""
        return state.scale

    def keep_in_backward(self, state: ForwardState) -> Array | float:
        """The factor of dropout on dP and in dV."""
        return state.keep

    def to_kv_heads(self, grad: Array, call: Call) -> Array:
        """Sum over the query heads that share a key/value head."""
        b, _, s, d = grad.shape
        return np.asarray(grad.reshape(b, call.sizes.Hkv, call.sizes.group, s, d).sum(2))

    def reduce_bias(self, d_logits: Array, shape: tuple[int, ...]) -> Array:
        """Sum over the axes on which the bias was broadcast."""
        return np.asarray(d_logits.sum(tuple(axis for axis, n in enumerate(shape) if n == 1), keepdims=True))

    def handed_out(self, grads: dict[str, Array]) -> dict[str, Array]:
        """The gradients as they are returned."""
        return grads
