"""``attnbench import``: what another tool wrote becomes a run folder. One importer for each tool, found by content."""

from __future__ import annotations

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
from attnbench.exchange.readers.opening import BrokenJson, JsonLines, opened
from attnbench.exchange.readers.programs import criterion as from_criterion
from attnbench.exchange.readers.programs import go_test as from_go_test
from attnbench.exchange.readers.programs import hyperfine as from_hyperfine
from attnbench.exchange.readers.programs import nvbench as from_nvbench


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


def _of_nobody(data: Any, file: Path) -> str:
    reads = f"it reads what {', '.join(IMPORTERS)} write"
    if isinstance(data, BrokenJson):
        return f"{file} is not JSON, or a damaged file: {data.reason}; {reads}"
    if isinstance(data, JsonLines) and (tool := _tool_of(data.documents[0])):
        what = f"{len(data.documents)} documents of {tool}, and a run has one; give each a file of its own"
        return f"{file} goes on after its first JSON document ends: it holds {what}"
    kind = {Path: "a folder", JsonLines: "lines of JSON", str: "text", bytes: "no text"}
    what = next((name for type_, name in kind.items() if isinstance(data, type_)), "JSON")
    return f"{file} is {what}, but of no tool that import knows; {reads}"
