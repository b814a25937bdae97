"""One place of an axis: the log-ratios of its pairs, and who is faster there, once that is sure.

The unit is a pair of fresh processes, which gives a place one number: the logarithm of the time of B over that of A,
above 0 where A is faster. A sign is *sure* when one of two rules says so, each at looks that are fixed beforehand:

* **Plain.** The first three pairs are all beyond a factor of 1.25, the first five beyond 1.12 or the first seven beyond
  1.06, to one side. How seldom that is chance is known as long as noise alone puts a pair beyond 1.25 to one side in at
  most one of 15, beyond 1.12 in one of 6, beyond 1.06 in one of 4; docs/crossover.md says how often recorded noise did.
  So places far from a crossing cost little.
* **Ranks.** The bounded signed-rank test of ``attnbench.comparing.signed_rank`` after 10 pairs and more, which assumes
  nothing of the noise but that it falls to both sides alike.

The probability that any sign of an answer is wrong is held to ``ERROR``: it is shared by the matches (every two of the
implementations), in each by ``MOST_PLACES`` places; each share is one for each side, of which each rule has its part,
spent over its looks. With more matches both rules take more pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Literal

from scipy.stats import norm

from attnbench.comparing.signed_rank import Estimate, Looks, boundaries, estimate, robust_spread, statistic

Sign = Literal[-1, 0, 1]

ERROR = 0.05
MOST_PLACES = 16
# A factor, how often noise alone may put a pair beyond it to one side, and which part of a place's share its rule has.
PLAIN = ((1.25, 1 / 15, 0.0950), (1.12, 1 / 6, 0.0415), (1.06, 1 / 4, 0.0200))
# After 10 and 13 pairs all must fall to one side; from 16 on one pair, however disturbed, may fall to the other.
RANKED = Looks((10, 13, 16, 20, 24, 29, 36, 44, 52, 64), (0.38, 0.07, 0.25, 0.12, 0.06, 0.04, 0.03, 0.02, 0.015, 0.015))
MOST_PAIRS = RANKED.pairs[-1]
# The level of the interval that is reported for each place by itself.
REPORTED = 0.95
# Beyond the quantile of a place's share, so many standard errors between a ratio and 1 are expected to make it sure.
BEYOND = 0.4
# After so many pairs a place may be given up that is not expected to become sure; nor were its ratio so many standard
# errors further from 1 than it seems.
FEWEST_GIVEN_UP, DOUBT = 10, 0.5


@dataclass(frozen=True)
class SignRules:
    """When a sign is sure: the first ``plain`` pairs all beyond a factor, or the ranks, which have ``ranked_error``."""

    plain: tuple[tuple[int, float], ...]
    ranked_error: float

    @cached_property
    def ranked(self) -> dict[int, float]:
        """After how many pairs the ranks can make a sign sure, each with the least statistic that does."""
        limits = zip(RANKED.pairs, boundaries(RANKED, self.ranked_error), strict=True)
        return {pairs: least for pairs, least in limits if math.isfinite(least)}

    @cached_property
    def errors(self) -> float:
        """Standard errors between a ratio and 1 at which the ranks are expected to be sure."""
        return float(norm.isf(self.ranked_error)) + BEYOND


@lru_cache(maxsize=16)
def rules_for(matches: int) -> SignRules:
    """The rules of a place where so many matches share the error. Raises ``ValueError`` for none."""
    if matches < 1:
        msg = f"the error is shared by one match or more; got {matches}"
        raise ValueError(msg)
    share = ERROR / matches / MOST_PLACES
    counts = [math.ceil(math.log(part * share) / math.log(chance)) for _, chance, part in PLAIN]
    spent = sum(chance**count for count, (_, chance, _) in zip(counts, PLAIN, strict=True))
    factors = [factor for factor, _, _ in PLAIN]
    return SignRules(tuple(zip(counts, factors, strict=True)), share - spent)


@dataclass
class AxisPlace:
    """One place of the axis while pairs come in. ``sign``: 1 where A is surely faster, -1 where B is, 0 until then.

    ``stopped`` says why it is not measured any more, where it is not.
    """

    x: int
    rules: SignRules = field(default_factory=lambda: rules_for(1))
    values: list[float] = field(default_factory=list)
    sign: Sign = 0
    stopped: str | None = None
    _estimate: Estimate | None = field(default=None, repr=False, compare=False)

    @property
    def stage(self) -> str:
        """A word for the journal."""
        return "sign"

    def add(self, log_ratio: float) -> Sign | None:
        """Take one more pair; the sign when it is sure, else ``None``. A place that is sure stays so."""
        if not math.isfinite(log_ratio):
            msg = f"a log-ratio is a finite number; got {log_ratio}"
            raise ValueError(msg)
        self.values.append(log_ratio)
        if self.sign == 0:
            self.sign = sure(self.values, self.rules)
        return self.sign or None

    @property
    def live(self) -> bool:
        """Whether it can be measured."""
        return self.stopped is None

    @property
    def open(self) -> bool:
        """Whether a further pair can make it sure."""
        return self.live and self.sign == 0 and len(self.values) < MOST_PAIRS

    @property
    def estimate(self) -> Estimate:
        """The centre of its log-ratios, with an interval of its own."""
        if self._estimate is None or self._estimate.n != len(self.values):
            self._estimate = estimate(self.values, REPORTED)
        return self._estimate

    @property
    def centre(self) -> float:
        """The centre alone; 0 where nothing was measured."""
        return self.estimate.centre if self.values else 0.0

    @property
    def lean(self) -> Sign:
        """Whom it speaks for so far, sure or not."""
        return self.sign or (0 if not self.centre else 1 if self.centre > 0 else -1)


def sure(values: Sequence[float], rules: SignRules) -> Sign:
    """The sign that these log-ratios make sure at this very look; 0 where they make none, and between looks."""
    n = len(values)
    least, factors = rules.ranked.get(n, math.inf), [factor for pairs, factor in rules.plain if pairs == n]
    if not factors and math.isinf(least):
        return 0
    for side in (1, -1):
        turned = [side * value for value in values]
        plain = any(min(turned) >= math.log(factor) for factor in factors)
        if plain or (math.isfinite(least) and statistic(turned) >= least):
            return 1 if side > 0 else -1
    return 0


def spread_of(places: Sequence[AxisPlace], fallback: float = 0.03) -> float:
    """The standard deviation of a pair about the centre of its place, over all places, by their median deviation."""
    residuals = [value - place.centre for place in places if len(place.values) > 2 for value in place.values]  # noqa: PLR2004
    return max(robust_spread(residuals), 1e-6) if residuals else fallback


def pairs_needed(place: AxisPlace, spread: float, off: float = 0.0) -> int | None:
    """How many more pairs a place is expected to need until it is sure; ``None`` where no number of looks is enough.

    By its centre so far, or one that is so many log-ratios further ``off`` 1.
    """
    centre, done = abs(place.centre) + off, len(place.values)
    needed = MOST_PAIRS + 1 if not centre else math.ceil((place.rules.errors * spread / centre) ** 2)
    return next((look - done for look in place.rules.ranked if look >= needed and look > done), None)


def hopeless(place: AxisPlace, spread: float, pairs_left: int) -> bool:
    """Whether a place that is open is not expected to become sure in the pairs that are left.

    To measure it no more can make no sign wrong: what was not made sure is not told.
    """
    n = len(place.values)
    if n < FEWEST_GIVEN_UP:
        return False
    needed = pairs_needed(place, spread, off=DOUBT * spread / math.sqrt(n))
    return needed is None or needed > pairs_left


def within(places: Sequence[AxisPlace]) -> float:
    """The factor by which nobody leads at any of these places: the farthest end of their intervals.

    All of them hold together in ``REPORTED`` of all answers, since each is that of a sixteenth of what is left;
    infinite where a place has too few pairs.
    """
    level = 1 - (1 - REPORTED) / MOST_PLACES
    seen = [estimate(place.values, level) for place in places if place.values]
    return math.exp(max((max(-ends.low, ends.high) for ends in seen), default=math.inf))
