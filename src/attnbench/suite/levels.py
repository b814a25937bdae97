"""What an axis can be asked: a closed set of levels, whole numbers, numbers, texts that the suite reads, or lists.

A suite declares it with ``levels={"T": Whole(least=1), "arm": OneOf("dot", "additive")}``, so that a level is refused
before anything runs; ``axis`` says what follows from an axis' own levels where nothing is declared.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NoReturn

from attnbench.attention.precision import DTYPES
from attnbench.attention.shapes import PHASES, shape
from attnbench.attention.spec import FARTHEST
from attnbench.errors import AttnbenchError, UsageError, suggest
from attnbench.suite import written

NONE = "none"
TRUTH = {"true": True, "false": False}
# Of whole numbers for which nobody declares another end: a seed has as many bits in the results.
MOST = 2**63 - 1


class LevelError(UsageError):
    """A level that its axis does not take; the message says why where that is more than what the axis takes."""


def _no(why: str = "") -> NoReturn:
    raise LevelError(why)


class Levels(ABC):
    """The levels that an axis takes. ``what`` says them in words, as in "takes whole numbers from 1 on"."""

    @property
    @abstractmethod
    def what(self) -> str:
        """The levels in words."""

    @abstractmethod
    def read(self, word: str) -> Any:
        """The level that a word stands for. Raises ``LevelError``."""

    @abstractmethod
    def check(self, level: Any) -> Any:
        """A level given as a value, as the suite gets it. Raises ``LevelError``."""

    def read_all(self, text: str) -> tuple[Any, ...]:
        """The levels in a text such as ``128,4Ki``, each once."""
        return tuple(dict.fromkeys(self.read(word) for word in written.words(text)))


class OneOf(Levels):
    """A closed set of levels, such as ``OneOf("dot", "additive")``: texts, or ``True`` and ``False``."""

    def __init__(self, *levels: Any) -> None:
        self._by_word = {word_of(level): level for level in levels}

    @property
    def what(self) -> str:
        """Each of them, as it is typed."""
        return ", ".join(map(written.quoted, self._by_word))

    def read(self, word: str) -> Any:
        """The level of that name; names of truth and of nothing in any case."""
        folded = word.lower() if word.lower() in (*TRUTH, NONE) and word not in self._by_word else word
        return self._by_word[folded] if folded in self._by_word else _no(suggest(word, self._by_word))

    def check(self, level: Any) -> Any:
        """The same level."""
        if any(level == known and type(level) is type(known) for known in self._by_word.values()):
            return level
        return _no(suggest(level, self._by_word) if isinstance(level, str) else "")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OneOf) and self._by_word == other._by_word

    def __hash__(self) -> int:
        return hash(tuple(self._by_word))


def word_of(level: Any) -> str:
    """A level as it is typed, but for the quotes around one with a comma."""
    return str(level).lower() if level is None or isinstance(level, bool) else str(level)


@dataclass(frozen=True)
class Whole(Levels):
    """Whole numbers from ``least`` to ``most``, such as lengths and seeds; ``None`` where there is no end.

    ``multiple_of``: only its multiples, such as even numbers of units.
    """

    least: int | None = 1
    most: int | None = MOST
    multiple_of: int = 1

    @property
    def what(self) -> str:
        """From where to where."""
        which = {1: "whole numbers", 2: "even numbers"}.get(self.multiple_of, f"multiples of {self.multiple_of}")
        return which + _ends(self.least, self.most, far=MOST)

    def read(self, word: str) -> int:
        """The number, with a suffix such as ``Ki`` or without."""
        try:
            value = written.whole(word)
        except ValueError:
            return _no()
        return self.check(value)

    def check(self, level: Any) -> int:
        """The number as an ``int``; NumPy's are whole numbers too, and ``True`` is none."""
        if not isinstance(level, Integral) or isinstance(level, bool):
            return _no()
        value = int(level)
        inside = (self.least is None or value >= self.least) and (self.most is None or value <= self.most)
        return value if inside and not value % self.multiple_of else _no()


@dataclass(frozen=True)
class Number(Levels):
    """Finite numbers from ``least`` to ``most``, or ``above`` a number that is not one of them, such as rates."""

    least: float | None = None
    most: float | None = None
    above: float | None = None

    @property
    def what(self) -> str:
        """From where to where."""
        if self.above is None:
            return "numbers" + _ends(self.least, self.most)
        return f"numbers above {self.above:g}" + (f" up to {self.most:g}" if self.most is not None else "")

    def read(self, word: str) -> float:
        """The number."""
        try:
            value = written.number(word)
        except ValueError:
            return _no()
        return self.check(value)

    def check(self, level: Any) -> float:
        """The number as a ``float``."""
        if not isinstance(level, Real) or isinstance(level, bool) or not math.isfinite(level):
            return _no()
        value = float(level)
        inside = (self.least is None or value >= self.least) and (self.most is None or value <= self.most)
        return value if inside and (self.above is None or value > self.above) else _no()


def _ends(least: float | None, most: float | None, far: float = math.inf) -> str:
    if least is None and (most is None or most >= far):
        return ""
    if most is None or most >= far:
        return f" from {least:g} on"
    last = f"2**{int(most).bit_length() - 1}" if most >= 2**20 and math.log2(most).is_integer() else f"{most}"
    return f" up to {last}" if least is None else f" from {least:g} to {last}"


@dataclass(frozen=True)
class Spelled(Levels):
    """Texts that the suite reads itself: ``reader`` raises for one that is none, and ``what`` says what they are.

    ``Spelled(sizes, "heads x head size, such as 8x8")``, ``Spelled(shape, "names of shapes")``.
    """

    reader: Callable[[str], object]
    words: str

    @property
    def what(self) -> str:
        """As the suite says it."""
        return self.words

    def read(self, word: str) -> str:
        """The same text, where it can be read."""
        return self.check(word)

    def check(self, level: Any) -> str:
        """The same text, where it can be read."""
        if not isinstance(level, str) or not level:
            return _no()
        try:
            self.reader(level)
        except (AttnbenchError, ValueError, KeyError) as error:
            return _no(f": {error}")
        return level


@dataclass(frozen=True)
class Text(Levels):
    """Any text that is not empty: for an axis whose levels the suite cannot list."""

    what: str = "words"

    def read(self, word: str) -> str:
        """The same text."""
        return self.check(word)

    def check(self, level: Any) -> str:
        """The same text."""
        return level if isinstance(level, str) and level else _no()


@dataclass(frozen=True)
class Lists(Levels):
    """Lists, written as JSON: ``-a 'window=[128,0],null'``. ``example`` is one as it is written."""

    example: str
    none: bool = False

    @property
    def what(self) -> str:
        """How one is written."""
        return f"lists; write {self.example}"

    def read(self, word: str) -> Any:
        """One list."""
        (level,) = self.read_all(word)
        return level

    def read_all(self, text: str) -> tuple[Any, ...]:
        """The lists in a text, between commas."""
        try:
            levels = json.loads(f"[{text}]")
        except ValueError:
            return _no()
        return tuple(dict.fromkeys(self.check(level) for level in levels)) or _no()

    def check(self, level: Any) -> Any:
        """The list as a tuple."""
        if level is None and self.none:
            return None
        return _frozen(level) if isinstance(level, (list, tuple)) else _no()


def _frozen(level: Any) -> Any:
    if isinstance(level, dict):
        return _no()
    return tuple(map(_frozen, level)) if isinstance(level, (list, tuple)) else level


@dataclass(frozen=True)
class OrNone(Levels):
    """The levels of another kind, and ``None``, which is written ``none``."""

    kind: Levels

    @property
    def what(self) -> str:
        """Those of the kind, or none."""
        return f"{self.kind.what}, or {NONE}"

    def read(self, word: str) -> Any:
        """``None``, or a level of the kind."""
        return None if word.lower() == NONE else self.kind.read(word)

    def check(self, level: Any) -> Any:
        """``None``, or a level of the kind."""
        return None if level is None else self.kind.check(level)


# Sizes reach no farther, so that positions fit 32-bit integers in every framework.
SIZE = Whole(1, FARTHEST)
# Of models that are trained: updates, units of a model whose halves are layers too, and lengths of sequences.
STEPS = Whole(1, 100_000)
UNITS = Whole(4, 1024, multiple_of=2)
LENGTH = Whole(1, 64)
DTYPE = OneOf(*DTYPES)
SHAPE = Spelled(shape, "names of shapes (attnbench list shapes)")
PHASE = OneOf(*PHASES)
