"""A worker and all that it has started, as the system sees them from outside: processor time, and memory.

A kernel can change whatever its own process says. It cannot change what /proc and the system's clocks say of it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

PROC = Path("/proc")
# The place of the processor in /proc/PID/stat, counted behind the name.
LAST_RAN_ON = 36
# The clock of another process (CPUCLOCK_SCHED of its id), as clock_getcpuclockid gives it on Linux.
SCHEDULED = 2
# The system call that compares two processes, by machine (kcmp(2)), and what it is asked to compare: their memory.
KCMP, KCMP_VM = {"x86_64": 312, "aarch64": 272}, 1


def processes(pid: int) -> Iterator[int]:
    """The process and its descendants that are alive."""
    yield pid
    for task in _tasks(pid):
        with suppress(OSError, ValueError):
            for child in (task / "children").read_text().split():
                yield from processes(int(child))


def _tasks(pid: int) -> list[Path]:
    with suppress(OSError):
        return list((PROC / str(pid) / "task").iterdir())
    return []


def cpu_times(pid: int) -> dict[int, float] | None:
    """Seconds of processor time of a process and of each below it, with those of their children that have ended.

    ``None`` where nobody tells.
    """
    if pid <= 0 or not hasattr(time, "clock_gettime"):
        return None
    seconds = {}
    for process in processes(pid):
        with suppress(OSError):
            seconds[process] = time.clock_gettime((~process << 3) | SCHEDULED) + _ended_s(process)
    return seconds or None


def used_s(before: dict[int, float] | None, after: dict[int, float] | None) -> float | None:
    """Processor time between two looks; a process that has ended meanwhile does not make it smaller."""
    if before is None or after is None:
        return None
    return sum(max(0.0, seconds - before.get(pid, 0.0)) for pid, seconds in after.items())


def working_s(pid: int, seconds: float) -> float | None:
    """Processor time that a process and all below it use for so long from now on."""
    before = cpu_times(pid)
    time.sleep(seconds)
    return used_s(before, cpu_times(pid))


def cpu_s(pid: int) -> float | None:
    """The sum of ``cpu_times``."""
    times = cpu_times(pid)
    return None if times is None else sum(times.values())


def waited_s(pid: int) -> float | None:
    """Seconds that the threads of a process were ready and had no processor; ``None`` where nobody tells."""
    total = None
    for task in _tasks(pid):
        with suppress(OSError, ValueError, IndexError):
            total = (total or 0.0) + int((task / "schedstat").read_text().split()[1]) / 1e9
    return total


def ran_s(pid: int) -> dict[str, float]:
    """Seconds that each thread of a process has computed so far, by its id; empty where nobody tells."""
    ran = {}
    for task in _tasks(pid):
        with suppress(OSError, ValueError, IndexError):
            ran[task.name] = int((task / "schedstat").read_text().split()[0]) / 1e9
    return ran


def busiest_on(pid: int, before: dict[str, float]) -> int | None:
    """The processor on which the thread last ran that has computed most since ``before``; ``None`` if nobody tells."""
    grown = {thread: seconds - before.get(thread, 0.0) for thread, seconds in ran_s(pid).items()}
    with suppress(OSError, ValueError, IndexError):
        stat = (PROC / str(pid) / "task" / max(grown, key=grown.__getitem__) / "stat") if grown else None
        return None if stat is None else int(stat.read_text().rpartition(") ")[2].split()[LAST_RAN_ON])
    return None


def _ended_s(pid: int) -> float:
    """Processor time of the children of a process that have ended and were waited for, in the system's ticks."""
    with suppress(OSError, ValueError, IndexError):
        # The name of a program may hold blanks and brackets; these two are the 14th and 15th behind it.
        user, system = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[13:15]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
    return 0.0


def below_bytes(pid: int) -> int:
    """Memory of the descendants of a process, each page counted once for those who share it (PSS); bytes.

    Until a child that was just started has loaded its program, it stands in the very memory of its parent, all of it:
    it is left out.
    """
    total, looked_at = 0, [pid]
    for process in processes(pid):
        if not any(same_memory(process, other) for other in looked_at):
            with suppress(OSError, ValueError):
                total += _field(PROC / str(process) / "smaps_rollup", "Pss")
            looked_at.append(process)
    return total


def same_memory(pid: int, other: int) -> bool:
    """Whether two processes stand in one and the same memory (not in copies of it); false where it is not told."""
    if pid == other:
        return True
    number = KCMP.get(platform.machine()) if sys.platform == "linux" else None
    if number is None:
        return False
    words = map(ctypes.c_long, (number, pid, other, KCMP_VM, 0, 0))
    return bool(_libc().syscall(*words) == 0)


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def level(pid: int, field: str) -> int | None:
    """A field of the status of a process in bytes, such as ``VmRSS`` or ``VmHWM``; ``None`` where it is not told."""
    try:
        return _field(PROC / str(pid) / "status", field)
    except (OSError, ValueError):
        return None


def reset_mark(pid: int) -> bool:
    """Forget the high-water mark of a process; false where the system does not."""
    try:
        (PROC / str(pid) / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _field(path: Path, field: str) -> int:
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == field:
            return int(rest.split()[0]) * 1024
    msg = f"{path} does not tell {field}"
    raise ValueError(msg)
