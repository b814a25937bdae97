"""What was typed or written as values: durations, margins, lists. What is none is a clear line, from a shell or Python.

On the command line every value is a text. From Python a number may stand for a text that is one: ``budget=90`` is
``--budget 90``, ``tokens=[128, 256]`` is ``--tokens 128,256``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any

from attnbench.errors import UsageError
from attnbench.suite.written import written

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}

# What Python gives where the command line takes words: one, or several.
Words = str | int | Sequence[str | int]
Files = str | Path | Sequence[str | Path]
Duration = str | float | None
# The levels of axes: by axis, or as after ``-a``.
Levels = Mapping[str, Any] | str | Sequence[str]
# Who is told what people should know before the end.
Note = Callable[[str], None]


def split(values: Sequence[str] | None) -> list[str]:
    """Options that may be given several times, or once with commas."""
    return [part for value in values or [] for part in value.split(",") if part]


def texts(name: str, given: Words | None) -> list[str]:
    """One word or several, as the command line has them. Raises ``UsageError`` for what is no word."""
    several = given if isinstance(given, (list, tuple, set, frozenset)) else [] if given is None else [given]
    for value in several:
        if isinstance(value, bool) or not isinstance(value, (str, Integral)):
            msg = f"{name}= is a text or a whole number, or a list of them; got {value!r}"
            raise UsageError(msg)
    return [str(value) for value in several]


def paths(name: str, given: Files | None) -> list[Path]:
    """One file or folder, or several. Raises ``UsageError`` for what is none."""
    several: list[Any] = list(given) if isinstance(given, (list, tuple)) else [] if given is None else [given]
    for value in several:
        if not isinstance(value, (str, Path)):
            msg = f"{name}= is the path of a file or of a folder, or a list of them; got {value!r}"
            raise UsageError(msg)
    return [Path(value) for value in several]


def one_text(name: str, given: Any, such_as: str) -> str | None:
    """A text, or ``None`` where nothing is given. Raises ``UsageError`` for what is none."""
    if given is not None and not isinstance(given, str):
        msg = f"{name}= is a text, such as {such_as!r}; got {given!r}"
        raise UsageError(msg)
    return given


def one_folder(name: str, given: Any, such_as: str) -> Path:
    """The path of a folder. Raises ``UsageError`` for what is none."""
    if not isinstance(given, (str, Path)):
        msg = f"{name}= is the path of a folder, such as {such_as!r}; got {given!r}"
        raise UsageError(msg)
    return Path(given)


def run_path(run: Any) -> Path:
    """A run by its folder, its run_id, or the object of one. Raises ``UsageError`` for what is none."""
    if not isinstance(run, (str, PathLike)):
        msg = f"a run is its folder or its run_id, such as 'results/RUN', or an object of ab.run; got {run!r}"
        raise UsageError(msg)
    return Path(run)


def levels(given: Levels | None) -> list[str]:
    """The texts of ``-a``: ``{"T": [128, 256]}`` is ``T=128,256``; texts are kept as they are."""
    if not isinstance(given, Mapping):
        return texts("axes", given)
    return [f"{axis}={written(_several(value))}" for axis, value in given.items()]


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, set, frozenset, range)) else [value]


def seconds(text: Duration) -> float | None:
    """A duration such as 90s, 10m or 1h, in seconds; a number is seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(text).strip())
    if not match or float(match[1]) <= 0:
        msg = f"a duration is a number above 0 and a unit, such as 90s, 10m or 1h; got {text!r}"
        raise UsageError(msg)
    return float(match[1]) * UNITS[match[2] or "s"]


def percentage(text: str | float) -> float:
    """A margin such as 5% or 0.05, as a fraction."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", str(text).strip())
    if not match:
        msg = f"a margin is a percentage such as 5%, or a fraction such as 0.05; got {text!r}"
        raise UsageError(msg)
    return float(match[1]) / (100 if match[2] else 1)


def check_positive(what: str, value: Any) -> None:
    """Raise ``UsageError`` unless a number of seconds is above 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        shown = f"{value:g}" if isinstance(value, float) else repr(value)
        msg = f"{what} is a number of seconds above 0; got {shown}"
        raise UsageError(msg)


def whole_numbers(name: str, given: int | Sequence[int] | None) -> list[int]:
    """One whole number or several. Raises ``UsageError`` for what is none."""
    several: list[Any] = list(given) if isinstance(given, (list, tuple)) else [] if given is None else [given]
    for value in several:
        if isinstance(value, bool) or not isinstance(value, Integral):
            msg = f"{name}= is a whole number or a list of them; got {value!r}"
            raise UsageError(msg)
    return [int(value) for value in several]


def check_threads(counts: Sequence[int], note: Note, typed: str = "--threads") -> None:
    """Raise ``UsageError`` for less than one thread, and note, once, more than there are processors for.

    ``typed`` is where the numbers come from.
    """
    from attnbench.results.fingerprint import processors

    if any(count < 1 for count in counts):
        msg = f"{typed} is 1 or more; got {', '.join(map(str, counts))}"
        raise UsageError(msg)
    there = processors()
    if there is not None and (beyond := [count for count in dict.fromkeys(counts) if count > there]):
        number = "1 processor" if there == 1 else f"{there} processors"
        note(
            f"warning: {typed} {', '.join(map(str, beyond))}: this process may use {number}, so more threads than "
            f"{there} take turns on them; such times are of threads in each other's way, not of a larger machine"
        )
