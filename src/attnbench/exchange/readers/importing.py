"""``attnbench import``: what another tool wrote becomes a run folder. One importer for each tool, found by content."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attnbench.errors import ResultsError, UsageError
from attnbench.exchange.readers import asv as from_asv
from attnbench.exchange.readers import github_action as from_github_action
from attnbench.exchange.readers import google_benchmark as from_google_benchmark
from attnbench.exchange.readers import memray as from_memray
from attnbench.exchange.readers import pyperf as from_pyperf
from attnbench.exchange.readers import pytest_benchmark as from_pytest_benchmark
from attnbench.exchange.readers.foreign import Foreign, write_run
from attnbench.exchange.readers.machine import on_machine
from attnbench.exchange.readers.opening import PACKED, BrokenJson, JsonLines, opened
from attnbench.exchange.readers.programs import criterion as from_criterion
from attnbench.exchange.readers.programs import go_test as from_go_test
from attnbench.exchange.readers.programs import hyperfine as from_hyperfine
from attnbench.exchange.readers.programs import nvbench as from_nvbench
from attnbench.results.read import RUN


@dataclass(frozen=True)
class Importer:
    """One tool: whether it wrote what was opened (``opening``), and how that is read (with the file, for messages)."""

    tool: str
    recognises: Callable[[Any], bool]
    read: Callable[[Any, Path], Foreign]


FORMATS = (
    from_pytest_benchmark,
    from_pyperf,
    from_asv,
    from_google_benchmark,
    from_hyperfine,
    from_criterion,
    from_nvbench,
    from_go_test,
    from_github_action,
    from_memray,
)
IMPORTERS: Mapping[str, Importer] = {
    reader.TOOL: Importer(reader.TOOL, reader.recognises, reader.read) for reader in FORMATS
}


def import_file(
    file: Path,
    out: Path,
    warn: Callable[[str], object] = lambda _: None,
    *,
    machine: str | None = None,
    commit: str | None = None,
) -> Path:
    """Import a file or a folder into a new run folder below ``out``. Raises ``ResultsError``; then nothing was written.

    ``warn`` gets what is odd in the file and was left out, or was taken for what. ``machine`` names the machine, in the
    words of who imports; ``commit`` chooses one of github-action-benchmark's.
    """
    warnings: list[str] = []
    foreign = _understood(file, opened(file, warnings), commit)
    if machine is not None:
        foreign = on_machine(foreign, machine)
    return write_run(replace(foreign, warnings=(*warnings, *foreign.warnings)), file, out, warn)


def _understood(file: Path, opened_as: Any, commit: str | None) -> Foreign:
    """What another tool wrote, read. Raises ``ResultsError`` where nobody did, or where its reader says why not."""
    # A text may begin like JSON, or have a line that does, and be a tool's all the same.
    data = opened_as.text if isinstance(opened_as, BrokenJson) else opened_as
    tool = _tool_of(data)
    if tool is None:
        raise ResultsError(_of_nobody(opened_as, file))
    importer = IMPORTERS[tool]
    if commit is None:
        return importer.read(data, file)
    if importer.tool != from_github_action.TOOL:
        msg = f"--commit chooses among the commits of {from_github_action.TOOL}'s data.js; {file} is of {importer.tool}"
        raise UsageError(msg)
    return from_github_action.read(data, file, commit)


def _tool_of(data: Any) -> str | None:
    """The tool that wrote this, if one did."""
    return next((tool for tool, importer in IMPORTERS.items() if importer.recognises(data)), None)


# What tools print or write beside the file that can be read, and how they write that.
BESIDE = (
    (r"^Benchmark\s+Time\s+CPU\b", "google-benchmark", "--benchmark_out=FILE"),
    (r"^name,iterations,real_time,cpu_time", "google-benchmark", "--benchmark_out=FILE --benchmark_out_format=json"),
    (r"^\| Command \| Mean \[", "hyperfine", "--export-json FILE"),
    (r"^\s*Time \(mean ± σ\):", "hyperfine", "--export-json FILE"),
    (r"^-+ benchmark.*: \d+ tests -+$", "pytest-benchmark", "--benchmark-json FILE"),
    (r"^name,min,max,mean,stddev", "pytest-benchmark", "--benchmark-json FILE"),
    (r"^\S.*: Mean \+- std dev: ", "pyperf", "-o FILE"),
)


def _hint(file: Path, data: Any) -> str | None:
    """What a file is that nobody reads, where that can be told, and what to do instead."""
    hint: str | None = None
    if isinstance(data, Path) and (data / RUN).is_file():
        hint = f"is a run of attnbench already; look at it: attnbench report {shlex.quote(str(file))}"
    elif isinstance(data, Path):
        hint = "is a folder, but of no tool that import knows (it reads those of criterion and memray); name one file"
    elif isinstance(data, bytes):
        kind = next((what for mark, what in PACKED.items() if data.startswith(mark)), None)
        hint = kind and f"is {kind}; unpack it and import what is in it (of packed files only .gz is read)"
    elif isinstance(data, str):
        known = ((tool, how) for pattern, tool, how in BESIDE if re.search(pattern, data, re.MULTILINE))
        hint = next(
            (f"is of {tool}, but not what import reads, which it writes with {how}" for tool, how in known), None
        )
    elif isinstance(data, Mapping) and file.name in ("benchmarks.json", "machine.json") and "version" in data:
        hint = "describes results of asv, and holds none; name a file beside it, or in a folder below it"
    return hint and f"{file} {hint}; nothing was imported"


def _of_nobody(data: Any, file: Path) -> str:
    reads = f"it reads what {', '.join(IMPORTERS)} write"
    if hint := _hint(file, data):
        return hint
    if isinstance(data, BrokenJson):
        return f"{file} is not JSON, or a damaged file: {data.reason}; {reads}"
    if isinstance(data, JsonLines) and (tool := _tool_of(data.documents[0])):
        what = f"{len(data.documents)} documents of {tool}, and a run has one; give each a file of its own"
        return f"{file} goes on after its first JSON document ends: it holds {what}"
    kind = {Path: "a folder", JsonLines: "lines of JSON", str: "text", bytes: "no text"}
    what = next((name for type_, name in kind.items() if isinstance(data, type_)), "JSON")
    return f"{file} is {what}, but of no tool that import knows; {reads}"
