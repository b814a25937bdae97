"""The pages of reference hold every command and option, every field of the schemas, and every public name."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("sphinx", reason="the docs extra is not installed")

import attnbench.api
from attnbench.answers import table
from attnbench.commands import app
from attnbench.results.schema import SCHEMA_FILE
from tests.docs import commands_page, schema_page
from tests.docs.test_named_commands import options
from tests.repository import DOCS

AGAIN = "type: python -m tests.docs.write"


@pytest.fixture(scope="module")
def faces() -> Iterator[ModuleType]:
    """The extension of the site that writes the names of a module."""
    folder = str(DOCS / "_extensions")
    sys.path.insert(0, folder)
    yield importlib.import_module("python_faces")
    sys.path.remove(folder)
    del sys.modules["python_faces"]


def every(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    """A command and those below it, by what is typed."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from every(f"{path} {name}", below)


def test_the_pages_are_those_of_this_code() -> None:
    assert commands_page.PAGE.read_text("utf-8") == commands_page.page(), AGAIN
    assert schema_page.PAGE.read_text("utf-8") == schema_page.page(), AGAIN


def test_every_command_is_there_with_every_option_and_argument() -> None:
    sections = commands_page.PAGE.read_text("utf-8").split("\n#")
    by_path = {section.partition("attnbench ")[2].partition("\n")[0]: section for section in sections[1:]}
    commands = dict(entry for name in app.COMMANDS for entry in every(name, app.command(name)))
    assert set(by_path) == set(commands)
    for path, command in commands.items():
        spelled = options(command) - {"--help", "-h"}
        spelled = {word for word in spelled if word.startswith("-")}
        assert [word for word in spelled if f"`{word}" not in by_path[path]] == [], path
        helps = [parameter.help for parameter in command.params if getattr(parameter, "help", None)]
        assert by_path[path].count("\n| ") == len(command.params) + 2 * bool(command.params)
        assert len(helps) == len(command.params), f"{path}: an option without a word of help"


def test_a_new_option_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    doctor = app.command("doctor")
    before = commands_page.page()
    later = app.command("doctor")
    monkeypatch.setattr(later.params[0], "opts", ["--jsn"])
    monkeypatch.setattr(app, "command", lambda name: later if name == "doctor" else doctor)
    monkeypatch.setattr(app, "COMMANDS", {"doctor": "doctor"})
    assert "`--jsn`" not in before
    assert "`--jsn`" in commands_page.page()


def test_every_field_of_every_record_is_in_the_schema() -> None:
    page = schema_page.PAGE.read_text("utf-8")
    schemas = [*json.loads(SCHEMA_FILE.read_text("utf-8"))["records"].values()]
    schemas.append(json.loads(table.SCHEMA_FILE.read_text("utf-8")))
    for schema in schemas:
        for part in (schema, *schema.get("$defs", {}).values()):
            if "properties" in part:
                section = page.partition(f"# {part['title']}\n")[2].partition("\n#")[0]
                assert [name for name in part["properties"] if f"\n| `{name}` |" not in section] == [], part["title"]


def test_every_face_has_a_page(faces: ModuleType) -> None:
    there = ["attnbench", "attnbench.api", *(f"attnbench.api.{info.name}" for info in _inside(attnbench.api))]
    there.append("attnbench.testing")
    assert sorted(faces.FACES) == sorted(there)
    text = "".join(file.read_text("utf-8") for file in DOCS.glob("python*.md"))
    assert [face for face in there if text.count(f"```{{face}} {face}\n") != 1] == []


def _inside(package: ModuleType) -> Iterator[pkgutil.ModuleInfo]:
    return pkgutil.iter_modules(package.__path__)


def test_every_public_name_says_what_it_is(faces: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [name for face in faces.FACES for name in faces.undocumented(face)] == []
    bare = ModuleType("bare", "A module.")
    vars(bare).update(__all__=["silent", "loud"], silent=lambda: None, loud=test_a_docstring_is_plain_text)
    monkeypatch.setitem(sys.modules, "bare", bare)
    assert faces.undocumented("bare") == ["bare.silent", "bare.loud"]


def test_a_name_is_explained_once_and_where_it_is_first(faces: ModuleType) -> None:
    kernels, suites = faces.expanded("attnbench.api"), faces.expanded("attnbench.api.suites")
    assert ".. autoclass:: attnbench.api::Capabilities\n" in kernels
    assert ".. autoclass:: attnbench.api::AttentionSpec\n" not in kernels
    assert ":py:obj:`~attnbench.AttentionSpec`" in kernels
    assert ".. autofunction:: attnbench.api.suites::contrasts.holm\n" in suites
    assert suites.count("::OneOf\n") == 1
    known = {f"{face}.{path}" for face in faces.FACES for path, _ in faces.names(face)}
    assert {faces.explained_at(value, face) for face in faces.FACES for _, value in faces.names(face)} <= known


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("An array (n, *shape).", ["An array (n, \\*shape)."]),
        ("``a * b`` and |x|.", ["``a * b`` and \\|x\\|."]),
        ("time_s and t_ here.", ["time_s and t\\_ here."]),
        ("Text.\n\n    a *b\n    c\n\nMore*.", ["Text.", "", "::", "", "    a *b", "    c", "", "More\\*."]),
    ],
)
def test_a_docstring_is_plain_text(faces: ModuleType, text: str, lines: list[str]) -> None:
    assert faces.plain(text) == lines
