"""An axis of a suite with what it takes: read from a text or given as values, and refused in words."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from attnbench.attention.problem import PHASES
from attnbench.attention.spec import FARTHEST
from attnbench.errors import UsageError
from attnbench.suite import written
from attnbench.suite.levels import (
    DTYPE,
    MOST,
    PHASE,
    SHAPE,
    TRUTH,
    LevelError,
    Levels,
    Lists,
    Number,
    OneOf,
    OrNone,
    Spelled,
    Whole,
    word_of,
)


def usual_kind(axis: str, levels: Sequence[Any]) -> Levels:
    """What an axis takes for which its suite declares nothing, by its own levels (those of all its tiers).

    Texts are a closed set: these and no others, but for an axis ``dtype``, ``shape`` or ``phase``, which takes every
    dtype, shape or phase where its own levels are such. Whole numbers and numbers go from 1, above 0 or from 0 where
    no level of its own lies below.
    """
    rest = [level for level in levels if level is not None]
    if any(isinstance(level, (tuple, list)) for level in rest):
        return Lists(json.dumps([*levels], default=str)[1:-1], none=None in levels)
    kind = _kind_of(axis, rest)
    return OrNone(kind) if None in levels and rest else kind


def _kind_of(axis: str, levels: Sequence[Any]) -> Levels:
    kinds = {type(level) for level in levels}
    if not kinds:
        return OneOf(None)
    if kinds == {bool}:
        return OneOf(*TRUTH.values())
    if kinds == {int}:
        lowest = min(levels)
        return Whole(1 if lowest > 0 else 0 if lowest == 0 else None, FARTHEST if lowest > 0 else MOST)
    if kinds <= {int, float}:
        lowest = min(levels)
        return Number(above=0.0) if lowest > 0 else Number(least=0.0) if lowest == 0 else Number()
    if kinds == {str}:
        return _named(axis, levels)
    return OneOf(*levels)


def _named(axis: str, levels: Sequence[str]) -> Levels:
    sets = {"dtype": (DTYPE,), "shape": (SHAPE,), "phase": (PHASE, OneOf(*PHASES))}
    return next((kind for kind in sets.get(axis, ()) if _takes_all(kind, levels)), OneOf(*levels))


def _takes_all(kind: Levels, levels: Sequence[str]) -> bool:
    try:
        return all(kind.check(level) == level for level in levels)
    except LevelError:
        return False


@dataclass(frozen=True)
class AxisLevels:
    """An axis of a suite: what it takes, and the levels that it has by itself."""

    suite: str
    name: str
    kind: Levels
    usual: tuple[Any, ...]

    def read_all(self, text: str) -> tuple[Any, ...]:
        """The levels in a text. Raises ``UsageError``, which says what the axis takes."""
        try:
            return self.kind.read_all(text)
        except LevelError as error:
            raise UsageError(self._refusal(text, error)) from error
        except UsageError as error:
            msg = f"{self.name}={text}: axis {self.name!r} of suite {self.suite!r}: {error}"
            raise UsageError(msg) from error

    def check_all(self, levels: Sequence[Any]) -> tuple[Any, ...]:
        """Levels given as values. Raises ``UsageError``, which says what the axis takes."""
        if isinstance(levels, str) or not isinstance(levels, Sequence) or not levels:
            msg = f"axis {self.name!r} of suite {self.suite!r} takes a tuple of one level or more; got {levels!r}"
            raise UsageError(msg)
        checked = []
        for level in levels:
            try:
                checked.append(self.kind.check(level))
            except LevelError as error:
                raise UsageError(self._sentence(repr(level), error)) from error
        return tuple(dict.fromkeys(checked))

    def _refusal(self, text: str, error: LevelError) -> str:
        if isinstance(self.kind, Lists):
            typed = f"-a '{self.name}={self.kind.example}'"
            return f"{self.name}={text}: axis {self.name!r} of suite {self.suite!r} takes lists; write {typed}"
        words = written.words(text)
        wrong = next(word for word in words if not self._takes(word))
        comma = self._in_quotes(words)
        return f"{self.name}={text}: {self._sentence(repr(wrong), comma or error)}"

    def _takes(self, word: str) -> bool:
        try:
            self.kind.read(word)
        except LevelError:
            return False
        return True

    def _sentence(self, got: str, why: object) -> str:
        usual = ", ".join(written.quoted(word_of(level)) for level in self.usual)
        examples = "" if isinstance(self.kind, (OneOf, Spelled)) else f", as in {usual}"
        return f"axis {self.name!r} of suite {self.suite!r} takes {self.kind.what}{examples}; got {got}{why}"

    def _in_quotes(self, words: Sequence[str]) -> str:
        """How a level is written that was typed without its quotes, and so fell apart at its comma."""
        for first, second in itertools.pairwise(words):
            whole = f"{first}, {second}"
            if self._takes(whole):
                return f"; a level with a comma stands in quotes: -a '{self.name}={written.quoted(whole)}'"
        return ""
