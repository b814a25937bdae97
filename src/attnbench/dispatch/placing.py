"""Merged runs get their places: all of them or none, each instead of what an earlier merge of its plan left there."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path

from attnbench.errors import ResultsError
from attnbench.results.journal import fail_writing, read_journal
from attnbench.results.read import JOURNAL


def put_in_place(runs: Sequence[Path], out: Path, plan: Path) -> list[Path]:
    """Move runs, which lie in a folder of ``out`` that will be removed, into ``out``; says where they are now.

    What an earlier merge of the plan left there goes. Raises ``ResultsError`` where something would be lost with it, or
    where a folder cannot be moved; then all is as it was.
    """
    places = [out / run.name for run in runs]
    for run, place in zip(runs, places, strict=True):
        if place.exists():
            _check_nothing_lost(run, place, plan)
    moved: list[tuple[Path, Path]] = []
    try:
        for run, place in zip(runs, places, strict=True):
            if place.exists():
                _move(place, Path(tempfile.mkdtemp(prefix="earlier-", dir=run.parent)) / place.name, moved)
            _move(run, place, moved)
    except BaseException as error:
        for begin, end in reversed(moved):
            if end.exists():
                end.rename(begin)
        if isinstance(error, OSError):
            fail_writing(out, error)
        raise
    return places


def _move(begin: Path, end: Path, moved: list[tuple[Path, Path]]) -> None:
    moved.append((begin, end))  # first, so that an interrupt right after the move finds it here
    begin.rename(end)


def _check_nothing_lost(run: Path, place: Path, plan: Path) -> None:
    lost = sorted(_measured(place) - _measured(run))
    if not lost:
        return
    cells = "1 cell" if len(lost) == 1 else f"{len(lost)} cells"
    msg = (
        f"{place} is of an earlier merge and has {cells} measured that {plan} has no result of any more, such as "
        f"{lost[0]}; it stays as it is. Make the runs in another folder: "
        f"attnbench dispatch merge {shlex.quote(str(plan))} --out {shlex.quote(f'{place.parent}-again')}"
    )
    raise ResultsError(msg)


def _measured(run: Path) -> set[str]:
    """The cells of a run that somebody measured, whatever became of them."""
    status: dict[str, str] = {}
    for record in read_journal(run / JOURNAL):
        if record.type == "cell":
            status[str(record.data.get("cell_id"))] = str(record.data.get("status"))
    return {cell for cell, became in status.items() if became != "not-run"}
