"""One call taken apart into the facts that a kernel has to get right, so that one of them can be read wrongly.

``facts_of`` lays out a prepared call in float64, whole: what is scaled by what, which part of the allowed set comes
from where, which head reads which. ``answer`` computes attention from them as the oracle does. Diagnosis changes one
fact (``attnbench.agree.diagnose.readings``) and asks whether the result explains what a kernel returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from attnbench.agree.judge.array import Judgement, judge
from attnbench.agree.judge.bounds import Units, output_bound
from attnbench.agree.judge.weight_bounds import SLACK
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call
from attnbench.attention.oracle import HeadReference
from attnbench.attention.oracle_scores import SCORE
from attnbench.attention.precision import numpy_dtype

NEARER = 0.1  # how much nearer than the right answer a reading must be before it is looked at closely
NEARER_LOW = 0.7  # the same where the rounding of the output is of the size of the fault
LOW = 2.0**-20  # a unit roundoff above which an output is called low


@dataclass(frozen=True)
class Facts:
    """What determines the output; arrays are float64 or bool and broadcast to (B, Hq, Tq, S).

    ``q`` (B, Hq, Tq, D); ``k``, ``v`` (B, Hq, S, D or Dv) as each query head reads them, ``keys`` and ``values`` as
    they were given (B, Hkv, S, ...). ``parts`` is the allowed set by its causes. ``position`` (B or 1, 1, Tq, 1).
    The functions are steps that a kernel may do in another way; ``None`` stands for the spec's way.

    ``rows`` are the queries that are looked at, by their indices: all of them, or some of a large call. Wherever it
    says Tq above, an array then has so many rows.
    """

    call: Call
    q: Array
    k: Array
    v: Array
    keys: Array
    values: Array
    position: Array
    parts: Mapping[str, Array]
    bias: Array
    scale: Array
    sink: Array
    keep: Array
    cap: float | None
    rows: Array
    stored: Callable[[Array], Array] | None = None
    join: Callable[[Facts, Array, Array], tuple[Array, Array]] | None = None
    weigh: Callable[[Array, Array, Array], Weights] | None = None
    add: Callable[[Array, Array, Array], Array] | None = None
    dead: Callable[[Facts, Computed], Array] | None = None

    @property
    def whole(self) -> bool:
        """Whether all queries are looked at."""
        return len(self.rows) == self.call.sizes.Tq

    @property
    def allowed(self) -> Array:
        """A, (B, Hq, Tq, S)."""
        s = self.call.sizes
        allowed = np.ones((s.B, s.Hq, len(self.rows), s.S), bool)
        for part in self.parts.values():
            allowed = allowed & part
        return allowed


@dataclass(frozen=True)
class Weights:
    """The softmax of one reading: row_max, sink_weight, lse (B, Hq, Tq); weights (B, Hq, Tq, S).

    ``open`` marks rows on which this reading does not commit itself (B, Hq, Tq).
    """

    row_max: Array
    weights: Array
    sink_weight: Array
    lse: Array
    open: Array | None = None


@dataclass(frozen=True)
class Computed:
    """Attention computed from facts, in float64: the stages of the spec, and the rows on which they do not commit."""

    facts: Facts
    scores: Array
    capped: Array
    logits: Array
    allowed: Array
    softmax: Weights
    output: Array
    open: Array


def facts_of(q: Array, k: Array, v: Array, call: Call, rows: Array | None = None) -> Facts:
    """Take a prepared call (``attnbench.attention.call.prepare``) apart, all queries of it or ``rows`` alone."""
    s = call.sizes
    rows = np.arange(s.Tq) if rows is None else np.asarray(rows)
    q, keys, values = (a.astype(np.float64) for a in (q[:, :, rows], k, v))
    k_read, v_read = (np.repeat(a, s.group, axis=1) for a in (keys, values))
    position = rows[None, None, :, None] + np.reshape(call.offset, (-1, 1, 1, 1))
    parts = parts_of(call, position, rows)
    bias = np.zeros((1, 1, 1, 1)) if call.bias is None else of_rows(call.bias, rows).astype(np.float64)
    if call.slopes is not None:
        distance = np.abs(position - np.arange(s.S))
        bias = bias - call.slopes.astype(np.float64)[None, :, None, None] * distance
    sink = np.full(s.Hq, -np.inf) if call.sinks is None else call.sinks.astype(np.float64)
    keep = np.ones((1, 1, 1, 1)) if call.keep is None else of_rows(call.keep, rows) / (1.0 - call.spec.dropout)
    facts = Facts(
        call, q, k_read, v_read, keys, values, position, parts, bias, np.ones((1, 1, 1, 1)),
        sink[None, :, None], keep, call.spec.softcap, rows,
    )  # fmt: skip
    return with_scale(facts, np.reshape(np.asarray(call.scale, np.float64), (1, -1, 1, 1)))


def with_scale(facts: Facts, scale: Array, count: Array | None = None) -> Facts:
    """The same with this factor, times ln n for ``log_n`` (n the size of the allowed set, or ``count``)."""
    if facts.call.spec.scale == "log_n":
        n = facts.allowed.sum(-1, keepdims=True) if count is None else count
        scale = scale * np.log(np.maximum(n, 2))
    return replace(facts, scale=scale)


def of_rows(array: Array, rows: Array) -> Array:
    """These rows of what broadcasts to (B, Hq, Tq, S)."""
    return array if array.shape[2] == 1 else array[:, :, rows]


def parts_of(call: Call, position: Array, rows: Array) -> dict[str, Array]:
    """The allowed set of these queries by its causes, each broadcast to (B, Hq, Tq, S)."""
    i, j = rows[:, None], np.arange(call.sizes.S)
    parts: dict[str, Array] = {}
    if call.kv_lengths is not None:
        parts["kv_lengths"] = j < call.kv_lengths[:, None, None, None]
    if call.q_lengths is not None:
        parts["q_lengths"] = i < call.q_lengths[:, None, None, None]
    if call.spec.causal:
        parts["causal"] = j <= position
    if call.spec.window is not None:
        parts["window"] = inside(position, call.sizes.S, *call.spec.window)
    if call.q_segments is not None:
        parts["segments"] = (call.q_segments[:, rows, None] == call.kv_segments[:, None, :])[:, None]
    if call.mask is not None:
        parts["mask"] = of_rows(np.asarray(call.mask), rows)
    if call.bias is not None:
        parts["bias"] = of_rows(np.asarray(call.bias != -np.inf), rows)
    return parts


def inside(position: Array, keys: int, left: int | None, right: int | None) -> Array:
    """Keys within ``left`` and ``right`` of the position, inclusive."""
    distance = np.arange(keys) - position
    within = np.ones(distance.shape, bool)
    if left is not None:
        within &= distance >= -left
    if right is not None:
        within &= distance <= right
    return within


def answer(facts: Facts) -> Computed:
    """Attention as these facts have it."""
    with np.errstate(all="ignore"):
        scores = raw_scores(facts) * facts.scale
        capped = scores if facts.cap is None else facts.cap * np.tanh(scores / facts.cap)
        capped = capped if facts.stored is None else facts.stored(capped)
        allowed = facts.allowed
        if facts.join is None:
            logits = masked(capped + np.where(np.isneginf(facts.bias), 0, facts.bias), allowed)
        else:
            logits, allowed = facts.join(facts, capped, allowed)
        softmax = (facts.weigh or spec_softmax)(logits, allowed, facts.sink)
        output = (facts.add or spec_sum)(softmax.weights * facts.keep, facts.v, allowed)
        left_open = np.zeros(softmax.lse.shape, bool) if softmax.open is None else softmax.open
        result = Computed(facts, scores, capped, logits, allowed, softmax, output, left_open)
        if facts.dead is None:
            return result
        empty = ~np.any(facts.allowed, axis=-1)[..., None]
        changed = np.where(empty, facts.dead(facts, result), output)
    return Computed(facts, scores, capped, logits, allowed, softmax, changed, left_open)


def masked(logits: Array, allowed: Array) -> Array:
    """−inf outside A."""
    return np.where(allowed, logits, -np.inf)


def raw_scores(facts: Facts) -> Array:
    """Scores before the scale, (B, Hq, Tq, S)."""
    if facts.call.spec.score == "dot":
        return np.asarray(facts.q @ np.swapaxes(facts.k, -1, -2))
    s = facts.call.sizes
    scores = np.empty((s.B, s.Hq, len(facts.rows), s.S))
    for b, h in np.ndindex(s.B, s.Hq):
        scores[b, h] = SCORE[facts.call.spec.score].forward(facts.q[b, h], facts.k[b, h], params_of(facts, h))
    return scores


def params_of(facts: Facts, h: int) -> dict[str, Array]:
    """The parameters of the score of one head."""
    return {n: p[h if p.shape[0] > 1 else 0].astype(np.float64) for n, p in facts.call.params.items()}


def spec_softmax(logits: Array, allowed: Array, sink: Array) -> Weights:
    """The softmax of the spec over A and the sink."""
    row_max = np.maximum(np.max(logits, axis=-1, initial=-np.inf), sink)
    shift = np.where(np.isneginf(row_max), 0.0, row_max)
    terms = np.where(allowed, np.exp(logits - shift[..., None]), 0.0)
    sink_term = np.exp(sink - shift)
    total = terms.sum(-1) + sink_term
    safe = np.where(total == 0, 1.0, total)
    lse = np.where(total == 0, -np.inf, shift + np.log(safe))
    return Weights(row_max, terms / safe[..., None], sink_term / safe, lse)


def spec_sum(weights: Array, v: Array, allowed: Array) -> Array:
    """Σ over A of P v; a NaN in v reaches the rows that may attend it."""
    missing = np.isnan(v)
    output = np.asarray(weights @ np.where(missing, 0.0, v))
    if missing.any():
        output[(allowed.astype(np.float64) @ missing.astype(np.float64)) > 0] = np.nan
    return output


def head_of(computed: Computed, b: int, h: int) -> HeadReference:
    """One head of an answer as the bounds read it."""
    f, w = computed.facts, computed.softmax
    shape = computed.logits.shape

    def part(array: Array) -> Array:
        return np.asarray(np.broadcast_to(array, shape)[b, h])

    return HeadReference(
        q=f.q[b, h], k=f.k[b, h], v=f.v[b, h], params=params_of(f, h),
        allowed=part(computed.allowed), scale=np.broadcast_to(f.scale, (*shape[:3], 1))[b, h],
        scores=computed.scores[b, h], capped=computed.capped[b, h], bias=part(f.bias), logits=computed.logits[b, h],
        row_max=w.row_max[b, h], weights=w.weights[b, h], sink_weight=w.sink_weight[b, h], keep=part(f.keep),
        output=computed.output[b, h], lse=w.lse[b, h],
    )  # fmt: skip


def bounds_of(computed: Computed, units: Units) -> Array:
    """E of every element of the output of a reading, (B, Hq, Tq, Dv)."""
    bound = np.empty(computed.output.shape)
    with np.errstate(all="ignore"):
        for b, h in np.ndindex(*computed.output.shape[:2]):
            bound[b, h] = output_bound(head_of(computed, b, h), computed.facts.call, h, units)
    # A reading may give a row without a key something else than 0: the bound is then that of a mean of values.
    empty = ~np.any(computed.facts.allowed, axis=-1)[..., None]
    largest = np.nan_to_num(np.abs(computed.facts.v)).max(-2, keepdims=True, initial=0.0)
    given = (units.growth(computed.facts.call.sizes.S, aligned=True) * units.accumulate + 4 * units.output) * largest
    return np.asarray(np.where(empty & (computed.output != 0), given, bound))


def settled(reading: Computed, right: Computed) -> Array:
    """Rows (B, Hq, Tq) on which a reading commits itself: it leaves them a key wherever the spec does."""
    emptied = ~np.any(reading.allowed, axis=-1) & np.any(right.allowed, axis=-1)
    return np.asarray(~(emptied | reading.open))


def agreement(reading: Computed, right: Computed, got: Array, units: Units, *, glance: bool = True) -> Judgement | None:
    """Whether ``got`` is what a reading yields, within its bound; ``None`` if it says nothing where ``got`` is wrong.

    ``glance`` looks first whether it is near at all, and must be off where the fault is smaller than the rounding.
    """
    rows = settled(reading, right)[..., None]
    far = rows & differs(got, right.output)
    share = NEARER if units.output < LOW else NEARER_LOW
    if not far.any():
        return None
    if glance and not alike(np.where(rows, got, reading.output), reading.output, right.output, share):
        return None
    compared = np.where(rows, got.astype(np.float64), reading.output)
    bound = np.nan_to_num(bounds_of(reading, units), nan=0.0)
    dtype = reading.facts.call.dtype
    return judge("output", compared.astype(numpy_dtype(dtype)), reading.output, bound, dtype)


def differs(got: Array, expected: Array) -> Array:
    """Elements that are not the same."""
    values = got.astype(np.float64)
    return np.asarray(~((values == expected) | (np.isnan(values) & np.isnan(expected))))


def alike(got: Array, expected: Array, right: Array, share: float) -> bool:
    """A cheap first look: the same NaNs, and much nearer to ``expected`` than to ``right``."""
    if not np.array_equal(np.isnan(got), np.isnan(expected)):
        return False
    near, far = distance(got, expected), distance(got, right)
    return near <= share * far or not np.array_equal(np.isnan(got), np.isnan(right))


def distance(a: Array, b: Array) -> float:
    """Root of the summed squares of the difference where both are finite."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(over="ignore"):
        return float(np.sqrt(((np.where(finite, a, 0) - np.where(finite, b, 0)) ** 2).sum()))


def within(got: Array, expected: Array, bound: Array) -> Array:
    """Elements of ``got`` within the bound, or alike where they are not numbers."""
    values = got.astype(np.float64)
    with np.errstate(invalid="ignore"):
        near = np.abs(values - expected) <= SLACK * bound
    return np.asarray(near | (values == expected) | (np.isnan(values) & np.isnan(expected)))
