"""The keeper: a small process between a run and its worker, so that nothing a kernel started outlives the worker.

``python -I -S keeper.py --parent PID --requests FD --replies FD [--group PATH] -- COMMAND…`` starts the command and
waits for it. What the worker leaves behind (forked children, daemons in sessions of their own) comes to the keeper as
its adopted children and is killed. It ends as the worker ended, by the same signal or exit status, so that whoever
started it sees the worker's death. It dies with its parent, and the worker and all below it die with it.

It imports nothing of attnbench: it is to start in milliseconds and before there are threads.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PARENT_DIED = signal.SIGUSR1
CANNOT_START = 127
# Where memory runs out the system ends the process with the highest score: the worker, and not the run or somebody
# else's program.
FIRST_TO_GO = "1000"


def main(arguments: list[str]) -> None:
    """Start the command and never return."""
    options, command = split(arguments)
    parent = int(options["--parent"])
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    keeper = os.getpid()
    worker = os.fork()
    if worker == 0:
        start(command, keeper, options.get("--group"))
    watch(worker, parent)
    replies = int(options["--replies"])
    with suppress(OSError):
        os.write(replies, json.dumps({"number": 0, "status": "ok", "pid": worker}).encode() + b"\n")
    # A copy of a pipe that stays open here would hide from the run that the worker has closed its own.
    os.closerange(0, 3)
    for name in ("--requests", "--replies"):
        os.close(int(options[name]))
    status = wait_for(worker)
    sweep(worker)
    end_as(status)


def split(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options as name and value, and the command behind ``--``."""
    where = arguments.index("--")
    given = arguments[:where]
    return dict(zip(given[::2], given[1::2], strict=True)), arguments[where + 1 :]


def prctl(option: int, value: int) -> None:
    """Linux's prctl; elsewhere nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def start(command: list[str], keeper: int, group: str | None) -> None:
    """In the child: a process group and limits of its own, then the command."""
    try:
        os.setpgid(0, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(CANNOT_START)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
        if group is not None:
            Path(group, "cgroup.procs").write_text("0")
        os.execv(command[0], command)  # noqa: S606  (no shell is wanted)
    except OSError as error:
        os.write(2, f"the worker could not be started: {error}\n".encode())
    finally:
        os._exit(CANNOT_START)


def watch(worker: int, parent: int) -> None:
    """End with everything below when told to, or when the parent is gone."""

    def end(number: int, _: FrameType | None) -> None:
        # The signal comes too when only the thread that started this process ends.
        if number == PARENT_DIED and os.getppid() == parent:
            return
        sweep(worker)
        end_by(signal.SIGKILL if number == PARENT_DIED else number)

    handle: Callable[[int, FrameType | None], None] = end
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, PARENT_DIED):
        signal.signal(number, handle)
    prctl(PR_SET_PDEATHSIG, PARENT_DIED)
    if os.getppid() != parent:
        end(PARENT_DIED, None)


def wait_for(worker: int) -> int:
    """The wait status of the worker; adopted orphans that end meanwhile are let go."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == worker:
            return status


def sweep(worker: int) -> None:
    """Kill the worker's group, then, generation by generation, whatever comes to this process as an orphan."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(worker, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)
    while True:
        for pid in children():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def children() -> list[int]:
    """The children of this process, as /proc tells."""
    pids, keeper = [], os.getpid()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            # The name of a program may hold blanks and brackets; the parent is the second field behind it.
            stat = (folder / "stat").read_text(errors="replace")
            if int(stat.rpartition(")")[2].split()[1]) == keeper:
                pids.append(int(folder.name))
    return pids


def end_as(status: int) -> None:
    """End by the signal or with the exit status of a wait status."""
    if os.WIFSIGNALED(status):
        end_by(os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


def end_by(number: int) -> None:
    """End by a signal."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


if __name__ == "__main__":
    main(sys.argv[1:])
