"""A covering design: few rows in which every two levels of different dimensions stand together (Cohen 1997).

Greedy and deterministic. A row begins with a pair that no row has yet, and takes for each further dimension, in an
order that is drawn, the level that brings the most new pairs; of several such rows the best is kept. Where none brings
a new pair, a feature takes its first level, which is to be the plain one, in about half of the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from attnbench.attention.arrays import Array

Row = dict[str, str]
Fits = Callable[[Mapping[str, str], str | None], bool]
Pair = tuple[tuple[str, str], tuple[str, str]]

PLAIN, CORE = 0.5, 0.35
TRIES = 60
FAILURES = 12  # rows of a pair that cannot stand before it is given up
LAST = 1e9  # more than all new pairs count: a level with so much less is taken only where nothing else fits
OTHERS = 3  # levels that are tried in place of one that may be to blame


class Design:
    """Rows over ``dimensions`` (levels by name), of which ``fits`` holds for the whole row and for every part of it.

    ``fits(row, added)`` is asked of unfinished rows too, and says no where nothing that is added later could make the
    row right; ``added`` is the dimension that was added to a part that fits, ``None`` where several are new.
    ``stands(row)`` is asked of a whole row and returns the rows that are covered with it: itself, and others that come
    along; none where there is no case of it after all. The part that is to blame for that is in no later row.

    At most ``most_on`` of the dimensions named in ``features`` stand at another level than their first, but for one
    that the others need; those in ``core``, on which much else depends, do so in a third of the rows whatever pairs are
    new. Pairs of a dimension in ``first`` are tried before the others, and count ``weight`` times. Each row is the best
    of so many ``candidates``: more of them make fewer rows, and take longer.
    """

    def __init__(
        self,
        dimensions: Mapping[str, Sequence[str]],
        fits: Fits,
        rng: np.random.Generator,
        *,
        features: Sequence[str] = (),
        core: Sequence[str] = (),
        first: Sequence[str] = (),
        weight: int = 1,
        most_on: int = 5,
        candidates: int = 6,
        stands: Callable[[Row], Sequence[Row]] = lambda row: [row],
    ) -> None:
        self._names = list(dimensions)
        self._allowed, self._rng, self._most, self._stands = fits, rng, most_on, stands
        self._candidates = candidates
        self._cannot: list[Row] = []  # parts of rows that cannot stand
        self._failures: Counter[tuple[int, int]] = Counter()
        self._features, self._core = frozenset(features), frozenset(core)
        self._levels = [(name, level) for name in self._names for level in dimensions[name]]
        self._index = {level: i for i, level in enumerate(self._levels)}
        begins = np.cumsum([0, *(len(dimensions[name]) for name in self._names)]).tolist()
        self._of = {name: slice(*ends) for name, ends in zip(self._names, pairwise(begins), strict=True)}
        owner = np.array([self._names.index(name) for name, _ in self._levels])
        self._pairs = np.argwhere(owner[:, None] < owner[None, :])
        self._first = np.isin(owner, [self._names.index(name) for name in first if name in self._names])
        # What a pair that no row has yet is worth, both ways round; 0 where there is nothing left to cover.
        worth = np.where(self._first[:, None] | self._first[None, :], weight, 1)
        self._beside = self._pairs_that_fit()
        self._left: Array = np.where(self._beside, worth, 0)
        self.impossible: list[Pair] = [
            (self._levels[i], self._levels[j]) for i, j in self._pairs if not self._beside[i, j]
        ]

    def rows(self, most: int | None = None) -> list[Row]:
        """Rows until no pair is left, or the first ``most``; pairs that no row can have are in ``impossible`` then."""
        rows: list[Row] = []
        while self._left[self._pairs[:, 0], self._pairs[:, 1]].any() and (most is None or len(rows) < most):
            first, second = self._pair()
            row = self._next(first, second)
            covered = [] if row is None else self._stands(row)
            if row is not None and covered:
                rows.append(row)
                for covered_row in covered:
                    self._cover(covered_row)
                continue
            self._failures[first, second] += 1
            if row is None or self._failures[first, second] >= FAILURES:
                self._left[first, second] = self._left[second, first] = 0
                self.impossible.append((self._levels[first], self._levels[second]))
            elif self._failures[first, second] > 1:  # not by chance
                self._exclude(self._to_blame(row))
        return rows

    def _exclude(self, part: Row) -> None:
        """No later row has this part."""
        if len(part) > 2:  # noqa: PLR2004  (two are a pair)
            self._cannot.append(part)
            return
        first, second = (self._index[level] for level in part.items())
        self._beside[first, second] = self._beside[second, first] = False
        self._left[first, second] = self._left[second, first] = 0
        self.impossible.append((self._levels[min(first, second)], self._levels[max(first, second)]))

    def _pairs_that_fit(self) -> Array:
        """Which two levels of different dimensions may stand together, both ways round."""
        beside = np.zeros((len(self._levels), len(self._levels)), bool)
        for i, j in self._pairs:
            beside[i, j] = beside[j, i] = self._allowed(dict((self._levels[i], self._levels[j])), None)
        return beside

    def _fits(self, row: Row, added: str | None = None) -> bool:
        return self._allowed(row, added) and not any(part.items() <= row.items() for part in self._cannot)

    def _to_blame(self, row: Row) -> Row:
        """The part of a row that keeps it from standing, so that no pair is given up for what stands beside it.

        A feature is not to blame if the row cannot stand with the plain level either; another dimension is not if the
        row cannot stand with some others of its levels.
        """
        blamed, whole = dict(row), row
        for name in sorted(self._names, key=lambda name: name not in self._features):
            levels = [level for _, level in self._levels[self._of[name]]]
            others = levels[:1] if name in self._features else [str(level) for level in self._rng.permutation(levels)]
            tried = [row | {name: level} for level in others if level != row[name]]
            tried = [changed for changed in tried if self._fits(changed)][:OTHERS]
            if name in self._features and row[name] == levels[0]:
                del blamed[name]
            elif tried and not any(self._stands(changed) for changed in tried):
                row = tried[0]
                del blamed[name]
        return blamed if len(blamed) > 1 else whole  # each level can stand somewhere

    def _pair(self) -> tuple[int, int]:
        """A pair that no row has yet: while pairs of ``first`` are left, one of the level that lacks most of them."""
        self._pairs = self._pairs[self._left[self._pairs[:, 0], self._pairs[:, 1]] > 0]
        soon = self._pairs[self._first[self._pairs].any(1)]
        pairs = soon if len(soon) else self._pairs
        if len(soon):
            whose = np.where(self._first[soon[:, 0]], soon[:, 0], soon[:, 1])
            pairs = soon[whose == np.bincount(whose).argmax()]
        first, second = (int(i) for i in pairs[self._rng.integers(len(pairs))])
        return first, second

    def _next(self, first: int, second: int) -> Row | None:
        """The best of some rows around a pair; ``None`` where there is none."""
        rows = [row for _ in range(self._candidates) if (row := self._grown(first, second)) is not None]
        tries = iter(range(TRIES))
        while not rows and next(tries, None) is not None:  # a dead end in one order is none in every order
            rows = [row for row in [self._grown(first, second, worth=0)] if row is not None]
        best = max(rows, key=self._news, default=None)
        return None if best is None else {name: self._levels[i][1] for name, i in best.items()}

    def _grown(self, first: int, second: int, worth: int = 1) -> dict[str, int] | None:
        """A whole row around a pair; ``None`` where none fits. Nothing new is looked for where it is ``worth`` 0."""
        row = {self._levels[i][0]: i for i in (first, second)}
        named = {name: self._levels[i][1] for name, i in row.items()}
        if not self._fits(named):
            return None
        beside = self._beside[first] & self._beside[second]
        gains = worth * (self._left[first] + self._left[second])  # new pairs that each level would bring
        on = self._on(first) + self._on(second)
        for name in self._order(row):
            level = self._best(name, named, gains, beside, full=on >= self._most)
            if level is None:
                return None
            row[name] = level
            named[name] = self._levels[level][1]
            gains += worth * self._left[level]
            beside &= self._beside[level]
            on += self._on(level)
        return row

    def _order(self, row: Mapping[str, int]) -> list[str]:
        """The other dimensions in an order that is drawn, ``core`` first."""
        names = [str(name) for name in self._rng.permutation([name for name in self._names if name not in row])]
        return sorted(names, key=lambda name: name not in self._core)

    def _best(self, name: str, named: Row, gains: Array, beside: Array, *, full: bool) -> int | None:
        """The level of a dimension that fits and brings most; with ``full`` no further feature may be on.

        ``beside`` marks the levels that may stand beside all that the row has.
        """
        levels = self._of[name]
        brought = gains[levels]
        wanted = brought + self._rng.random(levels.stop - levels.start) * 0.5
        if name in self._features:
            # Where nothing is new: the plain one in every other row, so that sizes are tried with the feature too.
            wanted[0] = brought[0] + (0.75 if self._rng.random() < PLAIN else -1.0)
            if name in self._core:
                wanted[0] = np.inf if self._rng.random() > CORE else -1.0
            elif full:
                wanted[1:] -= LAST
        wanted[~beside[levels]] = -np.inf
        while wanted[place := int(wanted.argmax())] > -np.inf:
            level = int(levels.start) + place
            if self._fits({**named, name: self._levels[level][1]}, name):
                return level
            wanted[place] = -np.inf
        return None

    def _on(self, level: int) -> bool:
        name = self._levels[level][0]
        return name in self._features and name not in self._core and self._of[name].start != level

    def _news(self, row: dict[str, int]) -> int:
        chosen = list(row.values())
        return int(self._left[np.ix_(chosen, chosen)].sum())

    def _cover(self, row: Row) -> None:
        chosen = [self._index[level] for level in row.items() if level in self._index]
        self._left[np.ix_(chosen, chosen)] = 0


def pairs_in(row: Mapping[str, Any]) -> set[frozenset[tuple[str, Any]]]:
    """Every pair of levels in a row."""
    items = list(row.items())
    return {frozenset((a, b)) for i, a in enumerate(items) for b in items[i + 1 :]}
