"""Probes of a black box: inputs chosen so that the output shows by itself what the kernel does, free of tolerance.

With V = identity the output *is* the attention matrix; its support is compared exactly with the allowed set, and the
slope of log P over the reference logits is the scale. V = kv-head id shows which head is read, V = key index where the
queries stand, dO = identity gives Pᵀ through dV, and poison outside the allowed set must leave no trace.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from attnbench.agree.rules.facts import Facts, answer, facts_of
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, Sizes
from attnbench.attention.inputs import GARBAGE
from attnbench.attention.precision import SMALLEST_NORMAL, UNIT_ROUNDOFF, numpy_dtype
from attnbench.backends.answers import Answer
from attnbench.backends.bind import Inputs
from attnbench.backends.kept import Kept

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import AttentionOutput, Implementation

ALIKE = 16  # kinds of questions that stay compiled
CHUNK = 64  # columns of the identity at a time
VISIBLE = 1e6  # a weight this far above the smallest normal number cannot have vanished by rounding
VISIBLE_FLOAT16 = 16  # where few powers of two lie between the smallest normal number and 1


@dataclass(frozen=True)
class Box:
    """An implementation as a black box: NumPy in, NumPy out, no judgement."""

    backend: Backend
    implementation: Implementation
    device: str = "cpu"
    kept: Kept = field(default_factory=lambda: Kept(ALIKE))  # questions of one kind are compiled once

    @property
    def compiling_s(self) -> float:
        """Seconds that tracing and compiling took."""
        return self.kept.compiling_s

    def supports(self, call: Call, *, gradients: bool = False) -> bool:
        """Whether it can be asked this."""
        return self.implementation.unsupported(call.needs(self.device, gradients=gradients)) is None

    def forward(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        """The output, and what the call asks for besides."""
        return self._answer(Inputs(q, k, v, call)).output

    def gradients(
        self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None = None
    ) -> dict[str, Array]:
        """Gradients by name."""
        return self._answer(Inputs(q, k, v, call, d_output, d_lse)).grads

    def _answer(self, inputs: Inputs) -> Answer:
        return self.kept.answer(self.backend, self.implementation, inputs, self.device)


def with_values(call: Call, columns: int) -> Call:
    """The same question about values of another width, and nothing but the output."""
    return replace(call, sizes=replace(call.sizes, Dv=columns), outputs=())


def attention_matrix(box: Box, q: Array, k: Array, call: Call) -> Array | None:
    """P·keep/(1 − p) as the kernel has it, (B, Hq, Tq, S) in float64; ``None`` if it cannot take these values."""
    s = call.sizes
    # As many columns as can be; else as wide as values are in this call.
    width = next((columns for columns in (min(CHUNK, s.S), s.Dv) if box.supports(with_values(call, columns))), None)
    if width is None:
        return None
    parts = []
    question = with_values(call, width)
    for first in range(0, s.S, width):
        columns = np.arange(first, first + width)
        eye = (np.arange(s.S)[:, None] == columns).astype(q.dtype)
        v = np.broadcast_to(eye, (s.B, s.Hkv, *eye.shape)).copy()
        parts.append(box.forward(q, k, v, question).output.astype(np.float64))
    return np.concatenate(parts, -1)[..., : s.S]


@dataclass(frozen=True)
class Support:
    """Where weight is and should not be (``extra``), and where it must be and is not (``missing``), (B, Hq, Tq, S)."""

    extra: Array
    missing: Array

    @property
    def exact(self) -> bool:
        """Whether the support is the allowed set."""
        return not (self.extra.any() or self.missing.any())

    def sentence(self) -> str:
        """The first differences."""
        differences = []
        for what, where in (("sees", self.extra), ("does not see", self.missing)):
            if where.any():
                b, h, i, j = (int(x) for x in np.argwhere(where)[0])
                count = int(where.sum())
                differences.append(f"batch entry {b}, head {h}: query {i} {what} key {j} ({count} pairs in all)")
        return "; ".join(differences) or "the support is the allowed set"


def support(attention: Array, facts: Facts) -> Support:
    """Compare the support of an attention matrix exactly; a weight too small to be written is not missing."""
    right = answer(facts)
    least = _least(facts.call.dtype)
    must = right.allowed & (right.softmax.weights * facts.keep > least)
    may = right.allowed & (facts.keep > 0)
    return Support((attention != 0) & ~may, must & (attention == 0))


def slope(attention: Array, facts: Facts) -> tuple[float, float] | None:
    """The factor on the scores that an attention matrix shows, and how far the points scatter about the line.

    Fits log P over the reference logits within rows, by Newton steps where a cap bends them. ``None`` where there is
    nothing to fit: no row with two keys of different scores.
    """
    right = answer(facts)
    least = _least(facts.call.dtype)
    seen = right.allowed & np.isfinite(attention) & (attention > least) & np.isfinite(right.logits)
    seen &= seen.sum(-1, keepdims=True) > 1
    if not seen.any() or not np.isfinite(right.scores[seen]).all():
        return None
    with np.errstate(all="ignore"):
        keep = np.where(np.broadcast_to(facts.keep, seen.shape) > 0, facts.keep, 1.0)
        measured = _centred(np.log(np.where(seen, attention / keep, 1.0)), seen)
    factor = 1.0
    for _ in range(8):
        now = _centred(_logits(facts, factor), seen)
        step = 1e-6 * max(abs(factor), 1e-3)
        along = (_centred(_logits(facts, factor + step), seen) - now) / step
        size = float((along**2).sum())
        if size <= 0 or not np.isfinite(size):
            return None
        change = float((along * (measured - now)).sum()) / size
        factor += change
        if abs(change) <= 1e-15 * abs(factor):
            break
    residual = measured - _centred(_logits(facts, factor), seen)
    return factor, float(np.sqrt((residual**2).mean()))


def _logits(facts: Facts, factor: float) -> Array:
    computed = answer(replace(facts, scale=facts.scale * factor))
    return np.where(np.isfinite(computed.logits), computed.logits, 0.0)


def _centred(values: Array, seen: Array) -> Array:
    mean = np.where(seen, values, 0.0).sum(-1, keepdims=True) / np.maximum(seen.sum(-1, keepdims=True), 1)
    return np.where(seen, values - mean, 0.0)


def _least(dtype: str) -> float:
    """The weight from which on none can have vanished by rounding."""
    return SMALLEST_NORMAL[dtype] * (VISIBLE_FLOAT16 if dtype == "float16" else VISIBLE)


def kv_head_map(box: Box, q: Array, k: Array, call: Call) -> list[int | None] | None:
    """The value head that each query head reads, from V = (1, kv-head id); ``None`` for a head that mixes several."""
    s = call.sizes
    question = with_values(call, 2)
    if not box.supports(question):
        return None
    v = np.ones((s.B, s.Hkv, s.S, 2))
    v[..., 1] = np.arange(s.Hkv)[:, None]
    output = box.forward(q, k, v.astype(q.dtype), question).output.astype(np.float64)
    read_heads: list[int | None] = []
    for h in range(s.Hq):
        weight, ids = output[:, h, :, 0], output[:, h, :, 1]
        live = np.isfinite(weight) & (weight > 0.1)  # noqa: PLR2004  (a row with a key; without dropout it is 1)
        read = ids[live] / weight[live]
        head = int(np.rint(np.median(read))) if read.size else -1
        read_heads.append(head if read.size and np.abs(read - head).max() < 0.25 else None)  # noqa: PLR2004
    return read_heads


def alignment(box: Box, queries: int, keys: int, call: Call) -> int | None:
    """The offset at which a causal kernel places its queries, from V = key index and equal logits.

    A query at position p then sees the mean index p/2. ``call`` is any causal call of the kernel without other
    restrictions, whose values are as wide as these; ``None`` if the answer is not that of a causal mask.
    """
    s = replace(call.sizes, Tq=queries, S=keys)
    question = replace(call, sizes=s, outputs=())
    if not call.spec.causal or not box.supports(question):
        return None
    dtype = numpy_dtype(call.dtype)
    index = np.broadcast_to(np.arange(keys)[:, None], (s.B, s.Hkv, keys, s.Dv)).astype(dtype)
    q, k = (np.zeros((s.B, h, n, s.D), dtype) for h, n in ((s.Hq, queries), (s.Hkv, keys)))
    mean = box.forward(q, k, index, question).output[0, 0, :, 0].astype(np.float64)
    positions = 2 * mean
    offsets = np.rint(positions - np.arange(queries))
    inner = (positions > 0.5) & (positions < keys - 1.5)  # noqa: PLR2004  (clear of both ends, where it is cut off)
    if not inner.any() or np.ptp(offsets[inner]) > 0:
        return None
    return int(offsets[inner][0])


def transposed_attention(box: Box, q: Array, k: Array, v: Array, call: Call) -> Array | None:
    """Pᵀ·keep through dV, (B, Hq, S, Tq): dO = identity, one query head of each group and a chunk of rows at a time."""
    s = call.sizes
    transposed = np.zeros((s.B, s.Hq, s.S, s.Tq))
    for first in range(0, s.Tq, CHUNK):
        rows = np.arange(first, min(first + CHUNK, s.Tq))
        question = with_values(call, len(rows))
        if not box.supports(question, gradients=True):
            return None
        values = np.resize(v, (s.B, s.Hkv, s.S, len(rows))).astype(q.dtype)
        for member in range(s.group):
            heads = np.arange(s.Hkv) * s.group + member
            cotangent = np.zeros((s.B, s.Hq, s.Tq, len(rows)), q.dtype)
            cotangent[:, heads[:, None], rows, np.arange(len(rows))] = 1
            grads = box.gradients(q, k, values, question, cotangent)
            transposed[:, heads, :, first : first + len(rows)] = grads["v"].astype(np.float64)
    return transposed


def poisoned_rows(box: Box, q: Array, k: Array, v: Array, call: Call, poison: float = GARBAGE) -> list[int]:
    """Rows that change by more than rounding when what no query of theirs may attend to becomes 1e4 (or NaN).

    One row at a time, first, middle and last, since a key that one row may not attend another may.
    """
    allowed = facts_of(q, k, v, call).allowed
    question = replace(call, outputs=())
    plain = box.forward(q, k, v, question).output.astype(np.float64)
    s: Sizes = call.sizes
    changed = []
    for row in sorted({0, s.Tq // 2, s.Tq - 1}):
        outside = ~np.any(allowed[:, :, row].reshape(s.B, s.Hkv, s.group, s.S), axis=2)
        if not outside.any():
            continue
        bad_k, bad_v = (np.where(outside[..., None], np.asarray(poison, a.dtype), a) for a in (k, v))
        output = box.forward(q, bad_k, bad_v, question).output.astype(np.float64)
        before, after = plain[:, :, row], output[:, :, row]
        with np.errstate(invalid="ignore"):
            near = np.abs(after - before) <= 8 * UNIT_ROUNDOFF[call.dtype] * (1 + np.abs(before))
        if not (near | (np.isnan(before) & np.isnan(after))).all():
            changed.append(row)
    return changed
