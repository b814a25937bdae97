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
    from attnbench.suite import Suite

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def split(values: Sequence[str] | None) -> list[str]:
    """Options that may be given several times, or once with commas."""
    return [part for value in values or [] for part in value.split(",") if part]


def drop_ins(*files: Sequence[Path] | None) -> list[Path]:
    """The files that ``--impls`` and ``--suites`` name, themselves or by their folder: no output goes over them."""
    return [file for typed in files for given in typed or () for file in (given, *given.glob("*.py"))]


def use_suites(files: Sequence[Path] | None) -> tuple[str, ...]:
    """Know the suites in the files that ``--suites`` names beside the installed ones; their names."""
    from attnbench import groups
    from attnbench.backends import discover

    return discover.use_suites(files or (), reserved=groups.GROUPS)


def suites_named(
    names: Sequence[str], files: Sequence[Path] | None, *, timed: bool = False, resumed: bool = False
) -> list[str]:
    """The suites of a command: those that are named, else all in the files that ``--suites`` names.

    ``timed``: only timed ones where none is named; a run that is ``resumed`` has suites by itself. Raises
    ``UsageError`` for a file of which no suite is asked for.
    """
    from attnbench import groups
    from attnbench.suite.files import known

    in_files = use_suites(files)
    if not in_files or resumed:
        return list(names)
    if not names:
        chosen = [name for name in in_files if known()[name].timed or not timed]
        if not chosen:
            msg = f"--suites: {', '.join(in_files)} is observed, and only timed suites can be compared by their times"
            raise UsageError(msg)
        return chosen
    wanted = {suite.name for suite in groups.suites_of(names)}
    used = [known()[name] for name in in_files if name in wanted]
    idle = [given for given in files or () if not any(_stands_in(suite, given) for suite in used)]
    if idle:
        there = ", ".join(name for name in in_files if _stands_in(known()[name], idle[0]))
        msg = f"--suites {idle[0]}: no suite of it is asked for; it has {there}: name one, or leave --suites out"
        raise UsageError(msg)
    return list(names)


def _stands_in(suite: Suite, given: Path) -> bool:
    path = given.resolve()
    return suite.file is not None and path in (Path(suite.file.path), Path(suite.file.path).parent)


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
