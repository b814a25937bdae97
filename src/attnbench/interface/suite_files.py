"""The suites in the files that ``--suites`` names, and the suites of a command that has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.errors import UsageError

if TYPE_CHECKING:
    from attnbench.suite import Suite


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
