"""Every command and every Python block in README.md and docs/ is executed, in order, in one folder for each page.

Two things are changed to keep it quick: a ``run`` measures numpy/naive within a small budget, and the two
lines that set up tox are checked against tox.ini instead of being run (.ci/run and the smoke job run them).

A block that begins with ``bash exit=1`` shows something fail: its commands end with this status, and no other.
"""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from attnbench.api import Capabilities, Precision
from attnbench.errors import EXIT_NOTHING_MEASURED
from tests.exchange import without_pytest
from tests.program import Cli, Done
from tests.repository import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SET_UP = {
    "python3 -m pip install tox && python3 -m tox -e smoke": "testenv:smoke",
    "python3 -m pip install tox && python3 -m tox": "testenv",
}
# Other tools that read what we write; they run as modules of the same Python.
TOOLS = {"pytest-benchmark": ["-m", "pytest_benchmark"], "python": []}
SMALL = ["-a", "T=128", "-a", "setting=forward"]
PAIRS = ["--quiet", "--budget", "8s", *SMALL]  # a first pair may take five seconds, and none begins without
QUICK = {
    "run": ["--quiet", "--budget", "20s", "--impl", "numpy/naive"],
    "run --workload": ["--quiet", "--budget", "10s", "--impl", "numpy/naive"],
    "run smoke --impls mine.py": ["--quiet", "--budget", "5s", *SMALL],
    "run speed --shape h4-d64": ["--quiet", "--budget", "15s", "--impl", "numpy/naive"],
    "dispatch plan": ["--impl", "numpy/naive", *SMALL],
    "dispatch work": ["--quiet"],
    "dispatch run": ["--quiet", "--impl", "numpy/naive", *SMALL],
    "best --measure": ["--quiet", "--measure", "8s", "--impl", "numpy/naive"],
    "ab": PAIRS,
    "calibrate": PAIRS,
    "crossover": ["--quiet", "--budget", "6s"],
    "check": ["--quick"],
    "plan": SMALL,
    "scoreboard record": ["--quiet", "--budget", "30s"],
    "scoreboard replay": ["--trials", "20"],
    "scoreboard campaign": ["--quiet", "--arm", "0:2s:1", "--cells", "1"],
    "scoreboard --trials": ["--quiet", "--trials", "1", "--seconds", "2", "--cells", "1", "--tools", "attnbench"],
}
# Where a command says that nothing was measured (5), as on a busy machine, it is tried once more within so much.
LONGER = {"crossover": ["--budget", "30s"], "run": ["--budget", "60s"]}
# What besides 0 is an answer: of best, compare, crossover, explain, history and run 3, of ab also that something is
# slower, and of best that nothing was measured, as within a small budget on a busy machine.
ANSWERS = {
    "best": {0, 3, 5},
    "compare": {0, 3},
    "history": {0, 3},
    "run": {0, 3},
    "ab": {0, 1, 3},
    "crossover": {0, 3},
    "explain": {0, 3},
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, what follows it on the line, and its text."""

    language: str
    info: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page in order."""
    return [Block(found[1], found[2].strip(), found[3]) for found in FENCE.finditer(page.read_text(encoding="utf-8"))]


def commands(block: Block) -> list[list[str]]:
    """The attnbench commands of a bash block, without comments."""
    lines = [line.split("  #")[0].strip() for line in block.text.replace("\\\n", " ").splitlines()]
    return [shlex.split(line) for line in lines if line and not line.startswith("#") and line not in SET_UP]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_works(page: Path, cli: Cli, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.language == "bash":
            for command in commands(block):
                if command[0] in TOOLS:
                    execute_tool(command, tmp_path)
                    continue
                assert command[0] == "attnbench", f"{page.name}: {shlex.join(command)} is not a command of ours"
                execute(cli, command[1:], tmp_path, ends_with(block))
        elif block.language == "python" and block.info.startswith("file="):
            (tmp_path / block.info.removeprefix("file=")).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, page.name, "exec"), {"__name__": "documentation"})  # noqa: S102  (our own pages)


def ends_with(block: Block) -> set[int] | None:
    """The one exit status that a block of commands says it ends with, or None where it says nothing."""
    said = re.fullmatch(r"exit=(\d+)", block.info)
    assert said or not block.info, f"what is '{block.info}' behind {block.language}?"
    return {int(said[1])} if said else None


def execute_tool(command: list[str], folder: Path) -> None:
    """Run another tool's command in the folder of its page."""
    words = [sys.executable, *TOOLS[command[0]], *command[1:]]
    own = without_pytest()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=200, check=False, env=own)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    assert "Failed to load" not in done.stderr


def execute(run: Cli, command: list[str], folder: Path, said: set[int] | None = None) -> None:
    """Run one command, quickly, with placeholders for runs filled in; ``said``: the statuses that its block allows."""
    runs = sorted(str(path.parent) for path in (folder / "results").glob("*/run.json"))
    replaced = {"BASE": runs[:1], "HEAD": runs[-1:], "RUN": runs[-1:]}
    filled = [part for word in command for part in (replaced.get(word) or [word])]
    extra = next((QUICK[name] for count in (4, 2, 1) if (name := " ".join(command[:count])) in QUICK), [])
    if {"--onnx", "--case", "--random"} & set(command):  # these are no check of every feature, which --quick is about
        extra = []
    if "--impl" in command:
        extra = [word for word in extra if word not in ("--impl", "numpy/naive")]
    done = run(*filled, *extra)
    if done.code == EXIT_NOTHING_MEASURED and command[0] in LONGER:
        done = run(*filled, *extra, *LONGER[command[0]])
    allowed = said or ANSWERS.get(command[0], {0})
    assert done.code in allowed, f"{shlex.join(command)} ended with {done.code}\n{done.err}"


def test_a_block_that_shows_a_failure_has_to_fail(tmp_path: Path) -> None:
    failing = ends_with(Block("bash", "exit=1", ""))
    execute(lambda *_words: Done(1, "", ""), ["check"], tmp_path, failing)
    with pytest.raises(AssertionError, match="ended with 0"):
        execute(lambda *_words: Done(0, "", ""), ["check"], tmp_path, failing)
    with pytest.raises(AssertionError, match="ended with 1"):
        execute(lambda *_words: Done(1, "", ""), ["check"], tmp_path, ends_with(Block("bash", "", "")))
    with pytest.raises(AssertionError, match="what is 'exits=1'"):
        ends_with(Block("bash", "exits=1", ""))


def test_readme_has_the_two_lines_and_tox_has_their_environments() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    tox = configparser.ConfigParser()
    tox.read(REPOSITORY / "tox.ini")
    for line, environment in SET_UP.items():
        assert f"\n{line}\n" in readme
        assert environment in tox.sections()
    assert "attnbench run smoke" in tox["testenv:smoke"]["commands"]


@pytest.mark.parametrize("declared", [Capabilities, Precision])
def test_every_field_that_can_be_declared_is_in_the_tables_of_own_kernel(declared: type) -> None:
    page = (REPOSITORY / "docs" / "own-kernel.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    told = {name for row in rows for name in re.findall(r"`(\w+)", row)}
    assert not {field.name for field in fields(declared)} - told


def test_there_are_commands_to_test() -> None:
    found = [
        command for page in PAGES for block in blocks(page) if block.language == "bash" for command in commands(block)
    ]
    assert len(found) >= 5
