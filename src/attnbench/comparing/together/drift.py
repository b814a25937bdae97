"""Whether all cells of two saved runs moved alike, which looks like the machine and not like the code of each cell.

A verdict speaks of one cell, and widens its interval by what a machine does between runs; that every cell moved by the
same factor no single verdict can say. Cells of independent code have no reason to: so this is said where

1. the median change is clear: at least half of what counts as a change (the margin), by a sign test over the cells
   (two-sided, 5 %), which takes at least six of them that agree;
2. the cells are alike: four in five lie within a third of that change around it, on the log scale.

One cell that is twice as slow among twenty unchanged ones fails 1, slowdowns of many sizes fail 2, and noise fails
both. Where not all did, the cells of each backend are looked at by themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from scipy import special

from attnbench.comparing.verdicts import Verdict, percent

ALPHA = 0.05
ALIKE = 0.8
BAND = 1 / 3
OF_MARGIN = 0.5


@dataclass(frozen=True)
class Drift:
    """``alike`` of ``cells`` moved by about ``ratio``, head over base; the middle half lies from ``low`` to ``high``.

    ``backend`` is named where only its cells did; ``impls`` are whose cells they are.
    """

    cells: int
    alike: int
    ratio: float
    low: float
    high: float
    impls: tuple[str, ...]
    backend: str | None = None

    @property
    def sentence(self) -> str:
        """What to know of it, in one line."""
        whose = "compared cells" if self.backend is None else f"cells of {self.backend}"
        count = f"All {self.cells}" if self.alike == self.cells else f"{self.alike} of {self.cells}"
        size = f"by about {percent(self.ratio)} (the middle half {percent(self.low)} … {percent(self.high)})"
        return f"{count} {whose} moved alike, {size}: {self._why}"

    @property
    def _why(self) -> str:
        if len(self.impls) == 1:
            return f"the machine? All are of {self.impls[0]}, whose code alone can do that too."
        if self.backend is not None:
            return f"its version or its settings? The cells of other backends did not. {BESIDE}"
        return f"the machine, or what all of them share? {BESIDE}"


BESIDE = "The verdicts stand; measure both again, in turns, before blaming the code."


def drifts(verdicts: Iterable[Verdict], margin: float) -> list[Drift]:
    """The drift of all cells, else of those of single backends; empty where cells did not move alike."""
    timed = [verdict for verdict in verdicts if verdict.metric == "time" and _known(verdict)]
    if (together := drift(timed, margin)) is not None:
        return [together]
    backends = dict.fromkeys(_backend(verdict) for verdict in timed)
    if len(backends) == 1:
        return []
    parts = (drift([v for v in timed if _backend(v) == name], margin, name) for name in backends)
    return [part for part in parts if part is not None]


def drift(verdicts: Sequence[Verdict], margin: float, backend: str | None = None) -> Drift | None:
    """What these cells did together; ``None`` if that is nothing to speak of."""
    changes = [math.log(verdict.ratio) for verdict in verdicts if verdict.ratio]
    if not changes:
        return None
    centre = median(changes)
    side, least = math.copysign(1.0, centre), OF_MARGIN * math.log1p(margin)
    clear = sum(side * change > least for change in changes)
    if 2 * float(special.bdtrc(clear - 1, len(changes), 0.5)) > ALPHA:
        return None
    alike = [change for change in changes if abs(change - centre) <= BAND * abs(centre)]
    if len(alike) < ALIKE * len(changes):
        return None
    low, _, high = (math.exp(value) for value in quantiles(changes, n=4, method="inclusive"))
    impls = tuple(dict.fromkeys(verdict.impl for verdict in verdicts))
    return Drift(len(changes), len(alike), math.exp(centre), low, high, impls, backend)


def _known(verdict: Verdict) -> bool:
    return verdict.ratio is not None and math.isfinite(verdict.ratio) and verdict.ratio > 0


def _backend(verdict: Verdict) -> str:
    return verdict.impl.partition("/")[0]
