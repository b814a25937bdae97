"""The workflow of docs/regression.md, by the letter, in a new repository of a kernel; GitHub's own steps aside."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.docs.test_docs import blocks
from tests.docs.test_named_commands import extras
from tests.program import SMALL, Cli
from tests.repository import DOCS, REPOSITORY

WORKFLOW = next(block.text for block in blocks(DOCS / "regression.md") if block.language == "yaml")
KERNEL = next(block.text for block in blocks(REPOSITORY / "README.md") if block.info == "file=mine.py")


def step(program: str) -> list[str]:
    """The words of the one step that runs a program."""
    text = re.sub(r"run: >\n", "run: ", WORKFLOW)
    text = re.sub(r"\n +(?=--)", " ", text)
    steps = [shlex.split(line) for line in re.findall(r"run: +(\S.*)", text)]
    (words,) = [words for words in steps if words[0] == program]
    return words


def test_what_is_installed_is_attnbench_and_not_the_kernel() -> None:
    clone = re.search(r"repository: \S+/attnbench.*\n +path: (\S+)", WORKFLOW)
    assert clone is not None
    words = step("python")
    assert words[1:5] == ["-m", "pip", "install", "-c"]
    assert words[5] == f"{clone[1]}/constraints.txt"
    assert (REPOSITORY / "constraints.txt").is_file()
    target = re.fullmatch(r"\./([\w-]+)\[([\w,-]+)\]", words[6])
    assert target is not None
    assert target[1] == clone[1]
    assert set(target[2].split(",")) <= extras()


def test_the_comparison_runs_in_the_repository_of_a_kernel(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")
    (tmp_path / "mine.py").write_text(KERNEL)
    for command in (("init", "-qb", "main"), ("add", "mine.py"), ("commit", "-qm", "x"), ("tag", "base")):
        subprocess.run([*git, *command], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["git", "update-ref", "refs/remotes/origin/main", "base"], cwd=tmp_path, check=True)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    words = step("attnbench")[1:]
    words[words.index("--budget") + 1] = "12s"
    done = cli(*words, *SMALL)
    assert done.code in (0, 1), done.err  # the same code, and a busy machine may call it slower
    assert (tmp_path / "summary").read_text().startswith("### attnbench ab: ")
    assert (tmp_path / "ab.xml").is_file()
    assert (tmp_path / "ab.md").is_file()
