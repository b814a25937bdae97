"""Every command that a message, a docstring or a page names exists: it, its subcommand, its options, its extra.

Texts of the sources are read from their strings, so that a command that is written over two lines is one.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from attnbench.commands import app
from tests.repository import REPOSITORY

SOURCES = [path for root in ("src", "impls", "suites") for path in sorted((REPOSITORY / root).rglob("*.py"))]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
# A command ends where its line, its quotation or its sentence does.
NAMED = re.compile(r"(?<![\w./'-])attnbench ([a-z][\w-]*)((?: (?!attnbench )[^\s`;)]+)*)")
# Behind these stands a command and no prose.
TOLD = re.compile(r"(?:[Tt]ype|with|again|live|varies|machine): |[`'\n]$")
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-[a-zA-Z](?=\s|$))")
# A dot behind a backslash is a regular expression's and no path.
EXTRA = re.compile(r"(?:attnbench|(?<!\\)\.)\[([\w,-]+)\]")
# What a placeholder of an f-string stands for.
SOMETHING = "SOMETHING"


def texts(path: Path) -> Iterator[str]:
    """The strings of a source file, or the pieces of code of a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        # A line that goes on with an option is one command.
        yield re.sub(r"\\?\n\s+(?=-)", " ", re.sub(r"run: >\n\s+", "", text))
        return
    tree = ast.parse(text)
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(_piece(part) for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def _piece(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else SOMETHING


@cache
def command(name: str) -> Any:
    """A command of the program, as the parser of the command line has it."""
    return app.command(name)


def wrong(text: str) -> list[str]:
    """What a text names that does not exist: commands, subcommands, options, extras."""
    problems = []
    for match in NAMED.finditer(text):
        name, rest = match[1], match[2]
        if name in app.COMMANDS:
            problems += _wrong_in(command(name), name, rest)
        elif TOLD.search(text[: match.start()][-12:]):
            problems.append(f"attnbench {name}")
    known = extras() | {SOMETHING}
    problems += [f"[{extra}]" for names in EXTRA.findall(text) for extra in names.split(",") if extra not in known]
    return problems


def _wrong_in(parser: Any, name: str, rest: str) -> list[str]:
    words = rest.split()
    if hasattr(parser, "commands"):
        if words and words[0] in parser.commands:
            return _wrong_in(parser.commands[words[0]], f"{name} {words[0]}", " ".join(words[1:]))
        known = {option for sub in (parser, *parser.commands.values()) for option in options(sub)}
    else:
        known = options(parser)
    return [f"attnbench {name} {option}" for option in OPTION.findall(rest) if option not in known]


def options(parser: Any) -> set[str]:
    """The spellings of a command's options."""
    return {"--help", "-h"} | {spelling for param in parser.params for spelling in (*param.opts, *param.secondary_opts)}


@cache
def extras() -> set[str]:
    """The extras of pyproject.toml."""
    return set(tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])


@pytest.mark.parametrize("path", [*SOURCES, *PAGES], ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_what_is_named_exists(path: Path) -> None:
    assert [problem for text in texts(path) for problem in wrong(text)] == []


def test_commands_are_named_at_all() -> None:
    named = {match[1] for path in (*SOURCES, *PAGES) for text in texts(path) for match in NAMED.finditer(text)}
    assert set(app.COMMANDS) - named == set()


PLANTED = [
    ("Type: attnbench calibrat", ["attnbench calibrat"]),
    ("`attnbench lst`", ["attnbench lst"]),
    ("this says it: attnbench ab A B --margins 3%", ["attnbench ab --margins"]),
    ("attnbench baseline set RUN --impl x", ["attnbench baseline set --impl"]),
    ("attnbench run smoke -z", ["attnbench run -z"]),
    ("pip install 'attnbench[reports]'", ["[reports]"]),
    ("pip install -e '.[all,onx]'", ["[onx]"]),
]


@pytest.mark.parametrize(("text", "problems"), PLANTED)
def test_what_does_not_exist_is_seen(text: str, problems: list[str]) -> None:
    assert wrong(text) == problems


@pytest.mark.parametrize(
    "text", ["attnbench cannot say", "attnbench run smoke, which --resume goes on with", "attnbench ab A B --margin 3%"]
)
def test_prose_and_what_exists_pass(text: str) -> None:
    assert wrong(text) == []
