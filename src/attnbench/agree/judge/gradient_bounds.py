"""Rule 1, backward: how far each gradient of a correct implementation can be from the oracle's.

The errors of ``bounds`` carried through the chain rule, first order, in absolute values (derivation and experiments in
``docs/agreement.md``). With e(P) the error of P (``weight_bounds``), P⁺ = P + 2 e(P) the largest that it can be, r the
keep factor, and λ(n) as in ``bounds``:

    e(dP) = λ(Dv) u Σ r|dO||v|            e(Δ)  = Σ (P⁺ e(dP) + e(P)|dP|) + λ(S) u Σ P⁺|dP|  (+ u_O Σ|dO||o|)
    e(dL) = e(P) |dP − Δ + dlse| + P⁺ (e(dP) + e(Δ) + 4 u (|dP| + |Δ| + |dlse|))
    e(dv) = Σ r|dO| (e(P) + P u_P) + λ(n) u Σ P r|dO|
    e(dS) = |scale| (1 − tanh²) e(dL) + |dL| e(1 − tanh²),   then through the score's own derivative

Every product adds η where it may underflow, and λ(n) is n + 2 where the terms of a sum hardly differ, and more than
√n + 2 where many are equal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from attnbench.agree.judge.alike import UNIFORM_TERMS, aligned_rows, alike_terms
from attnbench.agree.judge.bounds import (
    Units,
    errors_of_weights,
    output_bound,
    score_error,
    tanh_error,
    tanh_parts,
)
from attnbench.agree.judge.steps import SPEC, Steps
from attnbench.agree.judge.weight_bounds import SLACK, WeightErrors
from attnbench.attention.arrays import Array
from attnbench.attention.oracle import heads
from attnbench.attention.oracle_vjp import add_broadcast, zeros_like_operands
from attnbench.attention.spec import COSINE_FLOOR

if TYPE_CHECKING:
    from attnbench.attention.call import Call
    from attnbench.attention.oracle import HeadReference

Gradients = dict[str, Array]


@dataclass(frozen=True)
class Backward:
    """One head's backward pass in float64 with its errors: logits and scores (T, S), values (S, Dv), the sink."""

    d_output: Array
    d_logits: Array
    d_logits_error: Array
    d_scores: Array
    d_scores_error: Array
    values_error: Array
    sink_size: float
    sink_error: float


def gradient_bounds(
    q: Array,
    k: Array,
    v: Array,
    call: Call,
    d_output: Array,
    d_lse: Array | None,
    units: Units,
    rows: Array,
    pairs: Iterable[tuple[int, int]] | None = None,
    evaluated: Iterable[tuple[int, int, HeadReference]] | None = None,
    steps: Steps = SPEC,
) -> Gradients:
    """E for every gradient, in the shape of its operand; ``rows``, ``pairs``: where the cotangents are not zero.

    ``evaluated`` are these heads where they were evaluated before. ``steps`` are those of the backward pass whose
    bounds are wanted: the spec's, or a wrong one's.
    """
    bounds = zeros_like_operands(q, k, v, call)
    total_rows = len(rows) * call.sizes.group
    for b, h, full in evaluated or heads(q, k, v, call, rows, pairs):
        at, head = (b, h), without_the_unseen(full)
        d_row_lse = np.zeros(len(rows)) if d_lse is None else d_lse[at][rows].astype(np.float64)
        back = _backward(head, call, h, d_output[at][rows].astype(np.float64), d_row_lse, units, total_rows, steps)
        part = steps.of_head(h, call.sizes.group)
        errors = _through_score(head, call, back, units, total_rows)
        bounds["q"][b, h, rows] += errors["q"]
        bounds["k"][b, h // call.sizes.group] += part * errors["k"]
        bounds["v"][b, h // call.sizes.group] += part * back.values_error
        _add_reduced(bounds, call, b, h, rows, head, back, units, steps)
        for name, param in call.params.items():
            bounds[f"params.{name}"][h if param.shape[0] > 1 else 0] += errors[f"params.{name}"]
    return _with_roundings(bounds, call, len(rows), units)


def _with_roundings(bounds: Gradients, call: Call, rows: int, units: Units) -> Gradients:
    """The bounds with what the products of each gradient may lose to underflow, and its last rounding."""
    s, total_rows = call.sizes, rows * call.sizes.group
    products = {"q": s.S, "k": total_rows, "v": total_rows}  # that may underflow; of parameters, bias and sinks all
    everything = s.B * s.Hq * rows * s.S
    stored = {"k": s.group, "v": s.group}  # that of each query head of a group may be stored before they are added
    return {
        name: bound + (4 + products.get(name, everything)) * units.eta + stored.get(name, 1) * units.eta_output
        for name, bound in bounds.items()
    }


def without_the_unseen(head: HeadReference) -> HeadReference:
    """The head with zeros where nothing is allowed: what lies outside A does not exist, be it NaN."""
    asks, seen = np.any(head.allowed, axis=1)[:, None], np.any(head.allowed, axis=0)[:, None]
    return replace(
        head,
        q=np.where(asks, head.q, 0.0),
        k=np.where(seen, head.k, 0.0),
        v=np.where(seen, head.v, 0.0),
        scores=np.where(head.allowed, head.scores, 0.0),
        capped=np.where(head.allowed, head.capped, 0.0),
    )


def _backward(
    head: HeadReference, call: Call, h: int, d_output: Array, d_lse: Array, units: Units, total_rows: int, steps: Steps
) -> Backward:
    p, allowed = head.weights, head.allowed
    keep, keep_v = (head.keep if kept else 1.0 for kept in (steps.keep_in_weights, steps.keep_in_values))
    dead = ~np.asarray(allowed.any(1))
    d_output = np.where(dead[:, None], 0.0, np.nan_to_num(d_output))
    d_lse = steps.lse * np.where(dead & np.isneginf(head.lse), 0.0, d_lse)
    off = errors_of_weights(head, call, h, units)
    most = p + SLACK * off.keys
    d_weights = _weights(head, call, keep, d_output, units)
    row, row_error = _row_sums(head, call, d_weights, off, units)
    if units.stored_output:
        row_error = _with_a_stored_output(row_error, head, call, h, d_output, units)
    row, row_error = steps.delta * row, abs(steps.delta) * row_error
    inner = d_weights.value - row[:, None] + d_lse[:, None]
    size = d_weights.size + np.abs(row)[:, None] + np.abs(d_lse)[:, None]
    d_logits = np.where(allowed, p * inner, 0.0)
    d_logits_error = off.keys * np.abs(inner) + most * (d_weights.error + row_error[:, None] + 4 * units.softmax * size)
    d_logits_error = np.where(allowed, d_logits_error + 2 * units.eta_p * size + 2 * units.eta, 0.0)
    d_scores, d_scores_error = _through_cap(head, call, d_logits, d_logits_error, units, steps)
    values_error = _values_error(head, call, keep_v, d_output, off, units, total_rows)
    sink_size, sink_error = _sink(head, call, row, row_error, d_lse, off, units)
    return Backward(d_output, d_logits, d_logits_error, d_scores, d_scores_error, values_error, sink_size, sink_error)


@dataclass(frozen=True)
class _WeightCotangents:
    """dP (T, S), the sum of its terms in absolute values, and its error."""

    value: Array
    size: Array
    error: Array


def _weights(head: HeadReference, call: Call, keep: Array | float, d_output: Array, units: Units) -> _WeightCotangents:
    """dP = r dO vᵀ."""
    u, growth = units.accumulate, units.growth
    v = np.nan_to_num(head.v)
    size = keep * (np.abs(d_output) @ np.abs(v).T)
    error = (growth(call.sizes.Dv) * u + 2 * u) * size + units.eta * (call.sizes.Dv + 1)
    return _WeightCotangents(keep * (d_output @ v.T), size, error)


def _row_sums(
    head: HeadReference, call: Call, d_weights: _WeightCotangents, off: WeightErrors, units: Units
) -> tuple[Array, Array]:
    """Δ = Σ P dP of each row (T,), and its error."""
    u, growth = units.accumulate, units.growth
    p, most = head.weights, head.weights + SLACK * off.keys
    error = (most * d_weights.error + (off.keys + p * units.p_cast) * np.abs(d_weights.value)).sum(1)
    error = error + growth(call.sizes.S) * u * (most * d_weights.size).sum(1) + units.eta * (call.sizes.S + 2)
    return (p * d_weights.value).sum(1), error


def _with_a_stored_output(
    row_error: Array, head: HeadReference, call: Call, h: int, d_output: Array, units: Units
) -> Array:
    """The error of Δ (T,) where it is computed as Σ dO·O, from an O that was stored."""
    size, output = np.abs(d_output), np.abs(np.nan_to_num(head.output))
    row_error = row_error + (size * output_bound(head, call, h, units)).sum(1)
    rounding = units.stored_output + units.growth(call.sizes.Dv) * units.accumulate
    return np.asarray(row_error + rounding * (size * output).sum(1))


def _values_error(
    head: HeadReference,
    call: Call,
    keep: Array | float,
    d_output: Array,
    off: WeightErrors,
    units: Units,
    total_rows: int,
) -> Array:
    """The error of dv (S, Dv), by the weights' errors and by the sum over the rows."""
    u, p = units.accumulate, head.weights
    size = (p * keep).T @ np.abs(d_output)
    error = (keep * (off.keys + p * units.p_cast)).T @ np.abs(d_output)
    group = call.sizes.group
    alike = np.minimum(
        alike_terms((p * keep).T, u, group)[:, None], alike_terms(np.abs(np.nan_to_num(d_output)).T, u, group)
    )
    summed = units.growth(total_rows, aligned=_even_products(p * keep, d_output), alike=alike)
    stored = units.storing(call.sizes.Tq * call.sizes.group) * units.output
    error = error + (summed * u + stored + 4 * u) * size
    return np.asarray(error + units.eta_p * (head.allowed.T @ np.abs(d_output)))


def _sink(
    head: HeadReference, call: Call, row: Array, row_error: Array, d_lse: Array, off: WeightErrors, units: Units
) -> tuple[float, float]:
    """The size of the gradient of the sink's logit, and its error: a sum over all rows."""
    u = units.accumulate
    size = head.sink_weight * (np.abs(row) + np.abs(d_lse))
    aligned = aligned_rows(head.sink_weight[None] * (row - d_lse)[None], np.ones((1, len(row)), bool))[0]
    alike = alike_terms(size[None], u, call.sizes.B)[0]
    summed = units.growth(call.sizes.B * call.sizes.Tq, aligned=aligned, alike=alike) * u * size.sum()
    most = head.sink_weight + SLACK * off.sink
    errors = off.sink * (np.abs(row) + np.abs(d_lse)) + 4 * units.softmax * size + most * row_error
    return float(size.sum()), float(errors.sum() + summed)


def _even_products(left: Array, right: Array) -> Array:
    """Where the terms of left.T @ right hardly differ, so that the roundings of a sequential sum are all the same."""
    mean = left.T @ right / len(left)
    spread2 = (left * left).T @ (right * right) / len(left) - mean * mean
    return np.asarray(spread2 <= (UNIFORM_TERMS * mean) ** 2)


def _through_cap(
    head: HeadReference, call: Call, d_logits: Array, error: Array, units: Units, steps: Steps
) -> tuple[Array, Array]:
    factor = steps.scale(head.scale)
    scale = np.abs(factor)
    if call.spec.softcap is None or not steps.cap:
        error = scale * (error + 2 * units.softmax * np.abs(d_logits)) + units.eta
        return d_logits * factor, np.where(head.allowed, error, 0.0)
    t = head.capped / call.spec.softcap
    slope = 1 - t * t
    # 1 - t² with t off by ε_tanh: at saturation nothing else is left of the slope.
    slope_error = 2 * np.abs(t) * slope * score_error(head, call, units) / call.spec.softcap
    slope_error = slope_error + 2 * (1 + units.tanh_ulp * t * t) * units.softmax
    carried = slope * error + np.abs(d_logits) * slope_error
    error = scale * (carried + 2 * units.softmax * np.abs(d_logits) + units.eta) + units.eta
    return d_logits * slope * factor, np.where(head.allowed, error, 0.0)


def _through_score(head: HeadReference, call: Call, back: Backward, units: Units, total_rows: int) -> Gradients:
    """Errors of q, k and the parameters: the score's derivative in absolute values, on e(dS) and on λ u |dS|."""
    u = units.accumulate
    sizes = call.sizes
    size = np.abs(back.d_scores)
    low = units.p_cast * size + units.eta_p * head.allowed  # kernels that cast P cast dS too
    even_row = aligned_rows(size, head.allowed)[:, None]
    even_column = aligned_rows(size.T, head.allowed.T)[None, :]
    over_keys = units.growth(sizes.S, aligned=even_row, alike=alike_terms(size, u)[:, None])
    over_rows = units.growth(total_rows, aligned=even_column, alike=alike_terms(size.T, u, sizes.group))
    by_key = back.d_scores_error + low + (over_keys + 4) * u * size
    by_row = back.d_scores_error + low + (over_rows + 4) * u * size
    derivative = {"dot": _dot, "general": _general, "cosine": _cosine}.get(call.spec.score, _tanh)
    errors = derivative(head, call, by_key, by_row, size, units)
    rounded = derivative(head, call, size, size, np.zeros_like(size), units)
    # The last rounding is of the gradient itself, which is at most its size in absolute values.
    times = {"q": units.storing(sizes.S), "k": units.storing(sizes.Tq * sizes.group)}
    return {name: error + times.get(name, 1.0) * units.output * rounded[name] for name, error in errors.items()}


def _dot(head: HeadReference, call: Call, by_key: Array, by_row: Array, size: Array, units: Units) -> Gradients:
    del call, size, units
    return {"q": by_key @ np.abs(np.nan_to_num(head.k)), "k": by_row.T @ np.abs(np.nan_to_num(head.q))}


def _general(head: HeadReference, call: Call, by_key: Array, by_row: Array, size: Array, units: Units) -> Gradients:
    q, k, w = np.abs(head.q), np.abs(head.k), np.abs(head.params["W"])
    extra = 2 * units.growth(call.sizes.D) * units.accumulate
    grads = {"q": (by_key + extra * size) @ k @ w.T, "k": (by_row + extra * size).T @ (q @ w)}
    rows = _growth_over_pairs(head, size, call.sizes.Tq * call.sizes.B * call.sizes.Hq, units) * units.accumulate
    return grads | {"params.W": q.T @ (np.maximum(by_key, by_row) + (extra + rows) * size) @ k}


def _cosine(head: HeadReference, call: Call, by_key: Array, by_row: Array, size: Array, units: Units) -> Gradients:
    temperature = float(np.abs(head.params["temperature"]))
    extra = (6 * units.growth(call.sizes.D) + 8) * units.accumulate
    unit = {}
    norm = {}
    for name, x in (("q", head.q), ("k", head.k)):
        norm[name] = np.maximum(np.sqrt((x * x).sum(1, keepdims=True)), COSINE_FLOOR)
        unit[name] = np.abs(x) / norm[name]
    d_q, d_k = temperature * (by_key + extra * size) @ unit["k"], temperature * (by_row + extra * size).T @ unit["q"]

    def through(name: str, d: Array) -> Array:
        return np.asarray((d + unit[name] * (unit[name] * d).sum(1, keepdims=True)) / norm[name])

    rows = _growth_over_pairs(head, size, _pairs(call), units) * units.accumulate
    total = ((np.maximum(by_key, by_row) + (extra + rows) * size) * (unit["q"] @ unit["k"].T)).sum()
    return {"q": through("q", d_q), "k": through("k", d_k), "params.temperature": np.asarray(total)}


def _tanh(head: HeadReference, call: Call, by_key: Array, by_row: Array, size: Array, units: Units) -> Gradients:
    wq, wk, _, v = (np.abs(a) for a in tanh_parts(head, call))
    t, t_error = tanh_error(head, call, units)
    u = units.accumulate
    slope_error = 2 * np.abs(t) * t_error + 3 * u
    extra = (units.growth(wq.shape[1]) + units.growth(call.sizes.D) + 4) * u * size
    either = np.maximum(by_key, by_row) + extra
    feature = (either[:, :, None] * (1 - t * t) + size[:, :, None] * slope_error) * v
    by_query, by_value = feature.sum(1), feature.sum(0)
    q, k = np.abs(head.q), np.abs(head.k)
    rows = _growth_over_pairs(head, size, _pairs(call), units) * u
    summed = (rows * size)[:, :, None] * (1 - t * t) * v
    d_wq, d_wk = q.T @ (feature + summed).sum(1), k.T @ (feature + summed).sum(0)
    d_v = np.einsum("ts,tsa->a", either + rows * size, np.abs(t)) + np.einsum("ts,tsa->a", size, t_error)
    grads = {"q": by_query @ wq.T, "k": by_value @ wk.T, "params.v": d_v}
    if call.spec.score == "concat":
        return grads | {"params.W": np.concatenate([d_wq, d_wk])}
    return grads | {"params.Wq": d_wq, "params.Wk": d_wk, "params.b": (feature + summed).sum((0, 1))}


def _pairs(call: Call) -> int:
    return call.sizes.B * call.sizes.Hq * call.sizes.Tq * call.sizes.S


def _growth_over_pairs(head: HeadReference, size: Array, n: int, units: Units) -> Array:
    """λ(n) (T, S) of a sum over rows, or keys, or both, whose terms have the sizes (T, S)."""
    even = aligned_rows(size, head.allowed)[:, None] | aligned_rows(size.T, head.allowed.T)[None, :]
    t, s = size.shape
    if n >= t * s:
        alike = alike_terms(size.reshape(1, -1), units.accumulate, max(1, n // max(1, t * s)))[:, None]
    else:  # over the rows or over the keys alone
        over_rows = alike_terms(size.T, units.accumulate, max(1, n // t))
        over_keys = alike_terms(size, units.accumulate, max(1, n // s))
        alike = np.maximum(over_rows, over_keys[:, None])
    return np.asarray(units.growth(n, aligned=even, alike=alike))


def _add_reduced(
    bounds: Gradients,
    call: Call,
    b: int,
    h: int,
    rows: Array,
    head: HeadReference,
    back: Backward,
    units: Units,
    steps: Steps,
) -> None:
    """Errors of bias and sinks, whose gradients are sums over the axes on which they were broadcast."""
    if call.bias is not None:
        total, size = bounds["bias"], np.abs(back.d_logits)
        growth = _growth_over_pairs(head, size, _pairs(call) // max(1, total.size), units)
        error = back.d_logits_error + (growth * units.accumulate + units.output) * size
        add_broadcast(total, steps.of_bias(total.shape, call.sizes, b, h, rows) * error, b, h, rows)
    if call.sinks is not None:
        bounds["sinks"][h] += back.sink_error + units.output * back.sink_size
