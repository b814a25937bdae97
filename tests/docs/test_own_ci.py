"""docs/own-ci.md, by the letter: its command in a repository of a kernel, what it prints, and its tables."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from attnbench.ci.tox import AB, BASE, CHECK
from tests.docs.test_docs import blocks
from tests.docs.test_named_commands import command, options
from tests.program import Cli
from tests.repository import DOCS, REPOSITORY

PAGE = DOCS / "own-ci.md"
KERNEL = next(block.text for block in blocks(REPOSITORY / "README.md") if block.info == "file=mine.py")


def test_the_command_prints_what_the_page_shows(cli: Cli, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-qb", "main"], cwd=tmp_path, check=True)
    (tmp_path / "mine.py").write_text(KERNEL, "utf-8")
    typed, shown = blocks(PAGE)[:2]
    done = cli(*shlex.split(typed.text)[1:])
    assert done.code == 0, done.err
    printed = done.out.replace(f"{tmp_path.resolve()}/", "") + done.err.splitlines()[-1] + "\n"
    assert printed == shown.text
    for name in (CHECK, AB):
        assert f"[testenv:{name}]" in (tmp_path / "tox.ini").read_text("utf-8")
        assert f"tox -e {name}" in PAGE.read_text("utf-8")
    assert f"{BASE}=" in PAGE.read_text("utf-8")


def test_every_option_of_its_own_is_in_the_table() -> None:
    text = PAGE.read_text("utf-8")
    known = options(command("init-ci")) - {"--help", "-h", "--json", "--quiet", "-q", "--out"}
    assert {name for name in known if not re.search(rf"`{name}\b", text)} == set()
