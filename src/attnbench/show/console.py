"""Output: one JSON document on standard output with ``--json``, else text; notes for people go to standard error."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TextIO

from attnbench.show import finite
from attnbench.show.table import Column, Screen, draw, fitting, too_narrow

_quiet = False


def set_quiet(quiet: bool) -> None:  # noqa: FBT001  (the flag itself)
    """Say nothing but results and errors."""
    global _quiet  # noqa: PLW0603  (one process, one command)
    _quiet = quiet


def is_quiet() -> bool:
    """Whether nothing but results and errors is to be said."""
    return _quiet


def say(text: str) -> None:
    """A note for people, on standard error; nothing with ``--quiet``."""
    if not _quiet:
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def complain(text: str) -> None:
    """An error, on standard error with the program's name; ``--quiet`` does not hide it."""
    print(f"attnbench: {text}", file=sys.stderr)  # noqa: T201


def show(text: str) -> None:
    """A result, on standard output."""
    print(text, flush=True)  # noqa: T201


def document(data: Any) -> None:
    """The one JSON document of a command, on standard output."""
    print(json.dumps(finite.replaced(data, finite.as_inf), indent=2, sort_keys=False, allow_nan=False), flush=True)  # noqa: T201


def wants_colour(stream: TextIO) -> bool:
    """Whether to colour what goes to ``stream``: a terminal, and neither NO_COLOR nor a dumb one."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def screen(width: int | None = None) -> Screen:
    """What standard output is to a table: a terminal, or ``width`` columns without end of a row (``None``: any)."""
    if not sys.stdout.isatty():
        return Screen(width)
    return Screen(shutil.get_terminal_size().columns, wraps=True, colour=wants_colour(sys.stdout))


def table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "", ranks: Mapping[str, int] | None = None
) -> str:
    """A table of texts for standard output: it fits a terminal; elsewhere a row is a line, however long.

    Heads in ``ranks`` are left out where a terminal is too narrow, the highest rank first, and a line says which.
    """
    place = screen()
    place = place if place.width is None else replace(place, width=max(place.width - len(indent), 1))
    columns = [Column(head, rank=(ranks or {}).get(head, 0)) for head in heads]
    kept = fitting(columns, rows, place)
    text = draw([columns[i] for i in kept], [[row[i] for i in kept] for row in rows], place)
    left_out = too_narrow([head for i, head in enumerate(heads) if i not in kept], place)
    return textwrap.indent("\n".join([text, *left_out]), indent)
