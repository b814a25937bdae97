"""A covering design: few rows in which every two levels of different dimensions stand together (Cohen 1997).

Greedy and deterministic. A row begins with a pair that no row has yet, and takes for each further dimension, in an
order that is drawn, the level that brings the most new pairs; of several such rows the best is kept. Where none brings
a new pair, a feature takes its first level, which is to be the plain one, in about half of the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Row = dict[str, str]
Fits = Callable[[Mapping[str, str]], bool]
Pair = tuple[tuple[str, str], tuple[str, str]]

CANDIDATES = 6
PLAIN, CORE = 0.5, 0.35
TRIES = 60
FAILURES = 4  # rows of a pair that cannot be made before it counts as impossible


class Design:
    """Rows over ``dimensions`` (levels by name), of which ``fits`` holds for the whole row and for every part of it.

    ``fits`` is asked of unfinished rows too, and says no where nothing that is added could make it right. At most
    ``most_on`` of the dimensions named in ``features`` stand at another level than their first; those in ``core``,
    which much else hangs on, do so in a third of the rows whatever is new. Pairs of a dimension in ``first`` are tried
    before the others. ``made`` is asked of a whole row whether it can stand after all; one that cannot covers nothing.
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
        most_on: int = 5,
        made: Callable[[Row], bool] = lambda _: True,
    ) -> None:
        self._names = list(dimensions)
        self._fits, self._rng, self._most, self._made = fits, rng, most_on, made
        self._failures: Counter[tuple[int, int]] = Counter()
        self._features, self._core = frozenset(features), frozenset(core)
        self._levels = [(name, level) for name in self._names for level in dimensions[name]]
        self._index = {one: i for i, one in enumerate(self._levels)}
        self._of = {name: [self._index[name, level] for level in dimensions[name]] for name in self._names}
        owner = np.array([self._names.index(name) for name, _ in self._levels])
        self._left = owner[:, None] != owner[None, :]  # pairs, both ways round, that no row has yet
        self._pairs = np.argwhere(owner[:, None] < owner[None, :])
        self._first = np.isin(owner, [self._names.index(name) for name in first if name in self._names])
        self.impossible: list[Pair] = []

    def rows(self, most: int | None = None) -> list[Row]:
        """Rows until no pair is left, or the first ``most``; pairs that no row can have are in ``impossible`` then."""
        found: list[Row] = []
        while self._left[self._pairs[:, 0], self._pairs[:, 1]].any() and (most is None or len(found) < most):
            first, second = self._pair()
            row = self._next(first, second)
            named = None if row is None else {self._levels[i][0]: self._levels[i][1] for i in row.values()}
            if row is not None and named is not None and self._made(named):
                self._cover(row)
                found.append(named)
                continue
            self._failures[first, second] += 1
            if row is None or self._failures[first, second] >= FAILURES:
                self._left[first, second] = self._left[second, first] = False
                self.impossible.append((self._levels[first], self._levels[second]))
        return found

    def _pair(self) -> tuple[int, int]:
        """One that no row has yet, of those that come first while there are any."""
        self._pairs = self._pairs[self._left[self._pairs[:, 0], self._pairs[:, 1]]]
        soon = self._pairs[self._first[self._pairs].any(1)]
        pairs = soon if len(soon) else self._pairs
        first, second = (int(i) for i in pairs[self._rng.integers(len(pairs))])
        return first, second

    def _next(self, first: int, second: int) -> dict[str, int] | None:
        """The best of some rows around a pair; ``None`` where there is none."""
        rows = [row for _ in range(CANDIDATES) if (row := self._grown(first, second)) is not None]
        tries = iter(range(TRIES))
        while not rows and next(tries, None) is not None:  # a dead end in one order is none in every order
            rows = [row for row in [self._grown(first, second)] if row is not None]
        return max(rows, key=self._news, default=None)

    def _grown(self, first: int, second: int) -> dict[str, int] | None:
        """A whole row around a pair; ``None`` where none fits."""
        row = {self._levels[i][0]: i for i in (first, second)}
        named = {name: self._levels[i][1] for name, i in row.items()}
        if not self._fits(named):
            return None
        gains = self._left[first].astype(np.int64) + self._left[second]  # new pairs that each level would bring
        on = self._on(first) + self._on(second)
        for name in self._order(row):
            level = self._best(name, named, gains, full=on >= self._most)
            if level is None:
                return None
            row[name] = level
            named[name] = self._levels[level][1]
            gains += self._left[level]
            on += self._on(level)
        return row

    def _order(self, row: Mapping[str, int]) -> list[str]:
        """The other dimensions in an order that is drawn, ``core`` first."""
        names = [str(name) for name in self._rng.permutation([name for name in self._names if name not in row])]
        return sorted(names, key=lambda name: name not in self._core)

    def _best(self, name: str, named: Row, gains: Array, *, full: bool) -> int | None:
        """The level of a dimension that brings most and fits; ``full``: no more features may be on."""
        levels = self._of[name]
        wanted = gains[levels] + self._rng.random(len(levels)) * 0.5
        if name in self._features:
            # Where nothing is new: the plain one in every other row, so that sizes are tried with the feature too.
            wanted[0] = gains[levels[0]] + (0.75 if self._rng.random() < PLAIN else -1.0)
            if name in self._core:
                wanted[0] = np.inf if self._rng.random() > CORE else -1.0
            elif full:
                wanted[1:] = -np.inf
        for place in np.argsort(-wanted, kind="stable"):
            if wanted[place] > -np.inf and self._fits({**named, name: self._levels[levels[place]][1]}):
                return levels[int(place)]
        return None

    def _on(self, level: int) -> bool:
        name = self._levels[level][0]
        return name in self._features and name not in self._core and self._of[name][0] != level

    def _news(self, row: dict[str, int]) -> int:
        chosen = list(row.values())
        return int(self._left[np.ix_(chosen, chosen)].sum())

    def _cover(self, row: dict[str, int]) -> None:
        chosen = list(row.values())
        self._left[np.ix_(chosen, chosen)] = False


def pairs_in(row: Mapping[str, Any]) -> set[frozenset[tuple[str, Any]]]:
    """Every pair of levels in a row."""
    items = list(row.items())
    return {frozenset((a, b)) for i, a in enumerate(items) for b in items[i + 1 :]}
