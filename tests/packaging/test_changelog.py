"""Fragments of the changelog: well named, plain, narrow; and towncrier makes a page of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.repository import REPOSITORY

FOLDER = REPOSITORY / "changelog.d"
SETTINGS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["towncrier"]
TYPES = [row["directory"] for row in SETTINGS["type"]]
NAME = re.compile(rf"\+[a-z0-9][a-z0-9-]*\.({'|'.join(TYPES)})\.md")
WIDTH = 118  # towncrier puts a bullet before the first line and indents the others


def problems(folder: Path) -> list[str]:
    """What is wrong with the fragments of a folder."""
    lines = []
    for file in sorted(folder.iterdir()):
        if file.name == "README.md":
            continue
        if NAME.fullmatch(file.name) is None:
            lines.append(f"{file.name}: its name is +WORDS.TYPE.md, TYPE one of {', '.join(TYPES)}")
            continue
        text = file.read_text("utf-8")
        if not text.strip() or not text.endswith("\n") or text != text.lstrip():
            lines.append(f"{file.name}: it has a sentence, begins with it and ends with a line break")
        for number, line in enumerate(text.splitlines(), 1):
            if len(line) > WIDTH:
                lines.append(f"{file.name}, line {number}: {len(line)} signs, at most {WIDTH}")
            if re.match(r"#|[-*] |\d+\. ", line):
                lines.append(f"{file.name}, line {number}: no heading, no bullet")
    return lines


def towncrier(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "towncrier", "build", "--name", "attnbench", "--dir", str(folder), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def copied(folder: Path) -> Path:
    for name in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(REPOSITORY / name, folder)
    shutil.copytree(FOLDER, folder / "changelog.d")
    (folder / "changelog.d" / "+a-new-thing.added.md").write_text("A new thing\nin two lines.\n", "utf-8")
    return folder


def test_every_fragment_is_well_formed() -> None:
    assert problems(FOLDER) == []


PLANTED = {
    "init.added.md": ("Words.\n", "its name is"),
    "+Init.added.md": ("Words.\n", "its name is"),
    "+init.news.md": ("Words.\n", "its name is"),
    "+a.added.md": ("x" * 119 + "\n", "119 signs, at most 118"),
    "+b.fixed.md": ("- Words.\n", "no bullet"),
    "+c.fixed.md": ("# Words\n", "no heading"),
    "+d.changed.md": ("", "it has a sentence"),
    "+e.changed.md": ("Words.", "ends with a line break"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_fragment_that_is_not_is_seen(name: str, tmp_path: Path) -> None:
    text, said = PLANTED[name]
    (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "+right.added.md").write_text("x" * 118 + "\n", "utf-8")
    (line,) = problems(tmp_path)
    assert line.startswith(name)
    assert said in line


def test_contributing_opens_with_six_lines_of_which_the_last_names_a_fragment() -> None:
    block = re.search(r"```bash\n(.*?)```", (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")[:1500], re.DOTALL)
    assert block is not None
    lines = block[1].splitlines()
    assert len(lines) == 6
    assert NAME.search(lines[-1])


def test_a_draft_shows_them_and_changes_nothing(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    before = sorted((folder / "changelog.d").iterdir())
    draft = towncrier(folder, "--draft", "--version", "Unreleased")
    assert "## [Unreleased] - " in draft
    assert "- A new thing\n  in two lines.\n" in draft
    assert sorted((folder / "changelog.d").iterdir()) == before
    assert (folder / "CHANGELOG.md").read_text("utf-8") == (REPOSITORY / "CHANGELOG.md").read_text("utf-8")


def test_a_release_puts_them_above_what_is_there_and_loses_nothing(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    towncrier(folder, "--yes", "--version", "0.2.0", "--date", "2026-12-24")
    head, marker, below = (REPOSITORY / "CHANGELOG.md").read_text("utf-8").partition("<!-- towncrier: begin -->\n")
    after = (folder / "CHANGELOG.md").read_text("utf-8")
    assert after.startswith(f"{head}{marker}\n## [0.2.0] - 2026-12-24\n")
    assert after.endswith(below.lstrip("\n"))
    assert [file.name for file in (folder / "changelog.d").iterdir()] == ["README.md"]
    assert max(map(len, after.splitlines())) <= 120
