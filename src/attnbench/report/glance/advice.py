"""Which implementation to use for each kind of case, and how sure that is, in sentences.

A kind is a phase in one dtype. What is said rests on the paired rounds alone (``analysis.leading``): who leads, who is
not told from the leader, and the interval of the next one's ratio.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.analysis.leading import Lead, OverFastest, all_standings, lead
from attnbench.report.glance.cases import case_names
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

PHASES = {"forward": "Forward pass", "backward": "Training (forward and backward)", "decode": "Decoding"}
MOST_SPELLED = 4  # outcomes of a kind that are spelled out; of more, only how often each came
MOST_NAMED = 4  # implementations that are named where they are not told apart
MOST_CASES = 3  # cases that are named


@dataclass(frozen=True)
class KindOutcome:
    """Cases of a kind with the same leaders: which, who leads them, and how sure that is."""

    cases: tuple[str, ...]
    leaders: tuple[str, ...]
    sure: str

    @property
    def where(self) -> str:
        """The cases by name, or how many."""
        return "; ".join(self.cases) if len(self.cases) <= MOST_CASES else f"{len(self.cases)} cases"

    @property
    def first(self) -> str:
        """The fastest."""
        return self.leaders[0]

    @property
    def ties(self) -> str:
        """Who is not told from it, by name as far as they are few; empty where all are."""
        names, most = self.leaders[1:], MOST_NAMED - 1
        if len(names) > most:
            return units.some(names, most)
        return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


@dataclass(frozen=True)
class KindOfCase:
    """A phase in one dtype, and its outcomes: all of them, or the most frequent."""

    name: str
    outcomes: tuple[KindOutcome, ...]
    more: int = 0


@dataclass(frozen=True)
class Advice:
    """The answer of a suite: one sentence for all of it, a line for each kind of case, and what it rests on."""

    sentence: str
    kinds: tuple[KindOfCase, ...]
    rests_on: str


@dataclass(frozen=True)
class _Case:
    name: str
    kind: str
    lead: Lead
    ratios: dict[str, OverFastest]

    @property
    def alone(self) -> bool:
        """Whether one implementation alone was measured."""
        return self.lead.second is None


def advice_of(frame: pd.DataFrame, over: Mapping[str, OverFastest] | None = None) -> Advice | None:
    """The advice of a suite's timed cells, or that none was measured; ``None`` where there is nothing to choose."""
    timed = frame[frame["kind"] == "timed"]
    ok = timed[timed["status"] == "ok"]
    if ok.empty:
        return Advice(_nothing(timed), (), "") if len(timed) else None
    names = case_names(timed)
    blocks = list(ok.groupby(["block_id", "case_id"], sort=False))
    if all(len(block) == 1 for _, block in blocks):
        return None
    ratios = all_standings(ok) if over is None else over
    cases = [_case(names[key], block, ratios) for key, block in blocks]
    kinds = tuple(_kind(name, [case for case in cases if case.kind == name]) for name in _ordered(cases))
    planned = len(timed.drop_duplicates(["block_id", "case_id"]))
    return Advice(_sentence(cases, planned), kinds, _rests_on(cases))


def _nothing(timed: pd.DataFrame) -> str:
    counts = Counter(map(str, timed["status"]))
    return f"Nothing was measured: {', '.join(f'{count} {status}' for status, count in counts.most_common())}."


def _case(name: str, block: pd.DataFrame, ratios: Mapping[str, OverFastest]) -> _Case:
    first = block.iloc[0]
    phase = PHASES.get(str(first["phase"]), str(first["phase"]))
    over = {str(impl): ratios[cell] for cell, impl in zip(block["cell_id"], block["impl"], strict=True)}
    kind = f"{phase}, {first['dtype']}" if units.known(first["dtype"]) else "As it was imported"
    return _Case(name, kind, lead(block), over)


def _ordered(cases: Sequence[_Case]) -> list[str]:
    return list(dict.fromkeys(case.kind for case in cases))


def _kind(name: str, cases: Sequence[_Case]) -> KindOfCase:
    alike: dict[tuple[bool, str, tuple[str, ...]], list[_Case]] = {}
    for case in cases:
        who = case.lead.first, tuple(sorted(case.lead.together))
        alike.setdefault((case.alone, *who), []).append(case)
    outcomes = [_outcome(group) for group in alike.values()]
    if len(outcomes) > MOST_SPELLED:
        outcomes.sort(key=lambda outcome: -len(outcome.cases))
    return KindOfCase(name, tuple(outcomes[:MOST_SPELLED]), max(len(outcomes) - MOST_SPELLED, 0))


def _outcome(cases: Sequence[_Case]) -> KindOutcome:
    names = tuple(case.name for case in cases)
    return KindOutcome(names, cases[0].lead.together, _sure([case.lead for case in cases]))


def _sure(leads: Sequence[Lead]) -> str:
    """How far the next one is behind, at the least that the intervals allow; or that nobody is behind."""
    if all(first.second is None for first in leads):
        return "nothing else was measured"
    behind = [first for first in leads if first.behind]
    if len(behind) < len(leads):
        return "" if behind else "nothing that was measured is told to be slower"
    return _next(behind)


def _next(leads: Sequence[Lead]) -> str:
    least = min(first.ratio.low for first in leads if first.ratio is not None)
    seconds = {first.second for first in leads}
    who = f"the next, {leads[0].second}," if len(seconds) == 1 else "the next"
    return f"{who} takes at least {units.significant(least)} times as long"


def _sentence(cases: Sequence[_Case], planned: int) -> str:
    """One for everything: who leads everywhere, or whose worst case is the mildest.

    A case in which one alone was measured counts: nobody else is the answer there. One in which none was is said.
    """
    everywhere = set.intersection(*(set(case.lead.together) for case in cases))
    measured = set.intersection(*(set(case.ratios) for case in cases))
    of = f" that were measured, of {planned}" if planned > len(cases) else ""
    count = f"all {len(cases)} cases{of}"
    if len(cases) == 1:
        count = "the one case that was measured" + (f", of {planned}" if of else "")
    if everywhere:
        names = [name for name in cases[0].lead.together if name in everywhere]
        tied, alone = any(len(case.lead.together) > 1 for case in cases), any(case.alone for case in cases)
        others = [*(["not told from the fastest"] if tied else []), *(["the only one measured"] if alone else [])]
        standing = ", or ".join(["fastest", *others]) + ("," if others else "")
        return f"Use {' or '.join(names[:MOST_NAMED])}: {standing} in {count}."
    start = "No implementation leads everywhere: choose by the case."
    if not measured:
        return f"{start} None was measured in every case."
    best = min(sorted(measured), key=lambda name: max(_ratio(case, name) for case in cases))
    worst = max(cases, key=lambda case: _ratio(case, best))
    over = worst.ratios[best].ratio
    leads = sum(best in case.lead.together for case in cases)
    often = f" It is the fastest, or not told from it, in {leads} of {len(cases)} cases{of}." if leads else ""
    text = "1" if over is None else over.text(".2f")
    mildest = f"{best}, whose worst case is the mildest: {text} times as long as the fastest ({worst.name})."
    return f"{start} If it has to be one: {mildest}{often}"


def _ratio(case: _Case, impl: str) -> float:
    over = case.ratios[impl].ratio
    return 1.0 if over is None else over.value


def _rests_on(cases: Sequence[_Case]) -> str:
    """What the intervals rest on: as most of the cases have it."""
    said = Counter(case.lead.rests_on for case in cases if case.lead.rests_on)
    if not said:
        return ""
    return f"How sure: 95 % intervals by paired rounds, {said.most_common(1)[0][0]}."
