"""The tables of the page on the interface have every extra, and every part of the address of a page."""

from __future__ import annotations

import re
import tomllib

from attnbench.report.html.templates import FOLDER
from tests.repository import DOCS, REPOSITORY


def named(heading: str, head: str) -> set[str]:
    """The names in the first column of the table with this head, below a heading of the page."""
    section = (DOCS / "interface.md").read_text("utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]*) \|", section.partition(f"| {head} |")[2], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_every_extra_is_there() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    assert named("Extras", "extra") == set(project["optional-dependencies"])


def test_every_part_of_an_address_is_there() -> None:
    script = (FOLDER / "page.js").read_text("utf-8")
    lists = re.findall(r"^const (?:LISTS|WORDS) = \[(.*)\];", script, re.MULTILINE)
    assert len(lists) == 2
    assert named("The page of a run", "part") == set(re.findall(r'"(\w+)"', ", ".join(lists)))
