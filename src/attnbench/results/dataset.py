"""Runs as frames: one, or many at once, whose Parquet files are one Arrow dataset, not read file after file.

Only the footers are looked at one by one (a dataset would pass over a newer, a damaged or another program's file in
silence); the rows of all files of one schema version are one scan. Unfinished runs have no Parquet file yet and are
read from their journals.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.errors import ResultsError
from attnbench.keywords import explained
from attnbench.results.columns import typed
from attnbench.results.parquet import damaged, file_version, read_table, require_arrow, to_frame, up_to_date
from attnbench.results.read import Runs, file_of, find_runs, holds_runs, is_pattern, read_run, run_folder
from attnbench.results.schema import CellResult, Record, Sample

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

READERS = 8


@dataclass(frozen=True)
class Source:
    """A run folder and, if it is finished, its Parquet file as a fragment of a dataset, with the file's version."""

    folder: Path
    fragment: Any = None
    version: int = 0
    run_id: str | None = None


@explained
def load(path: Runs, *, samples: bool = False) -> pd.DataFrame:
    """Runs as a pandas frame: one row per planned cell, or with ``samples`` one row per sample.

    The levels of the axes stand in columns ``point.<axis>``, an ablation's numbers in ``metric.<name>``. The columns
    that one begins with: ``suite``, ``impl``, ``phase``, ``dtype``, the sizes ``B`` to ``Dv``; ``status`` and
    ``reason``; ``time_median_s`` with ``time_low_s`` and ``time_high_s`` (seconds of a call), ``peak_bytes``,
    ``error_ratio`` (above 1 is wrong). Units stand in the names; docs/results.md explains every column. Whole numbers
    that may be absent are pandas' ``Int64``; what else is absent is NaN or a missing value. ``path`` is
    a run folder or a run_id below ``results/``; or, for many runs in one frame, a folder that holds runs, a shell
    pattern such as ``results/2026*``, or a list of any of these. Rows stand in the order of the runs: a folder's and
    a pattern's by name, a list's as given. An unfinished run is read from its journal, its remaining cells being
    ``not-run``. Raises ``ResultsError`` for what is missing, damaged, newer, not ours, or there twice.
    """
    return typed(plain(path, samples=samples), Sample if samples else CellResult)


def plain(path: Runs, *, samples: bool = False) -> pd.DataFrame:
    """The same as ``load`` for what computes with it: whole numbers that may be absent are floats, absent ones NaN."""
    model: type[Record] = Sample if samples else CellResult
    if not isinstance(path, (str, Path)) or is_pattern(path) or holds_runs(Path(path)):
        return to_frame(load_tables(find_runs(path), model))
    return to_frame(read_run(run_folder(path), model))


def load_tables(folders: Sequence[Path], model: type[Record]) -> pa.Table:
    """The cells or samples of these runs as one table, in the order of the folders. Raises ``ResultsError``."""
    arrow = require_arrow()
    sources = _sources(folders, model)
    _refuse_twins(sources)
    return arrow.concat_tables(list(_pieces(sources, model)))


def _sources(folders: Sequence[Path], model: type[Record]) -> list[Source]:
    """What each folder gives; the footers are read in parallel, and kept by the fragments for the scan."""
    import pyarrow.dataset as ds

    files = {folder: folder / file_of(model) for folder in folders}
    finished = [folder for folder in folders if files[folder].exists()]
    if not finished:
        return [Source(folder) for folder in folders]
    paths = [str(files[folder]) for folder in finished]
    # The schema is given, so that nothing is opened here; each file's own is held against it below.
    fragments = ds.dataset(paths, schema=_no_columns(), format="parquet").get_fragments()
    with ThreadPoolExecutor(READERS) as readers:
        by_folder = {source.folder: source for source in readers.map(_source, finished, fragments)}
    return [by_folder.get(folder, Source(folder)) for folder in folders]


def _no_columns() -> pa.Schema:
    return require_arrow().schema([])


def _source(folder: Path, fragment: Any) -> Source:
    arrow = require_arrow()
    try:
        fragment.ensure_complete_metadata()
        schema = fragment.physical_schema
    except (OSError, arrow.ArrowException) as error:
        raise damaged(Path(fragment.path)) from error
    return Source(folder, fragment, file_version(schema.metadata, fragment.path), _run_id(fragment))


def _run_id(fragment: Any) -> str | None:
    """The run that a file belongs to, from the statistics in its footer; ``None`` for a file without a row."""
    metadata = fragment.metadata
    at = metadata.schema.names.index("run_id") if "run_id" in metadata.schema.names else None
    if at is None or not metadata.num_row_groups:
        return None
    statistics = metadata.row_group(0).column(at).statistics
    return str(statistics.min) if statistics is not None and statistics.has_min_max else None


def _refuse_twins(sources: Sequence[Source]) -> None:
    """Raise ``ResultsError`` where two folders hold the same run: its rows would count twice."""
    seen: dict[str, Path] = {}
    for source in sources:
        if source.run_id is None:
            continue
        if source.run_id in seen:
            msg = f"{seen[source.run_id]} and {source.folder} hold the same run, {source.run_id}; name one of them"
            raise ResultsError(msg)
        seen[source.run_id] = source.folder


def _pieces(sources: Sequence[Source], model: type[Record]) -> Iterator[pa.Table]:
    """Neighbours of one version are one scan; whatever has no Parquet file is read from its journal."""
    for version, group in itertools.groupby(sources, key=lambda source: source.version):
        together = list(group)
        if version:
            yield _scan(together, model)
        else:
            yield from (read_run(source.folder, model) for source in together)


def _scan(sources: Sequence[Source], model: type[Record]) -> pa.Table:
    import pyarrow.dataset as ds

    arrow = require_arrow()
    schema = sources[0].fragment.physical_schema
    unlike = [source for source in sources if source.fragment.physical_schema != schema]
    if unlike:
        # One of them is not what its version says. Reading it alone says which, and how.
        for source in sources:
            read_table(Path(source.fragment.path), model)
    try:
        table = ds.FileSystemDataset([source.fragment for source in sources], schema, ds.ParquetFileFormat()).to_table()
    except (OSError, arrow.ArrowException):
        for source in sources:
            read_table(Path(source.fragment.path), model)
        raise
    return up_to_date(table.replace_schema_metadata(schema.metadata), model, sources[0].fragment.path)
