"""What lies behind a path, before anybody asks which tool wrote it: a folder, JSON, lines of JSON, text, or bytes.

Nothing is decided by a name. A reader's ``recognises`` gets one of these: the ``Path`` of a folder, a JSON document (an
object or a list), ``JsonLines``, a ``str``, or the ``bytes`` of what is no text.
"""

from __future__ import annotations

import codecs
import gzip
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench.errors import ResultsError

GZIP = b"\x1f\x8b"  # pyperf writes FILE.json.gz, too
PACKED = {
    b"PK\x03\x04": "a zip archive",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ\x00": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
}
# What a shell on Windows begins a redirected file with: there `go test -bench . > FILE` is UTF-16.
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

# Lines before the first that begins a JSON object, and a member of one whose value is nan or inf, or -nan(ind).
BEFORE = re.compile(r"(?:(?![^\S\n]*\{).*\n)+(?=[^\S\n]*\{)[^\S\n]*")
NOT_A_NUMBER = re.compile(
    r'^(\s*"[^"\n]*"\s*:\s*)([+-]?)(nan(?:\([a-z]*\))?|inf(?:inity)?)(?=\s*,?\s*$)', re.MULTILINE | re.IGNORECASE
)
SHOWN = 40


@dataclass(frozen=True)
class JsonLines:
    """A stream of JSON objects, one on each line. ``others`` are the lines that are none, such as a build's output."""

    documents: tuple[dict[str, Any], ...]
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class BrokenJson:
    """A text that begins as JSON, or has a line that does, and is not: cut short, or no JSON after all."""

    text: str
    reason: str


def opened(file: Path, warnings: list[str]) -> Any:
    """What is behind the path. Raises ``ResultsError`` where there is nothing, or where it cannot be read.

    Lines before a JSON document, as of output that was redirected, are passed over with a warning.
    """
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
        msg = f"{file} is not JSON, or a damaged file: its compressed content ends early or is garbled"
        raise ResultsError(msg) from error
    except OSError as error:
        msg = (
            f"{file} cannot be read ({error.strerror}); import takes a file of another tool, or a folder of criterion's"
        )
        raise ResultsError(msg) from error
    if not content.strip():
        msg = f"{file} is not JSON, or a damaged file: it is empty; nothing was imported"
        raise ResultsError(msg)
    return _understood(file, content, warnings)


def _understood(file: Path, content: bytes, warnings: list[str]) -> Any:
    text = None if content.startswith(tuple(PACKED)) else _text(content)
    if text is None:
        return content
    if (lost := text.count("\ufffd")) and "\ufffd".encode() not in content:
        signs = "sign is" if lost == 1 else "signs are"
        warnings.append(f"{file.name} is not UTF-8 throughout: {lost} {signs} shown as \ufffd")
    data, error = _json(text)
    if error is None:
        return data
    text = NOT_A_NUMBER.sub(_number, text)
    before = BEFORE.match(text)
    start = before.end() if before else 0
    data, error, end = _json_within(text, start)
    if error is None and 2 * (end - start) > len(text):
        for where, passed in (("before", text[:start].strip()), ("after", text[end:].strip())):
            if passed:
                warnings.append(f"what stands {where} the JSON of {file.name} was passed over: {_shown(passed)}")
        return data
    lines = _lines(text)
    if lines is not None:
        return lines
    if before:
        return BrokenJson(text, _broken(text, error)) if error is not None else text
    return BrokenJson(text, _broken(text, error)) if text.lstrip()[:1] in ("{", "[") else text


def _json_within(text: str, start: int) -> tuple[Any, ValueError | None, int]:
    """The document that begins there, or what is wrong with it, and where it ends.

    A second one is wrong, and so is what is a part of a larger one, as of a script's.
    """
    try:
        data, end = json.JSONDecoder().raw_decode(text, start + len(text[start:]) - len(text[start:].lstrip()))
    except ValueError as error:
        return None, error, start
    except RecursionError:
        return None, ValueError("it is nested too deeply"), start
    after = text[end:].strip()
    if after.startswith(("{", "[", ",", "}", "]")):
        return None, ValueError(f"it goes on after its first JSON document ends, with {_shown(after)}"), end
    return data, None, end


def _number(spelled: re.Match[str]) -> str:
    """A number that is none, as old C++ printed it, in the spelling that JSON's readers know."""
    known = "NaN" if spelled[3][0] in "nN" else f"{spelled[2].replace('+', '')}Infinity"
    return f"{spelled[1]}{known}"


def _json(text: str) -> tuple[Any, ValueError | None]:
    """The document, or what is wrong with it."""
    try:
        return json.loads(text), None
    except ValueError as error:
        return None, error
    except RecursionError:
        return None, ValueError("it is nested too deeply")


def _text(content: bytes) -> str | None:
    """The text, whatever wrote it; ``None`` where it is none. What another program printed into it may be garbled."""
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    if b"\0" not in content:
        return content.decode("utf-8", "replace")
    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _lines(text: str) -> JsonLines | None:
    """A stream of JSON objects, where most lines are one, or where nothing is there but objects."""
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
    return JsonLines(several) if several else None


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


def _broken(text: str, error: ValueError | None) -> str:
    """What is wrong with a document, for somebody who has to find the place."""
    if not isinstance(error, json.JSONDecodeError):
        return str(error)
    place = f"line {error.lineno}, column {error.colno}"
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string"):
        return f"it is cut short, as by a crash while it was written: it ends at {place} before its JSON is closed"
    after_comma = re.search(r",\s*$", text[: error.pos]) and re.match(r"\s*[}\]]", text[error.pos :])
    if after_comma or "trailing comma" in error.msg:
        return f"there is a comma too many before {place}"
    return f"{error.msg} at {place}, where it has {_shown(text[error.pos :])}"


def _shown(text: str) -> str:
    line = text.strip().split("\n", 1)[0]
    return repr(line[:SHOWN] + ("…" if len(line) > SHOWN else ""))
