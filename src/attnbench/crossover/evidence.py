"""One place of an axis: the log-ratios of its pairs, and who is faster there, once that is sure.

The unit is a pair of fresh processes, which gives a place one number: the logarithm of the time of B over that of A,
above 0 where A is faster. A sign is *sure* when one of two rules says so, each at looks that are fixed beforehand:

* **Plain.** The first three pairs are all beyond a factor of 1.25, the first five beyond 1.12 or the first seven beyond
  1.06, to one side. How seldom that is chance is known as long as noise alone puts a pair beyond 1.25 to one side in at
  most one of 15, beyond 1.12 in one of 6, beyond 1.06 in one of 4; docs/crossover.md says how often recorded noise did.
  So places far from a crossing cost little.
* **Ranks.** The bounded signed-rank test of ``attnbench.compare.signed_rank`` after 10 pairs and more, which assumes
  nothing of the noise but that it falls to both sides alike.

The probability that any sign of a search is wrong is held to ``ERROR``: it is shared by ``MOST_PLACES`` places, each
share is one for each side, of which each rule has its part, spent over its looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from attnbench.compare.signed_rank import Estimate, Looks, boundaries, estimate, robust_spread, statistic

Sign = Literal[-1, 0, 1]

ERROR = 0.05
MOST_PLACES = 16
# How often noise alone may be beyond a factor to one side, for so many first pairs that are all beyond it.
PLAIN = ((3, 1.25, 1 / 15), (5, 1.12, 1 / 6), (7, 1.06, 1 / 4))
# After 10 and 13 pairs all must fall to one side; from 16 on one pair, however disturbed, may fall to the other.
RANKED = Looks((10, 13, 16, 20, 24, 29, 36, 44, 52, 64), (0.38, 0.07, 0.25, 0.12, 0.06, 0.04, 0.03, 0.02, 0.015, 0.015))
MOST_PAIRS = RANKED.pairs[-1]
FEWEST_RANKED = RANKED.pairs[0]
# What is left of a place's share, on one side, for the ranks.
RANKED_ERROR = ERROR / MOST_PLACES - sum(chance**pairs for pairs, _, chance in PLAIN)
# The level of the interval that is reported for each place by itself.
REPORTED = 0.95
# Standard errors between a ratio and 1 at which the ranks are expected to be sure.
NEEDED = 3.2


@dataclass
class AxisPlace:
    """One place of the axis while pairs come in. ``sign``: 1 where A is surely faster, -1 where B is, 0 until then.

    ``stopped`` says why it is not measured any more, where it is not.
    """

    x: int
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
            self.sign = sure(self.values)
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


def sure(values: Sequence[float]) -> Sign:
    """The sign that these log-ratios make sure at this very look; 0 where they make none, and between looks."""
    n = len(values)
    for side in (1, -1):
        turned = [side * value for value in values]
        plain = any(n == pairs and min(turned) >= math.log(factor) for pairs, factor, _ in PLAIN)
        if plain or (n in RANKED.pairs and statistic(turned) >= _boundary(n)):
            return 1 if side > 0 else -1
    return 0


def _boundary(n: int) -> float:
    return boundaries(RANKED, RANKED_ERROR)[RANKED.pairs.index(n)]


def spread_of(places: Sequence[AxisPlace], fallback: float = 0.03) -> float:
    """The standard deviation of a pair about the centre of its place, over all places, by their median deviation."""
    residuals = [value - place.centre for place in places if len(place.values) > 2 for value in place.values]  # noqa: PLR2004
    return max(robust_spread(residuals), 1e-6) if residuals else fallback


def pairs_needed(place: AxisPlace, spread: float) -> int | None:
    """How many more pairs a place is expected to need until it is sure; ``None`` where no number of looks is enough."""
    centre, done = abs(place.centre), len(place.values)
    needed = MOST_PAIRS + 1 if not centre else math.ceil((NEEDED * spread / centre) ** 2)
    return next((look - done for look in RANKED.pairs if look >= needed and look > done), None)
