"""How much memory a worker may take, and who holds it to that: an rlimit always, a control group where one can be made.

``RLIMIT_DATA`` turns an allocation without end into a ``MemoryError`` of the one process, but it counts each forked
child for itself and no shared memory. A control group (version 2) counts all of them together, tells how often the
system had to kill, and is emptied at one stroke.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

MOUNTS = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
PREFIX = "attnbench"
# A kernel that forks without end is stopped at this many processes and threads.
MOST_PROCESSES = 4096
PATIENCE_S = 2.0
_numbers = itertools.count()


@dataclass(frozen=True)
class Groups:
    """Where control groups for workers can be made: ``base``; or ``None`` and why not."""

    base: Path | None
    reason: str = ""

    def describe(self) -> str:
        """What the journal says of it."""
        return str(self.base) if self.base is not None else f"none: {self.reason}"

    def make(self, limit: int) -> Group | None:
        """A group of its own for a worker that may hold ``limit`` bytes (0: any); ``None`` where none can be made."""
        if self.base is None:
            return None
        path = self.base / f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        try:
            path.mkdir()
            (path / "memory.max").write_text(str(limit) if limit else "max")
            with suppress(OSError):
                (path / "memory.swap.max").write_text("0")
            with suppress(OSError):
                (path / "pids.max").write_text(str(MOST_PROCESSES))
        except OSError:
            with suppress(OSError):
                path.rmdir()
            return None
        return Group(path)


@dataclass(frozen=True)
class Group:
    """The control group of one worker."""

    path: Path

    def kills(self) -> int:
        """How often the system killed in it because its memory was spent."""
        with suppress(OSError):
            return _counter((self.path / "memory.events").read_text(), "oom_kill")
        return 0

    def end(self) -> None:
        """Kill whatever is in it and remove it."""
        with suppress(OSError):
            (self.path / "cgroup.kill").write_text("1")
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.01)
            else:
                return


def find_groups(root: Path = Path("/")) -> Groups:
    """Where a group can be made: beside this process's own one, or below it; ``root`` is where /proc and /sys are."""
    group = _own_group(root)
    if group is None:
        return Groups(None, "this system has no control groups of version 2")
    reason = "no memory controller is delegated to this user"
    for base in (group, group.parent):
        if not base.joinpath("cgroup.controllers").exists():
            continue
        _clear(base)
        try:
            if _usable(base):
                return Groups(base)
        except OSError as error:
            reason = f"{base} cannot be written ({error.strerror})"
    return Groups(None, reason)


def _own_group(root: Path) -> Path | None:
    """The folder of this process's group of version 2."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                for mount in MOUNTS:
                    if (folder := root / mount / line[3:].lstrip("/")).joinpath("cgroup.controllers").exists():
                        return folder
    return None


def _usable(base: Path) -> bool:
    """Whether a group made below has a limit of memory that can be set; the controller is passed on where it is not."""
    if "memory" not in base.joinpath("cgroup.subtree_control").read_text().split():
        if "memory" not in base.joinpath("cgroup.controllers").read_text().split():
            return False
        base.joinpath("cgroup.subtree_control").write_text("+memory +pids")
    trial = base / f"{PREFIX}-{os.getpid()}-trial"
    trial.mkdir()
    try:
        # Whether a process may be moved there is seen by moving one that ends at once.
        return trial.joinpath("memory.max").exists() and _enters(trial)
    finally:
        trial.rmdir()


def _enters(group: Path) -> bool:
    shell = shutil.which("sh")
    command = [shell or "sh", "-c", 'echo 0 > "$1"', "sh", str(group / "cgroup.procs")]
    with suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False).returncode == 0
    return False


def _clear(base: Path) -> None:
    """Remove what runs that were killed have left; the system refuses where somebody is in it."""
    for folder in base.glob(f"{PREFIX}-*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            with suppress(OSError):
                folder.rmdir()


def system_kills(vmstat: Path = Path("/proc/vmstat")) -> int | None:
    """How often this system has killed since its start because memory ran out; ``None`` where it does not tell."""
    try:
        return _counter(vmstat.read_text(), "oom_kill")
    except (OSError, KeyError):
        return None


def _counter(text: str, name: str) -> int:
    for line in text.splitlines():
        word, _, number = line.partition(" ")
        if word == name:
            return int(number)
    raise KeyError(name)


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that are free: the machine's, or those of the container's limit where they are fewer."""
    free = int(psutil.virtual_memory().available)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):
            cgroup = root / "sys/fs/cgroup"
            free = min(free, int((cgroup / limit).read_text()) - int((cgroup / used).read_text()))
    return max(0, free)
