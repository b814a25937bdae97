"""The command line that shows a disagreement again: the one place that builds it, for every kind of row.

A row that has a case is shown by that case; a rule, a question, a refusal or a lost worker by its feature and dtype.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.agree.cases.by_feature import REPEATABLE, ROWS
from attnbench.agree.cases.plan import DEEP, QUICK
from attnbench.attention.precision import DTYPES
from attnbench.checking.lost import LOST

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow
    from attnbench.checking.features import CheckOptions, ThisProcess


def command(impl: str, cases: Sequence[str], options: CheckOptions) -> str:
    """The command line that checks an implementation on exactly these cases; of a function the call from Python."""
    if options.here is not None:
        return f"{options.here.called}({options.here.typed}, case={(cases[0] if len(cases) == 1 else list(cases))!r})"
    words = _about(impl, options)
    for case in cases:
        words += ["--case", case]
    return shlex.join(words)


def command_of_row(row: CheckRow, options: CheckOptions) -> str:
    """The command line that checks the feature and the dtype of a row as they were checked."""
    if options.here is not None:
        return _called(row, options.here, options.depth)
    words = _about(row.impl, options)
    words += ["--features", row.feature] if row.feature in ROWS else []
    words += ["--dtype", row.dtype] if row.dtype in DTYPES else []
    words += [f"--{options.depth}"] if options.depth in (QUICK, DEEP) else []
    words += ["--require", row.feature.replace("_", "-")] if row.feature in REPEATABLE else []
    return shlex.join(words)


def _called(row: CheckRow, process: ThisProcess, depth: str) -> str:
    """The call from Python that checks the feature and the dtype of a row of a function."""
    words = [process.typed]
    words += [f"features={row.feature!r}"] if row.feature in ROWS else []
    words += [f"dtype={row.dtype!r}"] if row.dtype in DTYPES else []
    words += [f"{depth}=True"] if depth in (QUICK, DEEP) else []
    words += [f"require={row.feature.replace('_', '-')!r}"] if row.feature in REPEATABLE else []
    return f"{process.called}({', '.join(words)})"


def with_commands(rows: Sequence[CheckRow], options: CheckOptions) -> list[CheckRow]:
    """The rows; each wrong one gets the command that shows it again, unless it has a command already."""
    return [_with_command(row, options) if row.status == "wrong" and not row.again else row for row in rows]


def _with_command(row: CheckRow, options: CheckOptions) -> CheckRow:
    if not row.failing:
        return replace(row, again=command_of_row(row, options))
    cases = row.sequence if row.sequence and row.fault in LOST else [row.failing]
    return replace(row, again=command(row.impl, cases, options))


def _about(impl: str, options: CheckOptions) -> list[str]:
    """The words that every such command begins with: implementation, files, device, and time limit."""
    words = ["attnbench", "check", impl]
    for file in options.files:
        words += ["--impls", _short(str(file))]
    words += ["--device", options.device] if options.device != "cpu" else []
    words += ["--timeout", f"{options.timeout_s:g}"] if options.timeout_s != type(options).timeout_s else []
    return words


def _short(file: str) -> str:
    """The path from the current folder for a file below it, else as it is."""
    path, folder = Path(file), Path(os.getcwd())  # noqa: PTH109  (as the shell sees it)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else file
