"""Every column has its word, in the page and in the type that it says."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from attnbench.results import load
from attnbench.results.columns import BY_RECORD, column_type, columns_table
from attnbench.results.schema import CellResult, Record, Sample
from tests.repository import DOCS
from tests.results import synthetic

FAILED = {("numpy/naive", 128): ("crashed", "it crashed")}
RECORDS: dict[str, type[Record]] = {"cells": CellResult, "samples": Sample}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write_run(tmp_path_factory.mktemp("columns") / "results", lengths=(128,), bursts=2, failed=FAILED)


@pytest.mark.parametrize("name", RECORDS)
def test_every_column_of_the_schema_is_explained_and_no_other(name: str) -> None:
    model = RECORDS[name]
    assert list(BY_RECORD[model]) == list(model.model_fields)
    for column, (unit, meaning) in BY_RECORD[model].items():
        assert meaning, column
        assert (unit == "s") == column.endswith("_s") or column == "t_start", column
        assert (unit == "bytes") == column.endswith("_bytes"), column


@pytest.mark.parametrize("name", RECORDS)
def test_the_page_has_the_table(name: str) -> None:
    table = f"<!-- {name}: begin -->\n{columns_table(RECORDS[name])}\n<!-- {name}: end -->"
    assert table in (DOCS / "results.md").read_text("utf-8"), "write it again: python -m tests.docs.write columns"


@pytest.mark.parametrize("name", RECORDS)
def test_a_frame_has_the_types_that_the_page_says(name: str, folder: Path) -> None:
    model = RECORDS[name]
    frame = load(folder, samples=model is Sample)
    for column in model.model_fields:
        if column in frame and not frame[column].isna().all():
            said = column_type(model, column)
            assert str(frame[column].dtype) in (("str", "object") if said == "text" else (said,)), column


def test_an_absent_whole_number_leaves_the_others_whole(folder: Path) -> None:
    frame = load(folder)
    failed = frame[frame["status"] != "ok"]
    assert len(failed)
    assert failed["n_bursts"].isna().all()
    assert frame["n_bursts"].dtype == pd.Int64Dtype()
    assert int(frame["n_bursts"].max()) == frame["n_bursts"].max()
