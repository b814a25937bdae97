"""What lies behind a path, before anybody asks which tool wrote it: a folder, JSON, lines of JSON, text, or bytes.

Nothing is decided by a name. A reader's ``recognises`` gets one of these: the ``Path`` of a folder, a JSON document (an
object or a list), ``JsonLines``, a ``str``, or the ``bytes`` of what is no text.
"""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench.errors import ResultsError

GZIP = b"\x1f\x8b"  # pyperf writes FILE.json.gz, too
# What a shell on Windows begins a redirected file with: there `go test -bench . > FILE` is UTF-16.
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class JsonLines:
    """A stream of JSON objects, one on each line. ``others`` are the lines that are none, such as a build's output."""

    documents: tuple[dict[str, Any], ...]
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class BrokenJson:
    """A text that begins as JSON and is not: cut short, or no JSON after all."""

    text: str


def opened(file: Path) -> Any:
    """What is behind the path. Raises ``ResultsError`` where there is nothing, or where it cannot be read."""
    if file.is_dir():
        return file
    try:
        content = file.read_bytes()
        if content.startswith(GZIP):
            content = gzip.decompress(content)
    except FileNotFoundError as error:
        msg = f"there is no file {file}"
        raise ResultsError(msg) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        msg = f"{file} is not JSON, or a damaged file: it is compressed and cut short"
        raise ResultsError(msg) from error
    except OSError as error:
        msg = (
            f"{file} cannot be read ({error.strerror}); import takes a file of another tool, or a folder of criterion's"
        )
        raise ResultsError(msg) from error
    if not content.strip():
        msg = f"{file} is empty; nothing was imported"
        raise ResultsError(msg)
    return _understood(content)


def _understood(content: bytes) -> Any:
    text = _text(content)
    if text is None:
        return content
    try:
        return json.loads(text)
    except ValueError:
        return _lines(text)
    except RecursionError:
        return BrokenJson(text)


def _text(content: bytes) -> str | None:
    """The text, whatever wrote it; ``None`` where it is none. What another program printed into it may be garbled."""
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    return None if b"\0" in content else content.decode("utf-8", "replace")


def _lines(text: str) -> JsonLines | BrokenJson | str:
    lines = [line for line in text.splitlines() if line.strip()]
    documents: list[dict[str, Any]] = []
    others: list[str] = []
    for line in lines:
        document = _document(line)
        if document is None:
            others.append(line)
        else:
            documents.append(document)
    if documents and 2 * len(documents) > len(lines):
        return JsonLines(tuple(documents), tuple(others))
    several = _several(text)
    if several:
        return JsonLines(several)
    return BrokenJson(text) if text.lstrip()[:1] in ("{", "[") else text


def _document(line: str) -> dict[str, Any] | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _several(text: str) -> tuple[dict[str, Any], ...]:
    """Objects that follow each other, each over several lines; empty where it is anything else."""
    decoder, start = json.JSONDecoder(), 0
    documents: list[dict[str, Any]] = []
    while rest := text[start:].lstrip():
        start = len(text) - len(rest)
        try:
            document, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            return ()
        if not isinstance(document, dict):
            return ()
        documents.append(document)
        start = end
    return tuple(documents)
