"""A small NumPy kernel in steps, from which the held-out kernels are made: whole arrays, dot score, own gradients.

It is written apart from ``attnbench.agree.eager.attention`` so that what is held out shares no step with the mutants.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from attnbench.api import AttentionOutput, Call, Capabilities, Implementation
from attnbench.attention.arrays import Array
from attnbench.attention.precision import DTYPES

Parts = tuple[Array, Array, Array, Array, Array, Array]


class Plain:
    """Softmax attention; a subclass says in its docstring what is wrong with it, and in ``declares`` what it can."""

    declares = Capabilities()

    def implementation(self) -> Implementation:
        """The kernel under its own name."""
        return Implementation(
            f"numpy/{type(self).__name__}", replace(self.declares, dtypes=DTYPES), self.attend, vjp=self.vjp
        )

    def heads(self, call: Call) -> Array:
        """The key head that each query head reads."""
        return np.arange(call.sizes.Hq) // call.sizes.group

    def scale(self, call: Call) -> Any:
        return call.scale

    def positions(self, call: Call) -> Array:
        """(1 or B, 1, Tq, 1)."""
        return np.arange(call.sizes.Tq)[:, None] + np.reshape(call.offset, (-1, 1, 1, 1))

    def allowed(self, call: Call) -> Array:
        """(B, Hq, Tq, S)."""
        s = call.sizes
        keys, p = np.arange(s.S), self.positions(call)
        allowed = np.ones((s.B, s.Hq, s.Tq, s.S), bool)
        if call.spec.causal:
            allowed &= keys <= p
        left, right = call.spec.window or (None, None)
        if left is not None:
            allowed &= keys >= p - left
        if right is not None:
            allowed &= keys <= p + right
        if call.kv_lengths is not None:
            allowed &= keys < call.kv_lengths[:, None, None, None]
        if call.q_lengths is not None:
            allowed &= np.arange(s.Tq)[:, None] < call.q_lengths[:, None, None, None]
        if call.q_segments is not None:
            allowed &= call.q_segments[:, None, :, None] == call.kv_segments[:, None, None, :]
        if call.mask is not None:
            allowed &= call.mask
        return allowed if call.bias is None else allowed & ~np.isneginf(call.bias)

    def capped(self, scores: Array, call: Call) -> Array:
        return scores if call.spec.softcap is None else call.spec.softcap * np.tanh(scores / call.spec.softcap)

    def biased(self, capped: Array, call: Call) -> Array:
        if call.bias is not None:
            capped = capped + np.where(np.isneginf(call.bias), 0, call.bias).astype(capped.dtype)
        if call.slopes is not None:
            distance = np.abs(self.positions(call) - np.arange(call.sizes.S)).astype(capped.dtype)
            capped = capped - self.slopes(call).astype(capped.dtype)[None, :, None, None] * distance
        return capped

    def slopes(self, call: Call) -> Array:
        return np.asarray(call.slopes)

    def sinks(self, call: Call) -> Array:
        return np.full(call.sizes.Hq, -np.inf) if call.sinks is None else np.asarray(call.sinks)

    def softmax(self, logits: Array, sinks: Array, call: Call) -> tuple[Array, Array, Array]:
        """Weights, the sink's weight (B, Hq, Tq, 1) and lse (B, Hq, Tq, 1)."""
        del call
        top = np.maximum(logits.max(-1, keepdims=True), sinks)
        top = np.where(np.isneginf(top), 0, top)
        terms, of_sink = np.exp(logits - top), np.exp(sinks - top)
        total = terms.sum(-1, keepdims=True) + of_sink
        safe = np.where(total == 0, 1, total)
        return terms / safe, of_sink / safe, np.where(total == 0, -np.inf, top + np.log(safe))

    def output(self, output: Array, call: Call) -> Array:
        del call
        return output

    def lse(self, lse: Array, call: Call) -> Array:
        del call
        return lse

    def forward(self, q: Array, k: Array, v: Array, call: Call) -> Parts:
        """q, k, v without what nobody reads, capped scores, weights with the sink's behind, and lse."""
        wide = np.float64 if call.dtype == "float64" else np.float32
        allowed, read = self.allowed(call), self.heads(call)
        q = np.where(allowed.any(-1, keepdims=True), q.astype(wide), 0)
        seen = np.asarray(allowed.any(-2))[..., None]
        k, v = (np.where(seen, a.astype(wide)[:, read], 0) for a in (k, v))
        scale = np.asarray(self.scale(call), wide).reshape(1, -1, 1, 1)
        capped = self.capped((q @ np.swapaxes(k, -1, -2)) * scale, call)
        logits = np.where(allowed, self.biased(capped, call), -np.inf)
        sinks = self.sinks(call).astype(wide)[None, :, None, None]
        weights, of_sink, lse = self.softmax(logits, sinks, call)
        return q, k, v, capped, np.concatenate([weights, of_sink], -1).astype(wide), lse.astype(wide)

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        with np.errstate(all="ignore"):
            _, _, values, _, weights, lse = self.forward(q, k, v, call)
            output = self.output(weights[..., :-1] @ values, call)
        return AttentionOutput(output.astype(q.dtype), lse=self.lse(lse[..., 0], call) if call.wants("lse") else None)

    def vjp(self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None) -> dict[str, Array]:
        with np.errstate(all="ignore"):
            grads = self.gradients(q, k, v, call, d_output, d_lse)
            given = {"q": q, "k": k, "v": v, "bias": call.bias, "sinks": call.sinks}
            return {name: grad.astype(given[name].dtype) for name, grad in self.changed(grads, call).items()}

    def gradients(
        self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None
    ) -> dict[str, Array]:
        q, k, v, capped, weights, lse = self.forward(q, k, v, call)
        p, s = weights[..., :-1], call.sizes
        live = self.allowed(call).any(-1, keepdims=True)
        d_o = np.where(live, d_output.astype(q.dtype), 0)
        d_p = d_o @ np.swapaxes(v, -1, -2)
        d_row = -(p * d_p).sum(-1, keepdims=True)
        if d_lse is not None:
            d_row = d_row + np.where(np.isneginf(lse), 0, d_lse[..., None].astype(q.dtype))
        d_logits = np.where(self.allowed(call), p * (d_p + d_row), 0)
        slope = 1 if call.spec.softcap is None else 1 - (capped / call.spec.softcap) ** 2
        d_s = d_logits * slope * np.asarray(self.scale(call), q.dtype).reshape(1, -1, 1, 1)
        by_head = {"k": np.swapaxes(d_s, -1, -2) @ q, "v": np.swapaxes(p, -1, -2) @ d_o}
        grads = {"q": d_s @ k}
        for name, grad in by_head.items():
            total = np.zeros((s.B, s.Hkv, *grad.shape[2:]), grad.dtype)
            for h, read in enumerate(self.heads(call)):
                total[:, read] += grad[:, h]
            grads[name] = total
        if call.bias is not None:
            axes = tuple(axis for axis, n in enumerate(call.bias.shape) if n == 1)
            grads["bias"] = d_logits.sum(axes, keepdims=True)
        if call.sinks is not None:
            grads["sinks"] = (weights[..., -1:] * d_row).sum((0, 2, 3))
        return grads

    def changed(self, grads: dict[str, Array], call: Call) -> dict[str, Array]:
        """The gradients as they are handed out, by name."""
        del call
        return grads


def entered(kernels: list[type[Plain]]) -> Callable[[type[Plain]], type[Plain]]:
    """A decorator that enters a kernel into a list."""

    def enter(kernel: type[Plain]) -> type[Plain]:
        kernels.append(kernel)
        return kernel

    return enter
