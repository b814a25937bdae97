"""The command line as a person uses it: in a folder of its own, with exit status, standard output and error."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from attnbench.commands.app import main


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


Cli = Callable[..., Done]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run ``attnbench`` with arguments in an empty folder, with a lock of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATTNBENCH_LOCK", str(tmp_path / "lock"))
    monkeypatch.setenv("ATTNBENCH_DATA", str(tmp_path / ".data"))

    def run(*arguments: str | Path) -> Done:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run
