"""What every worker can be asked, whatever it is for: its framework, names in files, the numbers of an observed suite.

Whatever an operation raises is a status and a reason: ``classify``.
"""

from __future__ import annotations

import os
import re
import reprlib
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.ablate.probe import LocalProbe
from attnbench.backends import discover
from attnbench.errors import AttnbenchError, DeclarationError, UndeliveredError, UnsupportedError
from attnbench.suite import Cell, ObservedSuite, Suite
from attnbench.suite.files import SuiteFile, load_from
from attnbench.workers.placement import everywhere
from attnbench.workers.protocol import (
    CRASHED,
    OK,
    OOM,
    REASON_LENGTH,
    UNSUPPORTED,
    WRONG,
    Described,
    Done,
    Hello,
    Observed,
)

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend

OUT_OF_MEMORY = re.compile(
    r"RESOURCE_EXHAUSTED|out of memory|can.?t allocate memory|unable to allocate|bad_alloc", re.IGNORECASE
)


class General:
    """The framework of a process, which its first request names. Every public operation answers a request."""

    def __init__(self) -> None:
        self._backend: Backend | None = None

    def operations(self) -> dict[str, Callable[..., Done]]:
        """The operations by their names in the protocol."""
        return {operation.__name__: operation for operation in (self.hello, self.describe, self.observe)}

    def hello(self, backend: str, threads: int) -> Done:
        """Import the framework, set its threads, and verify that they are what was asked."""
        start = time.perf_counter()
        adapter = discover.backend(backend).load()
        import_s = time.perf_counter() - start
        adapter.set_threads(threads)
        self._backend = adapter
        pools, devices = adapter.threads(), adapter.devices()
        unlike = {name: count for name, count in pools.items() if count != threads}
        if unlike:
            differing = ", ".join(f"{name} uses {count}" for name, count in unlike.items())
            why = discover.backend(backend).one_thread
            reason = f": {why}" if why else ""
            return UNSUPPORTED, f"{backend} was to use {threads} threads, but {differing}{reason}", {}
        names = {device: name for device in devices if (name := adapter.device_name(device))}
        hello = Hello(import_s, adapter.versions(), list(devices), pools, list(everywhere()), os.getpid(), names)
        return OK, None, asdict(hello)

    def describe(self, files: list[str]) -> Done:
        """The names in drop-in files, or what is wrong with a declaration in them; imports them."""
        try:
            names = [implementation.name for path in files for implementation in discover.load_file(path)]
        except DeclarationError as error:
            return OK, None, asdict(Described([], str(error)))
        return OK, None, asdict(Described(names))

    def observe(self, cell: dict[str, Any]) -> Done:
        """Compute the numbers of an observed suite at one point."""
        planned = Cell.from_dict(cell)
        suite = _suite_of(planned)
        if not isinstance(suite, ObservedSuite):
            msg = f"suite {planned.suite!r} is timed, not observed"
            raise AttnbenchError(msg)
        implementation = discover.load_implementation(planned.impl, planned.files)
        point = {axis: tuple(level) if isinstance(level, list) else level for axis, level in planned.point.items()}
        try:
            numbers = suite.observe(LocalProbe(self.backend, implementation, planned.device), **point)
        except Exception as error:
            if place := suite.place(error):
                error.add_note(place.strip())
            raise
        return OK, None, asdict(Observed(_numbers(planned.suite, numbers)))

    @property
    def backend(self) -> Backend:
        """The adapter of this process."""
        if self._backend is None:
            msg = "the worker has no backend yet; its first operation is hello"
            raise AttnbenchError(msg)
        return self._backend


def _suite_of(planned: Cell) -> Suite:
    """The suite of a cell, from its file where it has one; ``UsageError`` where that is another file by now."""
    if planned.suite_file is None:
        return discover.suite(planned.suite)
    path, sha256 = planned.suite_file
    return load_from(SuiteFile(Path(path).name, path, sha256), planned.suite)


def _numbers(suite: str, returned: Any) -> dict[str, float]:
    """What ``observe()`` returned, as numbers by name. Raises ``AttnbenchError``, which says what else it was."""
    if not isinstance(returned, Mapping) or not returned:
        what = "nothing" if returned is None or isinstance(returned, Mapping) else f"{type(returned).__name__} objects"
        msg = f"suite {suite!r} observed {what}: observe() returns numbers by name, such as {{'accuracy': 0.5}}"
        raise AttnbenchError(msg)
    numbers = {}
    for name, number in returned.items():
        try:
            numbers[str(name)] = float(number)
        except (TypeError, ValueError):
            msg = f"suite {suite!r}: observe() returns numbers by name; {name!r} is {reprlib.repr(number)}"
            raise AttnbenchError(msg) from None
    return numbers


def classify(error: BaseException) -> tuple[str, str]:
    """The status and the reason of a cell whose operation raised; a kernel's own refusal is ``unsupported``."""
    message = " ".join(" ".join([str(error), *getattr(error, "__notes__", ())]).split())
    reason = f"{type(error).__name__}: {message}"[:REASON_LENGTH]
    if isinstance(error, UndeliveredError):
        return WRONG, message[:REASON_LENGTH]
    if isinstance(error, UnsupportedError):
        return UNSUPPORTED, message[:REASON_LENGTH] or reason
    is_memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return (OOM if is_memory or OUT_OF_MEMORY.search(message) else CRASHED), reason
