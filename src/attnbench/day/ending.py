"""Ending a step of a day, and all that it has started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from pathlib import Path

GRACE_S = 5.0  # between being asked to end and being ended
LOST_S = 5.0  # what does not end so long after it was killed is stuck in the driver of a device
PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


def end_all(process: subprocess.Popen[bytes]) -> bool:
    """End a step and all that it has started: asked first, killed after a while; False where even that did nothing."""
    everybody = {process.pid, *descendants(process.pid)}
    if process.poll() is None:
        for number, patience_s in ((signal.SIGINT, GRACE_S), (signal.SIGTERM, 1.0)):
            signal_all({process.pid}, number)
            try:
                process.wait(patience_s)
                break
            except subprocess.TimeoutExpired:
                everybody |= descendants(process.pid)
    signal_all({pid for pid in everybody if pid != process.pid}, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(LOST_S)
    return process.returncode is not None


def adopt_orphans() -> bool:
    """From now on, what a step leaves running is a child of this process: one that has left its group is found too."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):  # no Linux
        return False


def end_orphans(linger_s: float) -> int:
    """End what a step has left running, after a moment in which it may end by itself; how many were killed."""
    until = time.monotonic() + linger_s
    while (left := _living()) and time.monotonic() < until:
        time.sleep(0.05)
    signal_all(left, signal.SIGKILL)
    until = time.monotonic() + LOST_S
    while _living() and time.monotonic() < until:
        time.sleep(0.05)
    return len(left)


def _living() -> set[int]:
    """The processes below this one, without those that have ended, which are taken note of."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return descendants(os.getpid())


def signal_all(pids: set[int], number: int) -> None:
    """Those that are still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def descendants(pid: int) -> set[int]:
    """The processes that one has started, and those that these have, by /proc: workers have groups of their own."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    below: set[int] = set()
    waiting = [pid]
    while waiting:
        new = [child for child in children.get(waiting.pop(), []) if child not in below]
        below |= set(new)
        waiting += new
    return below
