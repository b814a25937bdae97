"""What readings are tried on: the call itself, or of a large one a part that is a call of its own and shows the fault.

Memory and time are bounded by the number of pairs of query and key. Batch entries and whole groups of heads are left
out first where they must be; of the queries, rows in which something is wrong are kept, the first and the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attnbench.agree.diagnose.output import OutputWitness
from attnbench.agree.judge.bounds import Units
from attnbench.agree.rules.facts import answer, facts_of
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call
from attnbench.backends.bind import Inputs
from attnbench.explaining.judging import JudgedAll
from attnbench.explaining.question import PosedCall

PAIRS = 1 << 18  # of query and key, on which every reading is tried
FEWER_PAIRS = 1 << 13  # the same for two readings at once
NUMBERS = 1 << 24  # of keys and values, as every query head reads them
FEWEST_ROWS = 4


@dataclass(frozen=True)
class Subject:
    """A part of a question with the witness that readings are held to.

    ``entries`` and ``heads`` are what is left of them, and ``batch`` is how many entries the question has.
    """

    inputs: Inputs
    got: dict[str, Array]
    witness: OutputWitness
    rows: Array
    entries: tuple[int, ...]
    heads: tuple[int, ...]
    whole_heads: bool
    batch: int

    @property
    def whole(self) -> bool:
        """Whether it is all of the question."""
        s = self.inputs.call.sizes
        return self.whole_heads and len(self.rows) == s.Tq and len(self.entries) == self.batch


def subject(question: PosedCall, judged: JudgedAll, units: Units, most: int = PAIRS) -> Subject | None:
    """The part of a question in at most about ``most`` pairs; ``None`` where one group of heads is too large."""
    inputs, s = question.inputs, question.inputs.call.sizes
    wrong = _wrong_places(question, judged)
    entries, groups = list(range(s.B)), list(range(s.Hkv))
    first = wrong[0] if len(wrong) else np.zeros(3, np.int64)

    def too_large(rows: int) -> bool:
        heads = len(entries) * len(groups) * s.group
        return heads * rows * s.S > most or heads * s.S * (s.D + s.Dv) > NUMBERS

    rows = min(s.Tq, FEWEST_ROWS)
    if too_large(rows) and len(entries) > 1:
        entries = _nearest(s.B, int(first[0]), 2)
    if too_large(rows) and len(entries) > 1:
        entries = [int(first[0])]
    if too_large(rows) and len(groups) > 1:
        groups = _nearest(s.Hkv, int(first[1]) // s.group, 2)
    if too_large(rows) and len(groups) > 1:
        groups = [int(first[1]) // s.group]
    if s.group * s.S * (s.D + s.Dv) > 4 * NUMBERS:
        return None
    heads = [g * s.group + i for g in groups for i in range(s.group)]
    kept = [place for place in wrong if place[0] in entries and place[1] in heads]
    count = max(min(s.Tq, most // max(1, len(entries) * len(heads) * s.S)), rows)
    chosen = _rows(s.Tq, count, [int(place[2]) for place in kept])
    part = _part(inputs, entries, groups, heads)
    got = {
        name: question.answers[name][np.ix_(entries, heads)] for name in ("output", "lse") if name in question.answers
    }
    facts = facts_of(*part.qkv, part.call, chosen)
    with np.errstate(all="ignore"):
        witness = OutputWitness(facts, answer(facts), got["output"][:, :, chosen], units)
    got = {name: array[:, :, chosen] for name, array in got.items()}
    return Subject(part, got, witness, chosen, tuple(entries), tuple(heads), len(heads) == s.Hq, s.B)


def _nearest(n: int, first: int, count: int) -> list[int]:
    """``count`` neighbours of n places, ``first`` among them."""
    start = min(first, max(0, n - count))
    return list(range(start, min(n, start + count)))


def _wrong_places(question: PosedCall, judged: JudgedAll) -> Array:
    """Batch entry, head and query of what is wrong in output and lse, (n, 3), the worst row first."""
    rows, pairs = judged.selection.rows, judged.selection.pairs
    wrong: list[Sequence[int]] = []
    for name in ("output", "lse"):
        bad = judged.bad.get(name)
        if bad is None or question.inputs.call.sizes.empty:
            continue
        by_row = bad.reshape(*bad.shape[:2], -1).sum(-1)
        order = np.argsort(-by_row, axis=None, kind="stable")[: int((by_row > 0).sum())]
        places = np.unravel_index(order, by_row.shape)
        wrong += [(*pairs[int(p)], int(rows[int(r)])) for p, r in zip(*places, strict=True)]
    return np.array(wrong, np.int64).reshape(-1, 3)


def _rows(queries: int, count: int, wrong: list[int]) -> Array:
    """Rows in which something is wrong, the first and the last, and others spread evenly."""
    if count >= queries:
        return np.arange(queries)
    chosen = dict.fromkeys((0, queries - 1, *list(dict.fromkeys(wrong))[: max(1, count // 2)]))
    for row in np.linspace(0, queries - 1, count).astype(int):
        if len(chosen) >= count:
            break
        chosen[int(row)] = None
    return np.array(sorted(chosen))


def _part(inputs: Inputs, entries: list[int], groups: list[int], heads: list[int]) -> Inputs:
    """Some batch entries and groups of heads of a call, as a call."""
    call, s = inputs.call, inputs.call.sizes
    if len(entries) == s.B and len(heads) == s.Hq:
        return inputs
    sizes = replace(s, B=len(entries), Hq=len(heads), Hkv=len(groups))
    changed: dict[str, Any] = {}
    for name in ("mask", "bias", "keep"):
        if (array := getattr(call, name)) is not None:
            array = array if array.shape[0] == 1 else array[entries]
            changed[name] = array if array.shape[1] == 1 else array[:, heads]
    for name in ("q_lengths", "kv_lengths", "q_segments", "kv_segments", "offset"):
        if hasattr(array := getattr(call, name), "shape"):
            changed[name] = array[entries]
    for name in ("sinks", "slopes", "scale"):
        if np.ndim(array := getattr(call, name)) == 1:
            changed[name] = array[heads]
    params = {name: p if p.shape[0] == 1 else p[heads] for name, p in call.params.items()}
    spec = call.spec
    if isinstance(spec.scale, tuple):
        spec = replace(spec, scale=tuple(spec.scale[h] for h in heads))
    part = replace(call, spec=spec, sizes=sizes, params=params, **changed)
    q, k, v = inputs.q[np.ix_(entries, heads)], *(a[np.ix_(entries, groups)] for a in (inputs.k, inputs.v))
    return Inputs(q, k, v, part)


def is_within(call: Call) -> bool:
    """Whether all pairs of a call are few enough for readings of gradients."""
    s = call.sizes
    return s.B * s.Hq * s.Tq * s.S <= PAIRS
