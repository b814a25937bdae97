"""An unforeseen exception: a line for people, a file with the traceback for whoever mends it, a status of its own.

The file goes to the folder for logs of the user (on Linux ``~/.local/state/attnbench/log``; ``$ATTNBENCH_DATA/log``
where that is set), else to the system's for temporary files; where neither can be written it goes to standard error.
"""

from __future__ import annotations

import os
import platform
import secrets
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from attnbench.errors import EXIT_UNFORESEEN
from attnbench.show.console import document

DEBUG, DATA = "ATTNBENCH_DEBUG", "ATTNBENCH_DATA"
PACKAGES = ("attnbench", "numpy", "scipy", "pandas", "pyarrow", "pydantic", "typer", "torch", "jax", "jaxlib", "keras")
LONGEST = 300


def failed(error: Exception, arguments: Sequence[str]) -> int:
    """Tell of ``error`` in one line, keep its traceback, and return the exit status."""
    what = in_one_line(error)
    text = report(error, arguments)
    file = keep(text)
    kept = "its traceback stands above" if file is None else f"its traceback is in {file}"
    if file is None or os.environ.get(DEBUG):
        print(text, file=sys.stderr)  # noqa: T201
    why = "" if isinstance(error, MemoryError) else ", which attnbench did not foresee"
    print(f"attnbench: {what}{why}; {kept}", file=sys.stderr)  # noqa: T201
    if "--json" in arguments:
        document({"error": what, "exit_code": EXIT_UNFORESEEN, "traceback": None if file is None else str(file)})
    return EXIT_UNFORESEEN


def in_one_line(error: Exception) -> str:
    """What happened, and where in our code."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "attnbench" in Path(frame.filename).parts]
    last = (ours or frames)[-1:]
    place = "".join(f" ({Path(frame.filename).name}, line {frame.lineno})" for frame in last)
    words = " ".join(str(error).split())[:LONGEST].encode(errors="backslashreplace").decode()
    if isinstance(error, MemoryError):
        return f"the memory did not suffice{place}" + (f": {words}" if words else "")
    return f"{type(error).__name__}{place}" + (f": {words}" if words else "")


def report(error: Exception, arguments: Sequence[str]) -> str:
    """The text of the file: what was typed, what is installed, where it happened; no variable of the environment."""
    lines = [
        f"command: {shlex.join(['attnbench', *arguments])}",
        f"folder: {_folder()}",
        f"time: {datetime.now(UTC).isoformat(timespec='seconds')}",
        f"python: {platform.python_version()} ({sys.executable})",
        f"platform: {platform.platform()}",
        f"packages: {', '.join(_installed())}",
        "",
        *(line.rstrip("\n") for line in traceback.format_exception(error)),
    ]
    return "\n".join(lines)


def _folder() -> str:
    with suppress(OSError):
        return str(Path.cwd())
    return "gone"


def _installed() -> Iterator[str]:
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"


def keep(text: str) -> Path | None:
    """Write a file that was not there; ``None`` where no folder takes it."""
    name = f"attnbench-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}.txt"
    for folder in _folders():
        with suppress(OSError, ValueError):
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("x", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text + "\n")
            return folder / name
    return None


def _folders() -> Iterator[Path]:
    from platformdirs import user_log_path

    with suppress(OSError, RuntimeError):  # a user without a home
        yield Path(os.environ[DATA]) / "log" if os.environ.get(DATA) else user_log_path("attnbench", appauthor=False)
    with suppress(OSError):  # no folder for temporary files can be written
        yield Path(tempfile.gettempdir())
