"""The suites in the files that ``--suites`` names, and the suites of a command that has them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.errors import UsageError

if TYPE_CHECKING:
    from attnbench.results.schema import RunInfo
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
    from attnbench.suite.files import known, names_in

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
    idle = [given for given in files or () if wanted.isdisjoint(names_in(given))]
    if idle:
        there = ", ".join(names_in(idle[0]))
        msg = f"--suites {idle[0]}: no suite of it is asked for; it has {there}: name one, or leave --suites out"
        raise UsageError(msg)
    return list(names)


def suites_for(runs: Sequence[RunInfo], names: Sequence[str]) -> dict[str, Suite]:
    """The suites of these names by which runs are to be shown. Raises ``UsageError`` where no run measured any."""
    from attnbench.suite.files import known

    if names and not any(name in info.suites for info in runs for name in names):
        msg = f"--suites: none of these runs measured {', '.join(names)}; leave --suites out, or name its run"
        raise UsageError(msg)
    return {name: known()[name] for name in names}
