"""Files of an older schema load, and are not rewritten; each new column has a step that says what it was."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from attnbench.errors import ResultsError
from attnbench.results import SCHEMA_VERSION, RunWriter, load, read_contents, read_info
from attnbench.results.migrate import OLDEST, STEPS, Step, migrated, migrated_table
from attnbench.results.parquet import arrow_schema
from attnbench.results.read import read_cells, read_samples
from attnbench.results.schema import SCHEMA_FILE, CellResult, Record, RunInfo, Sample
from tests.repository import REPOSITORY
from tests.results import synthetic

# Written by the code of that version; never written anew.
FIXTURES = Path(__file__).with_name("fixtures")
OLDER = sorted(FIXTURES.glob("schema-*/*"))
COMMITTED = sorted((REPOSITORY / "results").glob("*-sample"))


def content(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in sorted(folder.iterdir())}


def test_there_is_a_step_from_every_older_version_and_a_fixture_of_it() -> None:
    assert sorted(STEPS) == list(range(OLDEST, SCHEMA_VERSION))
    assert {json.loads((one / "run.json").read_text())["schema_version"] for one in OLDER} == set(STEPS)
    assert RunInfo.model_fields["schema_version"].default == SCHEMA_VERSION
    assert json.loads(SCHEMA_FILE.read_text())["schema_version"] == SCHEMA_VERSION


@pytest.mark.parametrize("folder", [*OLDER, *COMMITTED], ids=lambda one: one.name)
def test_an_older_run_loads_and_is_left_as_it_was(folder: Path) -> None:
    before = content(folder)
    cells, samples = load(folder), load(folder, samples=True)
    expected = {name for name in arrow_schema(CellResult).names if name not in ("point", "metrics")}
    assert expected <= set(cells.columns), "a new column needs its line in attnbench.results.migrate.STEPS"
    assert list(samples.columns) == arrow_schema(Sample).names
    assert len(read_cells(folder)) == len(cells) > 0
    timed = (cells["kind"] == "timed").any()  # an observed cell has no samples
    assert len(read_samples(folder)) == len(samples)
    assert (len(samples) > 0) == timed
    assert read_info(folder).schema_version == SCHEMA_VERSION
    assert content(folder) == before


def test_the_older_parquet_and_the_older_journal_say_the_same(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(OLDER[0], tmp_path / "run"))
    for samples in (False, True):
        compacted = load(folder, samples=samples)
        (folder / ("samples.parquet" if samples else "cells.parquet")).unlink()
        pd.testing.assert_frame_equal(load(folder, samples=samples), compacted)
    assert read_contents(folder).info.imported is None


def test_what_was_written_today_has_exactly_the_columns_of_an_older_file_brought_up_to_date(tmp_path: Path) -> None:
    """A column that is added without a new version, or without a step, is found here."""
    today = synthetic.write_run(tmp_path / "out", lengths=(128,), impls=("numpy/naive",), bursts=2)
    models: tuple[type[Record], ...] = (CellResult, Sample)
    for model, name in zip(models, ("cells.parquet", "samples.parquet"), strict=True):
        old = pq.read_table(OLDER[0] / name)
        found = migrated_table(model.__name__, old, 1, arrow_schema(model))
        assert found.column_names == pq.read_schema(today / name).names


def test_an_older_unfinished_run_is_resumed_and_finished(tmp_path: Path) -> None:
    partial = next(one for one in OLDER if not (one / "cells.parquet").exists())
    folder = Path(shutil.copytree(partial, tmp_path / "run"))
    writer, contents = RunWriter.resume(folder)
    with writer:
        writer.finish()
    assert len(load(folder)) == len(contents.cells)
    assert read_info(folder).status == "complete"


def test_a_step_renames_removes_and_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Step(added={"Sample": {"c": 0}}, renamed={"Sample": {"a": "b"}}, removed={"Sample": ("old",)})
    monkeypatch.setattr("attnbench.results.migrate.STEPS", {1: step})
    monkeypatch.setattr("attnbench.results.migrate.SCHEMA_VERSION", 2)
    assert migrated("Sample", {"a": 1, "old": 2}, 1) == {"b": 1, "c": 0}
    assert migrated("Sample", {"a": 1, "c": 5}, 1) == {"b": 1, "c": 5}
    assert migrated("CellResult", {"a": 1}, 1) == {"a": 1}
    assert migrated("Sample", {"a": 1}, 2) == {"a": 1}
    import pyarrow as pa

    schema = pa.schema([("c", pa.int64()), ("b", pa.int64())])
    found = migrated_table("Sample", pa.table({"a": [1, 2], "old": [3, 4]}), 1, schema)
    assert found.to_pydict() == {"c": [0, 0], "b": [1, 2]}


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    return synthetic.write_run(tmp_path / "results", lengths=(128,), impls=("numpy/naive", "torch/sdpa"), bursts=2)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def _cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _wrong_magic(path: Path) -> None:
    path.write_bytes(b"RAP1" + path.read_bytes()[4:-4] + b"RAP1")


def _garbled_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4:2000] = b"\xff" * 1996
    path.write_bytes(data)


def _without_a_column(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["run_id"]), path)


def _with_another_column(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.append_column("extra", table.column("run_id")), path)


def _of_another_type(path: Path) -> None:
    table = pq.read_table(path)
    at = table.schema.get_field_index("cell_id")
    import pyarrow as pa

    pq.write_table(table.set_column(at, "cell_id", pa.array([1] * table.num_rows)), path)


def _newer(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({"attnbench_schema_version": str(SCHEMA_VERSION + 1)}), path)


def _no_number(path: Path) -> None:
    pq.write_table(pq.read_table(path).replace_schema_metadata({"attnbench_schema_version": "two"}), path)


DAMAGE: dict[Any, str] = {
    _truncate: "is damaged; delete that file and the run is read from its journal",
    _cut_in_half: "is damaged; delete that file",
    _wrong_magic: "is damaged; delete that file",
    _garbled_pages: "is damaged; delete that file",
    _without_a_column: "is damaged: it has no column run_id",
    _with_another_column: "has no column extra",
    _of_another_type: "column cell_id is int64, not string",
    _newer: "Type: ",
    _no_number: "is not attnbench's",
}


@pytest.mark.parametrize("samples", [False, True], ids=["cells", "samples"])
@pytest.mark.parametrize("damage", DAMAGE, ids=lambda one: one.__name__.strip("_"))
def test_damaged_and_newer_parquet_is_a_clear_error_alone_and_among_others(
    finished: Path, damage: Any, samples: bool
) -> None:
    other = synthetic.info("20260102T030406Z-smoke-bbbbbb")
    synthetic.write_run(finished.parent, other, lengths=(128,), impls=("numpy/naive",), bursts=2)
    damage(finished / ("samples.parquet" if samples else "cells.parquet"))
    before = content(finished)
    for asked in (finished, finished.parent):
        with pytest.raises(ResultsError) as raised:
            load(asked, samples=samples)
        message = str(raised.value)
        assert DAMAGE[damage] in message
        assert finished.name in message
        assert "\n" not in message
    assert content(finished) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:2], "garbage", *lines[2:]], "line 3 is not JSON"),
        (lambda lines: [*lines[:2], '{"type":"cell","data":7}', *lines[2:]], "a CellResult is a JSON object, not int"),
        (lambda lines: [*lines[:2], '{"type":"samples","data":[7]}', *lines[2:]], "a Sample is a JSON object"),
        (
            lambda lines: [line.replace(f'"schema_version":{SCHEMA_VERSION}', '"schema_version":99') for line in lines],
            "newer",
        ),
        (
            lambda lines: [line.replace(f'"schema_version":{SCHEMA_VERSION}', '"schema_version":0') for line in lines],
            "schema_version is 0",
        ),
    ],
)
def test_a_damaged_or_newer_journal_is_a_clear_error(finished: Path, change: Any, message: str) -> None:
    (finished / "cells.parquet").unlink()
    journal = finished / "journal.jsonl"
    journal.write_text("\n".join(change(journal.read_text().splitlines())) + "\n")
    before = content(finished)
    with pytest.raises(ResultsError, match=message):
        load(finished)
    assert content(finished) == before


@pytest.mark.parametrize(
    ("version", "message"),
    [(SCHEMA_VERSION + 1, "newer"), (0, "is 0"), ("2", "is '2'"), (True, "is True"), (None, "is None")],
)
def test_run_json_of_another_version_is_left_alone(finished: Path, version: Any, message: str) -> None:
    path = finished / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": version}))
    before = content(finished)
    for read in (load, read_cells, RunWriter.resume):
        with pytest.raises(ResultsError, match=message):
            read(finished)
    assert content(finished) == before


def test_a_row_in_parquet_that_contradicts_its_status_is_found_where_records_are_read(finished: Path) -> None:
    import pyarrow as pa

    table = pq.read_table(finished / "cells.parquet")
    at = table.schema.get_field_index("status")
    pq.write_table(table.set_column(at, "status", pa.array(["wrong"] * table.num_rows)), finished / "cells.parquet")
    with pytest.raises(ResultsError, match=r"cells.parquet is damaged: .*left untouched"):
        read_cells(finished)
