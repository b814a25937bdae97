"""Writing records: into the file beside the code, where that is a checkout of git, so that it is kept with the code."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from attnbench.errors import UsageError
from attnbench.results.store import write_whole
from attnbench.tried.record import GpuRecord, record_file, records_in, text

PATIENCE_S = 10.0
Change = Callable[[GpuRecord], GpuRecord]


def check_keepable(impls: Iterable[str]) -> None:
    """Raise ``UsageError`` where a record of one of these could not be kept: before anything is begun that takes long.

    A record that is there and cannot be read is an error too: nothing is written over it.
    """
    places = {impl: record_file(impl) for impl in impls}
    for file in dict.fromkeys(places.values()):
        names = ", ".join(impl for impl, place in places.items() if place == file)
        if file is None:
            msg = f"--record: no backend announces {names}; a record stands beside the code of a backend"
            raise UsageError(msg)
        if why := _why_not(file.parent):
            msg = (
                f"--record: the record of {names} stands beside the code, in {file.parent}, and {why}. Install a clone "
                "in place, and record there: pip install -e ."
            )
            raise UsageError(msg)
        records_in(file)


def keep(changes: Mapping[str, Change]) -> list[Path]:
    """Change the records of these implementations; the files that were written, none where nothing is new."""
    written = []
    by_file: dict[Path, dict[str, Change]] = {}
    for impl, change in changes.items():
        if (file := record_file(impl)) is not None:
            by_file.setdefault(file, {})[impl] = change
    for file, some in by_file.items():
        before = records_in(file)
        records = before | {impl: change(before.get(impl, GpuRecord())) for impl, change in some.items()}
        records = {name: record for name, record in records.items() if record != GpuRecord()}
        if records != before:
            write_whole(file, text(records))
            written.append(file)
    return written


def _why_not(folder: Path) -> str | None:
    """Why a folder is no place for a record."""
    if not os.access(folder, os.W_OK):
        return "nobody may write there"
    git = shutil.which("git")
    if git is None:
        return "git, which would keep it, is not installed"
    words = [git, "-C", str(folder), "ls-files", "--error-unmatch", "--", "__init__.py"]
    try:
        done = subprocess.run(words, capture_output=True, timeout=PATIENCE_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return f"git cannot be asked about it: {error}"
    if done.returncode == 0:
        return None
    said = done.stderr.decode(errors="replace").strip().splitlines()[:1]
    return f"git does not keep it ({''.join(said)})"
