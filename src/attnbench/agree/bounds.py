"""Rule 1, forward: how far each element of a correct implementation can be from the oracle.

A first-order error analysis per element, in the notation of ``docs/agreement.md``. With δ the error of a logit, P the
weights, w the values as the row sees them and o the output:

    E = √(Σ P δ²) √(Σ P (w − o)²)          logits
      + u_P (√(Σ P² w²) + |o|)             cast of P
      + λ(n) u_a (Σ P|w| + |o|)            summation of P·V and of the normaliser
      + (4 u_a + u_o) |o|                  divisions and the rounding of the output
      + η (|A| + 2) + η_P Σ_A |w| + η_o    underflow

An element agrees when its error is at most 2 E (1 E in the rigorous form, where λ(n) is n + 2 instead of √n + 2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.precision import SMALLEST_NORMAL, SMALLEST_SUBNORMAL, UNIT_ROUNDOFF, Precision, wide

if TYPE_CHECKING:
    from attnbench.call import Call
    from attnbench.oracle import HeadReference

Array = np.ndarray[Any, np.dtype[Any]]

SLACK = 2.0  # an element agrees within SLACK * E
FIRST_ORDER = 0.1  # above this δ the exponential is no longer linear
UNIFORM_TERMS = 0.25  # coefficient of variation below which roundings add up instead of cancelling


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
        )

    def growth(self, n: float, *, aligned: Array | bool = False) -> Any:
        """λ(n): √n + 2, or n + 2 in the rigorous form and where the roundings are all aligned."""
        n = min(n, self.chain or n)
        if self.rigorous:
            return n + 2.0
        return np.where(aligned, n + 2.0, np.sqrt(n) + 2.0)


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
    finite = head.allowed & np.isfinite(head.logits)
    logits = np.where(finite, head.logits, 0.0)
    depth = np.where(finite, np.where(np.isfinite(head.row_max), head.row_max, 0.0)[:, None] - logits, 0.0)
    error = error + units.logits * np.abs(logits)
    error = error + units.softmax * (3 + units.exp_ulp + np.abs(logits) + depth)
    if call.bias is not None or call.slopes is not None:
        error = error + 2 * units.softmax * (np.abs(np.where(finite, head.bias, 0.0)) + np.abs(logits))
    return np.where(finite, error, 0.0)


def sink_error(head: HeadReference, call: Call, h: int, units: Units) -> Array:
    """δ of the sink's logit, (T,)."""
    sink = -np.inf if call.sinks is None else float(call.sinks[h])
    if sink == -np.inf:  # no sink: nothing is added that could be wrong
        return np.zeros(head.row_max.shape)
    return units.softmax * (3 + units.exp_ulp + abs(sink) + np.abs(head.row_max - sink))


def weight_error(head: HeadReference, delta: Array, delta_sink: Array, units: Units) -> Array:
    """Relative error of P (T, S): that of its own exponential and that of the normaliser."""
    mean = (head.weights * delta).sum(1) + head.sink_weight * delta_sink
    growth = units.growth(head.weights.shape[1], aligned=aligned_rows(head.weights, head.allowed))
    relative = delta + mean[:, None] + (growth[:, None] if np.ndim(growth) else growth) * units.softmax
    relative = relative + 4 * units.softmax
    return np.asarray(np.where(relative > FIRST_ORDER, np.expm1(np.minimum(2 * relative, 50.0)), relative))


def aligned_rows(terms: Array, allowed: Array) -> Array:
    """Rows whose terms hardly differ: there the roundings of a sequential sum are all the same."""
    count = np.maximum(allowed.sum(1), 1)
    mean = np.where(allowed, terms, 0).sum(1) / count
    spread = np.sqrt(np.where(allowed, (terms - mean[:, None]) ** 2, 0).sum(1) / count)
    return np.asarray(spread <= UNIFORM_TERMS * np.abs(mean))


def output_bound(head: HeadReference, call: Call, h: int, units: Units) -> Array:
    """E (T, Dv) of one head's output."""
    p, allowed, sink = head.weights, head.allowed, head.sink_weight[:, None]
    delta, delta_sink = logit_error(head, call, units), sink_error(head, call, h, units)
    o = np.nan_to_num(head.output, posinf=np.inf, neginf=-np.inf)
    sums = column_sums(head)
    delta2 = (p * delta * delta).sum(1) + head.sink_weight * delta_sink**2
    logits = np.sqrt(delta2)[:, None] * np.hypot(sums.spread, np.sqrt(sink) * np.abs(o))
    worst = np.maximum(delta.max(1, initial=0.0), delta_sink)[:, None]
    logits = np.where(worst > FIRST_ORDER, np.expm1(np.minimum(2 * worst, 50.0)) * sums.absolute, logits)
    n = p.shape[1]
    growth_v = units.growth(n, aligned=sums.even)
    growth_z = units.growth(n, aligned=aligned_rows(p, allowed)[:, None])
    cast = sums.absolute if units.rigorous else sums.root_squares
    bound = logits + units.p_cast * (cast + np.abs(o))
    bound = bound + units.accumulate * (growth_v * sums.absolute + growth_z * np.abs(o))
    bound = bound + (4 * units.accumulate + units.output) * np.abs(o)
    reach = np.where(allowed, 1.0, 0.0) @ np.abs(finite(head.v))
    underflow = units.eta * (allowed.sum(1)[:, None] + 2) + units.eta_p * reach + units.eta_output
    return np.asarray(bound + underflow)


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
    delta, delta_sink = logit_error(head, call, units), sink_error(head, call, h, units)
    raw = score_error(head, call, units) + 4 * units.softmax * np.abs(head.scores)
    capped = raw
    if call.spec.softcap is not None:
        slope = 1 - (head.capped / call.spec.softcap) ** 2
        capped = raw * slope + (2 + units.tanh_ulp) * units.softmax * np.abs(head.capped)
    lse = np.where(np.isfinite(head.lse), head.lse, 0.0)
    mean = (head.weights * delta).sum(1) + head.sink_weight * delta_sink
    growth = units.growth(head.weights.shape[1], aligned=aligned_rows(head.weights, head.allowed))
    bounds = {
        "lse": mean + units.softmax * (growth + 4 + np.abs(lse)) + units.wide * np.abs(lse),
        "scores": raw + units.wide * np.abs(head.scores),
        "capped": capped + units.wide * np.abs(head.capped),
        "logits": delta + units.wide * np.abs(np.where(head.allowed, head.logits, 0.0)),
        "weights": head.weights * (weight_error(head, delta, delta_sink, units) + units.wide) + 2 * units.eta_p,
    }
    return {name: bound + units.eta for name, bound in bounds.items()}
