"""Two versions, judged pair by pair: screened loosely, confirmed on fresh pairs, and stopped as soon as it is decided.

The unit is a pair of fresh processes, which gives one log-ratio for a cell (above 0: B is slower). A false alarm has to
pass twice on independent pairs, so its probability is at most ``screen_error`` times ``confirm_error``; the effect is
reported from the confirming pairs alone, which nothing has selected. ``same`` is never the absence of evidence: it is
equivalence, shown by two one-sided tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from attnbench.comparing.signed_rank import Estimate, Looks, boundaries, estimate, robust_spread, statistic
from attnbench.errors import UsageError

Word = Literal["slower", "same", "faster", "inconclusive"]
Stage = Literal["screen", "confirm"]

SCREEN = Looks(
    (5, 6, 8, 10, 13, 17, 22, 28, 36, 46, 60), (0.35, 0.2, 0.12, 0.09, 0.07, 0.05, 0.04, 0.03, 0.03, 0.01, 0.01)
)
CONFIRM = Looks((6, 8, 10, 13, 17, 22, 28, 36, 46, 60), (0.7, 0.1, 0.06, 0.04, 0.03, 0.02, 0.02, 0.01, 0.01, 0.01))
# Equivalence within a small margin takes many pairs, so that early looks would only cost.
SAME = Looks((10, 13, 17, 22, 28, 36, 46, 60), (0.1, 0.1, 0.15, 0.2, 0.15, 0.1, 0.1, 0.1))
MOST_PAIRS = SCREEN.pairs[-1]
# The level of the intervals that are reported. A cell stops when its verdict shows, which takes some coverage away: at
# this level the interval of a changed cell holds the change in 95 to 97 of 100 (docs/scoreboard.md counts it).
REPORTED = 0.97


@dataclass(frozen=True)
class Rules:
    """What is to be decided, fixed before anything is measured.

    ``margin``: the smallest relative change that matters. ``false_alarm``: at most this for a cell that did not
    change, to be called slower; ``run_false_alarm``: at most this for any of ``cells`` cells. ``false_same``: at most
    this, in each stage, for a change of the margin or more to be called the same.
    """

    margin: float = 0.03
    cells: int = 1
    false_alarm: float = 0.005
    run_false_alarm: float = 0.02
    false_same: float = 0.05
    screen_error: float = 0.10

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            msg = f"the margin is a fraction between 0 and 1, such as 0.03 for 3 %; got {self.margin}"
            raise UsageError(msg)
        if self.cells < 1:
            msg = f"there is nothing to compare: {self.cells} cells"
            raise UsageError(msg)

    @property
    def confirm_error(self) -> float:
        """What is left for the confirming stage."""
        return min(self.false_alarm, self.run_false_alarm / self.cells) / self.screen_error

    @property
    def log_margin(self) -> float:
        """The margin on the log scale."""
        return math.log1p(self.margin)


@dataclass(frozen=True)
class Decision:
    """A verdict with its evidence: ``effect`` on the log scale, from the pairs that decided it.

    ``more_pairs`` is a forecast of what an undecided cell still needs, ``None`` where it cannot be told.
    """

    verdict: Word
    effect: Estimate | None
    screened: int
    confirmed: int
    spread: float | None = None
    more_pairs: int | None = None
    reason: str | None = None


@dataclass
class Comparison:
    """One cell while pairs come in."""

    rules: Rules
    screening: list[float] = field(default_factory=list)
    confirming: list[float] = field(default_factory=list)
    towards: Literal[1, -1] | None = None
    decided: Decision | None = None

    @property
    def stage(self) -> Stage:
        """Whether the next pair screens or confirms."""
        return "screen" if self.towards is None else "confirm"

    def add(self, log_ratio: float) -> Decision | None:
        """Take the log-ratio B/A of one more pair; the decision, if it is one now."""
        if self.decided is not None:
            msg = "this cell is decided; it takes no further pair"
            raise ValueError(msg)
        if not math.isfinite(log_ratio):
            msg = f"a log-ratio is a finite number; got {log_ratio}"
            raise ValueError(msg)
        (self.screening if self.towards is None else self.confirming).append(log_ratio)
        self.decided = self._judge_screening() if self.towards is None else self._judge_confirming()
        return self.decided

    def close(self) -> Decision:
        """The verdict when there will be no further pair: ``inconclusive`` unless it is decided."""
        return self.decided or self._inconclusive()

    def _judge_screening(self) -> Decision | None:
        pairs = self.screening
        for sign in (1, -1):
            if _reached(SCREEN, self.rules.screen_error, [sign * x for x in pairs]):
                self.towards = sign
                return None
        return self._same(pairs)

    def _judge_confirming(self) -> Decision | None:
        sign, pairs = self.towards or 1, self.confirming
        effect = estimate(pairs, REPORTED)
        # The interval that is reported must not contradict the verdict.
        apart = effect.low > 0 if sign > 0 else effect.high < 0
        beyond = apart and sign * effect.centre >= self.rules.log_margin
        if beyond and _ever_reached(CONFIRM, self.rules.confirm_error, [sign * x for x in pairs]):
            return self._decide("slower" if sign > 0 else "faster", pairs)
        return self._same(pairs)

    def _same(self, pairs: Sequence[float]) -> Decision | None:
        """Equivalence: the change is shown to be below the margin, and above minus the margin."""
        margin, error = self.rules.log_margin, self.rules.false_same
        above, below = [x + margin for x in pairs], [margin - x for x in pairs]
        if _reached(SAME, error, above) and _reached(SAME, error, below):
            return self._decide("same", pairs)
        return None

    def _decide(self, word: Word, pairs: Sequence[float]) -> Decision:
        counts = len(self.screening), len(self.confirming)
        return Decision(word, estimate(pairs, REPORTED), *counts, robust_spread([*self.screening, *self.confirming]))

    def _inconclusive(self) -> Decision:
        counts = len(self.screening), len(self.confirming)
        every = [*self.screening, *self.confirming]
        if not every:
            return Decision("inconclusive", None, *counts, reason="no pair was measured")
        effect, spread = estimate(self.confirming or self.screening, REPORTED), robust_spread(every)
        more = self._forecast(effect.centre, spread) if len(every) > 2 else None  # noqa: PLR2004
        reason = "neither a change nor its absence is shown"
        if self.towards is not None and not self.confirming:
            reason = "a change was seen, and there was no time to confirm it on fresh pairs"
        return Decision("inconclusive", effect, *counts, spread, more, reason)

    def _forecast(self, centre: float, spread: float) -> int | None:
        """Pairs until a look at which the interval is narrow enough, were centre and spread the true ones.

        To show a change, it must be told from 0; to show none, from the margin. Half-way between, neither is near.
        """
        rules, changed = self.rules, abs(centre) > self.rules.log_margin
        gap = abs(centre) if changed else rules.log_margin - abs(centre)
        if gap <= 0:
            return None
        needed = math.ceil((Z_NEEDED * spread / gap) ** 2)
        done = len(self.screening) if self.towards is None else len(self.confirming)
        if not changed:
            return _until(SAME, rules.false_same, max(needed, done + 1), done)
        if self.towards is not None:
            return _until(CONFIRM, rules.confirm_error, max(needed, done + 1), done)
        screened = _until(SCREEN, rules.screen_error, done + 1, done)
        confirmed = _until(CONFIRM, rules.confirm_error, needed, 0)
        return None if screened is None or confirmed is None else screened + confirmed


def _until(looks: Looks, error: float, least: int, done: int) -> int | None:
    """Pairs until the first look at which a stage can be decided and has at least so many; ``None``: there is none."""
    limits = boundaries(looks, error)
    able = (n for n, limit in zip(looks.pairs, limits, strict=True) if n >= least and math.isfinite(limit))
    return next((n - done for n in able), None)


# Standard errors between the estimate and what it is to be told from, for a decision in four cases of five.
Z_NEEDED = 3.0


def _reached(looks: Looks, error: float, values: Sequence[float]) -> bool:
    """Whether a stage is decided at this very look; between looks it is not asked."""
    if len(values) not in looks.pairs:
        return False
    return statistic(values) >= boundaries(looks, error)[looks.pairs.index(len(values))]


def _ever_reached(looks: Looks, error: float, values: Sequence[float]) -> bool:
    """Whether any look so far reached its boundary."""
    limits = boundaries(looks, error)
    return any(
        n <= len(values) and statistic(values[:n]) >= limit for n, limit in zip(looks.pairs, limits, strict=True)
    )
