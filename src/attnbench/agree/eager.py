"""Plain eager attention in steps that can be replaced one by one: the stock from which mutants are bred.

It computes in float32 (float64 for float64), rounds the output, and supports dot scores with masks, bias, causality,
windows, lengths, softcap and GQA, forward and backward. It leans on neither the oracle nor ``impls``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from attnbench.call import Call
from attnbench.implementation import AttentionOutput, Capabilities, Implementation

Array = np.ndarray[Any, np.dtype[Any]]

CAPABILITIES = Capabilities(
    dtypes=("float64", "float32", "bfloat16", "float16"),
    causal=True,
    gqa=True,
    mask=True,
    bias=True,
    window=True,
    lengths=True,
    softcap=True,
    batch_offset=True,
    lse=True,
    nan_isolation=True,
)


@dataclass
class State:
    """One call on its way through the steps; arrays are wide, k and v as each query head reads them."""

    call: Call
    q: Array
    k: Array
    v: Array
    allowed: Array
    scores: Array
    capped: Array
    logits: Array
    weights: Array
    lse: Array
    output: Array


class Eager:
    """Attention, step by step. A mutant overrides one step; ``kind`` is the kind of its fault."""

    kind = "control"

    def implementation(self, name: str) -> Implementation:
        """The steps as an implementation ``numpy/<name>`` with gradients."""
        return Implementation(f"numpy/{name}", CAPABILITIES, self.attend, vjp=self.vjp)

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        """Forward."""
        state = self.forward(q, k, v, call)
        return AttentionOutput(self.finish(state.output, q.dtype), lse=state.lse if call.wants("lse") else None)

    def forward(self, q: Array, k: Array, v: Array, call: Call) -> State:
        """All steps in order."""
        wide = np.dtype(np.float64 if call.dtype == "float64" else np.float32)
        with np.errstate(all="ignore"):
            q, k, v = (a.astype(wide) for a in (q, self.heads_of_keys(k, call), self.heads_of_keys(v, call)))
            allowed = self.allowed(call)
            scores = (self.product(q, k) * self.scale(call)).astype(wide)
            capped = self.cap(scores, call)
            logits = self.mask_logits(self.add_bias(capped, call), allowed, call).astype(wide)
            weights, lse = self.softmax(logits, allowed)
            output = self.weighted_sum(weights, v, allowed)
            output = self.dead_rows(output, allowed, v)
        return State(call, q, k, v, allowed, scores, capped, logits, weights, lse, output)

    def finish(self, output: Array, dtype: Any) -> Array:
        """The output in the input's dtype."""
        return output.astype(dtype)

    def heads_of_keys(self, array: Array, call: Call) -> Array:
        """Query head h reads key/value head h // group."""
        return np.repeat(array, call.sizes.group, axis=1)

    def scale(self, call: Call) -> float:
        """The factor on the scores."""
        return float(call.scale)

    def product(self, q: Array, k: Array) -> Array:
        """q·k for every pair."""
        return np.asarray(q @ np.swapaxes(k, -1, -2))

    def cap(self, scores: Array, call: Call) -> Array:
        """c·tanh(s/c)."""
        cap = call.spec.softcap
        return scores if cap is None else cap * np.tanh(scores / cap)

    def positions(self, call: Call) -> Array:
        """Where each query stands among the keys, (1 or B, 1, Tq, 1)."""
        return np.arange(call.sizes.Tq)[None, None, :, None] + np.reshape(call.offset, (-1, 1, 1, 1))

    def allowed(self, call: Call) -> Array:
        """A, (B, Hq, Tq, S)."""
        s = call.sizes
        allowed = np.ones((s.B, s.Hq, s.Tq, s.S), bool)
        for part in (self.causal(call), self.window(call), self.lengths(call), self.mask(call)):
            if part is not None:
                allowed &= part
        return allowed if call.bias is None else allowed & (call.bias != -np.inf)

    def causal(self, call: Call) -> Array | None:
        """Keys up to the query's position."""
        return np.arange(call.sizes.S) <= self.positions(call) if call.spec.causal else None

    def window(self, call: Call) -> Array | None:
        """Keys within (left, right), inclusive."""
        if call.spec.window is None:
            return None
        left, right = call.spec.window
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

    def mask(self, call: Call) -> Array | None:
        """True attends."""
        return None if call.mask is None else np.asarray(call.mask)

    def add_bias(self, capped: Array, call: Call) -> Array:
        """The additive bias."""
        return capped if call.bias is None else capped + call.bias.astype(capped.dtype)

    def mask_logits(self, logits: Array, allowed: Array, call: Call) -> Array:
        """−inf outside A."""
        del call
        return np.where(allowed, logits, -np.inf)

    def softmax(self, logits: Array, allowed: Array) -> tuple[Array, Array]:
        """Weights and lse."""
        row_max = logits.max(-1, keepdims=True)
        row_max = np.where(np.isneginf(row_max), 0, row_max)
        terms = np.where(allowed, np.exp(logits - row_max), 0)
        total = terms.sum(-1, keepdims=True)
        lse = np.where(total == 0, -np.inf, np.log(total) + row_max)[..., 0]
        return terms / np.where(total == 0, 1, total), lse

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

    def vjp(self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None) -> dict[str, Array]:
        """Gradients of q, k, v and bias."""
        state = self.forward(q, k, v, call)
        live = np.any(state.allowed, axis=-1, keepdims=True)
        used = np.any(state.allowed, axis=-2)[..., None]
        d_o = np.where(live, d_output.astype(state.q.dtype), 0)
        q_, k_, v_ = np.where(live, state.q, 0), np.where(used, state.k, 0), np.where(used, state.v, 0)
        with np.errstate(all="ignore"):
            d_weights = d_o @ np.swapaxes(v_, -1, -2)
            d_row = -self.delta(state.weights, d_weights)
            if d_lse is not None:
                d_row = d_row + np.where(np.isneginf(state.lse), 0, d_lse)[..., None].astype(d_row.dtype)
            d_logits = np.where(state.allowed, state.weights * (d_weights + d_row), 0)
            d_scores = d_logits * self.cap_slope(state) * self.scale_in_backward(call)
            grads = {
                "q": d_scores @ k_,
                "k": self.to_kv_heads(np.swapaxes(d_scores, -1, -2) @ q_, call),
                "v": self.to_kv_heads(np.swapaxes(state.weights, -1, -2) @ d_o, call),
            }
        dtypes = {"q": q.dtype, "k": k.dtype, "v": v.dtype}
        if call.bias is not None:
            grads["bias"], dtypes["bias"] = self.reduce_bias(d_logits, call.bias.shape), call.bias.dtype
        return {name: grad.astype(dtypes[name]) for name, grad in grads.items()}

    def delta(self, weights: Array, d_weights: Array) -> Array:
        """Σ P dP, the term of the softmax's normaliser."""
        return np.asarray((weights * d_weights).sum(-1, keepdims=True))

    def cap_slope(self, state: State) -> Array | float:
        """The derivative of the cap."""
        cap = state.call.spec.softcap
        return 1.0 if cap is None else 1 - (state.capped / cap) ** 2

    def scale_in_backward(self, call: Call) -> float:
        """The factor on dS."""
        return self.scale(call)

    def to_kv_heads(self, grad: Array, call: Call) -> Array:
        """Sum over the query heads that share a key/value head."""
        b, _, s, d = grad.shape
        return np.asarray(grad.reshape(b, call.sizes.Hkv, call.sizes.group, s, d).sum(2))

    def reduce_bias(self, d_logits: Array, shape: tuple[int, ...]) -> Array:
        """Sum over the axes on which the bias was broadcast."""
        return np.asarray(d_logits.sum(tuple(axis for axis, n in enumerate(shape) if n == 1), keepdims=True))
