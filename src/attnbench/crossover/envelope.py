"""Several implementations: who is fastest along the axis, and where the next takes over.

Every two of them are searched. At a place an implementation *may lead* unless another is surely faster there; the
envelope is made of stretches of places with one that surely leads all others, or of several that may.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attnbench.crossover.answer import Crossing, Word
from attnbench.crossover.search import Search

Both = tuple[str, str]
# Whether an implementation could not be measured at a place.
Gone = Callable[[str, int], bool]


@dataclass(frozen=True)
class LedStretch:
    """Places next to each other, from ``low`` to ``high``, at which the same implementations may lead."""

    low: int
    high: int
    names: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"low": self.low, "high": self.high, "fastest": list(self.names)}


def sign_at(search: Search, x: int) -> int:
    """Who is faster at a place: that of its sign, or of the two beside it where both say the same; 0 where open."""
    place = search.places.get(x)
    if place is not None and place.sign:
        return place.sign
    sure_places = [known for known in search.live if known.sign]
    below = max((known for known in sure_places if known.x <= x), key=lambda known: known.x, default=None)
    above = min((known for known in sure_places if known.x >= x), key=lambda known: known.x, default=None)
    if place is not None and place.live:  # it was looked at, and is open
        return 0
    return below.sign if below is not None and above is not None and below.sign == above.sign else 0


def leaders_at(searches: Mapping[Both, Search], names: Sequence[str], x: int, gone: Gone) -> tuple[str, ...]:
    """Those that may lead at a place: they could be measured there, and nobody is surely faster than they are."""
    behind = {name for name in names if gone(name, x)}
    for (a, b), search in searches.items():
        if sign := sign_at(search, x):
            behind.add(b if sign > 0 else a)
    return tuple(name for name in names if name not in behind)


def envelope(searches: Mapping[Both, Search], names: Sequence[str], gone: Gone) -> tuple[LedStretch, ...]:
    """The stretches, in the order of the axis, over all places at which anything is sure."""
    places = sorted({place.x for search in searches.values() for place in search.live if place.values})
    stretches: list[LedStretch] = []
    for x in places:
        leading = leaders_at(searches, names, x, gone)
        if stretches and stretches[-1].names == leading:
            stretches[-1] = LedStretch(stretches[-1].low, x, leading)
        else:
            stretches.append(LedStretch(x, x, leading))
    return tuple(stretches)


def on_envelope(searches: Mapping[Both, Search], names: Sequence[str], gone: Gone) -> tuple[Crossing, ...]:
    """The crossings of those that lead: on one side of it the one may lead, on the other side the other."""
    crossings = []
    for search in searches.values():
        for crossing in search.answer().crossings:
            below = crossing.faster_below in leaders_at(searches, names, crossing.low, gone)
            above = crossing.faster_above in leaders_at(searches, names, crossing.high, gone)
            if below and above:
                crossings.append(crossing)
    return tuple(sorted(crossings, key=lambda crossing: (crossing.low, crossing.high)))


def concluded(
    searches: Mapping[Both, Search], names: Sequence[str], gone: Gone
) -> tuple[Word, tuple[Crossing, ...], tuple[LedStretch, ...]]:
    """What is sure of all of them: the word, the crossings of those that lead, and who leads where."""
    stretches = envelope(searches, names, gone)
    if len(searches) == 1:
        (search,) = searches.values()
        answer = search.answer()
        return answer.word, answer.crossings, stretches
    crossings = on_envelope(searches, names, gone)
    alone = len(stretches) == 1 and len(stretches[0].names) == 1
    return "crossings" if crossings else "none" if alone else "cannot-be-told", crossings, stretches


def matters(searches: Mapping[Both, Search], names: Sequence[str], both: Both, gone: Gone) -> bool:
    """Whether a further pair of these two can change who leads: somewhere both of them may."""
    search = searches[both]
    places = [place.x for place in search.live if place.values]
    if len(names) == 2 or not places:  # noqa: PLR2004
        return True
    lead = {x: set(leaders_at(searches, names, x, gone)) for x in sorted(places)}
    if any(set(both) <= leading for leading in lead.values()):
        return True
    first, second = both
    steps = list(zip(lead.values(), list(lead.values())[1:], strict=False))
    return any((first in x and second in y) or (second in x and first in y) for x, y in steps)
