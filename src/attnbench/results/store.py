"""Run folders: ``OUT/<run_id>/{run.json, journal.jsonl, cells.parquet, samples.parquet}``.

A ``RunWriter`` creates a folder that was not there, journals what happens, and compacts the journal into Parquet when
the run is finished. Nothing that exists is ever overwritten, and a folder of another program is refused.
``attnbench.results.read`` reads folders.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from attnbench.errors import ResultsError, UsageError
from attnbench.results.journal import Journal, JsonText, RecordType, fail_writing
from attnbench.results.parquet import write_cells, write_samples
from attnbench.results.read import (
    CELLS,
    JOURNAL,
    RUN,
    SAMPLES,
    Contents,
    journalled_cells,
    journalled_samples,
    read_contents,
    read_info,
    run_folder,
)
from attnbench.results.schema import CellResult, RunInfo, Sample

SHOWN_FILES = 3


def utc_now() -> str:
    """The time now as the schema writes it: ISO 8601, UTC, whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_run_id(suites: Sequence[str], started: str | None = None, digits: str | None = None) -> str:
    """A run_id: UTC timestamp, suite (``several`` for more than two), six hexadecimal digits, by default random."""
    stamp = re.sub(r"[-:]", "", started or utc_now())
    name = "-".join(suites) if len(suites) <= 2 else "several"  # noqa: PLR2004  (two names still read well)
    return f"{stamp}-{re.sub(r'[^A-Za-z0-9_-]', '_', name)}-{digits or secrets.token_hex(3)}"


class RunWriter:
    """Writes one run. Use ``create`` or ``resume``, then ``plan``, ``samples``, ``cell``, ``event``, ``finish``.

    As a context manager it closes the journal; a run that was not finished stays ``partial`` and can be resumed.
    """

    def __init__(self, folder: Path, info: RunInfo, journal: Journal) -> None:
        self.folder = folder
        self.info = info
        self._journal = journal

    @classmethod
    def create(cls, out: str | Path, info: RunInfo) -> Self:
        """Make ``out/<run_id>`` with run.json and a journal. Raises ``ResultsError``; then nothing was written."""
        out = Path(out)
        refuse_foreign(out)
        folder = out / info.run_id
        try:
            out.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError as error:
            what = "a run" if folder.exists() else "a file where the folder of runs should be"
            msg = f"{folder if folder.exists() else out} is {what} already; nothing is overwritten"
            raise ResultsError(msg) from error
        except OSError as error:
            fail_writing(folder, error)
        writer = cls(folder, info, Journal(folder / JOURNAL, new=True))
        writer.update(info)
        return writer

    @classmethod
    def resume(cls, run: str | Path, out: str | Path = "results") -> tuple[Self, Contents]:
        """Open an unfinished run (a path, or a run_id below ``out``) and say what is in it already.

        Raises ``ResultsError`` for a finished run and for anything that is not a run.
        """
        folder = run_folder(run, out)
        info = read_info(folder)
        if info.status == "complete":
            msg = f"{folder} is finished; there is nothing to resume. Start a new run, or report this one"
            raise ResultsError(msg)
        contents = read_contents(folder)
        return cls(folder, contents.info, Journal(folder / JOURNAL, new=False)), contents

    def plan(self, cells: Iterable[CellResult]) -> None:
        """Write down every planned cell, as ``not-run``, before the first is measured: none of them can vanish."""
        self.cells(cells)

    def cells(self, results: Iterable[CellResult]) -> None:
        """Write the rows of several cells, and sync them once."""
        self._journal.extend("cell", [_row(result) for result in results])

    def cell(self, result: CellResult) -> None:
        """Write the row of a cell; the last row of a cell is the one that counts."""
        self._journal.append("cell", _row(result))

    def samples(self, samples: Sequence[Sample]) -> None:
        """Write the samples of one burst; of another tool's file, those of many."""
        self._journal.append("samples", [sample.model_dump(mode="json", exclude_defaults=True) for sample in samples])

    def event(self, name: str, **detail: Any) -> None:
        """Write down something that happened: a receipt of a burst, a crash, a pause."""
        self._journal.append("event", {"name": name, "at": utc_now(), **detail})

    def events(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Write down what happened in another journal, as it stands there, and sync once."""
        self._journal.extend("event", events)

    def texts(self, kind: RecordType, records: Iterable[JsonText]) -> None:
        """Write records that are JSON already, and sync once."""
        self._journal.extend(kind, records)

    def update(self, info: RunInfo) -> None:
        """Change what is known of the run, such as the versions that a worker reported."""
        if info.run_id != self.info.run_id:
            msg = f"run {self.info.run_id} cannot become run {info.run_id}"
            raise ResultsError(msg)
        self.info = info
        self._journal.append("run", info.model_dump(mode="json"))
        write_whole(self.folder / RUN, json.dumps(info.model_dump(mode="json"), indent=1) + "\n")

    def finish(self) -> Path:
        """Compact the journal into Parquet, mark the run complete, close; return the folder.

        In this order: a run that is killed in between is not complete, and is resumed.
        """
        compact(self.folder)
        self.update(self.info.model_copy(update={"finished": utc_now(), "status": "complete"}))
        self.close()
        return self.folder

    def close(self) -> None:
        """Close the journal; the folder can be read and resumed."""
        self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _row(result: CellResult) -> dict[str, Any]:
    return result.model_dump(mode="json", exclude_none=True)


def compact(folder: str | Path) -> None:
    """Write cells.parquet and samples.parquet from the journal of a run; the journal stays."""
    folder = Path(folder)
    write_cells(journalled_cells(folder), folder / CELLS)
    write_samples(journalled_samples(folder), folder / SAMPLES)


def check_output(option: str, file: Path, inputs: Iterable[Path] = ()) -> None:
    """Raise ``UsageError``, before anything is done, where ``file`` could not be written or is one of ``inputs``.

    A folder is made where it is what was asked for; that of a file is not: a slip of the finger would make it.
    """
    msg = ""
    try:
        kind, parent = _kind(file), _kind(file.parent)
    except OSError as error:
        msg = f"{option} {file} cannot be written ({error.strerror}); name another file"
        raise UsageError(msg) from error
    if kind == "folder":
        msg = f"{option} {file} is a folder; name a file in it"
    elif parent == "file":
        msg = f"{option} {file}: {file.parent} is a file and no folder; name another one"
    elif parent is None:
        make = f"mkdir -p {shlex.quote(str(file.parent))}"
        msg = f"{option} {file}: there is no folder {file.parent}; make it first ({make})"
    elif any(file.resolve() == read.resolve() for read in inputs):
        msg = f"{option} {file} is what is read, and would be lost; name another file"
    elif not os.access(file.parent if kind is None else file, os.W_OK):
        msg = f"{option} {file} cannot be written; name another file"
    if msg:
        raise UsageError(msg)


def _kind(path: Path) -> str | None:
    """What stands there; ``None`` for nothing. Raises ``OSError`` where this user may not look."""
    return None if not path.exists() else "folder" if path.is_dir() else "file"


def write_whole(path: Path, text: str | bytes) -> None:
    """Write a file, a text in UTF-8, so that readers see the old one or the new one, never a part.

    A link stays one: what it leads to is written. What is there and is no file (/dev/null, a pipe) is written into, and
    never replaced by one.
    """
    real = path.resolve() if path.is_symlink() and path.is_file() else path
    beside = real.with_name(f".{real.name}.part")
    data = text if isinstance(text, bytes) else text.encode()
    try:
        if real.exists() and not real.is_file():
            with real.open("wb") as device:
                device.write(data)
            return
        beside.write_bytes(data)
        beside.replace(real)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        fail_writing(path, error)


def refuse_foreign(out: Path) -> None:
    """Raise ``ResultsError`` unless ``out`` is new, empty, or a folder of our runs.

    Loose files of somebody else's are the sign of a folder that is not ours; a README and hidden files are not.
    """
    if not out.exists():
        return
    if not out.is_dir():
        msg = f"{out} is a file; name a folder with --out DIR"
        raise ResultsError(msg)
    try:
        entries = sorted(out.iterdir())
    except OSError as error:
        fail_writing(out, error)
    names = [entry.name for entry in entries]
    if RUN in names and JOURNAL in names:
        msg = f"{out} is itself a run; runs go beside it: --out {out.parent}"
        raise ResultsError(msg)
    loose = [entry.name for entry in entries if entry.is_file() and not entry.name.startswith((".", "README"))]
    if loose and not any((entry / RUN).exists() for entry in entries if entry.is_dir()):
        shown = ", ".join(loose[:SHOWN_FILES]) + (", …" if len(loose) > SHOWN_FILES else "")
        msg = f"{out} holds files that are not runs of attnbench ({shown}); name another folder: --out {out}/attnbench"
        raise ResultsError(msg)
