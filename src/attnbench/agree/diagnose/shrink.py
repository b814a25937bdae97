"""The smallest failing case near a failing one: greedy, by one change at a time, within a budget.

Sizes come first, so that every further trial is cheap; then forward alone, fewer operands, plain values, defaults of
the spec. A change that raises, is not supported, or agrees, is taken back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from attnbench.attention.problem import Case
from attnbench.attention.spec import AttentionSpec
from attnbench.errors import SpecError

TRIALS = 150
Fails = Callable[[Case], bool]


@dataclass
class TrialBudget:
    """How many trials, and until when (``time.monotonic``)."""

    trials: int
    until: float

    def spend(self) -> bool:
        """Take one trial; false when nothing is left."""
        self.trials -= 1
        return self.trials >= 0 and time.monotonic() < self.until


Changes = Callable[[Case], Iterator[Callable[[], Case]]]


def shrink(case: Case, fails: Fails, *, seconds: float = 2.0, trials: int = TRIALS) -> Case:
    """A case that still fails and that no single change makes smaller, or the best within the budget."""
    return _changed(case, fails, changes, TrialBudget(trials, time.monotonic() + seconds))


def handy(case: Case, fails: Fails, *, seconds: float = 2.0, trials: int = TRIALS) -> Case:
    """A case that still fails and is easy to take apart: few features, plain values, and sizes that tell much.

    It is not the smallest: with one key or one head most faults look alike.
    """
    return _changed(case, fails, _towards_handy, TrialBudget(trials, time.monotonic() + seconds))


def _changed(case: Case, fails: Fails, every: Changes, budget: TrialBudget) -> Case:
    while True:
        smaller = next(_smaller(case, fails, every, budget), None)
        if smaller is None:
            return case
        case = smaller


def _smaller(case: Case, fails: Fails, every: Changes, budget: TrialBudget) -> Iterator[Case]:
    """Changes that keep it failing."""
    tried = {case}
    for change in every(case):
        try:
            candidate = change()
        except SpecError:
            continue
        if candidate in tried:
            continue
        tried.add(candidate)
        if not budget.spend():
            return
        if _still(fails, candidate):
            yield candidate


def _still(fails: Fails, case: Case) -> bool:
    """Whether a case fails; one that the spec does not allow does not."""
    try:
        return fails(case)
    except SpecError:
        return False


def changes(case: Case) -> Iterator[Callable[[], Case]]:
    """Candidates, the greatest simplifications first; building one may raise ``SpecError``."""
    yield from _size_changes(case)
    yield from _plainer(case)


def _plainer(case: Case) -> Iterator[Callable[[], Case]]:
    """Forward alone, fewer operands, plain values, defaults of the spec."""
    p, spec = case.problem, case.spec
    if case.phase == "backward":
        yield partial(replace, case, phase="forward")
    if case.outputs:
        yield partial(replace, case, outputs=())
    for kind in p.operands:
        yield partial(case.with_problem, operands=tuple(k for k in p.operands if k != kind))
    if p.distribution != "normal":
        yield partial(case.with_problem, distribution="normal")
    usual = AttentionSpec()
    for name in ("softcap", "window", "dropout", "scale", "score", "align", "causal"):
        if getattr(spec, name) != getattr(usual, name):
            yield partial(_with_spec, case, name, getattr(usual, name))


# Sizes at which a case tells much and is cheap; each is set, and halved down to it where it does not fail there.
TELLING = {"Tq": 19, "S": 23, "B": 2, "D": 8, "Dv": 4}


def _towards_handy(case: Case) -> Iterator[Callable[[], Case]]:
    p, spec = case.problem, case.spec
    if p.Tq == p.S and spec.causal and spec.align is None:
        yield from (partial(case.with_problem, Tq=n, S=n) for n in _towards(p.S, TELLING["S"]))
    for name, wanted in TELLING.items():
        for n in _towards(getattr(p, name), wanted):
            yield partial(_resized, case, name, n)
    heads = [(h, kv) for h, kv in ((2, 1), (4, 2), (2, 2), (6, 2)) if h * kv < p.Hq * p.Hkv]
    yield from (partial(case.with_problem, Hq=h, Hkv=kv) for h, kv in heads if (h == kv) == (p.Hq == p.Hkv))
    yield from _plainer(case)


def _towards(n: int, wanted: int) -> list[int]:
    """The wanted size, and sizes halfway to it; a case is made larger only where it is less than half of that."""
    if n <= wanted:
        return [wanted] if n < wanted // 2 else []
    return sorted({wanted, *(m for m in (n // 8, n // 4, n // 2) if m > wanted)})


def _with_spec(case: Case, name: str, value: Any) -> Case:
    changed: dict[str, Any] = {name: value}
    return replace(case, spec=replace(case.spec, **changed))


def _size_changes(case: Case) -> Iterator[Callable[[], Case]]:
    p = case.problem
    for heads in ((1, 1), (2, 1), (2, 2), (4, 2)):
        if heads[0] < p.Hq or (heads[0] == p.Hq and heads[1] < p.Hkv):
            yield partial(case.with_problem, Hq=heads[0], Hkv=heads[1])
    for n in _below(max(p.Tq, p.S)):
        yield partial(case.with_problem, Tq=min(n, p.Tq), S=min(n, p.S))
    learned = case.spec.score in ("additive", "concat")
    for name in ("B", "Tq", "S", "D", "Dv", *(("Da",) if learned else ())):
        for n in _below(getattr(p, name)):
            yield partial(_resized, case, name, n)


def _below(n: int) -> list[int]:
    """Sizes to try instead of n, the smallest first; 0 is another question."""
    steps = {1, 2, 3, 4, n // 8, n // 4, n // 2, n // 2 + 1, n - n // 4, n - 1}
    return sorted(step for step in steps if 1 <= step < n)


def _resized(case: Case, name: str, n: int) -> Case:
    changed: dict[str, Any] = {name: n}
    if name == "D" and case.spec.score not in ("additive", "concat"):
        changed["Da"] = n  # it plays no part
    return case.with_problem(**changed)
