"""What a case needs at least: operations, exponentials and bytes, and its time as a fraction of the roofline.

Counted from the case, alike for every implementation: only pairs that causality, window, lengths and segments
allow; a mask given as an array saves nothing, since it has to be read to be known. A backward pass counts as 2.5
forward ones besides (Dao 2022): five products in place of two. Softmax is not among the operations, as is the custom;
its exponentials, and each tanh of a learned score or a softcap, are counted by themselves and have a ceiling of their
own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.inputs import drawn
from attnbench.attention.precision import numpy_dtype
from attnbench.measure.clock import ceilings

if TYPE_CHECKING:
    from attnbench.attention.problem import Case, Problem
    from attnbench.workers.protocol import Ceilings

BACKWARD_FACTOR = 2.5
LSE_BYTES = 4


@dataclass(frozen=True)
class Work:
    """Of one call: ``flops``, ``exponentials`` (exp and tanh), and ``min_bytes``, the fewest bytes to move."""

    flops: float
    min_bytes: float
    exponentials: float


def work(case: Case) -> Work:
    """The work of one call of a case, forward or forward and backward."""
    p = case.problem
    pairs, keys = allowed(case)
    forward = p.Hq * (pairs * _per_pair(case) + 2.0 * pairs * p.Dv) + _projections(case)
    flops = forward * (1 + BACKWARD_FACTOR) if case.gradients else forward
    return Work(float(flops), float(_bytes(case, pairs, keys)), float(p.Hq * pairs * _exponentials_per_pair(case)))


def allowed(case: Case) -> tuple[int, int]:
    """Pairs (query, key) that causality, window, lengths and segments allow, over the batch; keys that are needed."""
    p, spec = case.problem, case.spec
    left, right = spec.window or (None, None)
    right = 0 if spec.causal else right
    given = drawn(p, "q_lengths") | drawn(p, "kv_lengths") | drawn(p, "segments")
    q_lengths, kv_lengths = given.get("q_lengths", [p.Tq] * p.B), given.get("kv_lengths", [p.S] * p.B)
    pairs = keys = 0
    for b, offset in enumerate(_offsets(case, q_lengths, kv_lengths)):
        position = np.arange(q_lengths[b], dtype=np.int64) + offset
        end = int(kv_lengths[b]) - 1
        first = np.zeros_like(position) if left is None else np.maximum(position - left, 0)
        last = np.full_like(position, end) if right is None else np.minimum(position + right, end)
        q_ids, kv_ids = np.zeros(len(position), int), np.zeros(p.S, int)
        if "q_segments" in given:
            q_ids, kv_ids = given["q_segments"][b][: len(position)], given["kv_segments"][b]
        for segment in np.unique(q_ids):
            mine = q_ids == segment
            more = _between(first[mine], last[mine], kv_ids == segment)
            pairs, keys = pairs + more[0], keys + more[1]
    return pairs, keys


def _between(first: Array, last: Array, there: Array) -> tuple[int, int]:
    """How many keys that are ``there`` lie from ``first`` to ``last`` of each query, and in all these ranges."""
    some = last >= first
    if not some.any():
        return 0, 0
    before = np.concatenate([[0], np.cumsum(there)])
    # The ranges of queries that follow each other leave no gap.
    return (
        int((before[last[some] + 1] - before[first[some]]).sum()),
        int(before[last[some].max() + 1] - before[first[some].min()]),
    )


def _offsets(case: Case, q_lengths: Sequence[int], kv_lengths: Sequence[int]) -> list[int]:
    """The position of the first query of each batch entry."""
    p = case.problem
    given = drawn(p, "offset")
    if given:
        return [int(offset) for offset in np.broadcast_to(given["offset"], p.B)]
    if "past" in p.operands:
        return [p.S - p.Tq] * p.B
    if case.spec.align == "bottom_right":
        return [int(keys) - int(queries) for queries, keys in zip(q_lengths, kv_lengths, strict=True)]
    return [0] * p.B


def _per_pair(case: Case) -> float:
    """Operations of one score: a product of length D, or the sum, tanh and product of a learned hidden layer."""
    p = case.problem
    return 4.0 * p.Da if case.spec.score in ("additive", "concat") else 2.0 * p.D


def _exponentials_per_pair(case: Case) -> int:
    """The softmax's exp, and a tanh for the softcap and for each unit of a learned hidden layer."""
    hidden = case.problem.Da if case.spec.score in ("additive", "concat") else 0
    return 1 + hidden + (case.spec.softcap is not None)


def _projections(case: Case) -> float:
    p = case.problem
    if case.spec.score in ("additive", "concat"):
        return 2.0 * p.B * p.Hq * (p.Tq + p.S) * p.D * p.Da
    return 2.0 * p.B * p.Hq * p.Tq * p.D * p.D if case.spec.score == "general" else 0.0


def _bytes(case: Case, pairs: int, keys: int) -> float:
    p = case.problem
    size = numpy_dtype(p.dtype).itemsize
    queries = p.B * p.Hq * p.Tq
    keys = min(keys, p.S) if p.layout == "expanded" else keys
    read = size * (queries * p.D + keys * p.Hkv * (p.D + p.Dv)) + _operand_bytes(p, pairs, size)
    write = size * queries * p.Dv + (LSE_BYTES * queries if "lse" in case.outputs else 0)
    if not case.gradients:
        return read + write
    # Besides: the cotangent is read, and gradients of q, k, v and the bias are written whole.
    gradients = size * (queries * p.D + p.B * p.Hkv * p.S * (p.D + p.Dv) + _bias_elements(p))
    return read + write + size * queries * p.Dv + gradients


def _bias_elements(p: Problem) -> int:
    head = p.Hq * p.Tq * p.S
    known = {"bias": p.B * head, "bias_minus_inf": p.B * head, "bias_heads": head, "bias_keys": p.B * p.S}
    known |= {"bias_batch": p.B * p.Tq * p.S, "bias_shared": p.S, "bias_rows": p.Tq}
    known |= {"bias_pairs": p.Tq * p.S, "bias_head_keys": p.Hq * p.S}
    known |= {"bias_low": p.B * head, "bias_low_keys": p.B * p.S}
    return sum(known.get(kind, 0) for kind in p.operands)


def _operand_bytes(p: Problem, pairs: int, size: int) -> float:
    """Masks and biases, read where the rest allows a pair; what heads or batch entries share is read once."""
    head = p.Hq * p.Tq * p.S
    masks = {"mask": p.Hq * pairs, "keep": p.Hq * pairs, "mask_heads": min(head, p.Hq * pairs)}
    masks |= {"mask_keys": p.B * p.S, "mask_dead_rows": min(p.Tq * p.S, pairs)}
    masks |= {"mask_batch": pairs, "mask_single": pairs, "mask_tile": p.Hq * pairs}
    masks |= {"mask_shared": p.S, "mask_rows": p.B * p.Tq}
    masks |= {"mask_pairs": min(p.Tq * p.S, pairs), "mask_head_keys": p.B * p.Hq * p.S}
    bias = min(_bias_elements(p), p.Hq * pairs)
    return float(sum(masks.get(kind, 0) for kind in p.operands) + size * bias)


def columns(case: Case, median_s: float | None, known: Ceilings | None) -> dict[str, Any]:
    """The columns of a row: what it needs, its rate, and its part of the roofline where ceilings are known."""
    done = work(case)
    row: dict[str, Any] = asdict(done)
    if not median_s:
        return row
    row["flop_rate"] = done.flops / median_s
    least = {} if known is None else least_by(done, case.problem.dtype, known.rates)
    if least:
        limit = max(least, key=lambda name: least[name])
        row |= {"roofline_fraction": least[limit] / median_s, "roofline_limit": limit}
    return row


def least_s(case: Case, known: Ceilings | None) -> float:
    """The seconds that the roofline leaves a call at least; 0 where no ceilings are known."""
    least = {} if known is None else least_by(work(case), case.problem.dtype, known.rates)
    return max(least.values(), default=0.0)


def array_bytes(case: Case) -> float:
    """Bytes of the arrays that a case is about: operands and answers, and their gradients where it has them."""
    p = case.problem
    size = numpy_dtype(p.dtype).itemsize
    rows = p.B * (p.Hq * p.Tq + p.Hkv * p.S) * (p.D + p.Dv)
    return float(size * rows) * (2 if case.gradients else 1) + _operand_bytes(p, p.B * p.Tq * p.S, size)


def least_by(done: Work, dtype: str, rates: Mapping[str, float]) -> dict[str, float]:
    """The seconds that each ceiling leaves at least; none without the two that every roofline has."""
    # A 16-bit product may be computed in float32, where that is faster here.
    usable = (dtype, "float32") if dtype in ("bfloat16", "float16") else (dtype,)
    product = max(rates.get(ceilings.product(name), 0.0) for name in usable)
    if not product or not rates.get(ceilings.COPY):
        return {}
    least = {"product": done.flops / product, "copy": done.min_bytes / rates[ceilings.COPY]}
    if rates.get(ceilings.EXP):
        least["exp"] = done.exponentials / rates[ceilings.EXP]
    return least
