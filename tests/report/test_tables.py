"""Tables and their renderings: order, units, failures, widths, colours."""

from pathlib import Path

import pandas as pd
import pytest

from attnbench.analysis.sampled import load_sampled
from attnbench.comparing import CLAIM, Verdict
from attnbench.report import console, tables
from attnbench.results import load
from attnbench.show import units
from attnbench.show.table import Column, Screen
from tests.report import suites
from tests.results import synthetic


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    failed = {
        ("numpy/naive", 512): ("oom", "needs 9.0 GiB,\n2.0 GiB are free"),
        ("torch/sdpa", 512): ("unsupported", "S is not a multiple of 128"),
    }
    return load_sampled(synthetic.write_run(tmp_path_factory.mktemp("out") / "results", failed=failed, bursts=6))


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.2345, "1.23"), (0.012345, "0.0123"), (1239.0, "1239"), (0.9999, "1.00"), (0, "0"), (2e-9, "2.00e-09")],
)
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert units.significant(value) == text


def test_units_suit_the_number() -> None:
    assert units.seconds(1.234e-3) == "1.23 ms"
    assert units.seconds(5e-10) == "0.500 ns"
    assert units.seconds(None) == units.seconds(float("nan")) == "–"
    assert units.interval(1e-3, 0.9e-3, 1.1e-3) == "0.900 – 1.10"
    assert units.interval(1e-3, 0.9e-3, 1.1e-3, named=True) == "0.900 – 1.10 ms"
    assert units.interval(1e-3, None, None) == "too few bursts"
    assert units.interval(None, None, None) == "–"
    assert (units.size(3 * 2**20), units.size(10), units.size(0), units.size(None)) == ("3.00 MiB", "10 B", "0 B", "–")
    assert units.times(2.5) == "2.50×"
    assert units.significant(float("inf")) == "∞"
    assert (units.number(64.0), units.number(0.5), units.number(None), units.number("x")) == ("64", "0.5000", "–", "x")
    assert (units.level(64.0), units.level(3e-4), units.level(None), units.level("x")) == ("64", "0.0003", "–", "x")


def test_a_block_is_a_table_fastest_first_and_failures_last(frame: pd.DataFrame) -> None:
    found = list(tables.timing_tables(frame))
    assert len(found) == 4
    longest = next(table for table in found if "causal B1 H4 T512" in table.title)
    assert longest.title == "forward causal B1 H4 T512 D64 float32 · cpu, 1 thread"
    assert [row[0] for row in longest.rows][-2:] == ["numpy/naive", "torch/sdpa"]
    # Two processes do not tell 1.25 times from the fastest.
    assert longest.marks == ("best", "best", "", "", "failed", "absent")
    # The page has the same "?".
    assert [row[4].split(" ")[0][-1] for row in longest.rows[:4]] == ["×", "?", "×", "×"]
    ratios = [float(row[4].split(" ")[0][:-1]) for row in longest.rows[:4]]
    assert ratios[0] == 1
    assert ratios == sorted(ratios)
    assert longest.rows[-2][1:] == ("oom", "–", "–", "–", "–", "–", "needs 9.0 GiB, 2.0 GiB are free")


def test_a_block_in_which_all_failed_is_still_a_table(tmp_path: Path) -> None:
    failed = {(impl, 128): ("crashed", "signal 11") for impl in synthetic.IMPLS}
    frame = load(synthetic.write_run(tmp_path / "r", failed=failed, lengths=(128,)))
    for table in tables.timing_tables(frame):
        assert table.marks == ("failed",) * 6
        assert "signal 11" in console.render(table, Screen(100))


def test_a_reason_stands_where_its_row_has_no_numbers(frame: pd.DataFrame) -> None:
    longest = list(tables.timing_tables(frame))[1]
    assert [column.name for column in longest.heads()] == [column.name for column in longest.columns[:-1]]
    failed = longest.marks.index("failed")
    reason = ("needs 9.0 GiB, 2.0 GiB are free", 5, False)
    assert longest.cells(failed) == (("numpy/naive", 1, False), ("oom", 1, False), reason)
    assert sum(span for _, span, _ in longest.cells(0)) == len(longest.heads()) == 7
    wrong = tables.Table("t", longest.columns, (("a", "wrong", "–", "–", "–", "–", "3.2", "far off"),), ("failed",))
    assert wrong.cells(0)[2:] == (("far off", 4, False), ("3.2", 1, True))
    listed = tables.failures_table(frame)
    assert listed.heads() == listed.columns
    assert len(listed.cells(0)) == 5


def test_hot_times_get_a_column_where_there_are_any(frame: pd.DataFrame) -> None:
    changed = frame.assign(time_hot_median_s=frame["time_median_s"] / 2)
    assert "hot" in [column.name for column in next(tables.timing_tables(changed)).columns]
    assert "hot" not in [column.name for column in next(tables.timing_tables(frame)).columns]


def test_observed_numbers_are_a_table(tmp_path: Path) -> None:
    frame = load(suites.write_observed(tmp_path / "r", failed="jax/naive"))
    (table,) = tables.metrics_tables(frame)
    assert table.title == "What was observed"
    assert [column.name for column in table.columns] == [
        "d", "scaled", "implementation", "status", "variance", "reason",
    ]  # fmt: skip
    assert len(table.rows) == 24
    assert table.rows[2] == ("1", "False", "jax/naive", "crashed", "–", "signal 11 | core dumped")
    assert list(tables.timing_tables(frame)) == []


def test_a_timed_frame_has_no_table_of_observations(frame: pd.DataFrame) -> None:
    assert tables.metrics_tables(frame) == ()


def test_each_suite_has_its_table_and_single_seeds_are_left_to_the_frame(tmp_path: Path) -> None:
    first = load(suites.write_observed(tmp_path / "r")).assign(**{"metric.variance.seed0": 1.0})
    both = pd.concat([first, first.assign(suite="other").rename(columns={"metric.variance": "metric.slope"})])
    found = tables.metrics_tables(both)
    assert [one.title for one in found] == [f"What was observed: {name}" for name in (first["suite"].iloc[0], "other")]
    names = [[column.name for column in one.columns] for one in found]
    assert "variance" in names[0]
    assert "variance" not in names[1]
    assert not [name for one in names for name in one if "seed" in name]


def test_learning_curves_are_left_to_the_frame_unless_they_are_all_there_is(tmp_path: Path) -> None:
    curve = {"metric.loss.step1": 3.0, "metric.loss.step200": 2.0, "metric.align.ex0.t0.s0": 0.5}
    first = load(suites.write_observed(tmp_path / "r"))
    (table,) = tables.metrics_tables(first.assign(**curve, **{"metric.chosen_step": 200.0}))
    assert [column.name for column in table.columns][4:-1] == ["variance", "chosen_step"]
    (table,) = tables.metrics_tables(first.drop(columns="metric.variance").assign(**dict(list(curve.items())[:2])))
    assert [column.name for column in table.columns][4:-1] == ["loss.step200"]


def test_failures_and_disturbances_are_listed(frame: pd.DataFrame) -> None:
    assert [row[3] for row in tables.failures_table(frame).rows] == ["oom"] * 2
    (row,) = tables.absent_table(frame).rows
    assert row[1:3] == ("2", "unsupported")
    assert {row[2:] for row in tables.disturbed_table(frame).rows} == {("1", "6")}


def test_verdicts_are_a_table_that_says_what_kind_of_claim_it_is() -> None:
    found = [
        Verdict("s", "c", "forward", "torch/sdpa", "cpu", 1, "time", "slower", 1.2, 1.1, 1.3, evidence="12 bursts"),
        Verdict("s", "c", "forward", "torch/sdpa", "cpu", 1, "time", "not-comparable", reason="kernel differs"),
    ]
    table = tables.verdict_table(found)
    assert table.title == CLAIM
    assert "weaker claim" in table.title
    assert table.rows[0][4:] == ("+20.0 %", "+10.0 % … +30.0 %", "12 bursts", "")
    assert table.rows[1][-1] == "kernel differs"
    assert table.marks == ("failed", "")


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_a_table_fits_its_pipe(frame: pd.DataFrame, width: int) -> None:
    for table in tables.timing_tables(frame):
        text = console.render(table, Screen(width))
        # The four columns that always stay need 60.
        assert max(len(line) for line in text.splitlines()) <= max(width, 60)
        assert "median time" in text
        assert "vs fastest" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_fits_its_terminal_and_loses_no_reason(frame: pd.DataFrame, width: int) -> None:
    for table in (*tables.timing_tables(frame), tables.failures_table(frame)):
        text = console.render(table, Screen(width, wraps=True))
        assert max(map(len, text.splitlines())) <= width
        for reason in filter(None, (row[-1] for row in table.rows)):
            assert set(reason.split()) <= set(text.split())


def test_a_terminal_has_room_for_more_columns_than_a_pipe_of_its_width(frame: pd.DataFrame) -> None:
    longest = list(tables.timing_tables(frame))[1]
    assert "too narrow for: peak memory, error ratio" in console.render(longest, Screen(80))
    assert "too narrow for: error ratio" in console.render(longest, Screen(80, wraps=True))
    wrapped = console.render(longest, Screen(95, wraps=True))
    assert "too narrow for: error ratio" in console.render(longest, Screen(95))
    assert "too narrow" not in wrapped
    assert "numpy/naive: needs 9.0 GiB, 2.0 GiB are free" in wrapped


def test_reasons_never_vanish_however_narrow(frame: pd.DataFrame) -> None:
    text = console.render(list(tables.timing_tables(frame))[1], Screen(62))
    assert "numpy/naive: needs 9.0 GiB, 2.0 GiB are free" in text
    assert "too narrow for: interval, peak memory, error ratio" in " ".join(text.split())


def test_columns_line_up(frame: pd.DataFrame) -> None:
    lines = console.render(next(tables.timing_tables(frame)), Screen(120)).splitlines()[1:]
    rule = lines[1]
    assert set(rule) == {"─", " "}
    for line in (lines[0], *lines[2:]):
        assert all(line[i] == " " for i, mark in enumerate(rule) if mark == " " and i < len(line))


def test_colour_is_only_for_those_who_want_it(frame: pd.DataFrame) -> None:
    table = next(tables.timing_tables(frame))
    for screen in (Screen(100), Screen(100, wraps=True)):
        assert "\x1b[" not in console.render(table, screen)
    assert "\x1b[32mtorch/sdpa" in console.render(table, Screen(100, wraps=True, colour=True))


def test_wide_characters_take_two_columns() -> None:
    table = tables.Table("t", (Column("a"), Column("b")), (("注意", "x"), ("ab", "y")), ("", ""))
    assert console.render(table, Screen(40)).splitlines()[-2:] == ["注意  x", "ab    y"]


def test_blocks_in_which_nothing_was_tried_are_one_table_by_reason(frame: pd.DataFrame) -> None:
    timed = frame[frame["kind"] == "timed"]
    blocks = timed["block_id"].unique()
    there, gone = timed[timed["block_id"] == blocks[0]], timed[timed["block_id"] != blocks[0]]
    gone = gone.assign(status="unsupported", reason="device cuda is not there; it has cpu")
    first, *others = tables.timing_tables(pd.concat([gone, there]))
    assert len(first.rows) == len(there)
    (only,) = others
    assert only.title == f"Nothing was tried in {len(blocks) - 1} case" + ("s" if len(blocks) > 2 else "")
    assert sum(int(row[1]) for row in only.rows) == len(gone)
    assert {row[2:] for row in only.rows} == {("unsupported", "device cuda is not there; it has cpu")}
    text = console.render(only, Screen(60))
    assert "device cuda is not there" in " ".join(text.split())


def test_the_title_of_a_block_names_the_shape_that_was_asked_for(frame: pd.DataFrame) -> None:
    timed = frame[frame["kind"] == "timed"]
    plain = next(tables.timing_tables(timed)).title
    assert next(tables.timing_tables(timed.assign(**{"point.shape": "llama-3-8b"}))).title == f"llama-3-8b: {plain}"
    assert next(tables.timing_tables(timed.assign(**{"point.shape": None}))).title == plain


# Peak memory that was not measured.

SPENT = "not measured: the budget was spent"


def unweighed(frame: pd.DataFrame, impls: tuple[str, ...], source: str | None) -> pd.DataFrame:
    """The frame with cells that have no peak, and what their rows say of it."""
    mine = frame["impl"].isin(impls)
    memory = "{}" if source is None else f'{{"source": "{source}"}}'
    peaks = frame["peak_bytes"].where(~mine)
    return frame.assign(peak_bytes=peaks, memory=frame["memory"].where(~mine, memory))


def test_peak_memory_that_was_not_measured_has_its_reason_in_the_table(frame: pd.DataFrame) -> None:
    changed = unweighed(frame, ("torch/naive",), SPENT)
    for table in tables.timing_tables(changed):
        places = {column.name: number for number, column in enumerate(table.columns)}
        row = next(row for row in table.rows if row[0] == "torch/naive")
        assert (row[places["status"]], row[places["peak memory"]]) == ("ok", "–")
        assert row[places["reason"]] == f"peak memory {SPENT}"
        others = [row for row in table.rows if row[1] == "ok" and row[0] != "torch/naive"]
        assert {row[places["reason"]] for row in others} == {""}
        for width in (62, 80, 200, None):
            text = " ".join(console.render(table, Screen(width)).split())
            assert f"peak memory {SPENT}" in text
        spans = [cell for number in range(len(table.rows)) for cell in table.cells(number) if SPENT in cell[0]]
        assert len(spans) == 1


def test_a_suite_that_is_not_about_memory_has_no_such_column(frame: pd.DataFrame) -> None:
    impls = tuple(frame["impl"].unique())
    for table in tables.timing_tables(unweighed(frame, impls, None)):
        assert "peak memory" not in [column.name for column in table.columns]
        assert {len(row) for row in table.rows} == {len(table.columns)}
    for table in tables.timing_tables(unweighed(frame, impls, SPENT)):
        assert "peak memory" in [column.name for column in table.columns]
