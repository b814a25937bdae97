"""The answer in sentences, the first of which says it all; and the totals as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attnbench.analysis.intervals import Interval
from attnbench.show import units
from attnbench.workloads.flips import Flip
from attnbench.workloads.grammar import DECODE, PREFILL
from attnbench.workloads.mixes import Workload
from attnbench.workloads.paired import TotalRatio, compared
from attnbench.workloads.parts import EACH, WAY_WORDS
from attnbench.workloads.totals import Served, geometric_mean
from attnbench.workloads.verdict import NEVER, WHOLE, ServingVerdict, answers

if TYPE_CHECKING:
    import pandas as pd

NAMED = 6


def findings(frame: pd.DataFrame) -> list[str]:
    """The sentences of every setting that was measured."""
    known = answers(frame)
    return [sentence for answer in known for sentence in sentences(answer, several=len(known) > 1)]


def sentences(answer: ServingVerdict, *, several: bool = False) -> list[str]:
    """The answer first, then who else, where it flips, how it was called, and what is not supported."""
    where = f"{_where(answer.served)}: " if several else ""
    said = [where + headline(answer), *_rivals(answer), *_behind(answer), *_of_flips(answer)]
    return [*said, *_ways(answer), *_lacking(answer)]


def _where(mix: Served) -> str:
    return ", ".join(
        f"{name.removeprefix('point.').removesuffix('_id')} {level}" for name, level in mix.setting.items()
    )


def headline(answer: ServingVerdict) -> str:
    """The answer in one sentence."""
    calls = sum(answer.served.calls.values())
    of_what = f"the attention of these {calls:,} sequences"
    if answer.pair is not None:
        halves = f"{answer.pair[PREFILL]} for prefill with {answer.pair[DECODE]} for decode"
        if answer.single is None or answer.gain is None:
            return f"Best for this mix: {halves}; no implementation {_has_all(answer)} all of it by itself."
        return (
            f"Best for this mix: {halves}, {_times(answer.gain)} as fast as the best single one, {answer.single}, "
            f"which takes {units.seconds(answer.seconds)} for {of_what}."
        )
    if answer.single is None:
        if len(answer.stage_best) < 2:  # noqa: PLR2004  (prefill and decode)
            return f"No implementation {_has_all(answer)} all of this mix, and no pair does."
        who = [f"{', '.join((best, *rest))} for {stage}" for stage, (best, rest) in answer.stage_best.items()]
        best = f"the best pair cannot be told: {'; '.join(who)}"
        return f"No implementation {_has_all(answer)} all of this mix, and {best}."
    takes = f"{units.seconds(answer.seconds)} for {of_what}"
    if answer.rivals:
        names = ", ".join((answer.single, *answer.rivals))
        return f"Best for this mix cannot be told among {names}: {answer.single} takes {takes}, the least by a little."
    lead = (
        f"; the next takes {_times(answer.behind[0].ratio)} as long ({answer.behind[0].over})" if answer.behind else ""
    )
    return f"Best for this mix: {answer.single} alone, {takes}{lead}."


def _has_all(answer: ServingVerdict) -> str:
    """What none does, where no total is there: serve all of it, or have a process that measured it."""
    return "has one process that measured" if answer.served.never_whole() else "serves"


def _times(ratio: Interval) -> str:
    return f"{ratio.value:.3g} × [{ratio.low:.3g}, {ratio.high:.3g}]"


def _rivals(answer: ServingVerdict) -> list[str]:
    """Where a pair is best, who cannot be told from its halves."""
    if answer.pair is None:
        return []
    parts = [f"{stage}: {', '.join(rivals)}" for stage, (_, rivals) in answer.stage_best.items() if rivals]
    return [f"Not told from the pair's halves: {'; '.join(parts)}."] if parts else []


def _behind(answer: ServingVerdict) -> list[str]:
    rest = answer.behind[:NAMED]
    if not rest or answer.single is None:
        return []
    parts = [f"{each.over} {_times(each.ratio)}" for each in rest]
    more = f"; and {len(answer.behind) - NAMED} more" if len(answer.behind) > NAMED else ""
    return [f"Told to be behind, as times of {answer.single}: {', '.join(parts)}{more}."]


def _of_flips(answer: ServingVerdict) -> list[str]:
    if answer.no_flip == NEVER:
        return [
            f"The winner never flips: {answer.single} is told to be the fastest in prefill alone and in decode alone."
        ]
    if answer.no_flip:
        return [f"At which share of prefill the winner flips: {answer.no_flip}."]
    now = f"in this mix prefill is {_percent(answer.share or 0)} of the calls"
    return [_of_flip(each, now) for each in answer.flips]


def _of_flip(each: Flip, now: str) -> str:
    if each.at is None or each.low is None or each.high is None or each.query_share is None:
        return f"Where the winner flips from {each.below} to {each.above} cannot be told: {each.reason}."
    of_queries = f"{_percent(each.query_share[0])} of the queries"
    return (
        f"The winner flips at a share of prefill of {_percent(each.at)} [{_percent(each.low)}, {_percent(each.high)}] "
        f"of the calls ({of_queries}): below it {each.below}, above it {each.above}; {now}."
    )


def _percent(share: float) -> str:
    return f"{units.significant(100 * share)} %"


def _ways(answer: ServingVerdict) -> list[str]:
    """What a batch in one call takes over one call each, for those that are named first."""
    names = dict.fromkeys([*(answer.pair or {}).values(), *([answer.single] if answer.single else []), *answer.rivals])
    parts = []
    for name in list(names)[:NAMED]:
        for mine in answer.served.stages.values():
            for kind, by_way in (mine[name].by_way if name in mine else {}).items():
                parts += [
                    f"{name}, {kind}: {WAY_WORDS[way]} takes {_times(_over_each(by_way, way).ratio)} as long"
                    for way in by_way
                    if way != EACH and by_way[way].keys() & by_way.get(EACH, {}).keys()
                ]
    return [f"Over one call for each sequence: {'; '.join(parts)}."] if parts else []


def _over_each(by_way: Mapping[str, Any], way: str) -> TotalRatio:
    return compared((way, by_way[way]), (EACH, by_way[EACH]))


def _lacking(answer: ServingVerdict) -> list[str]:
    parts = []
    for stage, whys in answer.served.lacking.items():
        by_reason: dict[str, list[str]] = {}
        for impl, why in whys.items():
            by_reason.setdefault(why, []).append(impl)
        parts += [f"{stage}: {', '.join(names)}: {why}" for why, names in by_reason.items()]
    if never := answer.served.never_whole():
        parts.append(f"{WHOLE}: {', '.join(never)}: no process measured all of it")
    return [f"Without a time here: {'; '.join(parts)}."] if parts else []


HEADS = ("implementation", "all of it", "over the best", "interval", "prefill", "decode", "called")


def rows(answer: ServingVerdict) -> list[tuple[str, ...]]:
    """Each implementation with its totals, the fastest first; those without one last, with what they have."""
    totals, stages = answer.served.totals(), answer.served.stages
    ratios = {each.over: each.ratio for each in answer.compared.get(WHOLE, ())}
    names = answer.served.implementations()
    known = sorted((name for name in names if name in totals), key=lambda name: geometric_mean(totals[name]))
    return [
        (
            name,
            units.seconds(geometric_mean(totals[name])) if name in totals else units.NOTHING,
            units.times(ratios[name].value if name in ratios else 1.0) if name in totals else units.NOTHING,
            _ends(ratios[name]) if name in ratios and ratios[name].n else units.NOTHING,
            *(_stage(stages, stage, name) for stage in (PREFILL, DECODE)),
            ", ".join(f"{kind} {way}" for kind, way in answer.served.ways_of(name).items()),
        )
        for name in [*known, *(name for name in names if name not in totals)]
    ]


def _ends(ratio: Interval) -> str:
    return f"{units.significant(ratio.low)} – {units.significant(ratio.high)}"


def _stage(stages: Mapping[str, Any], stage: str, name: str) -> str:
    mine = stages.get(stage, {})
    return units.seconds(geometric_mean(mine[name].seconds)) if name in mine else units.NOTHING


def in_words(workload: Workload) -> list[str]:
    """What is about to be measured, line by line, before it is."""
    checked = f"an example, no measured mix; what other pages repeat of its figures: {workload.checked}"
    besides = [workload.note, workload.figures, checked if workload.checked else ""]
    besides += [f"our choice: {workload.ours}" if workload.ours else ""]
    return [f"workload {workload.title}:", *(f"  {line}" for line in (*workload.words(), *filter(None, besides)))]
