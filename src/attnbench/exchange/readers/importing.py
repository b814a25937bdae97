"""``attnbench import``: a file of another tool becomes a run folder. One importer for each format, found by content."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


def import_file(file: Path, out: Path) -> Path:
    """Import a file into a new run folder below ``out``. Raises ``ResultsError``; then nothing was written."""
    try:
        content = file.read_bytes()
        data = json.loads(gzip.decompress(content) if content.startswith(GZIP) else content)
    except FileNotFoundError as error:
        msg = f"there is no file {file}"
        raise ResultsError(msg) from error
    except OSError as error:
        msg = f"{file} cannot be read ({error.strerror}); import takes the JSON file of another tool"
        raise ResultsError(msg) from error
    except (ValueError, EOFError) as error:
        msg = f"{file} is not JSON, or a damaged file; import reads the JSON of {', '.join(IMPORTERS)}"
        raise ResultsError(msg) from error
    for importer in IMPORTERS.values():
        if importer.recognises(data):
            foreign = importer.read(data, file)
            del data  # of a large file it is most of what is held
            return write_run(foreign, file, out)
    msg = f"{file} is JSON, but of no tool that import knows; it reads that of {', '.join(IMPORTERS)}"
    raise ResultsError(msg)
