"""One run at a time on a machine: two that measure at once would measure each other."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from attnbench.errors import UsageError

VARIABLE = "ATTNBENCH_LOCK"
EVERYBODY = 0o666


def default_path() -> Path:
    """The lock of this machine, or what the variable ATTNBENCH_LOCK names."""
    return Path(os.environ.get(VARIABLE) or Path(tempfile.gettempdir()) / "attnbench.lock")


@contextmanager
def only_run(path: Path | None = None) -> Iterator[None]:
    """Hold the lock of this machine; raise ``UsageError`` if another run has it. The system frees it after a kill."""
    lock = FileLock(path or default_path(), timeout=0, mode=EVERYBODY)
    try:
        with lock:
            yield
    except Timeout as error:
        msg = (
            f"another run of attnbench is measuring on this machine (it holds {lock.lock_file}); two at once would "
            "disturb each other. Wait for it to end, then type the same again"
        )
        raise UsageError(msg) from error
    except OSError as error:
        if error.filename != lock.lock_file:
            raise
        msg = f"the lock {lock.lock_file} cannot be written ({error.strerror}); name another file with {VARIABLE}"
        raise UsageError(msg) from error
