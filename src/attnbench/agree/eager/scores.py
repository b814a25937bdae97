"""The scores of ``agree.eager.attention`` in steps that can be replaced one by one, forward and backward.

Whole arrays in the wide dtype: q (B, Hq, Tq, D), k (B, Hq, S, D) as each query head reads it; a score is
(B, Hq, Tq, S), before the scale; parameters carry a leading axis of Hq or 1.
"""

from __future__ import annotations

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.call import Call

NORM_FLOOR = 1e-12


class Scores:
    """dot, general, additive, concat and cosine."""

    def score(self, q: Array, k: Array, call: Call) -> Array:
        """The score of every pair."""
        if call.spec.score == "dot":
            return self.product(q, k)
        if call.spec.score == "general":
            return self.product(q @ self.bilinear(call, q), k)
        if call.spec.score == "cosine":
            return self.product(self.unit(q), self.unit(k)) * self.temperature(call, q)
        return self.project(self.features(q, k, call), call)

    def product(self, q: Array, k: Array) -> Array:
        """q·k for every pair."""
        return np.asarray(q @ np.swapaxes(k, -1, -2))

    def param(self, call: Call, name: str, like: Array) -> Array:
        """A parameter for each query head, in the wide dtype."""
        array = call.params[name].astype(like.dtype)
        return np.asarray(np.broadcast_to(array, (call.sizes.Hq, *array.shape[1:])))

    def bilinear(self, call: Call, like: Array) -> Array:
        """W (Hq, D, D) of q W kᵀ."""
        return self.param(call, "W", like)

    def unit(self, x: Array) -> Array:
        """x / max(‖x‖, floor)."""
        return np.asarray(x / np.maximum(self.norm(x), NORM_FLOOR))

    def norm(self, x: Array) -> Array:
        """‖x‖, (..., 1)."""
        largest = np.max(np.abs(x), -1, keepdims=True)
        largest = np.where(np.isfinite(largest) & (largest > 0), largest, 1)  # so that no square over- or underflows
        return np.asarray(largest * np.sqrt(((x / largest) ** 2).sum(-1, keepdims=True)))

    def temperature(self, call: Call, like: Array) -> Array:
        """The factor of each head, (Hq, 1, 1)."""
        return self.param(call, "temperature", like)[:, None, None]

    def projections(self, call: Call, like: Array) -> tuple[Array, Array]:
        """W_q and W_k (Hq, D, Da)."""
        if call.spec.score == "additive":
            return self.param(call, "Wq", like), self.param(call, "Wk", like)
        both = self.param(call, "W", like)
        return both[:, : call.sizes.D], both[:, call.sizes.D :]

    def hidden_bias(self, call: Call, like: Array) -> Array | float:
        """b, (Hq, 1, 1, Da)."""
        return self.param(call, "b", like)[:, None, None] if call.spec.score == "additive" else 0.0

    def features(self, q: Array, k: Array, call: Call) -> Array:
        """tanh(q W_q + k W_k + b), (B, Hq, Tq, S, Da)."""
        w_q, w_k = self.projections(call, q)
        return self.activation((q @ w_q)[:, :, :, None] + (k @ w_k)[:, :, None] + self.hidden_bias(call, q))

    def activation(self, hidden: Array) -> Array:
        """tanh."""
        return np.asarray(np.tanh(hidden))

    def project(self, features: Array, call: Call) -> Array:
        """v·features."""
        return np.asarray((features * self.param(call, "v", features)[:, None, None]).sum(-1))

    def score_vjp(self, q: Array, k: Array, call: Call, d: Array) -> dict[str, Array]:
        """Gradients of q and k (as each query head reads it) and of the parameters, from d (B, Hq, Tq, S)."""
        if call.spec.score == "dot":
            return {"q": d @ k, "k": np.swapaxes(d, -1, -2) @ q}
        if call.spec.score == "general":
            return self._general_vjp(q, k, call, d)
        if call.spec.score == "cosine":
            return self._cosine_vjp(q, k, call, d)
        return self._features_vjp(q, k, call, d)

    def _general_vjp(self, q: Array, k: Array, call: Call, d: Array) -> dict[str, Array]:
        w = self.bilinear(call, q)
        d_row = d @ k
        return {
            "q": d_row @ np.swapaxes(w, -1, -2),
            "k": np.swapaxes(d, -1, -2) @ (q @ w),
            "params.W": _reduced((np.swapaxes(q, -1, -2) @ d_row).sum(0), call, "W"),
        }

    def _cosine_vjp(self, q: Array, k: Array, call: Call, d: Array) -> dict[str, Array]:
        unit_q, unit_k, temperature = self.unit(q), self.unit(k), self.temperature(call, q)
        return {
            "q": self._unit_vjp(q, unit_q, temperature * (d @ unit_k)),
            "k": self._unit_vjp(k, unit_k, temperature * (np.swapaxes(d, -1, -2) @ unit_q)),
            "params.temperature": _reduced((d * self.product(unit_q, unit_k)).sum((0, 2, 3)), call, "temperature"),
        }

    def _unit_vjp(self, x: Array, unit: Array, d: Array) -> Array:
        norm = self.norm(x)
        along = np.where(norm > NORM_FLOOR, unit * (unit * d).sum(-1, keepdims=True), 0)
        return np.asarray((d - along) / np.maximum(norm, NORM_FLOOR))

    def _features_vjp(self, q: Array, k: Array, call: Call, d: Array) -> dict[str, Array]:
        features, (w_q, w_k) = self.features(q, k, call), self.projections(call, q)
        d_hidden = (1 - features**2) * d[..., None] * self.param(call, "v", q)[:, None, None]
        by_query, by_key = d_hidden.sum(3), d_hidden.sum(2)
        d_w = [(np.swapaxes(x, -1, -2) @ by).sum(0) for x, by in ((q, by_query), (k, by_key))]
        d_v = np.einsum("bhts,bhtsa->ha", d, features)
        grads = {
            "q": by_query @ np.swapaxes(w_q, -1, -2),
            "k": by_key @ np.swapaxes(w_k, -1, -2),
            "params.v": _reduced(d_v, call, "v"),
        }
        if call.spec.score == "concat":
            return grads | {"params.W": _reduced(np.concatenate(d_w, 1), call, "W")}
        drawn = {"Wq": d_w[0], "Wk": d_w[1], "b": by_query.sum((0, 2))}
        return grads | {f"params.{name}": _reduced(grad, call, name) for name, grad in drawn.items()}


def _reduced(grad: Array, call: Call, name: str) -> Array:
    """A parameter's gradient (Hq, ...) in the parameter's own shape (Hq or 1, ...)."""
    return np.asarray(grad.sum(0, keepdims=True) if call.params[name].shape[0] == 1 else grad)
