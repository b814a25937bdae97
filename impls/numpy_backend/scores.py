"""The scores of ``numpy/naive`` on whole arrays, forward and backward, before the scale.

Parameters carry a leading axis of Hq or 1. ``backward`` takes d_scores and returns gradients by operand name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from attnbench.api import Array, Call

if TYPE_CHECKING:
    from jaxtyping import Float

Gradients = dict[str, Array]

NORM_FLOOR = 1e-12


class Score(NamedTuple):
    """A score and its gradient."""

    forward: Callable[[Array, Array, Call], Array]
    backward: Callable[[Array, Array, Call, Array], Gradients]


def _param(call: Call, name: str) -> Float[Array, " ..."]:
    param: Array = call.params[name]
    return param.astype(np.float64 if call.dtype == "float64" else np.float32, copy=False)


def _per_query_head(k: Float[Array, "B Hkv S D"], call: Call) -> Float[Array, "B Hq S D"]:
    """Keys as each query head reads them: head h reads h // group."""
    return np.repeat(k, call.sizes.group, axis=1) if call.sizes.group > 1 else k


def _per_key_head(d_k: Float[Array, "B Hq S D"], call: Call) -> Float[Array, "B Hkv S D"]:
    """Sum the gradients of the query heads that share a key head."""
    b, _, s, d = d_k.shape
    shared: Array = d_k.reshape(b, call.sizes.Hkv, call.sizes.group, s, d).sum(2)
    return shared


def _reduced(d_param: Float[Array, " ..."], call: Call, name: str) -> Float[Array, " ..."]:
    """A parameter's gradient (Hq, ...) in the parameter's own shape (Hq or 1, ...)."""
    return d_param.sum(0, keepdims=True) if call.params[name].shape[0] == 1 else d_param


def _dot(q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], call: Call) -> Float[Array, "B Hq Tq S"]:
    b, hq, tq, d = q.shape
    shared = q.reshape(b, call.sizes.Hkv, call.sizes.group, tq, d) @ np.swapaxes(k, -1, -2)[:, :, None]
    return shared.reshape(b, hq, tq, k.shape[2])


def _dot_backward(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], call: Call, d_scores: Float[Array, "B Hq Tq S"]
) -> Gradients:
    b, hq, tq, d = q.shape
    d_shared = d_scores.reshape(b, call.sizes.Hkv, call.sizes.group, tq, k.shape[2])
    d_k = np.swapaxes(d_shared, -1, -2) @ q.reshape(b, call.sizes.Hkv, call.sizes.group, tq, d)
    return {"q": (d_shared @ k[:, :, None]).reshape(b, hq, tq, d), "k": d_k.sum(2)}


def _general(q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], call: Call) -> Float[Array, "B Hq Tq S"]:
    return _dot(q @ _param(call, "W"), k, call)


def _general_backward(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], call: Call, d_scores: Float[Array, "B Hq Tq S"]
) -> Gradients:
    w = _param(call, "W")
    grads = _dot_backward(q @ w, k, call, d_scores)
    d_w = (np.swapaxes(q, -1, -2) @ grads["q"]).sum(0)
    return {"q": grads["q"] @ np.swapaxes(w, -1, -2), "k": grads["k"], "params.W": _reduced(d_w, call, "W")}


def _features(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    wq: Float[Array, "#Hq D Da"],
    wk: Float[Array, "#Hq D Da"],
    b: Float[Array, "#Hq Da"] | None,
    call: Call,
) -> Float[Array, "B Hq Tq S Da"]:
    """tanh(q W_q + k W_k + b)."""
    hidden = (q @ wq)[:, :, :, None, :] + (_per_query_head(k, call) @ wk)[:, :, None, :, :]
    if b is not None:
        hidden += b[:, None, None, :]
    tanh: Array = np.tanh(hidden, out=hidden)
    return tanh


def _tanh_backward(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    call: Call,
    weights: tuple[Array, Array, Array | None],
    d_scores: Float[Array, "B Hq Tq S"],
) -> Gradients:
    wq, wk, b = weights
    tanh = _features(q, k, wq, wk, b, call)
    d_v = np.einsum("bhts,bhtsa->ha", d_scores, tanh)
    d_hidden = (1 - tanh * tanh) * d_scores[..., None] * _param(call, "v")[:, None, None, :]
    d_query, d_key = d_hidden.sum(3), d_hidden.sum(2)
    keys = _per_query_head(k, call)
    return {
        "q": d_query @ np.swapaxes(wq, -1, -2),
        "k": _per_key_head(d_key @ np.swapaxes(wk, -1, -2), call),
        "Wq": (np.swapaxes(q, -1, -2) @ d_query).sum(0),
        "Wk": (np.swapaxes(keys, -1, -2) @ d_key).sum(0),
        "b": d_query.sum((0, 2)),
        "params.v": _reduced(d_v, call, "v"),
    }


def _additive(q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], call: Call) -> Float[Array, "B Hq Tq S"]:
    tanh = _features(q, k, _param(call, "Wq"), _param(call, "Wk"), _param(call, "b"), call)
    return _summed(tanh, q, call)


def _summed(tanh: Float[Array, "B Hq Tq S Da"], q: Float[Array, "B Hq Tq D"], call: Call) -> Float[Array, "B Hq Tq S"]:
    """Σ over the hidden units of v · tanh."""
    scores: Array = np.einsum("bhtsa,ha->bhts", tanh, _heads(_param(call, "v"), q), optimize=True)
    return scores


def _heads(param: Float[Array, "#Hq Da"], q: Float[Array, "B Hq Tq D"]) -> Float[Array, "Hq Da"]:
    return np.broadcast_to(param, (q.shape[1], *param.shape[1:]))


def _additive_backward(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], call: Call, d_scores: Float[Array, "B Hq Tq S"]
) -> Gradients:
    weights = _param(call, "Wq"), _param(call, "Wk"), _param(call, "b")
    grads = _tanh_backward(q, k, call, weights, d_scores)
    for name in ("Wq", "Wk", "b"):
        grads[f"params.{name}"] = _reduced(grads.pop(name), call, name)
    return grads


def _halves(call: Call) -> tuple[Float[Array, "#Hq D Da"], Float[Array, "#Hq D Da"]]:
    w, d = _param(call, "W"), call.sizes.D
    return w[:, :d], w[:, d:]


def _concat(q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], call: Call) -> Float[Array, "B Hq Tq S"]:
    return _summed(_features(q, k, *_halves(call), None, call), q, call)


def _concat_backward(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], call: Call, d_scores: Float[Array, "B Hq Tq S"]
) -> Gradients:
    grads = _tanh_backward(q, k, call, (*_halves(call), None), d_scores)
    d_w = np.concatenate([grads.pop("Wq"), grads.pop("Wk")], axis=1)
    del grads["b"]
    return grads | {"params.W": _reduced(d_w, call, "W")}


def _unit(x: Float[Array, "B H T D"]) -> tuple[Float[Array, "B H T D"], Float[Array, "B H T 1"]]:
    """x / max(‖x‖, floor) and the norm; a power of two is taken out first, so that no square under- or overflows."""
    largest = np.max(np.abs(x), axis=-1, keepdims=True)
    exponent = np.where(np.isfinite(largest), np.frexp(largest)[1], 0)
    scaled = np.ldexp(x, -exponent)
    norm = np.ldexp(np.sqrt((scaled * scaled).sum(-1, keepdims=True)), exponent)
    return x / np.maximum(norm, x.dtype.type(NORM_FLOOR)), norm


def _unit_backward(x: Float[Array, "B H T D"], d: Float[Array, "B H T D"]) -> Float[Array, "B H T D"]:
    unit, norm = _unit(x)
    through_norm = np.where(norm > NORM_FLOOR, unit * (unit * d).sum(-1, keepdims=True), 0)
    gradient: Array = (d - through_norm) / np.maximum(norm, x.dtype.type(NORM_FLOOR))
    return gradient


def _cosine(q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], call: Call) -> Float[Array, "B Hq Tq S"]:
    return _dot(_unit(q)[0], _unit(k)[0], call) * _param(call, "temperature")[:, None, None]


def _cosine_backward(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], call: Call, d_scores: Float[Array, "B Hq Tq S"]
) -> Gradients:
    temperature = _param(call, "temperature")[:, None, None]
    unit_q, unit_k = _unit(q)[0], _unit(k)[0]
    grads = _dot_backward(unit_q, unit_k, call, d_scores * temperature)
    d_temperature = (d_scores * _dot(unit_q, unit_k, call)).sum((0, 2, 3))
    return {
        "q": _unit_backward(q, grads["q"]),
        "k": _unit_backward(k, grads["k"]),
        "params.temperature": _reduced(d_temperature, call, "temperature"),
    }


SCORES = {
    "dot": Score(_dot, _dot_backward),
    "general": Score(_general, _general_backward),
    "additive": Score(_additive, _additive_backward),
    "concat": Score(_concat, _concat_backward),
    "cosine": Score(_cosine, _cosine_backward),
}
