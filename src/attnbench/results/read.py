"""Reading run folders: finished ones from Parquet, unfinished ones from the journal.

Whatever is wrong with a folder is a ``ResultsError`` of one line, and the folder is left untouched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from attnbench.errors import ResultsError, suggest
from attnbench.results.journal import read_journal
from attnbench.results.parquet import cells_frame, read_table, samples_frame
from attnbench.results.schema import SCHEMA_VERSION, CellResult, Record, RunInfo, Sample

if TYPE_CHECKING:
    import pandas as pd

AnyRecord = TypeVar("AnyRecord", bound=Record)

RUN, JOURNAL, CELLS, SAMPLES = "run.json", "journal.jsonl", "cells.parquet", "samples.parquet"


@dataclass(frozen=True)
class Contents:
    """What a journal holds: the run, the last row of every cell in planned order, all samples, all events."""

    info: RunInfo
    cells: tuple[CellResult, ...]
    samples: tuple[Sample, ...]
    events: tuple[Mapping[str, Any], ...]

    def done(self) -> frozenset[str]:
        """The ids of the cells that have a final row: the ones that resuming does not measure again."""
        return frozenset(one.cell_id for one in self.cells if one.status != "not-run")

    def samples_of(self, cell_id: str) -> tuple[Sample, ...]:
        """The samples of one cell."""
        return tuple(one for one in self.samples if one.cell_id == cell_id)


def load(path: str | Path, *, samples: bool = False) -> pd.DataFrame:
    """A run as a pandas frame: one row per planned cell, or with ``samples`` one row per sample.

    The levels of the axes stand in columns ``point.<axis>``, an ablation's numbers in ``metric.<name>``. ``path`` is
    a run folder, or a run_id below ``results/``. An unfinished run is read from its journal, its remaining cells
    being ``not-run``. Raises ``ResultsError`` for a folder that is missing, damaged, newer or not ours.
    """
    folder = run_folder(path)
    info = read_info(folder)
    file = folder / (SAMPLES if samples else CELLS)
    if info.status == "complete" and file.exists():
        return read_table(file)
    contents = read_contents(folder)
    return samples_frame(contents.samples) if samples else cells_frame(contents.cells)


def run_folder(run: str | Path, out: str | Path = "results") -> Path:
    """The folder of a run given by path or by run_id; ``ResultsError`` names what is there instead."""
    for candidate in (Path(run), Path(out) / run):
        if candidate.is_dir():
            return candidate
        if candidate.name == RUN and candidate.is_file():
            return candidate.parent
    if Path(run).exists():
        msg = f"{run} is a file; a run is the folder that holds {RUN}"
        raise ResultsError(msg)
    parent = Path(run).parent if Path(run).parent.is_dir() and str(Path(run).parent) != "." else Path(out)
    names = [one.parent.name for one in sorted(parent.glob(f"*/{RUN}"))] if parent.is_dir() else []
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
    names = [one.parent.name for one in sorted(folder.glob(f"*/{RUN}"))]
    return f"; it holds {len(names)} runs, the last one is {folder / names[-1]}" if names else ""


def _info(data: Any, path: Path) -> RunInfo:
    if not isinstance(data, Mapping) or data.get("program") != "attnbench":
        msg = f"{path} is not attnbench's: another program wrote it. It is left untouched"
        raise ResultsError(msg)
    found = data.get("schema_version")
    if isinstance(found, int) and found > SCHEMA_VERSION:
        msg = (
            f"{path} was written by a newer attnbench (schema {found}, this one reads up to {SCHEMA_VERSION}). "
            "Type: pip install -U attnbench"
        )
        raise ResultsError(msg)
    return validated(RunInfo, data, path)


def validated(model: type[AnyRecord], data: Any, path: Path) -> AnyRecord:
    """``data`` as a record of the schema; ``ResultsError`` names the first field that is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or model.__name__
        more = f" and {error.error_count() - 1} more" if error.error_count() > 1 else ""
        msg = f"{path} is damaged: {where}: {first['msg']}{more}; the folder is left untouched"
        raise ResultsError(msg) from error


def read_contents(folder: str | Path) -> Contents:
    """Everything in the journal of a run. Raises ``ResultsError``."""
    path = Path(folder) / JOURNAL
    info: RunInfo | None = None
    cells: dict[str, CellResult] = {}
    samples: list[Sample] = []
    events: list[Mapping[str, Any]] = []
    for record in read_journal(path):
        if record.type == "run":
            info = _info(record.data, path)
        elif record.type == "cell":
            row = validated(CellResult, record.data, path)
            cells[row.cell_id] = row
        elif record.type == "samples":
            samples += [validated(Sample, one, path) for one in record.data]
        else:
            events.append(record.data)
    if info is None:
        msg = f"{path} is damaged: it does not say which run it belongs to; the folder is left untouched"
        raise ResultsError(msg)
    return Contents(info, tuple(cells.values()), tuple(samples), tuple(events))
