"""The five scores of the spec for one head in float64, forward and backward, before the scale.

``forward`` gives the score of every query and key; ``backward`` takes the gradient at these scores and gives those of
q, k and every parameter. Sources: Vaswani 2017 (dot); Luong 2015 (general, concat); Bahdanau 2014 (additive); cosine as
in Swin v2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.spec import COSINE_FLOOR

if TYPE_CHECKING:
    from jaxtyping import Float

Params = dict[str, Array]


@dataclass(frozen=True)
class ScoreFormula:
    """A score and its gradients, by the names q, k and those of its parameters."""

    forward: Callable[[Array, Array, Params], Array]
    backward: Callable[[Array, Array, Params, Array], dict[str, Array]]


def _dot(q: Float[Array, "T D"], k: Float[Array, "S D"], params: Params) -> Float[Array, "T S"]:
    del params
    return np.asarray(q @ k.T)


def _dot_backward(
    q: Float[Array, "T D"], k: Float[Array, "S D"], params: Params, d: Float[Array, "T S"]
) -> dict[str, Float[Array, " ..."]]:
    del params
    return {"q": d @ k, "k": d.T @ q}


def _general(q: Float[Array, "T D"], k: Float[Array, "S D"], params: Params) -> Float[Array, "T S"]:
    return np.asarray(q @ params["W"] @ k.T)


def _general_backward(
    q: Float[Array, "T D"], k: Float[Array, "S D"], params: Params, d: Float[Array, "T S"]
) -> dict[str, Float[Array, " ..."]]:
    w = params["W"]
    return {"q": d @ k @ w.T, "k": d.T @ (q @ w), "W": q.T @ d @ k}


def _tanh_features(
    q: Float[Array, "T D"],
    k: Float[Array, "S D"],
    wq: Float[Array, "D Da"],
    wk: Float[Array, "D Da"],
    b: Float[Array, " Da"],
) -> Float[Array, "T S Da"]:
    """tanh(q W_q + k W_k + b) for every query and key."""
    return np.asarray(np.tanh((q @ wq)[:, None, :] + (k @ wk)[None, :, :] + b))


def _additive(q: Float[Array, "T D"], k: Float[Array, "S D"], params: Params) -> Float[Array, "T S"]:
    return np.asarray(_tanh_features(q, k, params["Wq"], params["Wk"], params["b"]) @ params["v"])


def _additive_backward(
    q: Float[Array, "T D"], k: Float[Array, "S D"], params: Params, d: Float[Array, "T S"]
) -> dict[str, Float[Array, " ..."]]:
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


def _as_additive(q: Float[Array, "T D"], params: Params) -> Params:
    """Concat is additive with W = [W_q; W_k] and b = 0."""
    d, w = q.shape[1], params["W"]
    return {"Wq": w[:d], "Wk": w[d:], "b": np.zeros(w.shape[1]), "v": params["v"]}


def _concat(q: Float[Array, "T D"], k: Float[Array, "S D"], params: Params) -> Float[Array, "T S"]:
    return _additive(q, k, _as_additive(q, params))


def _concat_backward(
    q: Float[Array, "T D"], k: Float[Array, "S D"], params: Params, d: Float[Array, "T S"]
) -> dict[str, Float[Array, " ..."]]:
    grads = _additive_backward(q, k, _as_additive(q, params), d)
    return {"q": grads["q"], "k": grads["k"], "W": np.concatenate([grads["Wq"], grads["Wk"]]), "v": grads["v"]}


def _unit(x: Float[Array, "n D"]) -> tuple[Float[Array, "n D"], Float[Array, "n 1"]]:
    """x / max(‖x‖, floor) and ‖x‖, row by row."""
    largest = np.max(np.abs(x), axis=1, keepdims=True)
    unit = np.where(np.isfinite(largest) & (largest > 0), largest, 1.0)  # so that no square under- or overflows
    norm = unit * np.sqrt(((x / unit) ** 2).sum(1, keepdims=True))
    return x / np.maximum(norm, COSINE_FLOOR), norm


def _unit_backward(x: Float[Array, "n D"], d: Float[Array, "n D"]) -> Float[Array, "n D"]:
    """Gradient of x / max(‖x‖, floor); below the floor that of a division by the floor."""
    unit, norm = _unit(x)
    through_norm = np.where(norm > COSINE_FLOOR, unit * (unit * d).sum(1, keepdims=True), 0.0)
    return (d - through_norm) / np.maximum(norm, COSINE_FLOOR)


def _cosine(q: Float[Array, "T D"], k: Float[Array, "S D"], params: Params) -> Float[Array, "T S"]:
    return np.asarray(_unit(q)[0] @ _unit(k)[0].T * params["temperature"])


def _cosine_backward(
    q: Float[Array, "T D"], k: Float[Array, "S D"], params: Params, d: Float[Array, "T S"]
) -> dict[str, Float[Array, " ..."]]:
    unit_q, unit_k, temperature = _unit(q)[0], _unit(k)[0], params["temperature"]
    return {
        "q": _unit_backward(q, temperature * d @ unit_k),
        "k": _unit_backward(k, temperature * d.T @ unit_q),
        "temperature": np.asarray((d * (unit_q @ unit_k.T)).sum()),
    }


SCORE = {
    "dot": ScoreFormula(_dot, _dot_backward),
    "general": ScoreFormula(_general, _general_backward),
    "additive": ScoreFormula(_additive, _additive_backward),
    "concat": ScoreFormula(_concat, _concat_backward),
    "cosine": ScoreFormula(_cosine, _cosine_backward),
}
