"""Folders that are written when all is done, tried before it begins: nothing is measured to be lost."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from attnbench.errors import UsageError


def reports_folder(run: Path, name: str) -> Path:
    """Where the page of a run goes if nobody says where: ``reports/NAME`` beside the folder of runs as it is written.

    A folder that is a link is not followed, so that pages stand where the person who typed the path looks for them.
    """
    return run.absolute().parent.parent / "reports" / name


def check_folder(option: str, folder: Path) -> None:
    """Raise ``UsageError`` where nothing could be written into a folder, which may have to be made first."""
    # os.path says no of what this user may not look at, where pathlib raises.
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.exists(path))  # noqa: PTH110
    if not os.path.isdir(there):  # noqa: PTH112
        msg = f"{option} {folder}: {there} is a file; name a folder"
        raise UsageError(msg)
    try:
        with tempfile.TemporaryDirectory(prefix=".attnbench-", dir=there):
            pass
    except OSError as error:
        msg = f"{option} {folder} cannot be written ({error.strerror}); name another folder"
        raise UsageError(msg) from error


def check_runs_folder(option: str, folder: Path) -> None:
    """The same for a folder of runs, which holds nobody else's files either."""
    from attnbench.results.store import refuse_foreign

    check_folder(option, folder)
    refuse_foreign(folder)
