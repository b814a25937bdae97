"""The commit that a run is filed under, where a format files results by commit."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from attnbench.errors import UsageError
from attnbench.results.schema import RunInfo

GIT_PATIENCE_S = 10.0
FORM = "%H%n%ct%n%an%n%s"  # hash, time, author, subject


@dataclass(frozen=True)
class Commit:
    """A commit, its time in milliseconds since 1970, and what the repository says of it."""

    id: str
    date_ms: int
    author: str = "unknown"
    message: str = ""

    @property
    def moment(self) -> str:
        """Its time for people and machines."""
        return datetime.fromtimestamp(self.date_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def commit_of(info: RunInfo, given: str | None, who: str = "asv") -> Commit:
    """The commit that ``who`` files the run by, in full and with its own time where the repository here knows it."""
    name = given or (info.fingerprint.git or "").rstrip("+")
    if not re.fullmatch(r"[0-9a-f]{7,40}", name):
        what = f"--commit {name!r} is no commit" if given else "this run was not measured in a git checkout"
        msg = f"{who} files results by commit, and {what}; name it by 7 to 40 hexadecimal digits: --commit HASH"
        raise UsageError(msg)
    started_ms = int(datetime.fromisoformat(info.started).timestamp() * 1000)
    answer = _git("show", "-s", f"--format={FORM}", f"{name}^{{commit}}").split("\n")
    if len(answer) != len(FORM.split("%n")):
        return Commit(name, started_ms)
    return Commit(answer[0], int(answer[1]) * 1000, answer[2], answer[3])


def _git(*arguments: str) -> str:
    program = shutil.which("git")
    if program is None:
        return ""
    with suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=GIT_PATIENCE_S, check=True)
        return done.stdout.strip("\n")
    return ""
