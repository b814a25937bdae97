"""The five scores of the spec for one head in float64, forward and backward, before the scale.

q (T, D), k (S, D); a score is (T, S). ``backward`` takes d_score (T, S) and returns gradients of q, k and every
parameter. Sources: Vaswani 2017 (dot); Luong 2015 (general, concat); Bahdanau 2014 (additive); cosine as in Swin v2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.spec import COSINE_FLOOR

Params = dict[str, Array]


@dataclass(frozen=True)
class Score:
    """A score's formula and its gradients, by the names q, k and those of its parameters."""

    forward: Callable[[Array, Array, Params], Array]
    backward: Callable[[Array, Array, Params, Array], dict[str, Array]]


def _dot(q: Array, k: Array, params: Params) -> Array:
    del params
    return np.asarray(q @ k.T)


def _dot_backward(q: Array, k: Array, params: Params, d: Array) -> dict[str, Array]:
    del params
    return {"q": d @ k, "k": d.T @ q}


def _general(q: Array, k: Array, params: Params) -> Array:
    return np.asarray(q @ params["W"] @ k.T)


def _general_backward(q: Array, k: Array, params: Params, d: Array) -> dict[str, Array]:
    w = params["W"]
    return {"q": d @ k @ w.T, "k": d.T @ (q @ w), "W": q.T @ d @ k}


def _tanh_features(q: Array, k: Array, wq: Array, wk: Array, b: Array | float) -> Array:
    """tanh(q W_q + k W_k + b) for every pair, (T, S, Da)."""
    return np.asarray(np.tanh((q @ wq)[:, None, :] + (k @ wk)[None, :, :] + b))


def _additive(q: Array, k: Array, params: Params) -> Array:
    return np.asarray(_tanh_features(q, k, params["Wq"], params["Wk"], params["b"]) @ params["v"])


def _additive_backward(q: Array, k: Array, params: Params, d: Array) -> dict[str, Array]:
    t = _tanh_features(q, k, params["Wq"], params["Wk"], params["b"])
    d_features = d[:, :, None] * params["v"] * (1.0 - t * t)
    d_query, d_key = d_features.sum(1), d_features.sum(0)
    return {
        "q": d_query @ params["Wq"].T,
        "k": d_key @ params["Wk"].T,
        "Wq": q.T @ d_query,
        "Wk": k.T @ d_key,
        "b": d_query.sum(0),
        "v": np.einsum("ts,tsa->a", d, t),
    }


def _as_additive(q: Array, params: Params) -> Params:
    """Concat is additive with W = [W_q; W_k] and b = 0."""
    d, w = q.shape[1], params["W"]
    return {"Wq": w[:d], "Wk": w[d:], "b": np.zeros(w.shape[1]), "v": params["v"]}


def _concat(q: Array, k: Array, params: Params) -> Array:
    return _additive(q, k, _as_additive(q, params))


def _concat_backward(q: Array, k: Array, params: Params, d: Array) -> dict[str, Array]:
    grads = _additive_backward(q, k, _as_additive(q, params), d)
    return {"q": grads["q"], "k": grads["k"], "W": np.concatenate([grads["Wq"], grads["Wk"]]), "v": grads["v"]}


def _unit(x: Array) -> tuple[Array, Array]:
    largest = np.max(np.abs(x), axis=1, keepdims=True)
    unit = np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)  # so that no square under- or overflows
    norm = unit * np.sqrt(((x / unit) ** 2).sum(1, keepdims=True))
    return x / np.maximum(norm, COSINE_FLOOR), norm


def _unit_backward(x: Array, d: Array) -> Array:
    """Gradient of x / max(‖x‖, floor); below the floor that of a division by the floor."""
    unit, norm = _unit(x)
    through_norm = np.where(norm > COSINE_FLOOR, unit * (unit * d).sum(1, keepdims=True), 0.0)
    return (d - through_norm) / np.maximum(norm, COSINE_FLOOR)


def _cosine(q: Array, k: Array, params: Params) -> Array:
    return np.asarray(_unit(q)[0] @ _unit(k)[0].T * params["temperature"])


def _cosine_backward(q: Array, k: Array, params: Params, d: Array) -> dict[str, Array]:
    unit_q, unit_k, temperature = _unit(q)[0], _unit(k)[0], params["temperature"]
    return {
        "q": _unit_backward(q, temperature * d @ unit_k),
        "k": _unit_backward(k, temperature * d.T @ unit_q),
        "temperature": np.asarray((d * (unit_q @ unit_k.T)).sum()),
    }


SCORE = {
    "dot": Score(_dot, _dot_backward),
    "general": Score(_general, _general_backward),
    "additive": Score(_additive, _additive_backward),
    "concat": Score(_concat, _concat_backward),
    "cosine": Score(_cosine, _cosine_backward),
}
