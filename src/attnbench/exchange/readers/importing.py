"""``attnbench import``: what another tool wrote becomes a run folder. One importer for each tool, found by content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
    *,
    machine: str | None = None,
    commit: str | None = None,
    warn: Callable[[str], None] | None = None,
) -> Path:
    """Import a file or a folder into a new run folder below ``out``. Raises ``ResultsError``; then nothing was written.

    ``machine`` names the machine, in the words of who imports; ``commit`` chooses one of github-action-benchmark's;
    ``warn`` is given what has to be known of the file besides its rows.
    """
    foreign = understood(file, commit)
    if machine is not None:
        foreign = on_machine(foreign, machine)
    folder = write_run(foreign, file, out)
    if warn is not None:
        for warning in foreign.warnings:
            warn(warning)
    return folder


def understood(file: Path, commit: str | None = None) -> Foreign:
    """What another tool wrote, read. Raises ``ResultsError`` where nobody did, or where its reader says why not."""
    data = opened(file)
    importer = next((importer for importer in IMPORTERS.values() if importer.recognises(data)), None)
    if importer is None:
        raise ResultsError(_of_nobody(data, file))
    if commit is None:
        return importer.read(data, file)
    if importer.tool != from_github_action.TOOL:
        msg = f"--commit chooses among the commits of {from_github_action.TOOL}'s data.js; {file} is of {importer.tool}"
        raise UsageError(msg)
    return from_github_action.read(data, file, commit)


def _of_nobody(data: Any, file: Path) -> str:
    reads = f"it reads what {', '.join(IMPORTERS)} write"
    if isinstance(data, BrokenJson):
        return f"{file} is not JSON, or a damaged file; nothing was imported ({reads})"
    kind = {Path: "a folder", JsonLines: "lines of JSON", str: "text", bytes: "no text"}
    what = next((name for type_, name in kind.items() if isinstance(data, type_)), "JSON")
    return f"{file} is {what}, but of no tool that import knows; {reads}"
