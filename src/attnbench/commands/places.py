"""Folders that a command writes when it is done, tried before it begins: nothing is measured to be lost."""

from __future__ import annotations

import tempfile
from pathlib import Path

from attnbench.errors import UsageError


def check_folder(option: str, folder: Path) -> None:
    """Raise ``UsageError`` where nothing could be written into a folder, which may have to be made first."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
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
