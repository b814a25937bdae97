"""docs/schema.md: the records of a run folder and of a table for engines, from the published JSON Schemas."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attnbench.answers import table as engine
from attnbench.results.columns import BY_RECORD
from attnbench.results.schema import SCHEMA_FILE, SCHEMA_VERSION
from attnbench.show.markdown import code, table
from tests.repository import DOCS, REPOSITORY

PAGE = DOCS / "schema.md"
HEAD = """# Schema of results

The fields of what a run leaves behind, for programs that read it. [Results](results.md) says how a run is read from
Python, what the columns mean, and what happens to files of older versions.

This page is written by `python -m tests.docs.write schema` from the JSON Schemas that the program brings:
{files}. A test holds them to the code. The schema of results has version {version}.
"""
# Of each record, where it stands; what it is made of follows it.
RUN = {"RunInfo": "`run.json`", "CellResult": "a row of `cells.parquet`", "Sample": "a row of `samples.parquet`"}
PLAIN = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
MEANINGS = {model.__name__: columns for model, columns in BY_RECORD.items()}


def page() -> str:
    """The whole page."""
    results = json.loads(SCHEMA_FILE.read_text("utf-8"))["records"]
    engines = json.loads(engine.SCHEMA_FILE.read_text("utf-8"))
    files = " and ".join(_link(file) for file in (SCHEMA_FILE, engine.SCHEMA_FILE))
    parts = [HEAD.format(files=files, version=SCHEMA_VERSION)]
    for name, where in RUN.items():
        parts += _record(name, results[name], where, 2)
    parts += _record(engines["title"], engines, "the file of `attnbench best --table`", 2)
    return "".join(parts)


def _link(file: Path) -> str:
    """A link to a file of the package, where it stands in the repository, wherever the package is installed."""
    path = Path("src", *file.parts[len(file.parts) - 1 - file.parts[::-1].index("attnbench") :])
    assert (REPOSITORY / path).is_file(), path
    return f"[`{file.name}`](../{path.as_posix()})"


def _record(name: str, schema: Mapping[str, Any], where: str, level: int) -> Iterator[str]:
    """A record; then those that it is made of and that no other one before it was."""
    yield f"\n{'#' * level} {name}\n\n"
    yield f"{where[:1].upper()}{where[1:]}. " if where else ""
    yield f"{_described(schema)}\n\n"
    yield _fields(name, schema)
    for inner, part in schema.get("$defs", {}).items():
        if inner not in RUN and "properties" in part and not (level == 2 and name == "ChoiceTable" and inner in SHARED):
            yield from _record(inner, part, "", level + 1)


# What a table for engines has in common with `run.json`.
SHARED = ("Fingerprint", "Hardware", "Gpu")


def _described(schema: Mapping[str, Any]) -> str:
    return " ".join(str(schema.get("description", "")).replace("``", "`").split())


def _fields(name: str, schema: Mapping[str, Any]) -> str:
    meanings = MEANINGS.get(name, {})
    needed = schema.get("required", [])
    heads = ["field", "holds", "there"] + ["meaning"] * bool(meanings)
    rows = []
    for field, part in schema["properties"].items():
        meaning = [meanings[field][1]] if meanings else []
        rows.append([f"`{field}`", _kind(part), "always" if field in needed else _absent(part), *meaning])
    return table(heads, rows)


def _absent(part: Mapping[str, Any]) -> str:
    """What stands where a program says nothing."""
    default = part.get("default")
    if default is None or default in ({}, [], ""):
        return "may be empty"
    return f"{code(json.dumps(default))} by default"


def _kind(part: Mapping[str, Any]) -> str:
    """What a field holds, in words."""
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(map(_kind, part["anyOf"])))
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in part:
        return code(json.dumps(part["const"]))
    if "enum" in part:
        return ", ".join(code(json.dumps(value)) for value in part["enum"])
    return _plain(part)


def _plain(part: Mapping[str, Any]) -> str:
    if part.get("type") == "array":
        return f"list of {_kind(part.get('items', {}))}"
    if part.get("type") == "object":
        inner = part.get("additionalProperties")
        return f"by name: {_kind(inner)}" if isinstance(inner, Mapping) else "object"
    return PLAIN.get(str(part.get("type")), "anything")
