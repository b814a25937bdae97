"""Wrong readings of the backward pass, where the forward pass is right: one step of the chain rule left out or bent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from attnbench.agree.judge.steps import SPEC, Steps
from attnbench.agree.rules.facts import Computed, params_of
from attnbench.attention.arrays import Array
from attnbench.attention.oracle_scores import SCORE

Gradients = dict[str, Array]


@dataclass(frozen=True)
class GradientReading:
    """One wrong backward pass."""

    sentence: str
    steps: Steps
    kind: str = "gradient"


def gradient_readings(right: Computed, d_lse: Array | None) -> Iterator[GradientReading]:
    """Every reading that applies."""
    call = right.facts.call

    def wrong(sentence: str, kind: str = "gradient", **changes: object) -> GradientReading:
        return GradientReading(sentence, replace(SPEC, **changes), kind)  # type: ignore[arg-type]

    yield wrong("the gradient of the softmax's normaliser is missing: dS = P·dP without −Σ P·dP", delta=0.0)
    yield wrong("the term Σ P·dP of the normaliser has the wrong sign", delta=-1.0)
    yield wrong("the scale is missing in the backward pass", scale=np.ones_like)
    yield wrong("the scale is applied twice in the backward pass", scale=np.square)
    if call.spec.softcap is not None:
        yield wrong("softcap is not differentiated", cap=False)
    if d_lse is not None:
        yield wrong("the cotangent of lse is ignored", lse=0.0)
        yield wrong("the cotangent of lse has the wrong sign", lse=-1.0)
    if call.sizes.group > 1:
        for how in ("first", "last"):
            sentence = f"the gradients of k and v are those of the {how} query head of each group, not the sum"
            yield wrong(sentence, "broadcast gradient", group=how)
        sentence = "the gradients of k and v are the mean over the heads of a group, not the sum"
        yield wrong(sentence, "broadcast gradient", group="mean")
    if call.bias is not None and 1 in call.bias.shape:
        sentence = "dbias is not reduced: the first slice instead of the sum over broadcast axes"
        yield wrong(sentence, "broadcast gradient", reduce="first")
        yield wrong("dbias is the mean over broadcast axes, not the sum", "broadcast gradient", reduce="mean")
    if call.keep is not None:
        neither = {"keep_in_weights": False, "keep_in_values": False}
        yield wrong("dropout is left out of dP", "dropout", keep_in_weights=False)
        yield wrong("dropout is left out of the gradient of v", "dropout", keep_in_values=False)
        yield wrong("dropout is left out of the backward pass", "dropout", **neither)


def gradients(right: Computed, d_output: Array, d_lse: Array | None, steps: Steps = SPEC) -> Gradients:
    """Gradients by name in float64, each in its operand's shape, as ``steps`` have them."""
    f, w = right.facts, right.softmax
    live = np.any(right.allowed, axis=-1)[..., None]
    used = np.any(right.allowed, axis=-2)[..., None]
    d_o = np.where(live, d_output.astype(np.float64), 0.0)
    q, k, v = np.where(live, f.q, 0.0), np.where(used, f.k, 0.0), np.where(used, f.v, 0.0)
    ones = np.ones((1, 1, 1, 1))
    with np.errstate(all="ignore"):
        d_weights = (f.keep if steps.keep_in_weights else ones) * (d_o @ np.swapaxes(v, -1, -2))
        d_row = _row(right, d_weights, d_lse, steps)
        d_logits = np.where(right.allowed, w.weights * (d_weights + d_row), 0.0)
        slope = 1.0 if f.cap is None or not steps.cap else 1.0 - (right.capped / f.cap) ** 2
        d_scores = np.where(right.allowed, d_logits * slope * steps.scale(f.scale), 0.0)
        d_values = np.swapaxes(w.weights * (f.keep if steps.keep_in_values else ones), -1, -2) @ d_o
        grads = _through_scores(right, q, k, d_scores)
    grads |= {"v": np.where(used, d_values, 0.0)}
    grads |= {name: _grouped(grads[name], f.call.sizes.group, steps.group) for name in ("k", "v")}
    if f.call.bias is not None:
        grads["bias"] = _reduced(d_logits, f.call.bias.shape, steps.reduce)
    if f.call.sinks is not None:
        grads["sinks"] = (w.sink_weight[..., None] * d_row).sum((0, 2, 3))
    return grads


def _row(right: Computed, d_weights: Array, d_lse: Array | None, steps: Steps) -> Array:
    """dlse − Σ P·dP, (B, Hq, Tq, 1): the gradient by a row's normaliser, by which a sink's weight is multiplied."""
    w = right.softmax
    delta = steps.delta * np.where(right.allowed, w.weights * d_weights, 0.0).sum(-1, keepdims=True)
    row = np.zeros((1, 1, 1)) if d_lse is None else np.where(np.isneginf(w.lse), 0.0, d_lse.astype(np.float64))
    return np.asarray(steps.lse * row[..., None] - delta)


def reach_of_sinks(right: Computed, d_output: Array, d_lse: Array | None) -> Array:
    """The gradient of each sink if its weight were 1 and no term cancelled another, (Hq,)."""
    live, used = np.any(right.allowed, axis=-1)[..., None], np.any(right.allowed, axis=-2)[..., None]
    d_o, v = np.where(live, d_output.astype(np.float64), 0.0), np.where(used, right.facts.v, 0.0)
    row = _row(right, right.facts.keep * (d_o @ np.swapaxes(v, -1, -2)), d_lse, SPEC)
    return np.asarray(np.abs(np.broadcast_to(row, (*right.allowed.shape[:3], 1))).sum((0, 2, 3)))


def _through_scores(right: Computed, q: Array, k: Array, d_scores: Array) -> Gradients:
    f = right.facts
    by_name = {"q": np.zeros(q.shape), "k": np.zeros(k.shape)}
    by_name |= {f"params.{name}": np.zeros(p.shape) for name, p in f.call.params.items()}
    for b, h in np.ndindex(*d_scores.shape[:2]):
        grads = SCORE[f.call.spec.score].backward(q[b, h], k[b, h], params_of(f, h), d_scores[b, h])
        by_name["q"][b, h], by_name["k"][b, h] = grads["q"], grads["k"]
        for name, param in f.call.params.items():
            by_name[f"params.{name}"][h if param.shape[0] > 1 else 0] += grads[name]
    return by_name


def _grouped(grad: Array, group: int, how: str) -> Array:
    b, h, s, d = grad.shape
    parts = grad.reshape(b, h // group, group, s, d)
    if how in ("first", "last"):
        return np.asarray(parts[:, :, 0 if how == "first" else -1])
    return np.asarray(parts.sum(2) if how == "sum" else parts.mean(2))


def _reduced(d_logits: Array, shape: tuple[int, ...], how: str) -> Array:
    if how == "first":
        return np.asarray(d_logits[tuple(slice(0, n) for n in shape)])
    axes = tuple(axis for axis, n in enumerate(shape) if n == 1)
    return np.asarray(d_logits.sum(axes, keepdims=True) if how == "sum" else d_logits.mean(axes, keepdims=True))
