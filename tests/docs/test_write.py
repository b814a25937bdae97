"""One command writes generated pages: what takes seconds, or what is named."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from tests.docs import write
from tests.repository import DOCS


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the pages that were written, in order; nothing is touched."""
    names: list[str] = []

    def noting(name: str) -> Callable[[], None]:
        return lambda: names.append(name)

    pages = {name: write.Page(noting(name), page.file, page.takes, page.depends) for name, page in write.PAGES.items()}
    monkeypatch.setattr(write, "PAGES", pages)
    return names


def test_without_a_name_it_writes_what_takes_seconds_and_says_what_else_there_is(
    written: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert write.main([]) == 0
    assert written == ["architecture", "shapes", "columns", "commands", "schema", "gpu", "mutants-list"]
    rest = capsys.readouterr().out.partition("by name only:\n")[2]
    assert [line.split()[0] for line in rest.splitlines()] == [name for name in write.PAGES if name not in written]


def test_what_is_named_is_written_however_long_it_takes(written: list[str]) -> None:
    assert write.main(["cheats", "shapes"]) == 0
    assert written == ["cheats", "shapes"]


def test_the_list_writes_nothing(written: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert write.main(["--list"]) == 0
    assert not written
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(write.PAGES)
    assert all(f" docs/{page.file}: {page.takes}; from " in "\n".join(lines) for page in write.PAGES.values())


def test_a_name_that_is_none_is_refused_before_anything_is_written(
    written: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        write.main(["shapes", "shaps"])
    assert ended.value.code == 2
    assert not written
    assert "page 'shaps' is not one of architecture, shapes" in capsys.readouterr().err


def test_every_page_named_is_there() -> None:
    assert all((DOCS / page.file.partition(",")[0]).is_file() for page in write.PAGES.values())


def test_a_command_that_fails_leaves_no_page() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        write.attnbench("semantics", "tourch")
