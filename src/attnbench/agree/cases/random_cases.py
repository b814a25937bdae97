"""Random cases: the classes of the plan of boundaries in random combinations, valid by construction, and counted.

A case has one *level* of each *dimension* (``attnbench.agree.cases.dimensions``). Features are off more often than on:
with many of them few pairs of query and key would be allowed. The sizes of three cases in four are small. A feature
that the spec gives no meaning beside the others is turned off; a row that has none even so is drawn anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases import dimensions as dims
from attnbench.agree.cases.covering import Pair
from attnbench.agree.cases.levels import levels_of
from attnbench.agree.cases.making import Planned, case_of
from attnbench.agree.cases.plan import others
from attnbench.attention.inputs import stream
from attnbench.attention.precision import DTYPES
from attnbench.backends.asked import needs_of
from attnbench.errors import SpecError

if TYPE_CHECKING:
    import numpy as np

    from attnbench.backends.implementation import Implementation

Levels = Mapping[str, str]

ON, ON_CORE = 0.2, 0.4  # how often a feature is on
SMALL = 0.75  # how many of the cases are small
MOST_ON = 6
TRIES = 400


class RandomCases:
    """An endless sequence of cases of what an implementation declares: each is a function of ``seed`` and its number.

    With ``draws`` above 1 so many cases in a row differ in their values alone: for a framework that compiles, one
    program. ``levels`` are empty where it takes none of ``dtypes``, or no sizes that there are classes of.
    ``SpecError`` where no case is found that it takes.
    """

    def __init__(
        self,
        implementation: Implementation,
        dtypes: Sequence[str] = DTYPES,
        device: str = "cpu",
        *,
        seed: int = 0,
        draws: int = 1,
    ) -> None:
        self.levels = levels_of(implementation, dtypes, device)
        self._implementation, self._device = implementation, device
        self._seed, self._draws = seed, max(1, draws)
        self._alike: tuple[int, list[Planned]] = (-1, [])  # a number, and its cases that differ in values alone

    def __getitem__(self, index: int) -> Planned:
        """The case of this number, counted from 0, and its levels."""
        number, draw = divmod(index, self._draws)
        if self._alike[0] != number:
            first = self._first(number)
            self._alike = number, [first, *others(self._implementation, first, self._device, count=self._draws - 1)]
        alike = self._alike[1]
        if draw < len(alike):
            return alike[draw]
        first = alike[0]
        return replace(first, case=first.case.with_problem(seed=first.case.problem.seed + draw))

    def _first(self, number: int) -> Planned:
        rng = stream(self._seed, f"random case {number}")
        small = rng.random() < SMALL
        kernel_limits = self._implementation.capabilities_on(self._device).limits
        for attempt in range(TRIES):
            work = dims.SMALL if small and attempt < TRIES // 2 else dims.LARGE  # it may take no small ones
            row = self._row(rng, work)
            if any(name not in row for name in dims.SIZES) or not dims.fits(row, work):
                continue
            try:
                case = case_of(row, rng, kernel_limits)
            except SpecError:
                continue
            if self._implementation.unsupported(needs_of(case, self._device)) is None:
                return Planned(case, row)
        msg = f"no random case was found in {TRIES} tries that {self._implementation.name} takes"
        raise SpecError(msg)

    def _row(self, rng: np.random.Generator, work: dims.MostWork) -> dict[str, str]:
        """A level of each dimension, with what has no meaning beside the rest turned off."""
        on = [name for name in rng.permutation(list(dims.FEATURES)) if rng.random() < self._often(str(name))]
        row = {name: self._level(name, on[:MOST_ON], rng) for name in self.levels if name not in dims.SIZES}
        if row.get("poison") in dims.SEEN and not row["mode"].endswith("forward"):
            row["poison"] = dims.OFF
        if row["mode"].endswith("forward"):
            row |= {name: dims.OFF for name in ("wanted", "cotangent") if name in row}
        row |= self._sizes(row, rng, work)
        return row | self._where(row, rng)

    def _often(self, name: str) -> float:
        return ON_CORE if name in dims.CORE else ON

    def _level(self, name: str, on: Sequence[str], rng: np.random.Generator) -> str:
        levels = self.levels[name]
        if name not in dims.FEATURES or len(levels) == 1:
            return levels[int(rng.integers(len(levels)))]
        return levels[1 + int(rng.integers(len(levels) - 1))] if name in on else levels[0]

    def _sizes(self, row: Levels, rng: np.random.Generator, work: dims.MostWork) -> dict[str, str]:
        """Classes of sizes, one after the other, that together are not too much work."""
        chosen: dict[str, str] = {}
        for name in rng.permutation([name for name in dims.SIZES if name in self.levels]):
            fitting = [
                level for level in self.levels[name] if dims.fits({**chosen, "score": row["score"], name: level}, work)
            ]
            if fitting:
                chosen[str(name)] = fitting[int(rng.integers(len(fitting)))]
        return chosen

    def _where(self, row: Levels, rng: np.random.Generator) -> dict[str, str]:
        """Where the queries stand, where that plays a part and the sizes do not say it."""
        matters = any(row.get(name, dims.OFF) != dims.OFF for name in dims.POSITIONS)
        if not matters or row.get("S") == dims.SQUARE:
            return {} if matters else {"where": dims.OFF} if "where" in row else {}
        places = [place for place in self.levels.get("where", ()) if place != dims.OFF]
        if row.get("where", dims.OFF) != dims.OFF or not places:
            return {}
        return {"where": places[int(rng.integers(len(places)))]}


class Coverage:
    """How often each class, and each pair of classes of two dimensions, was seen in the cases that were judged."""

    def __init__(self, rows: Iterable[Levels] = ()) -> None:
        self.pairs: Counter[Pair] = Counter()
        self.classes: Counter[tuple[str, str]] = Counter()
        for row in rows:
            self.classes.update(row.items())
            self.pairs.update(combinations(sorted(row.items()), 2))

    def to_dict(self, levels: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """JSON-ready: of the ``levels`` that could be drawn the classes and pairs seen, and the classes that were not.

        A pair that no case can have, by the rules of the plan, does not count.
        """
        every = [(name, level) for name in sorted(levels) for level in levels[name]]
        pairs = [
            (first, second)
            for first, second in combinations(sorted(every), 2)
            if first[0] != second[0] and dims.fits(dict((first, second)))
        ]
        return {
            "classes": len(every),
            "classes_seen": sum(named in self.classes for named in every),
            "pairs": len(pairs),
            "pairs_seen": sum(pair in self.pairs for pair in pairs),
            "unseen": [f"{name} {level}" for name, level in every if (name, level) not in self.classes],
        }
