"""The data inside a page: complete, once, and nothing that HTML could take for markup."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from attnbench.analysis.claims import NO_FIGURE
from attnbench.analysis.sampled import load_sampled
from attnbench.report.glance.forest import ForestLine, ForestMark, _short
from attnbench.report.html import records
from attnbench.report.html.embedded import VERSION, embedded, safe_json
from attnbench.report.html.page import policy
from attnbench.report.html.plots import interval_plot
from attnbench.results import load
from attnbench.results.read import read_info
from tests.report import suites
from tests.results import synthetic

FAILED = {("numpy/naive", 512): ("oom", "needs 9.0 GiB")}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write_run(tmp_path_factory.mktemp("r"), failed=FAILED, bursts=8)


@pytest.fixture(scope="module")
def table(run: Path) -> records.DataTable:
    return records.data_table(read_info(run), load_sampled(run), "smoke")


def keys(table: records.DataTable) -> list[str]:
    return [column.key for column in table.columns]


@pytest.mark.parametrize("text", ["</script><script>", "<!--", "]]>", "a\u2028b\u2029c", "&lt;", '"\\', "\x00\x1b"])
def test_no_text_ends_its_element_or_begins_another(text: str) -> None:
    written = safe_json([text])
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == [text]


def test_what_is_not_finite_is_never_written() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        safe_json([math.nan])


def test_the_data_have_every_cell_once_and_say_their_version(table: records.DataTable) -> None:
    data = json.loads(embedded([table]))
    assert data["version"] == VERSION
    only = data["tables"][0]
    assert len(only["rows"]) == len(table.cells) == 24
    said = [[only["values"][at] for at in row] for row in only["rows"]]
    for row, cells in zip(said, table.cells, strict=True):
        assert [value[1] if isinstance(value, list) else value for value in row] == [
            value[1] if isinstance(value, tuple) else value for value in cells
        ]
        numbers = [(value[0], cell[0]) for value, cell in zip(row, cells, strict=True) if isinstance(cell, tuple)]
        assert all(near == pytest.approx(exact, rel=1e-6) for near, exact in numbers)
    assert len(only["values"]) == len({json.dumps(value) for value in only["values"]})
    assert data["tables"][0]["columns"][3] == {"key": "time", "name": "median time", "number": True, "shown": True}


def test_numbers_are_sorted_by_their_value_and_read_by_their_text(table: records.DataTable, run: Path) -> None:
    at = keys(table).index("time")
    seconds = [value[0] for row in table.cells if isinstance(value := row[at], tuple)]
    assert seconds == load(run)["time_median_s"].dropna().tolist()
    assert records.text_of(table.cells[1][at]).endswith(("ms", "µs"))


def test_a_failed_cell_has_its_reason_and_no_time(table: records.DataTable) -> None:
    failed = [dict(zip(keys(table), row, strict=True)) for row in table.cells if row[2] == "oom"]
    assert len(failed) == 2
    assert {row["time"] for row in failed} == {row["ratio"] for row in failed} == {None}
    assert {row["reason"] for row in failed} == {"needs 9.0 GiB"}


def test_every_cell_has_its_command(table: records.DataTable) -> None:
    assert all(str(row[-1]).startswith("attnbench run smoke --impl ") for row in table.cells)
    assert len({row[-1] for row in table.cells}) == len(table.cells)


def test_what_a_reader_without_a_script_sees_are_the_same_rows(table: records.DataTable) -> None:
    texts = list(table.texts)
    assert len(texts) == 24
    assert {len(row) for row in texts} == {len(table.columns)}
    assert all(row[-1].startswith("attnbench run smoke --impl ") for row in texts)


def test_observed_cells_have_their_axes_and_numbers(tmp_path: Path) -> None:
    run = suites.write_observed(tmp_path, failed="jax/naive")
    table = records.data_table(read_info(run), load(run), "variance")
    assert keys(table)[1:6] == ["impl", "status", "point.d", "point.scaled", "metric.variance"]
    assert table.cells[0][3] == (1.0, "1")
    assert "attnbench run variance --impl numpy/naive -a d=1 -a scaled=False" in table.cells[0]


def test_numbers_that_are_not_finite_become_words(tmp_path: Path) -> None:
    run = suites.write_observed(tmp_path)
    frame = load(run)
    frame.loc[0, "metric.variance"] = math.inf
    frame.loc[1, "metric.variance"] = math.nan
    table = records.data_table(read_info(run), frame, "variance")
    at = keys(table).index("metric.variance")
    assert [row[at] for row in table.cells[:2]] == ["∞", None]
    assert json.loads(embedded([table]))


def test_a_level_that_is_not_finite_becomes_a_word(tmp_path: Path) -> None:
    run = suites.write_observed(tmp_path)
    table = records.data_table(read_info(run), load(run).assign(**{"point.d": math.inf}), "variance")
    assert {row[keys(table).index("point.d")] for row in table.cells} == {"∞"}
    assert json.loads(embedded([table]))


def test_the_column_that_sorts_by_its_width_says_so(table: records.DataTable) -> None:
    (column,) = (column for column in table.columns if column.key == "interval")
    assert column.name == "interval (sorts by width)"


def test_a_suite_of_which_nothing_was_measured_has_its_rows(run: Path) -> None:
    frame = load_sampled(run)
    none = frame.assign(status="crashed", reason="signal 9", time_median_s=None, time_low_s=None, time_high_s=None)
    assert len(records.data_table(read_info(run), pd.DataFrame(none), "smoke").cells) == 24


def test_the_policy_lets_this_script_run_and_no_other() -> None:
    assert policy("a") != policy("b")
    assert policy("a").startswith("default-src 'none'; base-uri 'none'; form-action 'none';")


def test_what_lies_beyond_the_scale_is_an_arrow_at_its_end() -> None:
    mark = ForestMark("reproduced", "t", "i", middle=90.0, low=80.0, high=math.inf)
    line = ForestLine("s", "<claim>", "s", "p", "m", (1.0, 4.0), (mark, ForestMark("out of scope", "t", "")))
    drawn = str(interval_plot(line))
    assert drawn.count("<path") == 1
    assert "<circle" not in drawn
    assert "inf" not in drawn
    inside = ForestMark("reproduced", "t", "i", middle=2.0, low=1.5, high=2.5)
    assert "<circle" in str(interval_plot(ForestLine("s", "c", "s", "p", "m", None, (inside,))))


def test_a_claim_of_ones_own_says_what_was_published_where_it_is_said_and_numbers_are_rounded_before_their_form() -> (
    None
):
    line = ForestLine("s", "c", "this suite", NO_FIGURE, "m", None, (), own=True)
    assert line.said == ""
    assert replace(line, published="0.7 in an earlier report").said == "0.7 in an earlier report (this suite)"
    assert replace(line, own=False).said == f"{NO_FIGURE} (this suite)"


def test_numbers_of_a_claim_are_rounded_before_their_form_is_chosen() -> None:
    assert [_short(value) for value in (0.7, 999.4, 999.6, 1234.5, 999999.9)] == ["0.7", "999", "1000", "1234", "1e+06"]
