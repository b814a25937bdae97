"""Rows to and from Parquet and pandas: one Arrow schema derived from the record, with its version in the file.

``point``, ``metrics``, ``memory`` and ``case`` are dicts of mixed types: in the file they are JSON text, in a frame
the first two are expanded into columns ``point.<axis>`` and ``metric.<name>``.
"""

from __future__ import annotations

import itertools
import json
import types
import typing
from collections.abc import Iterable, Sequence
from contextlib import suppress
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from attnbench.errors import MissingExtraError, ResultsError, upgrade
from attnbench.results.journal import fail_writing
from attnbench.results.migrate import OLDEST, migrated_table
from attnbench.results.schema import SCHEMA_VERSION, CellResult, Record, Sample

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

AnyRecord = TypeVar("AnyRecord", bound=Record)

METADATA_KEY = b"attnbench_schema_version"
JSON_COLUMNS = ("point", "metrics", "memory", "case")
# Rows that are written at once, as a row group.
PART = 5000
EXPANDED = {"point": "point.", "metrics": "metric."}


def write_cells(cells: Iterable[CellResult], path: Path) -> None:
    """Write the rows to a Parquet file."""
    _write(cells, CellResult, path)


def write_samples(samples: Iterable[Sample], path: Path) -> None:
    """Write the samples to a Parquet file."""
    _write(samples, Sample, path)


def read_table(path: Path, model: type[Record]) -> pa.Table:
    """The table of ``model`` in a Parquet file of ours, an older one brought up to date.

    Raises ``ResultsError`` if the file is damaged, newer or another program's; it is left untouched.
    """
    arrow = require_arrow()
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except (OSError, arrow.ArrowException) as error:
        raise damaged(path) from error
    return up_to_date(table, model, path)


def read_records(path: Path, model: type[AnyRecord]) -> list[AnyRecord]:
    """The rows of a Parquet file of ours as records. Raises ``ResultsError`` as ``read_table`` does."""
    rows = read_table(path, model).to_pylist()
    for row in rows:
        for name in JSON_COLUMNS:
            if row.get(name) is not None:
                row[name] = json.loads(row[name])
    return [model.model_validate(row) for row in rows]


def damaged(path: Path) -> ResultsError:
    """The error of a Parquet file that cannot be read."""
    beside = path.with_name("journal.jsonl").exists()
    way = "delete that file and the run is read from its journal" if beside else "get it again from where it came"
    return ResultsError(f"{path} is damaged; {way}. It is left untouched")


def file_version(metadata: dict[bytes, bytes] | None, path: str | Path) -> int:
    """The schema version in the metadata of a Parquet file; ``ResultsError`` where it is newer or another program's."""
    text = (metadata or {}).get(METADATA_KEY)
    if text is None or not text.isdigit():
        msg = f"{path} is not attnbench's: its metadata has no schema version. It is left untouched"
        raise ResultsError(msg)
    if int(text) > SCHEMA_VERSION:
        msg = f"{path} has schema {int(text)}, this attnbench reads up to {SCHEMA_VERSION}. Type: "
        raise ResultsError(msg + upgrade())
    if int(text) < OLDEST:
        msg = f"{path} is not attnbench's: there was no schema {int(text)}. It is left untouched"
        raise ResultsError(msg)
    return int(text)


def up_to_date(table: pa.Table, model: type[Record], path: str | Path) -> pa.Table:
    """A table as read, with the columns of this version's schema; ``ResultsError`` names one that is not right."""
    version = file_version(table.schema.metadata, path)
    schema = arrow_schema(model)
    table = migrated_table(model.__name__, table, version, schema)
    if missing := [name for name in schema.names if name not in table.column_names]:
        msg = f"{path} is damaged: it has no column {', '.join(missing)}. It is left untouched"
        raise ResultsError(msg)
    for column in table.schema:
        if column.name not in schema.names:
            msg = f"{path} is damaged: schema {version} has no column {column.name}. It is left untouched"
            raise ResultsError(msg)
        wanted = schema.field(column.name).type
        if column.type != wanted:
            msg = f"{path} is damaged: column {column.name} is {column.type}, not {wanted}. It is left untouched"
            raise ResultsError(msg)
    return table.replace_schema_metadata(schema.metadata)


def to_table(records: Sequence[Record], model: type[Record]) -> pa.Table:
    """Records as an Arrow table with the columns of ``model``."""
    arrow = require_arrow()
    schema = arrow_schema(model)
    rows = map(attrgetter(*schema.names), records)
    columns = dict(zip(schema.names, map(list, zip(*rows, strict=True)), strict=True)) if records else {}
    for name in JSON_COLUMNS:
        if name in columns:
            columns[name] = [None if value is None else json.dumps(value) for value in columns[name]]
    return arrow.table(columns, schema=schema) if columns else schema.empty_table()


def arrow_schema(model: type[Record]) -> pa.Schema:
    """The Arrow schema of a record: one column for each field, by its type."""
    arrow = require_arrow()
    kinds = {bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64(), str: arrow.string()}
    columns = [
        arrow.field(name, arrow.string() if name in JSON_COLUMNS else kinds[_plain(info.annotation)])
        for name, info in model.model_fields.items()
    ]
    return arrow.schema(columns, metadata={METADATA_KEY: str(SCHEMA_VERSION).encode()})


def _plain(annotation: Any) -> type:
    """The type behind ``X | None`` and ``Literal``."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        annotation = next(part for part in typing.get_args(annotation) if part is not type(None))
    if typing.get_origin(annotation) is typing.Literal:
        return type(typing.get_args(annotation)[0])
    kind: type = annotation
    return kind


def to_frame(table: pa.Table) -> pd.DataFrame:
    """A table as a pandas frame with ``point`` and ``metrics`` expanded."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas()
    for column, prefix in EXPANDED.items():
        if column not in frame:
            continue
        texts = frame.pop(column).tolist()
        # Many cells share a point: a thousand runs hold each of them a thousand times.
        parsed = {text: json.loads(text) for text in set(texts) if isinstance(text, str) and text}
        dicts = [parsed.get(text, {}) for text in texts]
        names = dict.fromkeys(name for point in dicts for name in point)
        levels = {prefix + name: [_hashable(point.get(name)) for point in dicts] for name in names}
        # All at once: pandas warns of a frame that is put together from a hundred columns one by one.
        columns = {name: pd.Series(values, index=frame.index, dtype=_dtype(values)) for name, values in levels.items()}
        frame = pd.concat([frame, pd.DataFrame(columns, index=frame.index)], axis="columns")
    return frame


def _hashable(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, dict)) else value


def _dtype(values: Sequence[Any]) -> str:
    """The plainest dtype that keeps the values: numbers stay numbers; mixed levels stay what they are."""
    kinds = {type(value) for value in values if value is not None}
    missing = any(value is None for value in values)
    if kinds == {int} and not missing:
        return "int64"
    if kinds and kinds <= {int, float}:
        return "float64"
    return "str" if kinds == {str} else "object"


class TableFile:
    """A Parquet file that is written part by part, and that has its name once it is whole."""

    def __init__(self, path: Path, model: type[Record]) -> None:
        require_arrow()
        from pyarrow import parquet

        self.path, self._model = path, model
        self._beside = path.with_name(f".{path.name}.part")
        try:
            self._file = parquet.ParquetWriter(self._beside, arrow_schema(model), compression="zstd")
        except OSError as error:
            self._fail(error)

    def add(self, records: Sequence[Record]) -> None:
        """Write more of them, if there are any. Raises ``ResultsError``, and then nothing is left."""
        try:
            if records:
                self._file.write_table(to_table(records, self._model))
        except OSError as error:
            self._fail(error)

    def close(self) -> None:
        """Give the file its name."""
        try:
            self._file.close()
            self._beside.replace(self.path)
        except OSError as error:
            self._fail(error)

    def discard(self) -> None:
        """Leave off what is not whole yet; nothing is left of it."""
        with suppress(OSError):
            self._file.close()
        self._beside.unlink(missing_ok=True)

    def _fail(self, error: OSError) -> NoReturn:
        self._beside.unlink(missing_ok=True)
        fail_writing(self.path, error)


def _write(records: Iterable[Record], model: type[Record], path: Path) -> None:
    """Write records part by part: no more of them are held than a part has."""
    rest = iter(records)
    file = TableFile(path, model)
    try:
        while part := list(itertools.islice(rest, PART)):
            file.add(part)
        file.close()
    finally:
        file.discard()


def require_arrow() -> Any:
    """The module ``pyarrow``; ``MissingExtraError`` where it or pandas is not installed."""
    try:
        import pandas as pd  # noqa: F401  (pyarrow gives frames only with it)
        import pyarrow as pa
    except ModuleNotFoundError as error:
        what = "reading and writing results"
        raise MissingExtraError(what, "report", error.name) from error
    return pa
