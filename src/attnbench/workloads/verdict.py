"""What is best for the mix: one implementation or a pair, by how much, who cannot be told from it, and where it flips.

Everything that is claimed at one mix is held by one procedure (``paired.judged``), so that the rate at which anything
of it is wrong by chance is at most 5 %. A pair is claimed where its better half is told from the single one's in that
half's own stage. Flips have intervals of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from attnbench.analysis.intervals import Interval
from attnbench.analysis.rounds import ASSUMED
from attnbench.workloads.flips import Flip, flip, lines, winners
from attnbench.workloads.grammar import DECODE, PREFILL
from attnbench.workloads.paired import Apart, TotalRatio, against_best, compared, judged, not_told
from attnbench.workloads.totals import Seconds, Served, geometric_mean, served, total

if TYPE_CHECKING:
    import pandas as pd

SUITE = "workload"
WHOLE = "all of it"
NEVER = "never flips"


@dataclass(frozen=True)
class ServingVerdict:
    """The answer for a mix in one setting.

    ``single`` is the implementation with the smallest total, ``None`` where none serves all of it, and ``seconds`` its
    total. ``pair`` maps each stage to the one to use where a pair is told to be better, which is ``gain`` times as
    fast. ``rivals`` could not be told from the single one; ``behind`` are those that were, with their ratios.
    ``flips`` are along prefill's share of the calls, which is ``share`` in this mix; ``no_flip`` says why there is
    none. ``stage_best`` has the fastest of each stage, and who was not told from it.
    """

    served: Served
    single: str | None
    seconds: float | None
    pair: Mapping[str, str] | None
    gain: Interval | None
    rivals: tuple[str, ...]
    behind: tuple[TotalRatio, ...]
    stage_best: Mapping[str, tuple[str, tuple[str, ...]]]
    share: float | None
    flips: tuple[Flip, ...] = ()
    no_flip: str = ""
    compared: Mapping[str, Sequence[TotalRatio]] = field(default_factory=dict)

    @property
    def told(self) -> bool:
        """Whether one answer can be named: a pair, or a single one without a rival."""
        return self.pair is not None or (self.single is not None and not self.rivals)

    @property
    def flips_told(self) -> tuple[Flip, ...]:
        """The flips that have an interval."""
        return tuple(each for each in self.flips if each.at is not None)


def verdict(mix: Served) -> ServingVerdict:
    """The answer from the times of all implementations."""
    totals = mix.totals()
    by_stage = {stage: {name: t.seconds for name, t in mine.items()} for stage, mine in mix.stages.items()}
    families = {WHOLE: totals} if len(by_stage) == 1 else {WHOLE: totals, **by_stage}
    tested = judged({name: against_best(seconds, _apart(mix, name)) for name, seconds in families.items()})
    single = _fastest(totals)
    stage_best = {
        stage: (best, tuple(not_told(tested.get(stage, tested[WHOLE]))))
        for stage, seconds in by_stage.items()
        if (best := _fastest(seconds)) is not None
    }
    pair, gain = _pair(mix, single, stage_best, by_stage, totals, tested)
    flips, no_flip = _flips(mix, stage_best)
    calls = sum(mix.calls.values())
    return ServingVerdict(
        mix,
        single,
        None if single is None else geometric_mean(totals[single]),
        pair,
        gain,
        tuple(not_told(tested[WHOLE])),
        tuple(each for each in tested[WHOLE] if each.told),
        stage_best,
        mix.calls.get(PREFILL, 0) / calls if calls else None,
        flips,
        no_flip,
        tested,
    )


def _apart(mix: Served, family: str) -> Apart:
    """Whether two of a family of comparisons stand in other blocks."""
    return partial(mix.apart, stages=None if family == WHOLE else [family])


def answers(frame: pd.DataFrame) -> list[ServingVerdict]:
    """The answers in the frame of runs, one for each workload and setting; other suites' rows are passed over."""
    rows = frame[frame["suite"] == SUITE] if "suite" in frame else frame
    return [verdict(mix) for mix in served(rows)]


def _fastest(seconds: Mapping[str, Seconds]) -> str | None:
    return min(seconds, key=lambda name: geometric_mean(seconds[name]), default=None)


def _pair(
    mix: Served,
    single: str | None,
    stage_best: Mapping[str, tuple[str, tuple[str, ...]]],
    by_stage: Mapping[str, Mapping[str, Seconds]],
    totals: Mapping[str, Seconds],
    tested: Mapping[str, Sequence[TotalRatio]],
) -> tuple[dict[str, str] | None, Interval | None]:
    """Who is best for each stage, where that is told to be better than the best single one, and by how much."""
    if len(by_stage) != 2 or len(stage_best) != 2:  # noqa: PLR2004  (prefill and decode)
        return None, None
    pair = {stage: best for stage, (best, _) in stage_best.items()}
    if len(set(pair.values())) == 1:
        return None, None
    if single is None:  # nobody serves all of it: a pair must be told in both stages
        return (None if any(rivals for _, rivals in stage_best.values()) else pair), None
    lost = [stage for stage in pair if pair[stage] != single]
    if not all(any(each.over == single and each.told for each in tested[stage]) for stage in lost):
        return None, None
    both = total([by_stage[stage][name] for stage, name in pair.items()])
    if not both.keys() & totals[single].keys():  # by how much cannot be said
        return None, None
    least = ASSUMED if any(mix.apart(single, pair[stage], [stage]) for stage in lost) else 0.0
    return pair, compared((single, totals[single]), ("the pair", both), least).ratio


def _flips(mix: Served, stage_best: Mapping[str, tuple[str, tuple[str, ...]]]) -> tuple[tuple[Flip, ...], str]:
    """The flips along the share of prefill; where there is none, why."""
    if len(mix.calls) == 1:
        return (), f"the mix has {next(iter(mix.calls))} alone"
    of_all = lines(mix)
    if not of_all:
        return (), "no implementation serves both prefill and decode"
    order = winners(of_all)
    if len(order) > 1:
        per_call = {stage: mix.queries[stage] / count for stage, count in mix.calls.items()}
        pairs = itertools.pairwise(order)
        return tuple(flip(a, b, per_call, apart=mix.apart(a.impl, b.impl)) for a, b in pairs), ""
    names = {line.impl for line in of_all}
    if elsewhere := [f"{best} ({stage})" for stage, (best, _) in stage_best.items() if best not in names]:
        return (
            (),
            f"among those that serve both, {order[0].impl} leads throughout; {', '.join(elsewhere)} is faster there",
        )
    for stage in (DECODE, PREFILL):
        best, rivals = stage_best[stage]
        if near := [name for name in (best, *rivals) if name in names and name != order[0].impl]:
            return (), f"cannot be told: {order[0].impl} and {', '.join(near)} are not told apart in {stage} alone"
    return (), NEVER


def as_dict(answer: ServingVerdict) -> dict[str, Any]:
    """JSON-ready; docs/workloads.md says what each field is."""
    mix = answer.served
    return {
        **{name.removeprefix("point."): level for name, level in mix.setting.items()},
        "calls": dict(mix.calls),
        "prefill_share": answer.share,
        "best": answer.single,
        "seconds": answer.seconds,
        "told": answer.told,
        "not_told_from_it": list(answer.rivals),
        "behind": [_ratio(each) for each in answer.behind],
        "pair": None if answer.pair is None else dict(answer.pair),
        "pair_is_faster": None if answer.gain is None else _interval(answer.gain),
        "stages": {
            stage: {"best": best, "not_told_from_it": list(rivals)}
            for stage, (best, rivals) in answer.stage_best.items()
        },
        "ways": {name: mix.ways_of(name) for name in mix.implementations()},
        "not_supported": {stage: dict(whys) for stage, whys in mix.lacking.items()},
        "never_measured_whole": mix.never_whole(),
        "flips": [each.to_dict() for each in answer.flips],
        "no_flip": answer.no_flip or None,
    }


def _ratio(each: TotalRatio) -> dict[str, Any]:
    return {"implementation": each.over, **_interval(each.ratio), "p": each.p}


def _interval(ratio: Interval) -> dict[str, float]:
    return {"ratio": ratio.value, "low": ratio.low, "high": ratio.high}
