"""Rule 1, forward: how far each element of a correct implementation can be from the oracle.

A first-order error analysis per element, in the notation of ``docs/agreement.md``. With δ the error of a logit, P the
weights, w the values as the row sees them and o the output:

    E = √(Σ P δ²) √(Σ P (w − o)²)          logits; key by key where a δ is not small (``weight_bounds``)
      + u_P (min(3 √(Σ P² w²), Σ P|w|) + |o|)  cast of P
      + λ(n) u_a (Σ P|w| + |o|)            summation of P·V and of the normaliser
      + ½ (|Σ' P w| + Σ' P |o|)            what a sum can lose of weights too small to count (Σ': P ≤ 2 u_a)
      + (4 u_a + u_o) |o|                  divisions and the rounding of the output
      + η (|A| + 2) + η_P Σ_A |w| + η_o    underflow

An element agrees when its error is at most 2 E (1 E in the rigorous form, where λ(n) is n + 2 instead of √n + 2; it is
more than √n + 2 where terms are equal, too: ``alike_terms``).
Where a δ is not small, it must lie besides among the values that the row can weigh: E has two sides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.agree.judge.alike import UNIFORM_TERMS, aligned_rows, alike_terms, root_of_groups
from attnbench.agree.judge.weight_bounds import (
    FIRST_ORDER,
    SLACK,
    Keys,
    WeightErrors,
    keys_of,
    log_sum,
    weight_errors,
    weight_ranges,
)
from attnbench.attention.arrays import Array
from attnbench.attention.oracle import sink_of
from attnbench.attention.precision import SMALLEST_NORMAL, SMALLEST_SUBNORMAL, UNIT_ROUNDOFF, Precision, wide

if TYPE_CHECKING:
    from attnbench.attention.call import Call
    from attnbench.attention.oracle import HeadReference

CAST = 3.0  # weights halfway between two numbers are all off by u_P, up or down: with SLACK six standard deviations
STORED = 1.75  # roundings of random sign, one for each time a sum is stored: with SLACK six standard deviations


@dataclass(frozen=True)
class Units:
    """Unit roundoffs and underflow levels of one implementation at one dtype, and its longest summation chain."""

    accumulate: float
    logits: float
    softmax: float
    p_cast: float
    output: float
    wide: float
    exp_ulp: float
    tanh_ulp: float
    chain: int | None
    rigorous: bool
    eta: float
    eta_p: float
    eta_output: float
    stored_output: float
    stored_sums: int | None = None

    @classmethod
    def of(cls, precision: Precision, dtype: str, *, rigorous: bool = False) -> Units:
        """From what an implementation declares for inputs of ``dtype``."""
        tiny = SMALLEST_NORMAL if precision.flush else SMALLEST_SUBNORMAL
        half = 1.0 if precision.flush else 0.5
        p_format = precision.p_cast or precision.softmax
        return cls(
            accumulate=UNIT_ROUNDOFF[precision.accumulate],
            logits=UNIT_ROUNDOFF[precision.logits] if precision.logits else 0.0,
            softmax=UNIT_ROUNDOFF[precision.softmax],
            p_cast=UNIT_ROUNDOFF[precision.p_cast] if precision.p_cast else 0.0,
            output=UNIT_ROUNDOFF[dtype],
            wide=UNIT_ROUNDOFF[wide(dtype)],
            exp_ulp=precision.exp_ulp,
            tanh_ulp=precision.tanh_ulp,
            chain=precision.chain,
            rigorous=rigorous,
            # Half of float64's smallest subnormal is 0 in the float64 in which bounds are computed.
            eta=max(half * tiny[precision.accumulate], SMALLEST_SUBNORMAL["float64"]),
            eta_p=max(half * tiny[p_format], SMALLEST_SUBNORMAL["float64"]),
            eta_output=max(half * tiny[dtype], SMALLEST_SUBNORMAL["float64"]),
            stored_output=UNIT_ROUNDOFF[precision.stored_output] if precision.stored_output else 0.0,
            stored_sums=precision.stored_sums,
        )

    def growth(self, n: float, *, aligned: Array | bool = False, alike: Array | float = 0.0) -> Any:
        """λ(n): √n + 2, or n + 2 in the rigorous form and where the roundings are all aligned.

        ``alike`` (``alike_terms``) takes the place of √n where many terms are equal.
        """
        n = min(n, self.chain or n)
        if self.rigorous:
            return n + 2.0
        if aligned is False:
            return np.clip(alike, sqrt(n), n) + 2.0
        return np.where(aligned, n, np.clip(alike, sqrt(n), n)) + 2.0

    def storing(self, n: int) -> float:
        """How many roundings to the output's dtype add up in a gradient that is a sum of n terms."""
        pieces = 1 if self.stored_sums is None else max(1, ceil(n / self.stored_sums))
        return float(pieces) if self.rigorous else min(pieces, STORED * sqrt(pieces))


def score_error(head: HeadReference, call: Call, units: Units) -> Array:
    """δ_score (T, S): the error of the scaled score before the cap, by score."""
    u, growth = units.accumulate, units.growth
    d = call.sizes.D
    scale = np.abs(head.scale)
    absolute = np.abs(head.q), np.abs(head.k)
    if call.spec.score == "dot":
        error = growth(d) * u * (absolute[0] @ absolute[1].T)
    elif call.spec.score == "general":
        error = 2 * growth(d) * u * (absolute[0] @ np.abs(head.params["W"]) @ absolute[1].T)
    elif call.spec.score in ("additive", "concat"):
        error = _tanh_score_error(head, call, units)
    else:
        error = np.full(head.scores.shape, (3 * growth(d) + 4) * u * float(np.abs(head.params["temperature"])))
    if call.spec.scale == "log_n":
        error = error + 4 * units.softmax * np.abs(head.scores) / np.where(scale == 0, 1, scale)
    return np.asarray(scale * error)


def tanh_parts(head: HeadReference, call: Call) -> tuple[Array, Array, Array, Array]:
    """W_q, W_k, b and v of an additive or concat score, for one head."""
    d, params = call.sizes.D, head.params
    if call.spec.score == "additive":
        return params["Wq"], params["Wk"], params["b"], params["v"]
    return params["W"][:d], params["W"][d:], np.zeros(params["W"].shape[1]), params["v"]


def tanh_error(head: HeadReference, call: Call, units: Units) -> tuple[Array, Array]:
    """t = tanh(q W_q + k W_k + b) and its error, both (T, S, Da)."""
    wq, wk, b, _ = tanh_parts(head, call)
    t = np.tanh((head.q @ wq)[:, None, :] + (head.k @ wk)[None, :, :] + b)
    reach = (np.abs(head.q) @ np.abs(wq))[:, None, :] + (np.abs(head.k) @ np.abs(wk))[None, :, :]
    inside = units.growth(call.sizes.D) * reach + np.abs(b)
    return t, units.accumulate * ((1 - t * t) * inside + units.tanh_ulp * np.abs(t))


def _tanh_score_error(head: HeadReference, call: Call, units: Units) -> Array:
    v = np.abs(tanh_parts(head, call)[3])
    t, error = tanh_error(head, call, units)
    summation = units.growth(v.shape[0]) * units.accumulate * np.abs(t)
    return np.asarray((error + summation) @ v)


def logit_error(head: HeadReference, call: Call, units: Units) -> Array:
    """δ (T, S): the error of a logit as the softmax sees it; 0 outside A."""
    error = score_error(head, call, units)
    if call.spec.softcap is not None:
        slope = 1 - (head.capped / call.spec.softcap) ** 2
        error = error * slope + (2 + units.tanh_ulp) * units.softmax * np.abs(head.capped)
    within = head.allowed & np.isfinite(head.logits)
    # Unit by unit: finfo.min twice is beyond float64.
    size = units.softmax * np.abs(np.where(within, head.logits, 0.0))
    top = np.where(np.isfinite(head.row_max), head.row_max, 0.0)[:, None]
    depth = np.where(within, units.softmax * top - units.softmax * np.where(within, head.logits, 0.0), 0.0)
    error = error + units.logits * np.abs(np.where(within, head.logits, 0.0))
    error = error + units.softmax * (3 + units.exp_ulp) + size + depth
    if call.bias is not None or call.slopes is not None:
        error = error + 2 * (units.softmax * np.abs(np.where(within, head.bias, 0.0)) + size)
    return np.where(within, error, 0.0)


def sink_error(head: HeadReference, call: Call, h: int, units: Units) -> Array:
    """δ of the sink's logit, (T,)."""
    sink = sink_of(call, h)
    if not np.isfinite(sink):  # −inf: there is none
        return np.zeros(head.row_max.shape)
    return np.asarray(units.softmax * (3 + units.exp_ulp + abs(sink) + np.abs(head.row_max - sink)))


def every_key(head: HeadReference, call: Call, h: int, units: Units, rows: Array | slice = slice(None)) -> Keys:
    """The keys of one head and its sink, with the errors of their logits."""
    delta, delta_sink = logit_error(head, call, units), sink_error(head, call, h, units)
    return keys_of(head, delta, delta_sink, sink_of(call, h), rows)


def errors_of_weights(head: HeadReference, call: Call, h: int, units: Units) -> WeightErrors:
    """Errors of P (T, S), of the sink's weight and of lse: by the logits, the division and the normaliser's sum."""
    return weight_errors(every_key(head, call, h, units), normaliser_error(head, units))


def normaliser_error(head: HeadReference, units: Units) -> Array:
    """Relative error of Σ exp (T,): its sum, the exponentials and the division, and what the sum may lose."""
    aligned, alike = aligned_rows(head.weights, head.allowed), alike_terms(head.weights, units.softmax)
    growth = units.growth(head.weights.shape[1], aligned=aligned, alike=alike)
    return np.asarray((growth + 4) * units.softmax + lost(head, units.softmax).sum(1) / SLACK)


def lost(head: HeadReference, u: float) -> Array:
    """The weights P that a running sum may lose one after the other, (T, S), 0 in place of the others.

    A term below half a unit in the last place of the sum changes nothing, so that all of them are lost in one
    direction; √n is for roundings that cancel.
    """
    return np.where(head.weights <= 2 * u, head.weights, 0.0)


def output_bound(head: HeadReference, call: Call, h: int, units: Units) -> Array:
    """E (T, Dv) of one head's output, to either side."""
    return np.maximum(*output_sides(head, call, h, units))


def output_sides(head: HeadReference, call: Call, h: int, units: Units) -> tuple[Array, Array]:
    """E (T, Dv) of one head's output below the oracle and above it."""
    delta, delta_sink = logit_error(head, call, units), sink_error(head, call, h, units)
    sums = column_sums(head)
    rest = _arithmetic(head, sums, units)
    below = _first_order(head, sums, np.minimum(delta, FIRST_ORDER), np.minimum(delta_sink, FIRST_ORDER))
    far = np.flatnonzero((delta > FIRST_ORDER).any(1) | (delta_sink > FIRST_ORDER))
    if not len(far):
        return below + rest, below + rest
    above = below.copy()
    keys = keys_of(head, delta, delta_sink, sink_of(call, h), far)
    below[far], above[far] = _coarse(_rows(head, far), keys)
    return below + rest, above + rest


def _arithmetic(head: HeadReference, sums: ColumnSums, units: Units) -> Array:
    """The part of E that is no error of a logit: sums, the cast of P, divisions, the rounding of the output."""
    p, allowed = head.weights, head.allowed
    o = _size(head.output)
    n = p.shape[1]
    u = units.accumulate
    alike = alike_terms(p, u)[:, None]
    # A term of P V is like another where both its factors are.
    growth_v = units.growth(n, aligned=sums.even, alike=np.minimum(alike, alike_terms(np.abs(finite(head.v)).T, u)))
    growth_z = units.growth(n, aligned=aligned_rows(p, allowed)[:, None], alike=alike)
    usual = sums.absolute
    if units.p_cast and not units.rigorous:  # the casts of equal weights are the same
        groups = root_of_groups(p * head.keep, finite(head.v), u)
        usual = np.minimum(CAST * np.maximum(sums.root_squares, groups), usual)
    bound = units.p_cast * (usual + o)
    bound = bound + units.accumulate * (growth_v * sums.absolute + growth_z * o)
    small = lost(head, units.accumulate)
    mass = small.sum(1) / SLACK
    if (mass > units.accumulate).any():  # else they come to less than one rounding
        bound = bound + np.abs((small * head.keep) @ finite(head.v)) / SLACK + mass[:, None] * o
    bound = bound + (4 * units.accumulate + units.output) * o
    reach = np.where(allowed, 1.0, 0.0) @ np.abs(finite(head.v))
    underflow = units.eta * (allowed.sum(1)[:, None] + 2) + units.eta_p * reach + units.eta_output
    return np.asarray(bound + underflow)


def _first_order(head: HeadReference, sums: ColumnSums, delta: Array, delta_sink: Array) -> Array:
    """√(Σ P δ²) √(Σ P (w − o)²), the sink being a key with w = 0."""
    squares = (head.weights * delta * delta).sum(1) + head.sink_weight * delta_sink**2
    spread = np.hypot(sums.spread, np.sqrt(head.sink_weight)[:, None] * _size(head.output))
    return np.asarray(np.sqrt(squares)[:, None] * spread)


def _coarse(head: HeadReference, keys: Keys) -> tuple[Array, Array]:
    """What the logits' errors do to rows in which some δ is large: (T, Dv) below the oracle and above it.

    The keys with a small δ are taken as a row by themselves, to first order; at most the weight that the others leave
    is theirs. Each key with a large δ moves its weight at most from one end of its range to the other. And whatever the
    weights are, the row lies among the values of the keys that can have any.
    """
    low, high = weight_ranges(keys)
    far = keys.far
    alone = _of_near_keys(head, keys)
    rest = 1 - np.where(far, low, 0.0).sum(1)
    moved = np.where(far, np.maximum(high - keys.weights, keys.weights - low), 0.0)
    delta = np.where(keys.near, keys.delta, 0.0)
    term = rest[:, None] * _first_order(alone, column_sums(alone), delta[:, :-1], delta[:, -1])
    reached = (moved[:, :-1] * head.keep) @ np.abs(finite(head.v)) + moved.sum(1)[:, None] * np.abs(alone.output)
    term = term + reached / SLACK
    least, most = _hull(head, high > 0)
    o = finite(head.output)
    return np.minimum(term, np.maximum(o - least, 0) / SLACK), np.minimum(term, np.maximum(most - o, 0) / SLACK)


def _of_near_keys(head: HeadReference, keys: Keys) -> HeadReference:
    """The rows as they would be if only the keys with a small δ existed; a row without such keys keeps its output."""
    logs = np.where(keys.near, keys.logs, -np.inf)
    total = log_sum(logs)
    some = np.isfinite(total)
    weights = np.exp(logs - np.where(some, total, 0.0)[:, None])
    output = (weights[:, :-1] * head.keep) @ finite(head.v)
    return replace(
        head,
        weights=weights[:, :-1],
        sink_weight=weights[:, -1],
        output=np.where(some[:, None], output, finite(head.output)),
    )


def _rows(head: HeadReference, rows: Array) -> HeadReference:
    """What the bounds of these rows' outputs read."""
    names = ("allowed", "logits", "row_max", "weights", "sink_weight", "keep", "output", "lse")
    return replace(head, **{name: getattr(head, name)[rows] for name in names})


def _hull(head: HeadReference, weighty: Array) -> tuple[Array, Array]:
    """The smallest and the largest value (T, Dv) among keys that can have a weight; a sink's is 0."""
    least, most = np.empty((len(weighty), head.v.shape[1])), np.empty((len(weighty), head.v.shape[1]))
    keys, sink = weighty[:, :-1], weighty[:, -1]
    for c, column in enumerate(finite(head.v).T):
        values = head.keep * column
        least[:, c] = np.where(keys, values, np.inf).min(1, initial=np.inf)
        most[:, c] = np.where(keys, values, -np.inf).max(1, initial=-np.inf)
    least[sink], most[sink] = np.minimum(least[sink], 0), np.maximum(most[sink], 0)
    return least, most


def _size(output: Array) -> Array:
    return np.abs(np.where(np.isnan(output), 0.0, output))


def finite(array: Array) -> Array:
    """The array with 0 in place of what is no finite number."""
    return np.where(np.isfinite(array), array, 0.0)


@dataclass(frozen=True)
class ColumnSums:
    """Of the terms P w of each output element, (T, Dv): Σ P|w|, √(Σ P² w²), √(Σ P (w − o)²); whether they are alike."""

    absolute: Array
    root_squares: Array
    spread: Array
    even: Array


def column_sums(head: HeadReference) -> ColumnSums:
    """As products of matrices: term by term they would need (T, S, Dv) numbers.

    What a row sees of a value that is not finite is judged by its pattern alone, so that the value counts as 0 here. A
    spread below √u of the values, u being float64's, is lost to cancellation: far below the other terms of the bound.
    """
    v = finite(head.v)
    largest = np.abs(v).max(0, initial=0.0)
    largest = np.where(largest > 0, largest, 1.0)  # no square overflows, and none vanishes
    v = v / largest
    o = finite(head.output) / largest
    terms = head.weights * head.keep  # P w is this times v
    absolute, squares = terms @ np.abs(v), (terms * terms) @ (v * v)
    spread2 = (terms * head.keep) @ (v * v) - 2 * o * (terms @ v) + o * o * head.weights.sum(1)[:, None]
    count = np.maximum(head.allowed.sum(1), 1)[:, None]
    mean = absolute / count
    even = squares / count - mean * mean <= (UNIFORM_TERMS * mean) ** 2
    with np.errstate(over="ignore"):
        return ColumnSums(
            absolute * largest, np.sqrt(squares) * largest, np.sqrt(np.maximum(spread2, 0.0)) * largest, even
        )


def stage_bounds(head: HeadReference, call: Call, h: int, units: Units) -> dict[str, Array]:
    """Bounds of lse (T,) and of the stages (T, S), by name, for outputs in the wide dtype."""
    delta, weights = logit_error(head, call, units), errors_of_weights(head, call, h, units)
    raw = score_error(head, call, units) + 4 * units.softmax * np.abs(head.scores)
    capped = raw
    if call.spec.softcap is not None:
        slope = 1 - (head.capped / call.spec.softcap) ** 2
        capped = raw * slope + (2 + units.tanh_ulp) * units.softmax * np.abs(head.capped)
    lse = np.abs(np.where(np.isfinite(head.lse), head.lse, 0.0))
    bounds = {
        "lse": weights.lse + normaliser_error(head, units) + (units.softmax + units.wide) * lse,
        "scores": raw + units.wide * np.abs(head.scores),
        "capped": capped + units.wide * np.abs(head.capped),
        "logits": delta + units.wide * np.abs(np.where(head.allowed, head.logits, 0.0)),
        "weights": weights.keys + units.wide * head.weights + 2 * units.eta_p,
    }
    return {name: bound + units.eta for name, bound in bounds.items()}
