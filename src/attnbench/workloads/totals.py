"""From the rows of a run to what serving the mix takes: for each implementation, stage and process the seconds.

A process (replicate) is one observation. In each, a call's time is the median of its bursts there, and the stage's time
the sum over its parts of calls times that. Implementations are compared process by process, since those of one
replicate were measured beside each other. Of the ways to call a kind of sequence (one call each, padded, packed) the
one counts that takes least. Which one that is, is chosen for each process by the others: were it chosen by the times
that count too, whoever has more ways would look faster than he is by having more draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import geometric_mean as mean_of_ratios
from typing import TYPE_CHECKING, Any

from attnbench.analysis.frames import POINT
from attnbench.analysis.rounds import levels, rounds
from attnbench.results.frames import records
from attnbench.workloads.grammar import STAGES
from attnbench.workloads.parts import EACH, WAYS, ServedPart, part

if TYPE_CHECKING:
    import pandas as pd

SETTING = ("run_id", "device", "threads", f"{POINT}shape", f"{POINT}dtype", f"{POINT}mix")
MACHINE = "machine_id"
# Seconds by process.
Seconds = Mapping[int, float]


@dataclass(frozen=True)
class StageTimes:
    """What a stage of the mix takes an implementation.

    ``ways`` has for each kind of sequence the way that takes least, ``by_way`` the seconds of every way that there is,
    and ``blocks`` the blocks of the ways that count in ``seconds``.
    """

    seconds: Seconds
    ways: Mapping[str, str]
    by_way: Mapping[str, Mapping[str, Seconds]]
    blocks: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Served:
    """A mix in one setting (device, threads, shape, dtype): the times of all implementations, and what they lack.

    ``calls`` counts the sequences of each stage and ``queries`` their queries. ``stages`` maps a stage to the times by
    implementation, ``lacking`` a stage to the reasons of those that cannot serve it.
    """

    setting: Mapping[str, Any]
    calls: Mapping[str, int]
    queries: Mapping[str, int]
    stages: Mapping[str, Mapping[str, StageTimes]]
    lacking: Mapping[str, Mapping[str, str]]

    def implementations(self) -> tuple[str, ...]:
        """Those that serve a stage of it."""
        return tuple(dict.fromkeys(name for mine in self.stages.values() for name in mine))

    def ways_of(self, impl: str) -> dict[str, str]:
        """How it is called, by kind of sequence."""
        return {kind: way for mine in self.stages.values() if impl in mine for kind, way in mine[impl].ways.items()}

    def apart(self, a: str, b: str, stages: Iterable[str] | None = None) -> bool:
        """Whether two stand in other blocks somewhere: they are then called in ways that were not interleaved."""
        times = [(self.stages[stage].get(a), self.stages[stage].get(b)) for stage in stages or self.calls]
        return any(x is not None and y is not None and x.blocks != y.blocks for x, y in times)

    def totals(self) -> dict[str, Seconds]:
        """The seconds of the whole mix by implementation, of those that were measured on all of it in some process."""
        return {name: seconds for name, seconds in self._sums().items() if seconds}

    def never_whole(self) -> list[str]:
        """Those that serve every stage, but no process measured them in all of them."""
        return [name for name, seconds in self._sums().items() if not seconds]

    def _sums(self) -> dict[str, Seconds]:
        needed = [self.stages[stage] for stage in self.calls]
        names = [name for name in needed[0] if all(name in mine for mine in needed)]
        return {name: total([mine[name].seconds for mine in needed]) for name in names}


def total(parts: Iterable[Seconds]) -> dict[int, float]:
    """The sum of seconds in every process that all of them were in."""
    several = list(parts)
    common = set(several[0]).intersection(*several[1:])
    return {process: sum(seconds[process] for seconds in several) for process in sorted(common)}


def served(frame: pd.DataFrame) -> list[Served]:
    """What a frame of the suite says, one for each setting; of several machines each setting names its own."""
    if frame.empty:
        return []
    apart = MACHINE in frame and len(frame[MACHINE].unique()) > 1
    keys = [name for name in (*([MACHINE] if apart else []), *SETTING) if name in frame]
    groups = [rows for _, rows in frame.groupby(keys, sort=False)]
    return [_served(records(rows[keys].head(1))[0], rows) for rows in groups]


def _served(setting: Mapping[str, Any], frame: pd.DataFrame) -> Served:
    rows = records(frame)
    parts = {text: part(text) for text in dict.fromkeys(row[f"{POINT}part"] for row in rows)}
    singles = [mine for mine in parts.values() if mine.single]
    calls = {stage: round(sum(s.calls for s in singles if s.stage == stage)) for stage in STAGES}
    queries = {stage: _queries(singles, stage) for stage in STAGES}
    stages: dict[str, dict[str, StageTimes]] = {}
    lacking: dict[str, dict[str, str]] = {}
    for stage in (stage for stage in STAGES if calls[stage]):
        stages[stage], lacking[stage] = {}, {}
        for impl in dict.fromkeys(row["impl"] for row in rows):
            mine = [row for row in rows if row["impl"] == impl and parts[row[f"{POINT}part"]].stage == stage]
            times, why = _stage_times(mine, parts, [s for s in singles if s.stage == stage])
            if times is None:
                lacking[stage][str(impl)] = why
            else:
                stages[stage][str(impl)] = times
    kept = {stage: count for stage, count in calls.items() if count}
    return Served(setting, kept, queries, stages, lacking)


def _queries(singles: Iterable[ServedPart], stage: str) -> int:
    return round(sum(s.calls * s.stretches[0].queries for s in singles if s.stage == stage))


def _stage_times(
    rows: list[dict[str, Any]], parts: Mapping[str, ServedPart], singles: Iterable[ServedPart]
) -> tuple[StageTimes | None, str]:
    """The times of a stage, or why there are none."""
    by_way: dict[str, dict[str, Seconds]] = {}
    blocks: dict[str, frozenset[str]] = {}
    counting: dict[str, Seconds] = {}
    kinds: dict[str, set[str]] = {}
    for single in singles:
        kinds.setdefault(single.kind, set()).add(str(single))
    for kind, needed in kinds.items():
        mine = [row for row in rows if parts[row[f"{POINT}part"]].kind == kind]
        by_way[kind] = _ways_of_kind(mine, parts, needed)
        if not by_way[kind]:
            return None, _why(mine, kind)
        chosen = chosen_by_others(by_way[kind])
        counting[kind] = {process: by_way[kind][way][process] for process, way in chosen.items()}
        blocks[kind] = _blocks(mine, {*chosen.values()})
    seconds = total(counting.values())
    if not seconds:
        return None, "no process measured all of it"
    ways = {kind: min(known, key=lambda way: geometric_mean(known[way])) for kind, known in by_way.items()}
    return StageTimes(seconds, ways, by_way, blocks), ""


def chosen_by_others(by_way: Mapping[str, Seconds]) -> dict[int, str]:
    """For each process the way that takes least in all others; where there are none, the first of ``WAYS``."""
    chosen: dict[int, str] = {}
    for process in sorted({process for seconds in by_way.values() for process in seconds}):
        ways = [way for way in WAYS if process in by_way.get(way, {})]
        others = set.intersection(*({*by_way[way]} for way in ways)) - {process}
        least = {way: geometric_mean({n: by_way[way][n] for n in others}) if others else 0.0 for way in ways}
        chosen[process] = min(ways, key=least.__getitem__)
    return chosen


def _blocks(rows: Iterable[Mapping[str, Any]], ways: set[str]) -> frozenset[str]:
    """The blocks in which these ways were measured; none where the frame does not say."""
    return frozenset(str(row["block_id"]) for row in rows if row.get("block_id") and row[f"{POINT}way"] in ways)


def _ways_of_kind(rows: list[dict[str, Any]], parts: Mapping[str, ServedPart], needed: set[str]) -> dict[str, Seconds]:
    """The seconds of a kind of sequence in every way that was measured whole."""
    ok = [row for row in rows if row["status"] == "ok"]
    known: dict[str, Seconds] = {}
    each = {row[f"{POINT}part"]: row for row in ok if row[f"{POINT}way"] == EACH}
    if needed <= set(each):
        known[EACH] = total([_weighed(each[text], parts[text]) for text in sorted(needed)])
    for row in ok:
        if row[f"{POINT}way"] != EACH:
            known[str(row[f"{POINT}way"])] = _weighed(row, parts[row[f"{POINT}part"]])
    return {way: seconds for way, seconds in known.items() if seconds}


def _weighed(row: Mapping[str, Any], mine: ServedPart) -> dict[int, float]:
    return {process: mine.calls * math.exp(log) for process, log in levels(rounds(row)).items()}


def _why(rows: list[dict[str, Any]], kind: str) -> str:
    """The reason that stands first among those of the calls that are missing."""
    failed = [row for row in rows if row["status"] != "ok"]
    first = next((row for row in failed if row[f"{POINT}way"] == EACH), failed[0] if failed else None)
    return f"no {kind}: not measured" if first is None else f"{first['status']} ({first['reason']})"


def geometric_mean(seconds: Seconds) -> float:
    """Over processes."""
    return mean_of_ratios(seconds.values())
