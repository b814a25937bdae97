"""Files that a command writes: their folder is there already, they are no input, and both is said before it begins."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attnbench.errors import UsageError
from attnbench.interface.places import check_folder
from attnbench.results.store import check_output
from tests.program import Cli
from tests.results import synthetic

COMMANDS = {
    "check --junit": ["check", "--quick", "--impls", "DROPIN", "--junit"],
    "check --case --junit": ["check", "--case", "forward", "--impls", "DROPIN", "--junit"],
    "ab --junit": ["ab", "numpy/naive", "numpy/blocked", "--impls", "DROPIN", "--junit"],
    "ab --markdown": ["ab", "numpy/naive", "numpy/blocked", "--impls", "DROPIN", "--markdown"],
    "export -o": ["export", "RUN", "--to", "csv", "-o"],
}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest, tmp_path: Path, dropin: Callable[[str], str]) -> list[str | Path]:
    """A command that ends with an option for a file."""
    run = synthetic.write_run(tmp_path / "results", lengths=(128,), impls=("numpy/naive",))
    places = {"DROPIN": dropin(""), "RUN": str(run)}
    return [places.get(word, word) for word in COMMANDS[request.param]]


@pytest.fixture
def _nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        pytest.fail("something ran")

    # These first: whoever imports ``load`` for the first time below would keep the one that fails.
    for name in ("report.exports.export.judge_run", "exchange.writers.export.read_saved"):
        monkeypatch.setattr(f"attnbench.{name}", run)
    for name in ("checking.features.check", "live.sides.resolve", "results.dataset.load"):
        monkeypatch.setattr(f"attnbench.{name}", run)


@pytest.mark.usefixtures("_nothing_runs")
def test_a_folder_that_is_not_there_is_an_error_with_what_to_type(cli: Cli, command: list[str], tmp_path: Path) -> None:
    missing = tmp_path / "no such" / "deep"
    done = cli(*command, missing / "x.out")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"attnbench: {command[-1]} {missing / 'x.out'}: there is no folder {missing}; make it first (mkdir -p "
        f"'{missing}')\n"
    )
    assert not missing.parent.exists()


@pytest.mark.usefixtures("_nothing_runs")
def test_a_folder_or_a_file_as_folder_is_named(cli: Cli, command: list[str], tmp_path: Path) -> None:
    assert "is a folder" in cli(*command, tmp_path).err
    (tmp_path / "file").write_text("x")
    done = cli(*command, tmp_path / "file" / "x.out")
    assert (done.code, (tmp_path / "file").read_text()) == (2, "x")
    assert "is a file and no folder" in done.err


@pytest.mark.usefixtures("_nothing_runs")
def test_an_input_is_not_written_over(cli: Cli, command: list[str], tmp_path: Path) -> None:
    read = Path(command[1]) / "cells.parquet" if command[0] == "export" else Path(command[command.index("--impls") + 1])
    before = read.read_bytes()
    for spelled in (read, Path(os.path.relpath(read)), tmp_path / "results" / ".." / read.relative_to(tmp_path)):
        done = cli(*command, spelled)
        assert done.code == 2
        assert "is what is read, and would be lost; name another file" in done.err
    assert read.read_bytes() == before


def test_two_outputs_in_one_file_are_refused(cli: Cli, tmp_path: Path) -> None:
    done = cli("ab", "numpy/naive", "numpy/blocked", "--junit", tmp_path / "x", "--markdown", tmp_path / "x")
    assert done.code == 2
    assert "--junit and --markdown both name" in done.err
    assert not (tmp_path / "x").exists()


def test_a_folder_that_this_user_may_not_look_into_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root, who may look everywhere, the system's answer is put in its place."""
    secret, stat = tmp_path / "secret", os.stat
    secret.mkdir()

    def refusing(path: Any, *given: Any, **named: Any) -> os.stat_result:
        if str(path).startswith(f"{secret}/"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, *given, **named)

    def may_not_write(*_given: Any, **_named: Any) -> str:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "stat", refusing)
    monkeypatch.setattr(tempfile, "mkdtemp", may_not_write)
    with pytest.raises(UsageError, match=r"--out .*results cannot be written \(Permission denied\); name another"):
        check_folder("--out", secret / "results")
    with pytest.raises(UsageError, match=r"--junit .*ab.xml cannot be written \(Permission denied\); name another"):
        check_output("--junit", secret / "ab.xml")
