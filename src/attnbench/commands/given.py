"""What was typed, as values: times, margins, lists with commas, names of a known kind. What is none is a clear line."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.errors import UsageError
from attnbench.show.console import say

if TYPE_CHECKING:
    from attnbench.measure.run.plan import Plan

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def split(values: Sequence[str] | None) -> list[str]:
    """Options that may be given several times, or once with commas."""
    return [part for value in values or [] for part in value.split(",") if part]


def drop_ins(files: Sequence[Path] | None) -> list[Path]:
    """The drop-in files that ``--impls`` names, itself or by their folder: what no output may be written over."""
    return [file for given in files or () for file in (given, *given.glob("*.py"))]


def seconds(text: str | None) -> float | None:
    """A duration such as 90s, 10m or 1h, in seconds."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not match or float(match[1]) <= 0:
        msg = f"a duration is a number above 0 and a unit, such as 90s, 10m or 1h; got {text!r}"
        raise UsageError(msg)
    return float(match[1]) * UNITS[match[2] or "s"]


def percentage(text: str) -> float:
    """A margin such as 5% or 0.05, as a fraction."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(%?)", text.strip())
    if not match:
        msg = f"a margin is a percentage such as 5%, or a fraction such as 0.05; got {text!r}"
        raise UsageError(msg)
    return float(match[1]) / (100 if match[2] else 1)


def smallest_change(text: str) -> float:
    """A margin of a live comparison, as a fraction above 0 and below 1."""
    margin = percentage(text)
    if not 0 < margin < 1:
        msg = f"--margin is above 0 and below 100 %; got {text}"
        raise UsageError(msg)
    return margin


def check_threads(counts: Sequence[int], typed: str = "--threads") -> None:
    """Raise ``UsageError`` for less than one thread, and warn, once, of more than there are processors for.

    ``typed`` is where the numbers come from.
    """
    from attnbench.results.fingerprint import processors

    if any(count < 1 for count in counts):
        msg = f"{typed} is 1 or more; got {', '.join(map(str, counts))}"
        raise UsageError(msg)
    there = processors()
    if there is not None and (beyond := [count for count in dict.fromkeys(counts) if count > there]):
        number = "1 processor" if there == 1 else f"{there} processors"
        say(
            f"warning: {typed} {', '.join(map(str, beyond))}: this process may use {number}, so more threads than "
            f"{there} take turns on them; such times are of threads in each other's way, not of a larger machine"
        )


def say_left_out(plan: Plan) -> None:
    """Say before anything is measured what a plan leaves out and what cannot be measured here, with the reasons."""
    from attnbench.measure.run.choice import sentences

    for line in sentences(plan.left_out):
        say(line)
    planned = Counter(cell.suite for cell in plan.cells)
    refused = Counter(cell.suite for cell in plan.cells if cell.id in plan.refused)
    for suite in (name for name, count in planned.items() if refused[name] == count):
        whys = dict.fromkeys(plan.refused[cell.id] for cell in plan.cells if cell.suite == suite)
        say(f"{suite}: nothing of it can be measured here: {'; '.join(whys)}")


def check_positive(what: str, value: float) -> None:
    """Raise ``UsageError`` unless a number of seconds is above 0."""
    if not 0 < value < math.inf:
        msg = f"{what} is a number of seconds above 0; got {value:g}"
        raise UsageError(msg)
