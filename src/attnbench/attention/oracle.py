"""The oracle: attention in float64 NumPy, one head at a time, written for reading and not for speed.

Every implementation is held to it. It evaluates the same rounded inputs that the implementation got, and follows the
formulas of ``docs/spec.md`` line by line; sums run over the allowed set A only. Gradients are in
``attnbench.attention.oracle_vjp``. Legend of the shapes in ``attnbench.attention.spec``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.oracle_scores import SCORE

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Shaped

    from attnbench.attention.call import Call

KEPT = 1 << 19  # elements (heads, T, S) up to which evaluated heads are kept


@dataclass(frozen=True)
class HeadReference:
    """All stages of one head of one batch entry, float64; T is the number of evaluated rows.

    ``params`` are those of this head, and ``keep`` is the factor keep/(1 − dropout).
    """

    q: Float[Array, "T D"]
    k: Float[Array, "S D"]
    v: Float[Array, "S Dv"]
    params: dict[str, Float[Array, " ..."]]
    allowed: Bool[Array, "T S"]
    scale: Float[Array, "T 1"]
    scores: Float[Array, "T S"]
    capped: Float[Array, "T S"]
    bias: Float[Array, "T S"]
    logits: Float[Array, "T S"]
    row_max: Float[Array, " T"]
    weights: Float[Array, "T S"]
    sink_weight: Float[Array, " T"]
    keep: Float[Array, "T S"]
    output: Float[Array, "T Dv"]
    lse: Float[Array, " T"]


@dataclass(frozen=True)
class Reference:
    """The oracle's answer, float64; T is the number of evaluated rows."""

    output: Float[Array, "B Hq T Dv"]
    lse: Float[Array, "B Hq T"]
    scores: Float[Array, "B Hq T S"]
    capped: Float[Array, "B Hq T S"]
    logits: Float[Array, "B Hq T S"]
    weights: Float[Array, "B Hq T S"]
    allowed: Bool[Array, "B Hq T S"]


def reference(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    call: Call,
    rows: Int[Array, " T"] | None = None,
) -> Reference:
    """Evaluate a prepared call (``attnbench.attention.call.prepare``), all rows or those given by their indices."""
    sizes = call.sizes
    count = sizes.Tq if rows is None else len(rows)
    lead = (sizes.B, sizes.Hq, count)
    stages = {name: np.zeros((*lead, sizes.S)) for name in ("scores", "capped", "logits", "weights", "allowed")}
    output, lse = np.zeros((*lead, sizes.Dv)), np.full(lead, -np.inf)
    for b, h, head in heads(q, k, v, call, rows):
        output[b, h], lse[b, h] = head.output, head.lse
        for name, array in stages.items():
            array[b, h] = getattr(head, name)
    allowed = stages.pop("allowed").astype(bool)
    return Reference(output, lse, allowed=allowed, **stages)


def heads(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    call: Call,
    rows: Int[Array, " T"] | None = None,
    pairs: Iterable[tuple[int, int]] | None = None,
) -> Iterator[tuple[int, int, HeadReference]]:
    """Evaluate every (batch entry, query head) in turn, or those in ``pairs``: yields (b, h, ``HeadReference``)."""
    sizes = call.sizes
    index = np.arange(sizes.Tq) if rows is None else np.asarray(rows)
    for b, h in pairs if pairs is not None else np.ndindex(sizes.B, sizes.Hq):
        g = h // sizes.group  # query head h reads key/value head g
        operands = (q[b, h][index], k[b, g], v[b, g])
        yield b, h, _head(call, b, h, index, *(a.astype(np.float64) for a in operands))


@dataclass(frozen=True)
class Evaluated:
    """``heads`` of some rows and (b, h), to be gone through more than once.

    They are evaluated once where that is little to keep: up to ``KEPT`` elements of (T, S) in all heads together. With
    more they are evaluated each time.
    """

    q: Float[Array, "B Hq Tq D"]
    k: Float[Array, "B Hkv S D"]
    v: Float[Array, "B Hkv S Dv"]
    call: Call
    rows: Int[Array, " T"]
    pairs: Sequence[tuple[int, int]]

    def __iter__(self) -> Iterator[tuple[int, int, HeadReference]]:
        little = len(self.rows) * len(self.pairs) * self.call.sizes.S <= KEPT
        return iter(self._kept) if little else self._anew()

    @cached_property
    def _kept(self) -> list[tuple[int, int, HeadReference]]:
        return list(self._anew())

    def _anew(self) -> Iterator[tuple[int, int, HeadReference]]:
        return heads(self.q, self.k, self.v, self.call, self.rows, self.pairs)


def _head(
    call: Call,
    b: int,
    h: int,
    rows: Int[Array, " T"],
    q: Float[Array, "T D"],
    k: Float[Array, "S D"],
    v: Float[Array, "S Dv"],
) -> HeadReference:
    """Every stage of head h of batch entry b, in the order of docs/spec.md."""
    params = {name: _of_head(p, h).astype(np.float64) for name, p in call.params.items()}
    allowed, bias = _allowed(call, b, h, rows), _bias(call, b, h, rows)
    with np.errstate(invalid="ignore", over="ignore"):
        scale = _scale(call, h, allowed)
        scores = SCORE[call.spec.score].forward(q, k, params) * scale
        capped = _cap(scores, call.spec.softcap)
        logits = np.where(allowed, capped + np.where(allowed, bias, 0.0), -np.inf)
        row_max, weights, sink_weight, lse = _softmax(logits, allowed, sink_of(call, h))
        keep = _keep(call, b, h, rows)
        output = _weighted_sum(weights * keep, v, allowed)
    return HeadReference(
        q, k, v, params, allowed, scale, scores, capped, bias, logits, row_max, weights, sink_weight, keep, output, lse
    )


def _of_head(array: Array, h: int) -> Array:
    return np.asarray(array[h if array.shape[0] > 1 else 0])


def _rows_of(
    array: Shaped[Array, "#B #Hq #Tq #S"], call: Call, b: int, h: int, rows: Int[Array, " T"]
) -> Shaped[Array, "T S"]:
    """The part of one head, of an array that broadcasts to (B, Hq, Tq, S)."""
    part = array[b if array.shape[0] > 1 else 0, h if array.shape[1] > 1 else 0]
    return np.broadcast_to(part, (call.sizes.Tq, call.sizes.S))[rows]


def positions(call: Call, b: int, rows: Int[Array, " T"]) -> Int[Array, "T 1"]:
    """p_i = i + offset_b: where the queries stand among the keys."""
    offset = call.offset if isinstance(call.offset, int) else int(call.offset[b])
    return rows[:, None] + offset


def _allowed(call: Call, b: int, h: int, rows: Int[Array, " T"]) -> Bool[Array, "T S"]:
    """A_i: the keys that every restriction allows."""
    i, j = rows[:, None], np.arange(call.sizes.S)[None, :]
    p = positions(call, b, rows)
    allowed = np.ones((len(rows), call.sizes.S), dtype=bool)
    if call.kv_lengths is not None:
        allowed &= j < call.kv_lengths[b]
    if call.q_lengths is not None:
        allowed &= i < call.q_lengths[b]
    if call.spec.causal:
        allowed &= j <= p
    left, right = call.spec.window or (None, None)
    if left is not None:
        allowed &= j >= p - left
    if right is not None:
        allowed &= j <= p + right
    if call.q_segments is not None:
        allowed &= call.q_segments[b][rows][:, None] == call.kv_segments[b][None, :]
    if call.mask is not None:
        allowed &= _rows_of(call.mask, call, b, h, rows)
    if call.bias is not None:
        allowed &= _rows_of(call.bias, call, b, h, rows) != -np.inf
    return allowed


def some_key(call: Call) -> bool:
    """Whether any query has a key."""
    rows = np.arange(call.sizes.Tq)
    return any(_allowed(call, b, h, rows).any() for b, h in np.ndindex(call.sizes.B, call.sizes.Hq))


def _bias(call: Call, b: int, h: int, rows: Int[Array, " T"]) -> Float[Array, "T S"]:
    """The given bias plus ALiBi's −slope·|p_i − j| (Press 2021)."""
    bias = np.zeros((len(rows), call.sizes.S))
    if call.bias is not None:
        bias = bias + _rows_of(call.bias, call, b, h, rows).astype(np.float64)
    if call.slopes is not None:
        bias = bias - float(call.slopes[h]) * np.abs(positions(call, b, rows) - np.arange(call.sizes.S)[None, :])
    return bias


def _scale(call: Call, h: int, allowed: Bool[Array, "T S"]) -> Float[Array, "T 1"]:
    """The factor of each row; ``log_n`` multiplies by ln(max(n_i, 2)) with n_i the size of A_i."""
    factor = call.scale if isinstance(call.scale, float) else float(call.scale[h])
    scale = np.full((allowed.shape[0], 1), factor)
    if call.spec.scale == "log_n":
        scale = scale * np.log(np.maximum(allowed.sum(1, keepdims=True), 2))
    return scale


def _cap(scores: Float[Array, "T S"], softcap: float | None) -> Float[Array, "T S"]:
    return scores if softcap is None else softcap * np.tanh(scores / softcap)


def sink_of(call: Call, h: int) -> float:
    """The logit of a head's sink, −inf without one."""
    return -np.inf if call.sinks is None else float(call.sinks[h])


def _softmax(
    logits: Float[Array, "T S"], allowed: Bool[Array, "T S"], sink: float
) -> tuple[Float[Array, " T"], Float[Array, "T S"], Float[Array, " T"], Float[Array, " T"]]:
    """Row maximum m, weights P, the sink's weight and lse; a row without keys has P = 0 and lse = the sink."""
    row_max = np.maximum(np.max(logits, axis=1, initial=-np.inf), sink)
    shift = np.where(np.isneginf(row_max), 0.0, row_max)
    terms = np.where(allowed, np.exp(logits - shift[:, None]), 0.0)
    sink_term = np.exp(sink - shift)
    total = terms.sum(axis=1) + sink_term
    some = total != 0
    safe = np.where(some, total, 1.0)
    lse = np.where(some, shift + np.log(safe), -np.inf)
    # A NaN among the allowed logits makes the sum NaN; the weights outside A are 0 all the same.
    weights = np.where(allowed, terms / safe[:, None], 0.0)
    return row_max, weights, sink_term / safe, lse


def _keep(call: Call, b: int, h: int, rows: Int[Array, " T"]) -> Float[Array, "T S"]:
    if call.keep is None:
        return np.ones((len(rows), call.sizes.S))
    return _rows_of(call.keep, call, b, h, rows) / (1.0 - call.spec.dropout)


def _weighted_sum(
    weights: Float[Array, "T S"], v: Float[Array, "S Dv"], allowed: Bool[Array, "T S"]
) -> Float[Array, "T Dv"]:
    """Σ over A of P v. A NaN outside A does not exist; one inside makes its column of that row NaN."""
    missing = np.isnan(v)
    output = weights @ np.where(missing, 0.0, v)
    if missing.any():
        output[(allowed.astype(np.float64) @ missing) > 0] = np.nan
    return np.asarray(output)
