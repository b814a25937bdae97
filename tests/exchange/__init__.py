"""Tests of attnbench.exchange."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from attnbench.exchange.readers.importing import import_file
from attnbench.results.read import read_cells
from attnbench.results.schema import CellResult

Read = tuple[dict[str, CellResult], list[str]]


def without_pytest() -> dict[str, str]:
    """The environment of a pytest of its own: in that of a worker of pytest-xdist, pytest-benchmark is off."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}


def imported(data: Any, folder: Path, name: str = "theirs.json") -> Read:
    """The rows by their name, and the warnings."""
    file, warnings = folder / name, list[str]()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(data if isinstance(data, str) else json.dumps(data))
    run = import_file(file, folder / "results", warnings.append)
    return {row.variant: row for row in read_cells(run)}, warnings
