"""What was typed, as values: those of ``interface.given``, which Python takes too, and those of commands alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.errors import UsageError
from attnbench.interface import given
from attnbench.interface.given import check_positive, percentage, seconds, split
from attnbench.show.console import say

if TYPE_CHECKING:
    from attnbench.measure.run.plan import Plan

__all__ = [
    "check_positive",
    "check_threads",
    "drop_ins",
    "percentage",
    "say_left_out",
    "seconds",
    "smallest_change",
    "split",
]


def drop_ins(*files: Sequence[Path] | None) -> list[Path]:
    """The files that ``--impls`` and ``--suites`` name, themselves or by their folder: no output goes over them."""
    return [file for typed in files for given in typed or () for file in (given, *given.glob("*.py"))]


def smallest_change(text: str) -> float:
    """A margin of a live comparison, as a fraction above 0 and below 1."""
    margin = percentage(text)
    if not 0 < margin < 1:
        msg = f"--margin is above 0 and below 100 %; got {text}"
        raise UsageError(msg)
    return margin


def check_threads(counts: Sequence[int], typed: str = "--threads") -> None:
    """Raise ``UsageError`` for less than one thread, and warn, once, of more than there are processors for."""
    given.check_threads(counts, say, typed)


def say_left_out(plan: Plan) -> None:
    """Say before anything is measured what a plan leaves out and what cannot be measured here, with the reasons."""
    from attnbench.interface.serving import left_out

    for line in left_out(plan):
        say(line)
