"""Verdicts of live pairs: what a cell's numbers say, what it costs to know more, memory, and the exit status.

They fail closed: a side that failed, a cell that was not measured and a question that stayed open are never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from attnbench.comparing.sequential import CONFIRM, SCREEN, Comparison, Decision, Rules
from attnbench.comparing.verdicts import MEMORY_BYTES, MEMORY_RELATIVE
from attnbench.errors import (
    EXIT_CELLS_FAILED,
    EXIT_GATE_FAILED,
    EXIT_INCONCLUSIVE,
    EXIT_NOTHING_MEASURED,
    EXIT_OK,
    worst_exit,
)
from attnbench.show.units import clock

TimeWord = Literal["slower", "same", "faster", "inconclusive", "not-comparable"]
MemoryWord = Literal["larger", "same", "smaller", "inconclusive", "not-comparable", "not-measured"]

OK, WRONG, UNSUPPORTED = "ok", "wrong", "unsupported"
FAILED = ("crashed", "oom", "timeout")
GATED = ("slower", "larger")
OPEN = ("inconclusive", "not-comparable")
# Fewer values on a side have no range worth the name.
MEMORY_REPEATS = 3
FEWEST_TO_TELL = 3


class LiveJudge:
    """A ``Comparison`` that also ends when no further pair could decide it; ``decision`` is its verdict so far.

    With ``keep_going`` it asks for pairs without end, as a calibration needs them; the verdict stands once it is made.
    """

    def __init__(self, rules: Rules, *, keep_going: bool = False) -> None:
        self._comparison = Comparison(rules)
        self._keep_going = keep_going

    @property
    def stage(self) -> str:
        """What the next pair is for: ``screen`` or ``confirm``."""
        return self._comparison.stage

    @property
    def decision(self) -> Decision:
        """The verdict, ``inconclusive`` while it is open."""
        return self._comparison.close()

    def add(self, log_ratio: float) -> Decision | None:
        """Take one more pair; a decision, or ``None`` while further pairs can bring one."""
        comparison = self._comparison
        if self._keep_going and (comparison.decided is not None or self._spent()):
            return None
        decided = comparison.add(log_ratio)
        if self._keep_going:
            return None
        return comparison.close() if self._spent() else decided

    def _spent(self) -> bool:
        comparison = self._comparison
        if comparison.towards is None:
            return len(comparison.screening) >= SCREEN.pairs[-1]
        return len(comparison.confirming) >= CONFIRM.pairs[-1]


@dataclass(frozen=True)
class MemoryVerdict:
    """Peak memory of B against A: the medians of fresh processes, in bytes."""

    verdict: MemoryWord
    a_bytes: float | None = None
    b_bytes: float | None = None
    evidence: str = ""
    reason: str | None = None
    status: str = OK


@dataclass(frozen=True)
class LiveVerdict:
    """A cell's verdict with its evidence. ``change``, ``low`` and ``high`` are relative: 0.05 is 5 % slower.

    ``status`` is not ``ok`` where ``side`` failed, for ``reason``. ``more_pairs`` and ``more_s`` are what an
    undecided cell still needs, as far as that can be told.
    """

    id: str
    suite: str
    case_label: str
    impl: str
    device: str
    threads: int
    verdict: TimeWord
    status: str = OK
    side: str | None = None
    reason: str | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    a_s: float | None = None
    b_s: float | None = None
    screened: int = 0
    confirmed: int = 0
    spread: float | None = None
    more_pairs: int | None = None
    more_s: float | None = None
    quads: int = 0
    again: int = 0
    disturbed: int = 0
    log_ratios: Sequence[float] = field(default_factory=tuple)
    memory: MemoryVerdict | None = None

    @property
    def label(self) -> str:
        """Case and implementation."""
        return f"{self.case_label} · {self.impl}"

    @property
    def words(self) -> tuple[str, ...]:
        """Its verdicts, of time and memory."""
        return (self.verdict, *([self.memory.verdict] if self.memory is not None else []))

    @property
    def nowhere(self) -> bool:
        """Whether neither side can do it."""
        return self.status == UNSUPPORTED and self.side is None

    def opened(self, *, inconclusive_passes: bool = False) -> bool:
        """Whether it has no answer that could pass; what neither side can do counts for nothing.

        A cell without a single pair is never forgiven.
        """
        forgiven = ("inconclusive",) if inconclusive_passes and self.measured else ()
        return not self.nowhere and any(word in OPEN and word not in forgiven for word in self.words)

    @property
    def bad(self) -> bool:
        """Whether it fails the gate by itself, whatever is forgiven."""
        statuses = {self.status, self.memory.status if self.memory is not None else OK}
        return bool(statuses & {WRONG, *FAILED}) or any(name in GATED for name in self.words)

    @property
    def measured(self) -> bool:
        """Whether there is at least one pair of it."""
        return self.status == OK and self.screened + self.confirmed > 0

    @property
    def price(self) -> str:
        """What is known of an undecided cell and what a decision would cost, in one sentence."""
        if self.low is None or self.high is None:
            known = f"too few pairs ({self.screened + self.confirmed}) for an interval"
        else:
            known = f"{percent(self.change)} (±{50 * (self.high - self.low):.1f} %)"
        if self.screened + self.confirmed < FEWEST_TO_TELL:
            return f"{known}, nor to say what a decision costs; give it a longer --budget"
        if self.more_pairs is None:
            return f"{known}; more pairs are not expected to decide it: {self.reason}"
        cost = "" if self.more_s is None else f", about {clock(self.more_s)}"
        plural = "s" if self.more_pairs != 1 else ""
        return f"{known}; {self.more_pairs} more pair{plural}{cost}"


def timed(decision: Decision, pair_s: float) -> dict[str, Any]:
    """The fields of a ``LiveVerdict`` that a decision gives; ``pair_s`` is what a further pair takes."""
    fields: dict[str, Any] = {
        "verdict": decision.verdict,
        "screened": decision.screened,
        "confirmed": decision.confirmed,
        "spread": decision.spread,
        "reason": decision.reason,
    }
    if decision.effect is not None:
        effect = decision.effect
        bounded = math.isfinite(effect.low) and math.isfinite(effect.high)
        fields |= {"change": math.expm1(effect.centre), "confidence": effect.confidence if bounded else None}
        fields |= {"low": math.expm1(effect.low), "high": math.expm1(effect.high)} if bounded else {}
    if decision.more_pairs is not None:
        fields |= {"more_pairs": decision.more_pairs, "more_s": decision.more_pairs * pair_s}
    return fields


def weigh(
    a: Sequence[int], b: Sequence[int], reason: str | None = None, status: str = OK, unknown: Sequence[str] = ()
) -> MemoryVerdict:
    """``larger`` only if the change is at least 1 % and 1 MiB and the ranges of both sides lie apart; mirrored.

    Where they lie apart but vary by as much themselves, fresh processes must have shown it again, or it is
    ``inconclusive`` (``weigh_again``); so is a change whose ranges overlap. ``reason`` says why there are fewer values
    than asked; ``status`` is that of a side that failed, and ``unknown`` names the sides that cannot tell their peak.
    """
    if status != OK:
        failed = status if status in (WRONG, UNSUPPORTED, *FAILED) else OK
        return MemoryVerdict("not-comparable", reason=reason, status=failed)
    if len(unknown) == 1:
        return MemoryVerdict("not-comparable", reason=reason)
    fewest = min(len(a), len(b))
    if fewest < MEMORY_REPEATS:
        word: MemoryWord = "not-measured" if unknown and not (a or b) else "inconclusive"
        return MemoryVerdict(word, reason=reason or f"measured {len(a)} and {len(b)} times, not {MEMORY_REPEATS}")
    of_a, of_b = float(median(a)), float(median(b))
    change, allowed = of_b - of_a, _allowed(min(of_a, of_b))
    word, why = ("larger" if change > 0 else "smaller"), None
    if abs(change) < allowed:
        word = "same"
    elif not _apart(a, b):
        word, why = "inconclusive", f"the processes overlap: A {_range(a)}, B {_range(b)}"
    elif not _steady(a, b) and fewest < 2 * MEMORY_REPEATS:
        word, why = "inconclusive", reason or f"not shown again: A {_range(a)}, B {_range(b)}"
    evidence = f"{change / 2**20:+.2f} MiB; {allowed / 2**20:.2f} MiB counts as a change"
    return MemoryVerdict(word, of_a, of_b, evidence, why)


def weigh_again(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether so many more fresh processes are to show a change of peak memory again, or may settle one.

    Three against three lie apart by chance in one of 20, each way; six against six in one of 924.
    """
    if min(len(a), len(b)) < MEMORY_REPEATS:
        return False
    of_a, of_b = median(a), median(b)
    return abs(of_b - of_a) >= _allowed(min(of_a, of_b)) and not (_apart(a, b) and _steady(a, b))


def _allowed(smaller: float) -> float:
    """The least change of peak memory that counts, bytes."""
    return max(MEMORY_RELATIVE * smaller, MEMORY_BYTES)


def _apart(a: Sequence[int], b: Sequence[int]) -> bool:
    return max(a) < min(b) or max(b) < min(a)


def _steady(a: Sequence[int], b: Sequence[int]) -> bool:
    """Whether the processes of each side agree within what does not count."""
    return all(max(side) - min(side) < _allowed(min(side)) for side in (a, b))


def _range(values: Sequence[int]) -> str:
    return f"{min(values) / 2**20:.2f} to {max(values) / 2**20:.2f} MiB"


def exit_code(verdicts: Iterable[LiveVerdict], *, inconclusive_passes: bool = False, interrupted: bool = False) -> int:
    """The exit status: 1 slower, larger or wrong; 4 a side failed; 5 nothing measured; 3 open or broken off; 0.

    ``inconclusive_passes`` forgives the word ``inconclusive`` of cells that were measured, and nothing else.
    """
    judged = list(verdicts)
    codes = {EXIT_OK} if any(verdict.measured for verdict in judged) else {EXIT_NOTHING_MEASURED}
    if interrupted:
        codes.add(EXIT_INCONCLUSIVE)
    for verdict in judged:
        statuses = {verdict.status, verdict.memory.status if verdict.memory is not None else OK}
        if WRONG in statuses or any(word in GATED for word in verdict.words):
            codes.add(EXIT_GATE_FAILED)
        if statuses & set(FAILED):
            codes.add(EXIT_CELLS_FAILED)
        if verdict.opened(inconclusive_passes=inconclusive_passes):
            codes.add(EXIT_INCONCLUSIVE)
    return worst_exit(codes)


def percent(change: float | None) -> str:
    """A relative change such as ``+12.3 %``."""
    return "–" if change is None else f"{100 * change:+.1f} %"
