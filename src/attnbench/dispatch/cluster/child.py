"""A program beside a Dask worker: with an environment of its own, and gone when the worker or its task is.

``python -P -m attnbench.dispatch.cluster.child PARENT COMMAND…`` stands between the two, as the keeper of ``workers``
stands between a run and its worker: whatever the command leaves behind is killed with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from attnbench.workers import keeper

OFTEN_S = 0.5
PATIENCE_S = 10.0
LAST_WORDS = 600


class UnwantedError(Exception):
    """Nobody wants the outcome any more; the program was ended."""


def run(
    command: Sequence[str], folder: Path, environment: dict[str, str], wanted: Callable[[], bool]
) -> tuple[int, str, str]:
    """Run a command in a folder; its exit status (below 0: the signal), what it printed, and its last words.

    Raises ``UnwantedError`` once ``wanted`` says no; then it is killed, with all that it started.
    """
    out, err = folder / "out.txt", folder / "err.txt"
    with out.open("w") as output, err.open("w") as errors:
        process = _started(command, folder, environment, output, errors)
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    status = process.wait(OFTEN_S)
                    break
                if not wanted():
                    raise UnwantedError
        finally:
            _end(process)
    words = " ".join(err.read_text("utf-8", "replace").split())
    return status, out.read_text("utf-8", "replace"), words[-LAST_WORDS:]


def _started(
    command: Sequence[str], folder: Path, environment: dict[str, str], output: TextIO, errors: TextIO
) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-P", "-m", __name__, str(os.getpid()), *command]
    return subprocess.Popen(
        words,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()  # the keeper kills all that is below it
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main(arguments: Sequence[str]) -> None:
    """Start the command, wait for it, and end as it did; never returns."""
    parent, command = int(arguments[0]), list(arguments[1:])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # a worker may have been started with some of them ignored
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    keeper.prctl(keeper.PR_SET_CHILD_SUBREAPER, 1)
    watcher = os.getpid()
    started = os.fork()
    if started == 0:
        _become(command, watcher)
    keeper.watch(started, parent)
    status = keeper.wait_for(started)
    keeper.sweep(started)
    keeper.end_as(status)


def _become(command: Sequence[str], watcher: int) -> None:
    try:
        os.setpgid(0, 0)
        keeper.prctl(keeper.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == watcher:
            os.execv(command[0], list(command))  # noqa: S606  (no shell is wanted)
    finally:
        os._exit(keeper.CANNOT_START)


if __name__ == "__main__":
    main(sys.argv[1:])
