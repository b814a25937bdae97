"""An exception that nobody foresaw: a line, a file with its traceback, an exit status of its own."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from attnbench.errors import EXIT_UNFORESEEN
from tests.program import Cli, Done


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("attnbench.results.read.run_folder", fail)


def traceback_file(done: Done) -> Path:
    return Path(done.err.strip().rpartition("its traceback is in ")[2])


def test_a_fault_of_ours_is_a_line_a_file_and_a_status_that_no_gate_has(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fail_with(monkeypatch, ZeroDivisionError("division\nby zero"))
    done = cli("compare", "a b", "c")
    assert (done.code, done.out) == (EXIT_UNFORESEEN, "")
    assert EXIT_UNFORESEEN not in range(6)
    assert done.err.count("\n") == 1
    assert "ZeroDivisionError (comparison.py, line" in done.err
    assert "division by zero" in done.err
    text = traceback_file(done).read_text()
    assert text.startswith("command: attnbench compare 'a b' c\n")
    for line in ("Traceback (most recent call last)", "raise error", "numpy 2", "platform: ", f"folder: {tmp_path}"):
        assert line in text
    assert traceback_file(cli("compare", "a b", "c")) != traceback_file(done), "each has a file of its own"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError("Unable to allocate 26.8 GiB"), "attnbench: the memory did not suffice (comparison.py, line "),
        (MemoryError(), "attnbench: the memory did not suffice (comparison.py, line "),
        (RecursionError("maximum recursion depth exceeded"), "attnbench: RecursionError (comparison.py, line "),
        (OSError(errno.EIO, "Input/output error"), "attnbench: OSError (comparison.py, line "),
        (UnicodeEncodeError("ascii", "ü", 0, 1, "no \ud800"), "attnbench: UnicodeEncodeError (comparison.py, line "),
    ],
)
def test_any_exception_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str) -> None:
    fail_with(monkeypatch, error)
    done = cli("compare", "a", "b")
    assert done.code == EXIT_UNFORESEEN
    assert done.err.startswith(line)
    assert done.err.count("\n") == 1


def test_json_is_one_document_that_names_the_file(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, KeyError("x"))
    done = cli("compare", "a", "b", "--json")
    assert done.document == {
        "error": done.document["error"],
        "exit_code": EXIT_UNFORESEEN,
        "traceback": str(traceback_file(done)),
    }
    assert done.document["error"].startswith("KeyError (comparison.py")


def test_without_a_folder_for_it_the_traceback_is_on_standard_error(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fail_with(monkeypatch, KeyError("x"))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ATTNBENCH_DATA", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert traceback_file(cli("compare", "a", "b")).parent == tmp_path, "the folder for temporary files comes next"
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent" / "file" / "\0"))
    done = cli("compare", "a", "b", "--json")
    assert "Traceback (most recent call last)" in done.err
    assert done.err.splitlines()[-1].endswith("its traceback stands above")
    assert (done.document["traceback"], done.document["exit_code"]) == (None, EXIT_UNFORESEEN)


def test_debugging_shows_the_traceback_too(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, KeyError("x"))
    monkeypatch.setenv("ATTNBENCH_DEBUG", "1")
    done = cli("compare", "a", "b")
    assert "Traceback (most recent call last)" in done.err
    assert traceback_file(done).exists()


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (SystemExit(4), 4)])
def test_what_is_no_fault_stays_as_it_is(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    fail_with(monkeypatch, error)
    done = cli("compare", "a", "b")
    assert (done.code, "traceback" in done.err) == (code, False)
