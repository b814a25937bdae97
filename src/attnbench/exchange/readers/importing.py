"""``attnbench import``: a file of another tool becomes a run folder. One importer for each format, found by content."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attnbench.errors import ResultsError
from attnbench.exchange.readers import asv as from_asv
from attnbench.exchange.readers import google_benchmark as from_google_benchmark
from attnbench.exchange.readers import pyperf as from_pyperf
from attnbench.exchange.readers import pytest_benchmark as from_pytest_benchmark
from attnbench.exchange.readers.foreign import Foreign, write_run


@dataclass(frozen=True)
class Importer:
    """One format: whether a JSON document is of it, and how it is read (the document, and the file for messages)."""

    tool: str
    recognises: Callable[[Any], bool]
    read: Callable[[Any, Path], Foreign]


FORMATS = (from_pytest_benchmark, from_pyperf, from_asv, from_google_benchmark)
IMPORTERS: Mapping[str, Importer] = {
    reader.TOOL: Importer(reader.TOOL, reader.recognises, reader.read) for reader in FORMATS
}
GZIP = b"\x1f\x8b"  # pyperf writes FILE.json.gz, too
SHOWN = 40
# Lines before the first that begins a JSON object, and a member of one whose value is nan or inf, or -nan(ind).
BEFORE = re.compile(r"(?:(?![^\S\n]*\{).*\n)+(?=[^\S\n]*\{)[^\S\n]*")
NOT_A_NUMBER = re.compile(
    r'^(\s*"[^"\n]*"\s*:\s*)([+-]?)(nan(?:\([a-z]*\))?|inf(?:inity)?)(?=\s*,?\s*$)', re.MULTILINE | re.IGNORECASE
)


def import_file(file: Path, out: Path, warn: Callable[[str], object] = lambda _: None) -> Path:
    """Import a file into a new run folder below ``out``. Raises ``ResultsError``; then nothing was written.

    ``warn`` gets what is odd in the file and was left out, or was taken for what.
    """
    warnings: list[str] = []
    data = _document(file, _content(file), warnings)
    for importer in IMPORTERS.values():
        if importer.recognises(data):
            foreign = importer.read(data, file)
            return write_run(replace(foreign, warnings=(*warnings, *foreign.warnings)), file, out, warn)
    msg = f"{file} is JSON, but of no tool that import knows; it reads that of {', '.join(IMPORTERS)}"
    raise ResultsError(msg)


def _content(file: Path) -> bytes:
    try:
        content = file.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP) else content
    except FileNotFoundError as error:
        msg = f"there is no file {file}"
        raise ResultsError(msg) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        msg = f"{file} is not JSON, or a damaged file: its compressed content ends early or is garbled"
        raise ResultsError(msg) from error
    except OSError as error:
        msg = f"{file} cannot be read ({error.strerror}); import takes the JSON file of another tool"
        raise ResultsError(msg) from error


def _document(file: Path, content: bytes, warnings: list[str]) -> Any:
    """The JSON document in a file. Text around it, as of output that was redirected, is passed over and warned of."""
    try:
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        msg = f"{file} is not JSON, or a damaged file: it is no text; import reads the JSON of {', '.join(IMPORTERS)}"
        raise ResultsError(msg) from error
    try:
        return json.loads(text)
    except ValueError:
        text = NOT_A_NUMBER.sub(_number, text)
    before = BEFORE.match(text)
    start = before.end() if before else 0
    try:
        data, end = json.JSONDecoder().raw_decode(text, start)
        after = text[end:].strip()
        if after.startswith(("{", "[", ",")):
            msg = f"it goes on after its first JSON document ends, with {_shown(after)}"
            raise ValueError(msg)  # noqa: TRY301  (said like all that is wrong with the text)
    except ValueError as error:
        msg = f"{file} is not JSON, or a damaged file: {_broken(text, error)}"
        raise ResultsError(f"{msg}; import reads the JSON of {', '.join(IMPORTERS)}") from error
    for where, passed in (("before", text[:start].strip()), ("after", after)):
        if passed:
            warnings.append(f"what stands {where} the JSON of {file.name} was passed over: {_shown(passed)}")
    return data


def _number(spelled: re.Match[str]) -> str:
    """A number that is none, as old C++ printed it, in the spelling that JSON's readers know."""
    known = "NaN" if spelled[3][0] in "nN" else f"{spelled[2].replace('+', '')}Infinity"
    return f"{spelled[1]}{known}"


def _broken(text: str, error: ValueError) -> str:
    """What is wrong with a document, for somebody who has to find the place."""
    if not text.strip():
        return "it is empty"
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
