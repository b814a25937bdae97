"""How often a search is right: the table of docs/crossover.md.

``python -m tests.docs.write crossover`` makes 200 searches of each curve and writes it; the proof holds the page to it.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from attnbench.crossover.answer import flips
from tests.crossover.simulated import (
    BUDGET_S,
    CURVES,
    THREE,
    THREE_CROSS,
    THREE_TWINS,
    Curve,
    Machine,
    Noise,
    Told,
    all_walked,
    drawn_from,
    holds,
    recorded,
    walked,
)
from tests.repository import DOCS

PAGE = DOCS / "crossover.md"
SEARCHES = 200
BEGIN, END = "<!-- searches: begin -->\n", "<!-- searches: end -->\n"
HEAD = (
    "| curve of the log-ratio | answers that hold | what was said | crossings claimed | width of an interval, median | "
    "seconds of 180, mean |\n|---|---|---|---|---|---|\n"
)
WORDS = {"crossings": "crossings", "none": "no crossing", "cannot-be-told": "cannot be told"}


@dataclass
class Searched:
    """What many searches of one curve said."""

    right: int = 0
    words: Counter[str] = field(default_factory=Counter)
    counts: Counter[int] = field(default_factory=Counter)
    widths: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    flipped: int = 0

    @property
    def searches(self) -> int:
        """How many there were."""
        return sum(self.words.values())

    def row(self, name: str) -> str:
        """The line of the table."""
        said = ", ".join(f"{count} {WORDS[word]}" for word, count in self.words.most_common())
        claimed = ", ".join(f"{number} in {count}" for number, count in sorted(self.counts.items()) if number)
        width = f"{statistics.median(self.widths):.2f}" if self.widths else ""
        cells = name, f"{self.right} of {self.searches}", said, claimed, width, f"{statistics.fmean(self.seconds):.0f}"
        return f"| {' | '.join(cells)} |\n"


def searched(name: str, noise: Noise, searches: int = SEARCHES, first: int = 0) -> Searched:
    """Searches of a known curve, each by a seed of its own."""
    curve, truth = CURVES[name]
    seen = Searched()
    for seed in range(first, first + searches):
        machine = Machine(noise, np.random.default_rng(seed))
        answer = walked(curve, machine).search.answer()
        seen.right += holds(answer, truth)
        seen.words[answer.word] += 1
        seen.counts[len(answer.crossings)] += 1
        seen.widths += [crossing.high / crossing.low for crossing in answer.crossings]
        seen.seconds.append(machine.now)
        seen.flipped += bool(flips(answer.crossings))
    return seen


SEVERAL: Mapping[str, tuple[Mapping[str, Curve], Mapping[tuple[str, str], int]]] = {
    "three names, two crossings": (THREE, THREE_CROSS),
    "three twins": (THREE_TWINS, {}),
}


def right(told: Told, times: Mapping[str, Curve]) -> bool:
    """Whether every sign of every two is that of their curves; where these are equal, none is sure."""
    for (a, b), search in told.searches.items():
        for place in search.places.values():
            ratio = times[b](place.x) - times[a](place.x)
            if place.sign and place.sign * ratio <= 0:
                return False
    return True


def all_searched(
    times: Mapping[str, Curve],
    truth: Mapping[tuple[str, str], int],
    noise: Noise,
    searches: int = SEARCHES,
    budget_s: float = BUDGET_S,
) -> Searched:
    """Searches of several names; one is right where all its signs are, and each crossing holds the one that it is."""
    seen = Searched()
    for seed in range(searches):
        machine = Machine(noise, np.random.default_rng(seed), budget_s)
        told = all_walked(times, machine)
        each = [(crossing, truth.get((crossing.faster_below, crossing.faster_above))) for crossing in told.crossings]
        inside = all(x is not None and crossing.low <= x <= crossing.high for crossing, x in each)
        seen.right += inside and right(told, times)
        seen.words[told.word] += 1
        seen.counts[len(told.crossings)] += 1
        seen.widths += [crossing.high / crossing.low for crossing in told.crossings]
        seen.seconds.append(machine.now)
    return seen


def rows() -> Iterator[str]:
    """The lines of the table, one after the other; a minute or two in all."""
    noise = drawn_from(recorded())
    for name in CURVES:
        yield searched(name, noise).row(name)
    for name, (times, truth) in SEVERAL.items():
        yield all_searched(times, truth, noise).row(name)


def filled(text: str, table: str) -> str:
    """The page with another table."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table + END + rest.split(END)[1]


def write() -> None:
    """Write the table of the page again."""
    PAGE.write_text(filled(PAGE.read_text("utf-8"), HEAD + "".join(rows())), "utf-8")
