"""A cluster of Dask as people start it: a scheduler and workers, each a process of its own, on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.processes import gone

DASK = Path(sys.executable).with_name("dask")
PATIENCE_S = 60.0
WORKER = ("--nthreads", "1", "--no-dashboard", "--memory-limit", "0", "--host", "127.0.0.1")


def free_port() -> int:
    """A port that nobody uses at the moment."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Cluster:
    """A scheduler at ``address``, and workers by name; all of them end with the context."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.port = folder, free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.environment = os.environ | environment | {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.folder.mkdir(parents=True, exist_ok=True)

    def start_scheduler(self, *words: str) -> None:
        options = ("--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", *words)
        self.scheduler = self._start("scheduler", "scheduler", *options)
        self.until(self._answers)

    def _answers(self) -> bool:
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", self.port)) == 0

    def start_worker(
        self, name: str, *words: str, resources: str = "node=1", nanny: bool = False, **environment: str
    ) -> None:
        """A worker, without a nanny unless one is wanted: what kills it kills it."""
        given = (*WORKER, "--nanny" if nanny else "--no-nanny", "--name", name, *words)
        given += ("--resources", resources) if resources else ()
        self.workers[name] = self._start("worker", f"worker-{name}", self.address, *given, **environment)

    def _start(self, command: str, log: str, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{log}.log").open("ab") as out:
            return subprocess.Popen(
                [DASK, command, *words],
                cwd=self.folder,
                env=self.environment | environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()

    @staticmethod
    def until(holds: object, within_s: float = PATIENCE_S) -> None:
        """Wait until something holds; a test that waits in vain fails."""
        assert callable(holds)
        deadline = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline, "it was waited for in vain"
            time.sleep(0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in (*self.workers.values(), self.scheduler):
            if process is not None and process.poll() is None:
                self.kill(process)


@contextmanager
def front(folder: Path, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """``attnbench dispatch run`` as a process of its own, which hears SIGINT."""
    process = subprocess.Popen(
        [sys.executable, "-m", "attnbench", "dispatch", "run", *words],
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def all_gone(pids: list[int]) -> bool:
    """Whether all of these processes end."""
    return all(gone(pid) for pid in pids)
