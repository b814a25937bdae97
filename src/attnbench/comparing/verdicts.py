"""Verdicts on saved runs. They fail closed: what could not be judged is never a pass.

A saved run cannot say how much its machine varies between runs, so this is the weaker of two claims (``CLAIM``); the
stronger one comes from live, paired processes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from attnbench.comparing.anchored.basis import Basis, basis
from attnbench.comparing.between import ASSUMED, ASSUMED_OF_RATIOS, BY, IMPORTED, BetweenRuns, recorded
from attnbench.comparing.repeated.spread import CellLevel, Spread
from attnbench.comparing.runs import (
    Key,
    SavedRun,
    load_saved,
    matched,
    other_threads,
    unlike,
    unnamed_machine,
)
from attnbench.comparing.statistics import (
    MIN_BURSTS,
    WITHIN,
    Ratio,
    process_level,
    ratio_interval,
    replicate_spread,
    within,
)
from attnbench.errors import (
    EXIT_GATE_FAILED,
    EXIT_INCONCLUSIVE,
    EXIT_NOTHING_MEASURED,
    EXIT_OK,
    UsageError,
    worst_exit,
)
from attnbench.results.read import run_folder
from attnbench.results.summary import Bursts

Word = Literal["slower", "same", "faster", "larger", "smaller", "inconclusive", "not-comparable"]
Metric = Literal["time", "memory", "status"]

CLAIM = (
    "These are two saved runs, measured one after the other: the weaker claim. What changed on the machine between "
    "them cannot be told from a change of the code, so every interval is widened by the spread between runs of this "
    "machine, recorded or assumed."
)
NO_CELL = "does not have this cell"
NO_TIMES = "an observed cell has no times to compare"
ALPHA = 0.05
MEMORY_RELATIVE = 0.01
MEMORY_BYTES = 2**20
EXITS: dict[str, int] = {
    "slower": EXIT_GATE_FAILED,
    "larger": EXIT_GATE_FAILED,
    "inconclusive": EXIT_INCONCLUSIVE,
    "not-comparable": EXIT_INCONCLUSIVE,
}


@dataclass(frozen=True)
class Verdict:
    """A judgement of one cell in one metric, with its evidence.

    ``ratio`` is head over base, with its interval where the metric is time; ``base`` and ``head`` are seconds, or
    bytes for memory (``larger``, ``smaller``). ``status`` verdicts say that both runs agree that a cell is
    unsupported. ``reason`` says why there is no judgement.

    ``by``: whether ``ratio`` is one of ratios to the anchor, or of raw times; ``raw_ratio`` is that of raw times beside
    it, ``anchor_change`` that of the anchor's, ``why_raw`` why it is not judged by the anchor.
    """

    suite: str
    case_id: str
    case_label: str
    impl: str
    device: str
    threads: int
    metric: Metric
    verdict: Word
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    base: float | None = None
    head: float | None = None
    evidence: str = ""
    reason: str | None = None
    by: Literal["anchor", "raw"] = "raw"
    raw_ratio: float | None = None
    anchor_change: float | None = None
    why_raw: str | None = None

    @property
    def key(self) -> Key:
        """What the cell was matched by."""
        return self.suite, self.case_id, self.impl, self.device, self.threads


def compare(
    base: str | Path,
    head: str | Path,
    margin: float = 0.05,
    between_runs: float | None = None,
) -> list[Verdict]:
    """Judge the saved run ``head`` against ``base``; ``margin`` is the smallest relative change that matters.

    ``between_runs`` is the standard deviation of the log-ratio of two runs of the same code; without it what is
    recorded of the machine is taken (``between.recorded``).
    Raises ``ResultsError`` for folders that are no runs, ``UsageError`` for the same run twice or a senseless margin.
    """
    base_run, head_run = load_saved(base), load_saved(head)
    folders = {run_folder(run).parent for run in (base, head)}
    if between_runs is not None:
        return compare_runs(base_run, head_run, margin, between_runs)
    raw, ratios = (recorded(base_run.info, head_run.info, folders, by) for by in BY)
    return compare_runs(base_run, head_run, margin, raw, ratios)


def compare_runs(
    base: SavedRun,
    head: SavedRun,
    margin: float = 0.05,
    between_runs: float | BetweenRuns = ASSUMED,
    between_ratios: float | BetweenRuns | None = None,
) -> list[Verdict]:
    """``compare`` for runs that are in memory; without ``between_ratios`` ratios are taken to differ as times do."""
    if not 0 < margin < 1:
        msg = f"margin is a fraction between 0 and 1, such as 0.05 for 5 %; got {margin}"
        raise UsageError(msg)
    if base.info.run_id == head.info.run_id:
        msg = f"BASE and HEAD are the same run, {base.info.run_id}: there is nothing to compare"
        raise UsageError(msg)
    pairs = list(matched(base, head))
    family = sum(left is not None and right is not None and left["status"] == "ok" for _, left, right in pairs)
    raw, ratios = _known(between_runs), _known(between_runs if between_ratios is None else between_ratios)
    spreads = {"raw": raw, "anchor": ratios}
    judge = _Judge(base, head, margin, spreads, ALPHA / max(family, 1))
    return [verdict for key, left, right in pairs for verdict in judge.cell(key, left, right)]


def _known(between: float | BetweenRuns) -> BetweenRuns:
    return between if isinstance(between, BetweenRuns) else BetweenRuns(between)


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """The exit status of a comparison.

    1 if anything is slower or larger, else 5 if nothing was compared, 3 if anything is undecided, 0.
    """
    judged = [verdict for verdict in verdicts if verdict.metric != "status"]
    if not judged:
        return EXIT_NOTHING_MEASURED
    return worst_exit(EXITS.get(verdict.verdict, EXIT_OK) for verdict in judged)


@dataclass(frozen=True)
class _Judge:
    """Judges the cells of two runs; ``alpha`` is for one cell, so that all together keep ``ALPHA`` (Bonferroni)."""

    base: SavedRun
    head: SavedRun
    margin: float
    spreads: dict[str, BetweenRuns]
    alpha: float

    def cell(self, key: Key, left: dict[str, Any] | None, right: dict[str, Any] | None) -> list[Verdict]:
        """The verdicts on one cell, in time and in memory; either side may be missing."""
        if left is None or right is None:
            return [self._not_comparable(key, left or right or {}, self._missing(key, left is None))]
        if left["status"] == right["status"] == "unsupported":
            return [_verdict(key, left, "status", "same", evidence="unsupported in both")]
        reason = _statuses(left, right) or self._unlike(left, right)
        if reason:
            return [self._not_comparable(key, left, reason)]
        memory = self._memory(key, left, right)
        return [self._time(key, left, right), *([memory] if memory else [])]

    def _missing(self, key: Key, in_base: bool) -> str:  # noqa: FBT001  (which of two sides)
        side, run = ("BASE", self.base) if in_base else ("HEAD", self.head)
        others = other_threads(run, key)
        has = f"; it has it with threads = {', '.join(map(str, others))}" if others else ""
        return f"{side} {NO_CELL}{has}"

    def _unlike(self, left: dict[str, Any], right: dict[str, Any]) -> str | None:
        if left["kind"] != "timed" or right["kind"] != "timed":
            return NO_TIMES
        if (reason := unnamed_machine(self.base.info, self.head.info)) is not None:
            return reason
        for field in ("machine_id", "spec_version", "cache"):
            in_base, in_head = left[field], right[field]
            if in_base != in_head and not (_missing(in_base) and _missing(in_head)):
                names = (_processor(self.base), _processor(self.head)) if field == "machine_id" else ("", "")
                in_base, in_head = ("unknown" if _missing(value) else value for value in (in_base, in_head))
                return f"{field} differs: {in_base}{names[0]} in BASE, {in_head}{names[1]} in HEAD"
        return unlike(self.base.info, self.head.info, str(left["backend"]))

    def _not_comparable(self, key: Key, row: dict[str, Any], reason: str) -> Verdict:
        return _verdict(key, row, "time", "not-comparable", reason=reason)

    def _time(self, key: Key, left: dict[str, Any], right: dict[str, Any]) -> Verdict:
        base, head = (run.bursts(row["cell_id"], row["cache"]) for run, row in ((self.base, left), (self.head, right)))
        chosen = basis(self.base, self.head, left, right)
        fewest = min(base.n, head.n)
        if fewest < MIN_BURSTS:
            reason = f"too few samples: {base.n} bursts in BASE, {head.n} in HEAD, and {MIN_BURSTS} are needed"
            return _verdict(key, left, "time", "inconclusive", reason=reason)
        busy = [name for name, row in (("BASE", left), ("HEAD", right)) if row["disturbed_bursts"] > row["n_bursts"]]
        if busy:
            reason = f"the machine was busy: most bursts in {' and '.join(busy)} were disturbed; measure again"
            return _verdict(key, left, "time", "inconclusive", reason=reason)
        if not all(math.isfinite(value) and value > 0 for value in (*base.values, *head.values)):
            return self._not_comparable(key, left, "a time among the samples is NaN, infinite or not above 0")
        if chosen.unlike is not None:
            return self._not_comparable(key, left, chosen.unlike)
        if chosen.busy:
            reason = f"the anchor was disturbed beside most bursts in {' and '.join(chosen.busy)}; measure again"
            return _verdict(key, left, "time", "inconclusive", reason=reason)
        times = {"base": _median(base.values), "head": _median(head.values)}
        return self._timed(key, left, chosen, times)

    def _timed(self, key: Key, row: dict[str, Any], chosen: Basis, times: dict[str, float]) -> Verdict:
        base, head = chosen.base, chosen.head
        label, least = self._imported(base, head)
        interval_at, spread = self._intervals(key, chosen, least)
        interval = interval_at(1 - self.alpha)
        word = self._word(interval, interval_at(WITHIN))
        bounded = math.isfinite(interval.high)
        limits = {"low": interval.low, "high": interval.high} if bounded else {}
        beside = {"raw_ratio": times["head"] / times["base"], "anchor_change": chosen.moved, "why_raw": chosen.why_raw}
        numbers = {"ratio": interval.ratio, "by": chosen.by, **limits, **beside, **times}
        evidence = (
            f"{percent(interval.ratio)} [{percent(interval.low)}, {percent(interval.high)}], "
            f"{base.n} and {head.n} bursts, spread between runs {100 * spread.sd:.1f} %"
            f"{_beside(chosen, times, spread)}{label}"
        )
        reason = None if word != "inconclusive" else self._undecided(interval, spread)
        return _verdict(key, row, "time", word, evidence=evidence, reason=reason, **numbers)

    def _intervals(self, key: Key, chosen: Basis, least: float) -> tuple[Callable[[float], Ratio], Spread]:
        """The interval of a cell at any confidence, and the spread between runs that it rests on."""
        base, head = chosen.base, chosen.head
        between = self.spreads[chosen.by]
        sides = zip((base, head), chosen.anchors, strict=True)
        spread = between.of(key, *(CellLevel(process_level(b), a, len(set(b.replicates))) for b, a in sides))
        if between.whole and not least:
            spread = spread.held_to(base, head)
            return partial(spread.interval, base, head), spread
        seen = math.hypot(replicate_spread(base), replicate_spread(head))
        thin = ASSUMED_OF_RATIOS if chosen.thin else 0.0  # where the anchor says too little, raw times say no more
        spread = replace(spread, sd=max(spread.sd, least, seen, thin))
        return lambda confidence: ratio_interval(base.values, head.values, confidence, spread.sd), spread

    def _imported(self, base: Bursts, head: Bursts) -> tuple[str, float]:
        """What evidence says of imported sides, and the least spread between runs that is assumed for them."""
        sides = [("BASE", self.base.info.imported, base), ("HEAD", self.head.info.imported, head)]
        imported = [(side, source.tool, bursts) for side, source, bursts in sides if source is not None]
        label = "".join(f"; {side} imported from {tool}" for side, tool, _ in imported)
        alone = any(len(set(bursts.replicates)) == 1 for *_, bursts in imported)
        return label, IMPORTED if alone else 0.0

    def _word(self, interval: Ratio, inner: Ratio) -> Word:
        if interval.low > 1 and interval.ratio >= 1 + self.margin:
            return "slower"
        if interval.high < 1 and interval.ratio <= 1 / (1 + self.margin):
            return "faster"
        return "same" if within(inner, self.margin) else "inconclusive"

    def _undecided(self, interval: Ratio, spread: Spread) -> str:
        if math.isinf(interval.high):
            return "too few samples for so many cells judged together; measure longer, or compare fewer cells"
        ends = f"[{percent(interval.low)}, {percent(interval.high)}]"
        return f"the interval {ends} {undecided(self.margin)}{_off_speed(spread)}"

    def _memory(self, key: Key, left: dict[str, Any], right: dict[str, Any]) -> Verdict | None:
        base, head = left["peak_bytes"], right["peak_bytes"]
        if _missing(base) and _missing(head):
            return None
        if _missing(base) or _missing(head):
            reason = f"peak memory is not known in {'BASE' if _missing(base) else 'HEAD'}"
            return _verdict(key, left, "memory", "not-comparable", reason=reason)
        allowed = max(MEMORY_RELATIVE * base, MEMORY_BYTES)
        change = head - base
        word: Word = "larger" if change >= allowed else "smaller" if change <= -allowed else "same"
        evidence = f"{change / 2**20:+.2f} MiB on {base / 2**20:.2f} MiB; {allowed / 2**20:.2f} MiB counts as a change"
        ratio = head / base if base else None
        return _verdict(key, left, "memory", word, ratio=ratio, base=base, head=head, evidence=evidence)


def _beside(chosen: Basis, times: dict[str, float], spread: Spread) -> str:
    """What evidence says beside a change of ratios to the anchor: that of raw times, and of the anchor."""
    if chosen.moved is None:
        return ""
    less = f", less {percent(math.exp(spread.shift))} for the machine's speed" if spread.shift else ""
    raw = percent(times["head"] / times["base"])
    return f"; by the anchor{less}, raw {raw}, the anchor {percent(chosen.moved)}"


def _off_speed(spread: Spread) -> str:
    """In which runs the machine had not its usual speed, by the anchor, which makes an interval wider."""
    sides = zip(("BASE", "HEAD"), spread.away, strict=True)
    off = [f"{percent(math.exp(away))} in {side}" for side, away in sides if away]
    return f"; by the anchor the machine was off its usual speed, {' and '.join(off)}: measure again" if off else ""


def _statuses(left: dict[str, Any], right: dict[str, Any]) -> str | None:
    in_base, in_head = left["status"], right["status"]
    if in_base == in_head == "ok":
        return None
    if in_base == in_head:
        return f"{in_base} in both: {left['reason']}"
    reason = right["reason"] if in_base == "ok" else left["reason"]
    return f"{in_base} in BASE, {in_head} in HEAD: {reason}"


def _verdict(key: Key, row: dict[str, Any], metric: Metric, word: Word, **fields: Any) -> Verdict:
    suite, case_id, impl, device, threads = key
    return Verdict(suite, case_id, str(row["case_label"]), impl, device, threads, metric, word, **fields)


def undecided(margin: float) -> str:
    """What an interval does not do that decides nothing."""
    return (
        f"neither excludes no change with an effect of {100 * margin:g} % or more, nor shows that the two are within it"
    )


def _processor(run: SavedRun) -> str:
    model = run.info.fingerprint.hardware.cpu_model
    return f" ({model})" if model else ""


def _missing(value: Any) -> bool:
    return value is None or value != value  # noqa: PLR0124  (NaN is what a frame has for None)


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def percent(ratio: float) -> str:
    """A ratio as a signed change in per cent, such as ``+12.3 %``."""
    return f"{100 * (ratio - 1):+.1f} %" if math.isfinite(ratio) else "unbounded"
