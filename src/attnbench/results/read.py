"""Reading run folders: finished ones from Parquet, unfinished ones from the journal.

Whatever is wrong with a folder is a ``ResultsError`` of one line, and the folder is left untouched.
"""

from __future__ import annotations

import glob
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from pydantic import ValidationError

from attnbench.errors import ResultsError, suggest, upgrade
from attnbench.results.journal import WITHDRAWN, read_journal, records_at, replicates_of, withdrawn
from attnbench.results.migrate import OLDEST, migrated
from attnbench.results.parquet import read_records, read_table, to_table
from attnbench.results.schema import SCHEMA_VERSION, CellResult, Record, RunInfo, Sample

if TYPE_CHECKING:
    import pyarrow as pa

AnyRecord = TypeVar("AnyRecord", bound=Record)

# What ``dataset.load`` takes: a run, a folder of runs, a shell pattern, or several of these.
Runs = str | Path | Sequence[str | Path]

RUN, JOURNAL, CELLS, SAMPLES = "run.json", "journal.jsonl", "cells.parquet", "samples.parquet"
VERDICTS = "verdicts.parquet"
OF_RUN = (RUN, JOURNAL, CELLS, SAMPLES, VERDICTS)  # what a run is read from, and nothing writes over


@dataclass(frozen=True)
class Contents:
    """What a journal holds: the run, the last row of each cell in planned order, events, samples but withdrawn ones."""

    info: RunInfo
    cells: tuple[CellResult, ...]
    samples: tuple[Sample, ...]
    events: tuple[Mapping[str, Any], ...]

    def done(self) -> frozenset[str]:
        """The ids of the cells that have a final row: the ones that resuming does not measure again."""
        return frozenset(cell.cell_id for cell in self.cells if cell.status != "not-run")

    def samples_of(self, cell_id: str) -> tuple[Sample, ...]:
        """The samples of one cell."""
        return tuple(sample for sample in self.samples if sample.cell_id == cell_id)


def read_run(folder: Path, model: type[Record]) -> pa.Table:
    """The cells or the samples of one run, by ``model``, as an Arrow table."""
    info = read_info(folder)
    file = folder / file_of(model)
    if info.status == "complete" and file.exists():
        return read_table(file, model)
    contents = read_contents(folder)
    return to_table(contents.samples if model is Sample else contents.cells, model)


def read_cells(folder: Path) -> tuple[CellResult, ...]:
    """The rows of one run as records, checked against the schema."""
    return _records(folder, CellResult)


def read_samples(folder: Path) -> tuple[Sample, ...]:
    """The samples of one run as records, checked against the schema."""
    return _records(folder, Sample)


def _records(folder: Path, model: type[AnyRecord]) -> tuple[AnyRecord, ...]:
    file = folder / file_of(model)
    if read_info(folder).status == "complete" and file.exists():
        try:
            return tuple(read_records(file, model))
        except ValueError as error:
            first = str(error).splitlines()[0]
            msg = f"{file} is damaged: {first}; it is left untouched"
            raise ResultsError(msg) from error
    contents = read_contents(folder)
    records = contents.samples if model is Sample else contents.cells
    return cast("tuple[AnyRecord, ...]", records)


class Became(NamedTuple):
    """What became of a cell, and of which one."""

    status: str
    reason: str | None
    variant: str


def outcomes(folder: Path) -> list[Became]:
    """What became of every cell of one run, without reading the rest of its rows."""
    table = read_run(folder, CellResult)
    return [Became(*of_cell) for of_cell in zip(*(table.column(n).to_pylist() for n in Became._fields), strict=True)]


def file_of(model: type[Record]) -> str:
    """The Parquet file of a record."""
    return SAMPLES if model is Sample else CELLS


def is_pattern(path: str | Path) -> bool:
    """Whether this is a shell pattern and not the name of something that is there."""
    return any(sign in str(path) for sign in "*?[") and not Path(path).exists()


def holds_runs(folder: Path) -> bool:
    """Whether this is no run, but a folder with runs in it."""
    return folder.is_dir() and not (folder / RUN).exists() and any(folder.glob(f"*/{RUN}"))


def find_runs(paths: Runs) -> list[Path]:
    """The run folders that ``load`` reads for these paths, each once; ``ResultsError`` where there is none."""
    several = [paths] if isinstance(paths, (str, Path)) else list(paths)
    folders = [folder for path in several for folder in _found(path)]
    if not folders:
        named = "an empty list" if not several else ", ".join(str(path) for path in several)
        msg = f"no run of attnbench in {named}; name run folders, a folder of them, or a pattern such as results/2026*"
        raise ResultsError(msg)
    return list({folder.resolve(): folder for folder in folders}.values())


def _found(path: str | Path) -> list[Path]:
    if is_pattern(path):
        hits = sorted(Path(hit) for hit in glob.glob(str(path), recursive=True))  # noqa: PTH207  (absolute patterns)
        return [folder for hit in hits for folder in ([hit] if (hit / RUN).is_file() else [])]
    if holds_runs(Path(path)):
        return [file.parent for file in sorted(Path(path).glob(f"*/{RUN}"))]
    return [run_folder(path)]


def run_folder(run: str | Path, out: str | Path = "results") -> Path:
    """The folder of a run given by path or by run_id; ``ResultsError`` names what is there instead."""
    for candidate in (Path(run), Path(out) / run):
        if candidate.is_dir():
            return candidate
        if candidate.name == RUN and candidate.is_file():
            return candidate.parent
    if Path(run).exists():
        msg = f"{run} is a file; a run is the folder that holds {RUN}. Another tool's file becomes one by"
        msg += f" attnbench import {shlex.quote(str(run))}"
        raise ResultsError(msg)
    parent = Path(run).parent if Path(run).parent.is_dir() and str(Path(run).parent) != "." else Path(out)
    names = [file.parent.name for file in sorted(parent.glob(f"*/{RUN}"))] if parent.is_dir() else []
    there = f"; the last one in {parent} is {names[-1]}" if names else ""
    msg = f"no run {str(run)!r}{suggest(Path(run).name, names) or there}"
    raise ResultsError(msg)


def read_info(folder: str | Path) -> RunInfo:
    """What run.json says. Raises ``ResultsError`` where it is missing, damaged, newer, or another program's."""
    path = Path(folder) / RUN
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        msg = f"{folder} is not a run of attnbench: it has no {RUN}{_runs_inside(Path(folder))}"
        raise ResultsError(msg) from error
    except (ValueError, OSError) as error:
        msg = f"{path} is damaged or cannot be read ({type(error).__name__}); the folder is left untouched"
        raise ResultsError(msg) from error
    return _info(data, path)


def _runs_inside(folder: Path) -> str:
    names = [file.parent.name for file in sorted(folder.glob(f"*/{RUN}"))]
    return f"; it holds {len(names)} runs, the last one is {folder / names[-1]}" if names else ""


def _info(data: Any, path: Path) -> RunInfo:
    if not isinstance(data, Mapping) or data.get("program") != "attnbench":
        msg = f"{path} is not attnbench's: another program wrote it. It is left untouched"
        raise ResultsError(msg)
    version = data.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        msg = (
            f"{path} was written by a newer attnbench (schema {version}, this one reads up to {SCHEMA_VERSION}). "
            f"Type: {upgrade()}"
        )
        raise ResultsError(msg)
    if type(version) is not int or version < OLDEST:
        msg = f"{path} is damaged: schema_version is {version!r}; the folder is left untouched"
        raise ResultsError(msg)
    return validated(RunInfo, migrated("RunInfo", data, version), path)


def validated(model: type[AnyRecord], data: Any, path: Path) -> AnyRecord:
    """``data`` as a record of the schema; ``ResultsError`` names the first field that is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        msg = f"{path} is damaged: {first_fault(error, model.__name__)}; the folder is left untouched"
        raise ResultsError(msg) from error


def first_fault(error: ValidationError, whole: str) -> str:
    """The first field that is wrong and why, in one line; ``whole`` is what to call all of it, if no field is."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or whole
    more = f" and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}"


def _migrated(record: str, data: Any, version: int, path: Path) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        msg = f"{path} is damaged: a {record} is a JSON object, not {type(data).__name__}; the folder is left untouched"
        raise ResultsError(msg)
    return data if version == SCHEMA_VERSION else migrated(record, data, version)


def read_contents(folder: str | Path) -> Contents:
    """Everything in the journal of a run. Raises ``ResultsError``."""
    path = Path(folder) / JOURNAL
    info: RunInfo | None = None
    version = SCHEMA_VERSION
    cells: dict[str, CellResult] = {}
    samples: list[Sample] = []
    events: list[Mapping[str, Any]] = []
    for record in read_journal(path):
        if record.type == "run":
            info = _info(record.data, path)
            version = record.data["schema_version"]
        elif record.type == "cell":
            row = validated(CellResult, _migrated("CellResult", record.data, version, path), path)
            cells[row.cell_id] = row
        elif record.type == "samples":
            samples += [validated(Sample, _migrated("Sample", sample, version, path), path) for sample in record.data]
        else:
            events.append(record.data)
    if info is None:
        msg = f"{path} is damaged: it does not say which run it belongs to; the folder is left untouched"
        raise ResultsError(msg)
    gone = replicates_of(events, WITHDRAWN)
    kept = (sample for sample in samples if (sample.cell_id, sample.replicate) not in gone)
    return Contents(info, tuple(cells.values()), tuple(kept), tuple(events))


def journalled_cells(folder: Path) -> Iterator[CellResult]:
    """The last row of every cell of a journal, in planned order, one at a time. Raises ``ResultsError``."""
    path = folder / JOURNAL
    version, places = SCHEMA_VERSION, dict[str, tuple[int, int]]()
    for record in read_journal(path):
        if record.type == "run":
            _info(record.data, path)
            version = record.data["schema_version"]
        elif record.type == "cell":
            cell_id = record.data.get("cell_id") if isinstance(record.data, Mapping) else None
            places[str(cell_id)] = (record.at, version)  # one without an id is refused below
    records = records_at(path, (at for at, _ in places.values()))
    for record, (_, version) in zip(records, places.values(), strict=True):
        yield validated(CellResult, _migrated("CellResult", record.data, version, path), path)


def journalled_samples(folder: Path) -> Iterator[Sample]:
    """The samples of a journal but those that were withdrawn, one at a time. Raises ``ResultsError``."""
    path, version = folder / JOURNAL, SCHEMA_VERSION
    gone = withdrawn(path)
    for record in read_journal(path):
        if record.type == "run":
            version = record.data["schema_version"]
        elif record.type == "samples":
            for data in record.data:
                sample = validated(Sample, _migrated("Sample", data, version, path), path)
                if (sample.cell_id, sample.replicate) not in gone:
                    yield sample
