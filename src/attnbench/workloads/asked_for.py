"""What ``--workload`` names: a mix in the grammar, a named workload, or a file (TOML, or JSON lines of a trace)."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from attnbench.errors import UsageError, suggest
from attnbench.workloads.binning import binned
from attnbench.workloads.grammar import Counted, Stretch, counted, items
from attnbench.workloads.mixes import Workload
from attnbench.workloads.named import LIST, named

# A line of a trace: our name for each number, and others that are understood.
FIELDS = {
    "queries": ("queries", "query_length"),
    "keys": ("keys", "key_length"),
    "cache": ("cache", "cache_length"),
    "count": ("count",),
}
FILES = (".toml", ".jsonl", ".json", ".ndjson")
LINE = '{"query_length": 512, "cache_length": 3584, "count": 4}'
TABLE = '[[sequences]] with queries, keys (or cache) and count, or mix = "8x 2q2k, 120x 1q4k"'


def workload(text: str) -> Workload:
    """The workload that a text names. Raises ``UsageError`` in one line for what is none."""
    name = text.strip()
    if name in named():
        return named()[name]
    if Path(name).suffix in FILES or ("/" in name and not re.search(r"\dq\d", name)):
        return from_file(Path(name))
    if re.fullmatch(r"[\w./-]*\.[A-Za-z]\w*", name):
        msg = f"--workload {name}: a file of a workload ends with {', '.join(FILES)}; its lines are such as {LINE}"
        raise UsageError(msg)
    if re.fullmatch(r"[A-Za-z][\w -]*", name) and not re.match(r"q\d", name):
        msg = f"--workload {name}: no workload of that name; there are {', '.join(named())}{suggest(name, named())}"
        raise UsageError(f"{msg}; to see them, type: {LIST}. A mix is written 8x 2q2k, 120x 1q4k; or name a file")
    mix = Workload.of("", items(name))
    return Workload(str(mix), *_binned(mix.counts))


def _binned(counts: Any) -> tuple[Any, str, str]:
    """The counts, no source, and the note."""
    cases = binned(counts)
    return cases.counts, "", cases.sentence()


def from_file(path: Path) -> Workload:
    """The workload in a file: TOML by its ending, else JSON lines. Raises ``UsageError`` with the place of a fault."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        msg = f"--workload {path}: {reason}; name a workload ({LIST}), a file, or write 8x 2q2k, 120x 1q4k"
        raise UsageError(msg) from error
    title, source, mix = _of_toml(path, text) if path.suffix == ".toml" else ("", "", _of_lines(path, text))
    counts: dict[Stretch, int] = {}
    for item in mix:
        counts[item.stretch] = counts.get(item.stretch, 0) + item.count
    if not counts:
        _fail(str(path), "nothing is served; " + (TABLE if path.suffix == ".toml" else f"write lines such as {LINE}"))
    cases, _, note = _binned(counts)
    return Workload(title or path.name, cases, source, note)


def _of_toml(path: Path, text: str) -> tuple[str, str, list[Counted]]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        _fail(str(path), f"not TOML: {error}")
    for name in data:
        if name not in ("title", "source", "mix", "sequences"):
            known = ("title", "source", "mix", "sequences")
            _fail(str(path), f"there is no {name!r}; write {TABLE}{suggest(name, known)}")
    for name in ("title", "source", "mix"):
        if not isinstance(data.get(name, ""), str):
            _fail(str(path), f"{name} is a text; got {data[name]!r}")
    tables = data.get("sequences", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        _fail(str(path), f"sequences are tables; write {TABLE}")
    try:
        mix = list(items(data["mix"])) if "mix" in data else []
    except UsageError as error:
        _fail(str(path), str(error))
    mix += [_entry(table, f"{path}, sequence {number}") for number, table in enumerate(tables, start=1)]
    return data.get("title", ""), data.get("source", ""), mix


def _of_lines(path: Path, text: str) -> Iterator[Counted]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            entry = json.loads(line)
        except ValueError:
            _fail(where, f"not JSON; a line is {LINE}")
        if not isinstance(entry, dict):
            _fail(where, f"a line is an object such as {LINE}")
        yield _entry(entry, where)


def _entry(entry: dict[str, Any], where: str) -> Counted:
    """One item from names and numbers."""
    numbers: dict[str, int] = {}
    for given, value in entry.items():
        name = next((name for name, names in FIELDS.items() if given in names), None)
        if name is None:
            known = [name for names in FIELDS.values() for name in names]
            _fail(where, f"there is no {given!r}; there are {', '.join(known)}{suggest(given, known)}")
        if not isinstance(value, int) or isinstance(value, bool):
            _fail(where, f"{given} is a whole number; got {value!r}")
        if name in numbers:
            _fail(where, f"{given} says again what another name says")
        numbers[name] = value
    if "queries" not in numbers or ("keys" in numbers) == ("cache" in numbers):
        _fail(where, f"a sequence has queries and either keys (all of them) or a cache (those before); as in {LINE}")
    if numbers.get("cache", 0) < 0:
        _fail(where, f"a cache holds 0 keys or more; got {numbers['cache']}")
    keys = numbers.get("keys", numbers["queries"] + numbers.get("cache", 0))
    try:
        return counted(numbers.get("count", 1), numbers["queries"], keys)
    except UsageError as error:
        _fail(where, str(error))


def _fail(where: str, why: str) -> NoReturn:
    msg = f"--workload {where}: {why}"
    raise UsageError(msg)
