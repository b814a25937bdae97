"""Temporary folders that nobody forgets: each is locked by its owner, and those of the dead are swept by the next one.

The system frees a lock however its holder ends, so a folder whose lock can be had belongs to nobody any more.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

LOCK, ABOUT = "owner.lock", "made-for"
# A folder younger than this is left alone: it may lack its lock only because it is still being made.
YOUNG_S = 10.0


class Scratch:
    """A folder below ``parent`` (that for temporary files), held until ``remove``; ``about``: what it was made for."""

    def __init__(self, prefix: str, about: Path, parent: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        self._lock = FileLock(self.path / LOCK)
        self._lock.acquire(timeout=0)
        (self.path / ABOUT).write_text(str(about), encoding="utf-8")

    def remove(self) -> None:
        """Remove it with all that is in it."""
        self._lock.release()
        shutil.rmtree(self.path, ignore_errors=True)


def sweep(prefix: str, parent: Path | None = None) -> list[Path]:
    """Remove the folders of that name whose owner is dead; what each of them was made for, where it still is."""
    made_for = []
    for folder in _abandoned(prefix, parent or Path(tempfile.gettempdir())):
        with suppress(OSError, UnicodeDecodeError):
            made_for.append(Path((folder / ABOUT).read_text(encoding="utf-8")))
        shutil.rmtree(folder, ignore_errors=True)
    return [path for path in dict.fromkeys(made_for) if path.is_dir()]


def _abandoned(prefix: str, parent: Path) -> Iterator[Path]:
    for folder in sorted(parent.glob(f"{prefix}*")):
        try:
            state = folder.lstat()
        except OSError:
            continue
        ours = not hasattr(os, "geteuid") or state.st_uid == os.geteuid()
        if not ours or not folder.is_dir() or folder.is_symlink() or time.time() - state.st_mtime < YOUNG_S:
            continue
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):
            continue
        lock.release()
        yield folder
