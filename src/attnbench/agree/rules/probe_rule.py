"""The probes as a row of ``attnbench check``: what the kernel shows by itself, free of a tolerance on its values.

One problem, causal at the bottom right and with shared heads where these are declared. Asked are the support and the
slope of the attention matrix (V = identity), the value head that each query head reads (V = head id), where the queries
stand (V = key index), the support and slope of Pᵀ through dV (dO = identity), and whether poison outside the allowed
set leaves a trace: 1e4, and NaN where ``nan_isolation`` is declared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnbench.agree.cases.by_feature import FULL_DTYPE
from attnbench.agree.judge.arithmetic import precision_of
from attnbench.agree.judge.bounds import Units
from attnbench.agree.rules.facts import Facts, facts_of
from attnbench.agree.rules.probes import (
    Box,
    alignment,
    attention_matrix,
    kv_head_map,
    poisoned_rows,
    slope,
    support,
    transposed_attention,
)
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, prepare
from attnbench.attention.inputs import draw
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.fitted import asked
from attnbench.errors import NotDeclaredError

if TYPE_CHECKING:
    from attnbench.backends.implementation import Implementation

# A tail of one key behind a tile of 32; fewer columns than a probe asks for at a time.
SIZES = {"B": 2, "Tq": 17, "S": 33, "D": 16, "Dv": 2}
SLOPE_SLACK = 8.0


@dataclass(frozen=True)
class Shown:
    """What one probe showed: a ratio above 1 with a sentence is a fault. ``gradient``: it was asked of a gradient."""

    ratio: float
    sentence: str | None = None
    gradient: bool = False


def probe_cases(implementation: Implementation, dtype: str, device: str = "cpu", *, deep: bool = False) -> list[Case]:
    """The problems that are probed: one with what is declared, and in float32, or ``deep``, a plain one besides."""
    can = implementation.capabilities_on(device)
    heads = {"Hq": 4, "Hkv": 2} if can.gqa else {"Hq": 2, "Hkv": 2}
    problem = Problem.from_dict({**SIZES, **heads, "dtype": dtype})
    plain = Case(AttentionSpec(can.scores[0]), problem)
    if not can.causal:
        return [asked(plain, can)]
    causal = asked(Case(AttentionSpec(can.scores[0], causal=True, align="bottom_right"), problem), can)
    both = "causal" not in can.only and (deep or dtype == FULL_DTYPE)
    return [causal, asked(plain, can)] if both else [causal]


def probed(box: Box, case: Case, *, deep: bool = False) -> Iterator[Shown]:
    """What the probes show of one problem; what the implementation raises is raised.

    The last two, which take many calls, are put in float32, or ``deep``.
    """
    q, k, v, call = prepare(case.spec, draw(case.spec, case.problem))
    if reason := box.implementation.unsupported(call.needs(box.device)):
        raise NotDeclaredError(reason)
    facts = facts_of(q, k, v, call)
    units = Units.of(precision_of(box.implementation, call.dtype, box.device), call.dtype)
    attention = attention_matrix(box, q, k, call)
    if attention is not None:
        yield from _matrix("V = identity", attention, facts, units)
    if not call.spec.causal:
        return
    yield from _heads(box, q, k, call)
    yield from _alignment(box, call)
    if not deep and call.dtype != FULL_DTYPE:
        return
    if box.implementation.has_gradients(box.device):
        transposed = transposed_attention(box, q, k, v, call)
        if transposed is not None:
            yield from _matrix("dO = identity", np.swapaxes(transposed, -1, -2), facts, units, gradient=True)
    yield from _poison(box, q, k, v, call)


def _matrix(probe: str, attention: Array, facts: Facts, units: Units, *, gradient: bool = False) -> Iterator[Shown]:
    seen = support(attention, facts)
    yield Shown(0.0, gradient=gradient) if seen.exact else Shown(math.inf, f"{probe}: {seen.sentence()}", gradient)
    measured = slope(attention, facts)
    if measured is None:
        return
    ratio = abs(measured[0] - 1) / _slope_limit(units, int(facts.allowed.sum()))
    if ratio <= 1:
        yield Shown(ratio, gradient=gradient)
        return
    text = f"{probe}: the slope of log P over the spec's scores is {measured[0]:.6g}, not 1"
    yield Shown(ratio if np.isfinite(ratio) else math.inf, text, gradient)


def _slope_limit(units: Units, pairs: int) -> float:
    """Constants of the arithmetic err to one side; the roundings of single elements average out over the pairs."""
    constants = units.accumulate + units.exp_ulp * units.softmax
    single = max(units.output, units.p_cast, units.logits, units.accumulate, units.softmax)
    return SLOPE_SLACK * (constants + single / math.sqrt(max(pairs, 1)))


def _heads(box: Box, q: Array, k: Array, call: Call) -> Iterator[Shown]:
    read = kv_head_map(box, q, k, call)
    if read is None:
        return
    right = [h // call.sizes.group for h in range(call.sizes.Hq)]
    text = f"V = kv-head id: the query heads read the value heads {read}, not {right}"
    yield Shown(0.0) if read == right else Shown(math.inf, text)


def _alignment(box: Box, call: Call) -> Iterator[Shown]:
    if not box.supports(call):
        return
    s = call.sizes
    offset = alignment(box, s.Tq, s.S, call)
    where = "like no causal mask" if offset is None else f"with the first query at key {offset}"
    text = f"V = key index: causal is aligned {where}, not at {call.offset}"
    yield Shown(0.0) if offset == call.offset else Shown(math.inf, text)


def _poison(box: Box, q: Array, k: Array, v: Array, call: Call) -> Iterator[Shown]:
    poisons = {"1e4": 1e4}
    if box.implementation.capabilities_on(box.device).nan_isolation:
        poisons["NaN"] = math.nan
    for name, value in poisons.items():
        rows = poisoned_rows(box, q, k, v, call, poison=value)
        text = f"{name} in keys and values that it may not attend to changes row {', '.join(map(str, rows))}"
        yield Shown(math.inf, text) if rows else Shown(0.0)
