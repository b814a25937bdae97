"""Tables between the markers of a Markdown page, ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``; and CSV files."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnbench.results.journal import fail_writing
from attnbench.results.store import write_whole


def fill(page: Path, name: str, text: str) -> bool:
    """Put ``text`` between the markers of ``name``; false where the page, or the markers, are not there."""
    if not page.is_file():
        return False
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, opened, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        return False
    write_whole(page, f"{before}{begin}\n{text.strip()}\n{end}{after}")
    return True


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a file that ``write_csv`` wrote; none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Rows that all have the fields of the first one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        fail_writing(path, error)
    return path
