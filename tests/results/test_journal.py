"""A journal survives a killed writer and a full disk, and refuses anything else that is wrong with it."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from attnbench.errors import ResultsError
from attnbench.results.journal import Journal, JournalRecord, read_journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "journal.jsonl"
    with Journal(file, new=True) as journal:
        for number in range(3):
            journal.append("event", {"number": number})
    return file


def test_records_come_back_in_order(path: Path) -> None:
    assert list(read_journal(path)) == [JournalRecord("event", {"number": number}) for number in range(3)]


def test_every_record_is_synced_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    file = tmp_path / "journal.jsonl"
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(file.read_bytes()))
    with Journal(file, new=True) as journal:
        journal.append("event", 1)
        journal.append("event", 2)
    assert [text.count(b"\n") for text in synced] == [1, 2]


def test_every_torn_last_line_is_left_out_and_cut_off_on_resuming(path: Path) -> None:
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for length in range(last, len(whole)):
        path.write_bytes(whole[:length])
        assert len(list(read_journal(path))) == 2
    with Journal(path, new=False) as journal:
        journal.append("event", {"number": "after"})
    assert [record.data["number"] for record in read_journal(path)] == [0, 1, "after"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2 is not JSON"),
        ("\x00\x00", "line 2 is not JSON"),
        ("[1]", "line 2 is no run, cell, samples, event record"),
        ('{"type":"other","data":1}', "line 2 is no run"),
        ('{"type":"event"}', "line 2 is no run"),
    ],
)
def test_a_damaged_middle_is_refused(path: Path, line: str, message: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([lines[0], line, lines[2]]) + "\n", encoding="utf-8")
    with pytest.raises(ResultsError, match=message):
        list(read_journal(path))


def test_a_missing_journal_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=r"journal.jsonl cannot be read \(No such file or directory\)"):
        list(read_journal(tmp_path / "journal.jsonl"))


def test_a_journal_is_never_overwritten(path: Path) -> None:
    with pytest.raises(ResultsError, match="exists already; a journal is never overwritten"):
        Journal(path, new=True)


def test_nothing_is_written_after_closing(path: Path) -> None:
    journal = Journal(path, new=False)
    journal.close()
    journal.close()
    with pytest.raises(ResultsError, match="is closed"):
        journal.append("event", 1)


def test_a_full_disk_is_said_plainly_and_leaves_whole_records(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    before = path.read_bytes()

    def half_then_full(descriptor: int, data: Any) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[: len(data) // 2])

    with Journal(path, new=False) as journal:
        monkeypatch.setattr(os, "write", half_then_full)
        with pytest.raises(ResultsError, match=r"the disk is full: .* free space, then use --resume"):
            journal.append("event", {"long": "x" * 200})
    assert path.read_bytes() == before


def test_other_failures_keep_their_cause(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with Journal(path, new=False) as journal:
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(ResultsError, match="failed: Input/output error"):
            journal.append("event", 1)


def test_numbers_that_json_does_not_have_become_words(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    with Journal(file, new=True) as journal:
        journal.append("event", {"a": float("nan"), "b": [float("inf"), -float("inf"), 1.5]})
    assert next(read_journal(file)).data == {"a": "NaN", "b": ["Infinity", "-Infinity", 1.5]}


def test_one_writer_at_a_time_and_a_live_journal_is_left_alone(path: Path) -> None:
    with Journal(path, new=False) as journal:
        with path.open("ab") as file:
            file.write(b'{"half')  # as a burst that is being written
        with pytest.raises(ResultsError, match="being written by another process"):
            Journal(path, new=False)
        assert path.read_bytes().endswith(b'{"half')
        del journal
    Journal(path, new=False).close()
    assert not path.read_bytes().endswith(b'{"half')


def test_an_interrupt_in_the_middle_of_a_line_leaves_whole_records(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, before = os.write, path.read_bytes()

    def half_then_interrupt(descriptor: int, data: Any) -> int:
        real(descriptor, data[: len(data) // 2])
        raise KeyboardInterrupt

    with Journal(path, new=False) as journal:
        monkeypatch.setattr(os, "write", half_then_interrupt)
        with pytest.raises(KeyboardInterrupt):
            journal.append("event", {"long": "x" * 200})
        assert path.read_bytes() == before
        monkeypatch.setattr(os, "write", real)
        journal.append("event", {"number": "after"})
    assert [record.data["number"] for record in read_journal(path)] == [0, 1, 2, "after"]
