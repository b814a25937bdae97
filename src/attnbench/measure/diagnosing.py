"""Examining the disagreements of ``attnbench check`` in a worker of their own: kind, smallest case, command.

A crash or a hang during an examination leaves the row as it was.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench import discover
from attnbench.agree.check import CheckRow
from attnbench.measure.process import Setting, WorkerProcess
from attnbench.measure.protocol import OK, Reply

if TYPE_CHECKING:
    from attnbench.backend import Backend
    from attnbench.measure.checking import CheckOptions

MOST = 8  # disagreements examined for one implementation, the first of each feature
EACH_S = 6.0
ALL_S = 24.0
GRACE_S = 20.0  # a kernel may be slow; a hang is not waited for longer

Done = tuple[str, str | None, dict[str, Any]]


def diagnosis_operations(backend: Callable[[], Backend]) -> dict[str, Callable[..., Done]]:
    """The worker's side: one case checked, and one failing case examined."""

    def check_case(impl: str, files: list[str], case: str, device: str) -> Done:
        """One row for one case."""
        from attnbench.agree.case_text import case_from_text
        from attnbench.agree.cases import CheckCase
        from attnbench.agree.check import check_cases_given

        kernel = discover.load_implementation(impl, files)
        row = check_cases_given(backend(), kernel, [CheckCase("case", case_from_text(case))], device)
        return OK, None, row.to_dict()

    def examine(impl: str, files: list[str], case: str, device: str, seconds: float) -> Done:
        """Kind of fault and smallest case."""
        from attnbench.agree.case_text import case_from_text
        from attnbench.agree.examine import examine

        kernel = discover.load_implementation(impl, files)
        found = examine(backend(), kernel, case_from_text(case), device, seconds=seconds)
        return OK, None, found.to_dict()

    return {"check_case": check_case, "examine": examine}


class _Worker:
    """A worker that is started when first asked, and again after it was lost."""

    def __init__(self, impl: str, options: CheckOptions) -> None:
        self._backend, self._impl, self._options = impl.partition("/")[0], impl, options
        self._worker: WorkerProcess | None = None

    def ask(self, op: str, timeout_s: float, **arguments: object) -> Reply:
        if self._worker is None or not self._worker.alive:
            self.close()
            self._worker = WorkerProcess(self._backend, Setting())
            hello = self._worker.call("hello", self._options.timeout_s, backend=self._backend, threads=1)
            if not hello.ok:
                return hello
        common = {"impl": self._impl, "files": [str(f) for f in self._options.files], "device": self._options.device}
        return self._worker.call(op, timeout_s, **common, **arguments)

    def close(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def check_given(options: CheckOptions, cases: Sequence[str]) -> list[CheckRow]:
    """Every implementation on these cases, in their order and in one process: one row each."""
    rows = []
    for impl in options.impls:
        worker = _Worker(impl, options)
        try:
            for number, case in enumerate(cases, 1):
                reply = worker.ask("check_case", options.timeout_s, case=case)
                feature = "case" if len(cases) == 1 else f"case {number}"
                rows.append(_row(impl, feature, case, options.device, reply))
        finally:
            worker.close()
    return rows


def _row(impl: str, feature: str, case: str, device: str, reply: Reply) -> CheckRow:
    if reply.ok:
        return replace(CheckRow.from_dict(reply.value), feature=feature)
    from attnbench.agree.case_text import case_from_text

    dtype = case_from_text(case).problem.dtype
    fault = {"timeout": "timeout", "oom": "memory"}.get(reply.status, "crash")
    return CheckRow(impl, feature, dtype, device, "wrong", 0, fault=fault, reason=reply.reason, case=case)


def examined(rows: Sequence[CheckRow], options: CheckOptions) -> list[CheckRow]:
    """The rows, where they disagree with diagnosis, smallest case and command: the first of each feature."""
    found = list(rows)
    for impl in dict.fromkeys(row.impl for row in rows):
        worker, until = _Worker(impl, options), time.monotonic() + ALL_S
        try:
            for place in _chosen(rows, impl):
                left = until - time.monotonic()
                if left <= 1:
                    break
                found[place] = _examined(found[place], worker, min(EACH_S, left), options)
        finally:
            worker.close()
    return found


def _chosen(rows: Sequence[CheckRow], impl: str) -> list[int]:
    first: dict[str, int] = {}
    for place, row in enumerate(rows):
        if row.impl == impl and row.status == "wrong" and row.failing:
            first.setdefault(row.feature, place)
    return list(first.values())[:MOST]


def _examined(row: CheckRow, worker: _Worker, seconds: float, options: CheckOptions) -> CheckRow:
    timeout_s = min(seconds + GRACE_S, options.timeout_s)
    reply = worker.ask("examine", timeout_s, case=row.failing, seconds=seconds)
    if not reply.ok:
        return row
    return replace(row, **reply.value, again=command(row.impl, reply.value["smallest_case"], options))


def command(impl: str, cases: Sequence[str], options: CheckOptions) -> str:
    """The command line that checks an implementation on exactly these cases."""
    words = ["attnbench", "check", impl]
    for file in options.files:
        words += ["--impls", _short(str(file))]
    if options.device != "cpu":
        words += ["--device", options.device]
    for case in cases:
        words += ["--case", case]
    return shlex.join(words)


def _short(file: str) -> str:
    """Relative to here where it lies below."""
    path, here = Path(file), Path(os.getcwd())  # noqa: PTH109  (as the shell sees it)
    return str(path.relative_to(here)) if path.is_relative_to(here) else file
