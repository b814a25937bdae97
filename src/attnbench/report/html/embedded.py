"""Data inside a page, as JSON: once, versioned, and so that no text of it can end its element or begin another.

A table has each of its values once, under ``values``; a row is the places of its values there. A number beside its text
is for sorting, and has seven digits: cells.csv has them all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from attnbench.report.html.records import DataTable, Value

# Raised whenever a field comes, goes or changes its meaning: page.js reads this version and no other.
VERSION = 2
# What HTML or JavaScript would read as more than a character of a text.
ESCAPES = {sign: f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def embedded(tables: Sequence[DataTable]) -> str:
    """The tables as JSON that may stand in a ``script`` element."""
    data = {"version": VERSION, "tables": [_table(table) for table in tables]}
    return safe_json(data)


def safe_json(data: Any) -> str:
    """JSON in which the signs that HTML reads are written as escapes; ``ValueError`` for NaN and infinity."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign, escape in ESCAPES.items():
        text = text.replace(sign, escape)
    return text


def _table(table: DataTable) -> dict[str, Any]:
    places: dict[Value, int] = {}
    rows = [[places.setdefault(_rounded(value), len(places)) for value in row] for row in table.cells]
    return {
        "key": table.key,
        "title": table.title,
        "columns": [
            {"key": column.key, "name": column.name, "number": column.number, "shown": column.shown}
            for column in table.columns
        ],
        "values": list(places),
        "rows": rows,
    }


def _rounded(value: Value) -> Value:
    return (float(f"{value[0]:.7g}"), value[1]) if isinstance(value, tuple) else value
