"""One run at a time on a machine: two that measure at once would measure each other."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from attnbench.errors import UsageError

VARIABLE = "ATTNBENCH_LOCK"
EVERYBODY = 0o666
OFTEN_S = 0.2


def default_path() -> Path:
    """The lock of this machine, or what the variable ATTNBENCH_LOCK names."""
    return Path(os.environ.get(VARIABLE) or Path(tempfile.gettempdir()) / "attnbench.lock")


@contextmanager
def only_run(path: Path | None = None, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of this machine, after waiting at most ``wait_s`` seconds; ``UsageError`` if another run has it.

    The system frees it when its holder ends, however that comes about.
    """
    lock = FileLock(path or default_path(), timeout=wait_s, mode=EVERYBODY)
    try:
        lock.acquire(poll_interval=OFTEN_S)
    except Timeout as error:
        raise UsageError(_held(Path(lock.lock_file), wait_s)) from error
    except OSError as error:
        msg = f"the lock {lock.lock_file} cannot be written ({error.strerror}); name another file with {VARIABLE}"
        raise UsageError(msg) from error
    try:
        _sign(Path(lock.lock_file))
        yield
    finally:
        _holder(Path(lock.lock_file)).unlink(missing_ok=True)
        lock.release()


def _held(path: Path, wait_s: float) -> str:
    waited = f"; {wait_s:g} s were waited for it" if wait_s else ""
    return (
        f"another run of attnbench is measuring on this machine{_who(path)} (it holds {path}){waited}; two at once "
        "would disturb each other. Wait for it to end and type the same again, or let this one wait: --wait 10m"
    )


def _holder(path: Path) -> Path:
    """Who holds the lock, for people: the lock itself is cut to nothing by everybody who asks for it."""
    return path.with_name(f"{path.name}.holder")


def _sign(path: Path) -> None:
    holder = {"pid": os.getpid(), "since": datetime.now(UTC).strftime("%H:%M:%S UTC")}
    with suppress(OSError):
        _holder(path).write_text(json.dumps(holder), encoding="utf-8")


def _who(path: Path) -> str:
    with suppress(OSError, ValueError, KeyError, TypeError):
        holder = json.loads(_holder(path).read_text(encoding="utf-8"))
        if psutil.pid_exists(int(holder["pid"])):
            return f", process {int(holder['pid'])} since {holder['since']}"
    return ""
