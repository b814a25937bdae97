"""The colours of a page: those that there are, and which value of a column has which."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

# Wong's (2011) colours, which colour-blind readers tell apart, as seaborn has them, with two darker ones for the yellow
# and the pale pink, which are hard to see on white.
COLOURS = (
    *("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc"),
    *("#56b4e9", "#ca9161", "#949494", "#6a4fb3", "#8a7a00"),
)


@dataclass
class Palette:
    """Colours that stay: every value of a column keeps the colour that it got first.

    After ten values the colours begin again, and markers and dashes tell the rest. ``of_suite`` keeps them from running
    out over the suites of a page.
    """

    taken: dict[str, dict[Hashable, int]] = field(default_factory=dict)

    def places(self, column: str, values: Sequence[Hashable]) -> dict[Hashable, int]:
        """The number of each of these values in the order in which the column's values were first seen."""
        known = self.taken.setdefault(column, {})
        return {value: known.setdefault(value, len(known)) for value in values}

    def of_suite(self) -> Palette:
        """One for a single suite, in which implementations keep their colours and all else begins anew."""
        return Palette({"impl": self.taken.setdefault("impl", {})})

    def colours(self, column: str, values: Sequence[Hashable]) -> dict[Hashable, str]:
        """The colours of these values of a column."""
        return {value: COLOURS[place % len(COLOURS)] for value, place in self.places(column, values).items()}
