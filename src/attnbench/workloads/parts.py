"""The parts that a workload is measured in: which call, how many times; and the case of each.

A part is written as a level of an axis, so that a saved run says by itself what it measured: ``120x 1q4k`` is 120
calls of one sequence each, and ``7.5x (8x 1q1k + 8x 1q4k)`` seven and a half calls of 16 sequences together. A call of
several is *padded* (one row for each sequence, with their lengths where these differ) or *packed* (all sequences one
after the other in one row, told apart by segments).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from attnbench.attention.problem import Case, Problem
from attnbench.attention.shapes import Shape
from attnbench.attention.spec import AttentionSpec
from attnbench.errors import UsageError
from attnbench.workloads.grammar import FORM, Counted, Stretch, items
from attnbench.workloads.mixes import Workload, together

EACH, PADDED, PACKED = "each", "padded", "packed"
WAYS = (EACH, PADDED, PACKED)
WAY_WORDS = {
    EACH: "one call for each sequence",
    PADDED: "one padded call for a batch",
    PACKED: "one packed call for a batch",
}
PART = re.compile(r"(?P<calls>\d+(?:\.\d+)?)x (?:\((?P<batch>[^()]+)\)|(?P<single>[^()x]+))")


@dataclass(frozen=True)
class ServedPart:
    """A call, and how many times it is made. ``batch`` is one sequence, or several of a kind that are one call."""

    calls: float
    batch: tuple[Counted, ...]

    @property
    def single(self) -> bool:
        """Whether a call is of one sequence."""
        return len(self.stretches) == 1

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """Every sequence of a call."""
        return tuple(item.stretch for item in self.batch for _ in range(item.count))

    @property
    def kind(self) -> str:
        """Their kind."""
        return self.batch[0].stretch.kind

    @property
    def stage(self) -> str:
        """Prefill or decode."""
        return self.batch[0].stretch.stage

    @property
    def sequences(self) -> float:
        """How many sequences all calls serve together."""
        return self.calls * len(self.stretches)

    def __str__(self) -> str:
        calls = f"{self.calls:.4f}".rstrip("0").rstrip(".")
        if self.single:
            return f"{calls}x {self.batch[0].stretch}"
        return f"{calls}x ({' + '.join(map(str, self.batch))})"


def parts(workload: Workload) -> tuple[ServedPart, ...]:
    """The parts of a workload: each sequence by itself, and those of a kind together where there are several."""
    singles = [ServedPart(item.count, (Counted(1, item.stretch),)) for item in workload.items]
    batches = []
    for mine in workload.kinds().values():
        total, batch = sum(item.count for item in mine), together(mine)
        if total > 1:
            batches.append(ServedPart(total / sum(item.count for item in batch), batch))
    return (*singles, *batches)


def part(text: str) -> ServedPart:
    """The inverse of a part's text. Raises ``UsageError``."""
    match = PART.fullmatch(text.strip())
    if match is None:
        msg = f"{text!r} is no part of a workload; write 120x 1q4k, or 7.5x (8x 1q1k + 8x 1q4k) for calls of a batch"
        raise UsageError(msg)
    batch = items((match["batch"] or match["single"]).replace("+", ","))
    if len({item.stretch.kind for item in batch}) > 1 or not float(match["calls"]):
        msg = f"{text!r} is no part of a workload: it is called, and the sequences of a batch are of one kind; {FORM}"
        raise UsageError(msg)
    return ServedPart(float(match["calls"]), batch)


def ways(part_of_it: ServedPart) -> Iterator[str]:
    """The ways in which a part can be called, whatever the shape."""
    yield from (EACH,) if part_of_it.single else (PADDED, PACKED)


def case_of(part_of_it: ServedPart, way: str, shape: Shape, dtype: str) -> Case | None:
    """The case of a part in one of the ``WAYS``; ``None`` where it cannot be called so."""
    if way not in ways(part_of_it):
        return None
    if way == PACKED:
        return _packed(part_of_it, shape, dtype)
    return _in_rows(part_of_it, shape, dtype)


def _in_rows(part_of_it: ServedPart, shape: Shape, dtype: str) -> Case:
    """A row for each sequence, with lengths where they differ; queries are the last of their sequence's tokens."""
    stretches = part_of_it.stretches
    queries, keys = {s.queries for s in stretches}, {s.keys for s in stretches}
    lengths = [name for name, sizes in (("q_lengths", queries), ("kv_lengths", keys)) if len(sizes) > 1]
    problem = _problem(shape, dtype, len(stretches), max(queries), max(keys), lengths)
    phase = "decode" if part_of_it.kind == "decode" else "forward"
    if not lengths:
        behind_cache = max(queries) < max(keys) and shape.keys is None
        operands = (*problem.operands, "past") if behind_cache else problem.operands
        return Case(shape.spec, replace(problem, operands=operands), phase=phase)
    of_each = tuple((s.queries, s.keys) for s in stretches)
    return Case(_spec_of_lengths(part_of_it, shape), replace(problem, sequences=of_each), phase=phase)


def _spec_of_lengths(part_of_it: ServedPart, shape: Shape) -> AttentionSpec:
    """Where the queries of unequal sequences stand: at the first key in prompts, else at the last of their own keys.

    One query at the last key sees all keys, so that without a window it need not be called causal.
    """
    if part_of_it.kind == "prompt":
        return shape.spec
    if part_of_it.kind == "decode" and shape.spec.window is None:
        return replace(shape.spec, causal=False)
    return replace(shape.spec, align="bottom_right")


def _packed(part_of_it: ServedPart, shape: Shape, dtype: str) -> Case | None:
    """All in one row with segments: whole prompts, or single queries without a window.

    For others each segment would need an offset of its own, which no call has; a bias of positions would be wrong.
    """
    one_query = part_of_it.kind == "decode" and shape.spec.window is None
    if shape.bias or not (one_query or part_of_it.kind == "prompt"):
        return None
    of_each = tuple((s.queries, s.keys) for s in part_of_it.stretches)
    queries, keys = (sum(sizes) for sizes in zip(*of_each, strict=True))
    problem = _problem(shape, dtype, 1, queries, keys, ["segments"])
    spec = replace(shape.spec, causal=False) if one_query else shape.spec
    return Case(spec, replace(problem, sequences=of_each))


def _problem(shape: Shape, dtype: str, batch: int, queries: int, keys: int, operands: list[str]) -> Problem:
    besides = [name for name, there in (("sinks", shape.sinks), ("bias_heads", shape.bias)) if there]
    return Problem(
        B=batch,
        Hq=shape.heads,
        Hkv=shape.kv_heads,
        Tq=queries,
        S=keys,
        D=shape.head_size,
        Dv=shape.value_size,
        dtype=dtype,
        operands=(*besides, *operands),
    )
