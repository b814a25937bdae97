"""One odd entry never sinks a file: the rest is read, the entry is a row with its reason, or a warning names it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attnbench.errors import ResultsError
from attnbench.exchange.readers.importing import import_file
from attnbench.results import read_info
from attnbench.results.journal import read_journal
from attnbench.results.read import read_cells, read_samples
from attnbench.results.schema import CellResult
from tests.exchange import Read, imported

NAN = math.nan


def of_pytest(*entries: Any, **top: Any) -> dict[str, Any]:
    machine = {"node": "box", "machine": "x86_64", "cpu": {"brand_raw": "Example CPU", "count": 8}}
    data = {"machine_info": machine, "commit_info": {"id": "a" * 40}, "datetime": "2026-05-01T10:00:00"}
    return data | {"version": "5.2.3", "benchmarks": [entry("test_fine", [1e-3, 2e-3, 3e-3]), *entries]} | top


def entry(name: str, rounds: list[Any] | None = None, **stats: Any) -> dict[str, Any]:
    kept = {} if rounds is None else {"data": rounds}
    return {"name": name, "fullname": f"test_x.py::{name}", "params": None, "stats": kept | {"iterations": 1} | stats}


def of_pyperf(*entries: Any, **top: Any) -> dict[str, Any]:
    return {"version": "1.0", "benchmarks": [values("fine", [1e-3, 2e-3, 3e-3]), *entries]} | top


def values(name: str, of_run: list[Any], **run: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "unit": "second"}, "runs": [{"values": of_run} | run]}


COLUMNS = ["result", "params", "version", "started_at", "duration", "stats_number", "stats_repeat", "samples"]


def of_asv(folder: Path, described: dict[str, Any] | None, **lines: Any) -> dict[str, Any]:
    """A results file of asv, and its benchmarks.json beside it; ``time_fine`` takes 1 ms."""
    if described is not None:
        fine = {"type": "time", "unit": "seconds", "param_names": []}
        (folder / "benchmarks.json").write_text(json.dumps({"version": 2, "m.time_fine": fine} | described))
    results = {"m.time_fine": [[1e-3], []]} | {f"m.{name}": line for name, line in lines.items()}
    data = {"commit_hash": "b" * 40, "env_name": "py", "date": 1700000000000, "params": {"machine": "box"}}
    return data | {"result_columns": COLUMNS, "results": results, "version": 2}


def fine(rows: dict[str, CellResult]) -> None:
    """The entry that is as it should be was read."""
    row = next(row for name, row in rows.items() if name.rpartition(".")[2] in ("test_fine", "fine", "time_fine"))
    assert row.status == "ok"
    assert row.time_median_s == pytest.approx(1e-3 if "time" in row.variant else 2e-3)


ROUNDS = [
    ([1e-3, 0.0, 3e-3], 2e-3, "1 of 3 rounds left out: 1 at 0 s (the clock is too coarse)"),
    ([0.0, 1e-3], 1e-3, "1 of 2 rounds left out: 1 at 0 s"),
    ([1e-3, NAN, -1.0, None, "soon", 3e-3], 2e-3, "4 of 6 rounds left out: 4 at NaN, infinity, below 0 or no number"),
    ([1e-3, 0, math.inf, 3e-3], 2e-3, "2 of 4 rounds left out: 1 at 0 s (the clock is too coarse), 1 at NaN"),
]
NO_ROUND = [
    ([0.0, 0.0], "none of its rounds is a time above 0: 2 at 0 s (the clock is too coarse)"),
    ([NAN], "none of its rounds is a time above 0: 1 at NaN"),
    ([0.0, 0.0, 0.0, 15e-3], "3 of its 4 rounds are 0 s: the clock is too coarse for it"),
]


@pytest.mark.parametrize("tool", ["pytest", "pyperf", "asv"])
@pytest.mark.parametrize(("rounds", "median", "warning"), ROUNDS)
def test_a_round_that_is_no_time_is_left_out_and_counted(
    tool: str, rounds: list[Any], median: float, warning: str, tmp_path: Path
) -> None:
    rows, warnings = _with_rounds(tool, rounds, tmp_path)
    fine(rows)
    odd = next(row for name, row in rows.items() if "odd" in name)
    assert (odd.status, odd.n_samples) == ("ok", 2 if median > 1e-3 else 1)
    assert odd.time_median_s == pytest.approx(median)
    assert [warning in said for said in warnings] == [True]
    assert "odd" in warnings[0]


@pytest.mark.parametrize("tool", ["pytest", "pyperf", "asv"])
@pytest.mark.parametrize(("rounds", "reason"), NO_ROUND)
def test_where_no_round_is_a_time_or_most_are_0_the_row_says_so(
    tool: str, rounds: list[Any], reason: str, tmp_path: Path
) -> None:
    rows, _ = _with_rounds(tool, rounds, tmp_path)
    fine(rows)
    odd = next(row for name, row in rows.items() if "odd" in name)
    assert (odd.status, odd.time_median_s) == ("not-run", None)
    assert reason in str(odd.reason)


def _with_rounds(tool: str, rounds: list[Any], folder: Path) -> Read:
    if tool == "pytest":
        return imported(of_pytest(entry("test_odd", rounds)), folder)
    if tool == "pyperf":
        return imported(of_pyperf(values("odd", rounds)), folder)
    line = [[1e-3], [], None, None, None, [5], [len(rounds)], [rounds]]
    return imported(of_asv(folder, {"m.time_odd": TIME}, time_odd=line), folder)


ODD_OF_PYTEST: list[tuple[Any, str, str]] = [
    ({"name": "test_odd", "fullname": "test_x.py::test_odd"}, "test_odd", "it has no 'stats'"),
    ({"fullname": "test_x.py::test_odd", "stats": None}, "test_x.py::test_odd", "stats is null and no object"),
    (entry("test_odd", [], median=NAN), "test_odd", "its median, nan, is no time"),
    (entry("test_odd", median=0.0), "test_odd", "its median, 0.0, is no time"),
    (entry("test_odd"), "test_odd", "no rounds of it, and its median, None, is no time"),
    ({"name": "test_odd", "stats": {"data": 7}}, "test_odd", "cannot be understood"),
]


@pytest.mark.parametrize(("odd", "name", "reason"), ODD_OF_PYTEST)
def test_an_odd_entry_of_pytest_benchmark_is_a_row(odd: Any, name: str, reason: str, tmp_path: Path) -> None:
    rows, warnings = imported(of_pytest(odd), tmp_path)
    fine(rows)
    assert (rows[name].status, warnings) == ("not-run", [])
    assert reason in str(rows[name].reason)


def test_an_entry_without_a_name_is_a_warning(tmp_path: Path) -> None:
    rows, warnings = imported(of_pytest(7, {"stats": {}}), tmp_path)
    fine(rows)
    assert [warning.partition(" was left out")[0] for warning in warnings] == [
        "entry 2 of its benchmarks",
        "entry 3 of its benchmarks",
    ]


ODD_TOPS: list[tuple[dict[str, Any], str | None]] = [
    ({"datetime": "yesterday"}, "its date 'yesterday' cannot be understood; the time of the import stands for it"),
    ({"machine_info": None, "commit_info": None}, None),
    ({"machine_info": "a laptop"}, "machine_info is a text and no object"),
    ({"machine_info": {"node": "box", "cpu": {"count": "many", "brand_raw": None}}, "commit_info": {}}, None),
    ({"version": 5}, None),
]


@pytest.mark.parametrize(("top", "warning"), ODD_TOPS)
def test_what_is_odd_above_the_entries_sinks_no_file(top: Any, warning: str | None, tmp_path: Path) -> None:
    rows, warnings = imported(of_pytest(**top), tmp_path)
    fine(rows)
    assert len(warnings) == (0 if warning is None else 1)
    assert all(str(warning) in said for said in warnings)


def test_what_somebody_else_keeps_in_extra_info_is_not_ours(tmp_path: Path) -> None:
    theirs = entry("test_odd", [1e-3]) | {"extra_info": {"replicates": 3, "attnbench_row": "x"}}
    rows, _ = imported(of_pytest(theirs, entry("test_other", [1e-3]) | {"extra_info": None}), tmp_path)
    assert {row.status for row in rows.values()} == {"ok"}


ODD_OF_PYPERF: list[tuple[Any, str, str]] = [
    ({"metadata": {"name": "odd"}}, "odd", "it has no 'runs'"),
    ({"metadata": {"name": "odd"}, "runs": 7}, "odd", "its runs are a number and no list"),
    (values("odd", []), "odd", "only calibrations"),
    (values("odd", 7), "odd", "cannot be understood"),  # type: ignore[arg-type]
    ({"metadata": {"name": "odd", "unit": "byte"}, "runs": [{"values": [None]}]}, "odd", "its values in byte"),
]


@pytest.mark.parametrize(("odd", "name", "reason"), ODD_OF_PYPERF)
def test_an_odd_entry_of_pyperf_is_a_row(odd: Any, name: str, reason: str, tmp_path: Path) -> None:
    rows, warnings = imported(of_pyperf(odd, 7), tmp_path)
    fine(rows)
    assert (rows[name].status, len(warnings)) == ("not-run", 1)
    assert reason in str(rows[name].reason)
    assert "entry 3 of its benchmarks was left out" in warnings[0]


def test_a_warm_up_or_a_run_of_pyperf_that_is_odd_is_left_out(tmp_path: Path) -> None:
    odd = values("odd", [1e-3, 2e-3], warmups=[[1, 0.0], [1, 5e-3], [1], None], metadata={"date": "long ago"})
    odd["runs"].append("interrupted")
    rows, warnings = imported(of_pyperf(odd), tmp_path)
    assert warnings == ["odd: 1 of 2 runs left out, which are no objects"]
    samples = [s for s in read_samples(tmp_path / "results" / rows["odd"].run_id) if s.cell_id == rows["odd"].cell_id]
    assert [(sample.wall_s, sample.warmup) for sample in samples] == [(5e-3, True), (1e-3, False), (2e-3, False)]


TRACK = {"type": "track", "unit": "unit", "param_names": []}
TIME = {"type": "time", "unit": "seconds", "param_names": ["n"]}
ODD_OF_ASV: list[tuple[dict[str, Any], str, Any, str, str]] = [
    ({"m.track_odd": TRACK}, "track_odd", [["openblas"], []], "m.track_odd", "the text 'openblas' and no number"),
    ({"m.track_odd": TRACK}, "track_odd", [["1.10"], []], "m.track_odd", "the text '1.10' and no number"),
    ({"m.track_odd": TRACK}, "track_odd", [[{"a": 1}], []], "m.track_odd", 'its result is {"a": 1} and no number'),
    ({"m.time_odd": TIME}, "time_odd", [[1.0], [["1", "2"]]], "m.time_odd", "1 results for 2 combinations"),
    ({"m.time_odd": TIME}, "time_odd", [[1.0] * 3, [["1", "2"]]], "m.time_odd", "3 results for 2 combinations"),
    ({"m.time_odd": TIME}, "time_odd", [1.0, [["1", "2"]]], "m.time_odd", "no list of results for 2 combinations"),
    ({"m.time_odd": TIME}, "time_odd", 1.0, "m.time_odd", "its line is a number and no list"),
    ({"m.time_odd": TIME}, "time_odd", [[1.0], []] + [None] * 9, "m.time_odd", "11 values for 8 columns"),
    ({"m.time_odd": TIME}, "time_odd", [[-1.0], []], "m.time_odd", "its result, -1.0 s, is no time"),
    ({}, "odd", [[1.0], []], "m.odd", "its name does not say what it measures"),
    ({"m.time_odd": TIME}, "time_odd", [[1.0, 0], [["1", "2"]]], "m.time_odd(2)", "its result, 0 s, is no time"),
]


@pytest.mark.parametrize(("described", "key", "line", "name", "reason"), ODD_OF_ASV)
def test_an_odd_line_of_asv_is_a_row(
    described: dict[str, Any], key: str, line: Any, name: str, reason: str, tmp_path: Path
) -> None:
    rows, _ = imported(of_asv(tmp_path, described, **{key: line}), tmp_path)
    fine(rows)
    assert rows[name].status == "not-run"
    assert reason in str(rows[name].reason)


def test_asv_without_a_result_is_failed_and_n_a_is_absent(tmp_path: Path) -> None:
    line = [[None, NAN, 2.0], [["1", "2", "3"]]]
    rows, warnings = imported(of_asv(tmp_path, {"m.time_odd": TIME}, time_odd=line, track_none=[[None], []]), tmp_path)
    assert [rows[f"m.time_odd({n})"].status for n in (1, 2, 3)] == ["crashed", "unsupported", "ok"]
    assert (rows["m.track_none"].status, rows["m.track_none"].kind) == ("crashed", "observed")
    assert warnings == ["m.track_none is not in benchmarks.json; by its name it is of type track"]


GONE = {
    "time_gone": [[0.5], []],
    "timeraw_gone": [[0.25], []],
    "TimeSuite": [[0.125], []],
    "mem_gone": [[64], []],
    "peakmem_gone": [[4096], []],
    "track_gone": [[7], []],
}


@pytest.mark.parametrize("described", [{}, None, "garbled"])
def test_what_is_not_in_benchmarks_json_is_known_by_its_name(described: Any, tmp_path: Path) -> None:
    data = of_asv(tmp_path, {} if described == "garbled" else described, **GONE)
    if described == "garbled":
        (tmp_path / "benchmarks.json").write_text("{")
    rows, warnings = imported(data, tmp_path)
    fine(rows)
    assert [rows[f"m.{name}"].time_median_s for name in list(GONE)[:3]] == [0.5, 0.25, 0.125]
    assert [dict(rows[f"m.{name}"].metrics) for name in list(GONE)[3:]] == [
        {"memory_bytes": 64.0},
        {"peakmemory_bytes": 4096.0},
        {"track_unit": 7.0},
    ]
    if described == {}:
        assert [warning.split(" ")[0] for warning in warnings] == [f"m.{name}" for name in GONE]
    else:
        assert len(warnings) == 1
        assert "benchmarks.json" in warnings[0]
        assert "What was measured is taken from the names of the benchmarks" in warnings[0]


def test_parameters_of_asv_that_were_renamed_have_its_own_names(tmp_path: Path) -> None:
    line = [[1.0, 2.0], [["1", "2"], ["'x'"]]]
    rows, warnings = imported(of_asv(tmp_path, {"m.time_odd": TIME}, time_odd=line), tmp_path)
    assert rows["m.time_odd(2, 'x')"].point == {"param1": 2, "param2": "x"}
    assert warnings == ["m.time_odd has 2 parameters, in benchmarks.json 1: they are called param1, param2"]


def test_samples_of_asv_that_do_not_fit_are_left_out(tmp_path: Path) -> None:
    line = [[1.0, 2.0], [["1", "2"]], None, None, None, [1], [10, 10], [[1.0]]]
    rows, warnings = imported(of_asv(tmp_path, {"m.time_odd": TIME}, time_odd=line), tmp_path)
    assert [(row.time_median_s, row.n_samples) for row in rows.values()][1:] == [(1.0, 10), (2.0, 10)]
    assert [warning.split("and are")[0] for warning in warnings] == [
        "m.time_odd: its stats_number do not fit its 2 combinations of parameters ",
        "m.time_odd: its samples do not fit its 2 combinations of parameters ",
    ]


def test_memory_of_older_asv_is_in_kib(tmp_path: Path) -> None:
    known = []
    for ram in ("15891652", "16273051648"):
        data = of_asv(tmp_path, {}) | {"params": {"machine": "box", "ram": ram}}
        rows, _ = imported(data, tmp_path)
        known.append(read_info(tmp_path / "results" / rows["m.time_fine"].run_id).fingerprint.hardware)
    assert known[0].memory_bytes == 15891652 * 1024
    assert known[0].id == known[1].id


@pytest.mark.parametrize("tool", ["pytest", "pyperf"])
def test_of_two_entries_of_one_name_both_are_kept(tool: str, tmp_path: Path) -> None:
    if tool == "pytest":
        rows, warnings = imported(of_pytest(entry("test_fine", [7e-3]), entry("test_fine", [8e-3])), tmp_path)
    else:
        rows, warnings = imported(of_pyperf(values("fine", [7e-3]), values("fine", [8e-3])), tmp_path)
    fine(rows)
    name = "test_fine" if tool == "pytest" else "fine"
    assert [rows[f"{name} #{n}"].time_median_s for n in (2, 3)] == [7e-3, 8e-3]
    assert [warning.partition("there once more; ")[2] for warning in warnings] == [
        f"the further one is called {name} #2",
        f"the further one is called {name} #3",
    ]


def test_the_journal_keeps_the_warnings(tmp_path: Path) -> None:
    rows, warnings = imported(of_pytest(7), tmp_path)
    records = read_journal(tmp_path / "results" / rows["test_fine"].run_id / "journal.jsonl")
    assert [record.data["warnings"] for record in records if record.type == "event"] == [warnings]


BROKEN: list[tuple[Callable[[str], str], str]] = [
    (lambda _: "", "it is empty"),
    (lambda text: text[: len(text) // 2], "it is cut short, as by a crash while it was written: it ends at line"),
    (lambda text: text[:-1], "it is cut short"),
    (lambda text: text[:-1] + ",}", "there is a comma too many before line 1"),
    (lambda text: text.replace('"version"', "version"), "at line 1, column"),
    (lambda text: "Running ./b\n" + text[:-1], "it is cut short"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_a_file_that_is_no_json_says_where(change: Callable[[str], str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="is not JSON, or a damaged file") as refused:
        imported(change(json.dumps(of_pytest())), tmp_path)
    assert message in str(refused.value)
    assert not (tmp_path / "results").exists()


def test_text_around_the_json_is_passed_over(tmp_path: Path) -> None:
    before = "2026-05-01T10:00:00\nRunning ./b\n[x] CPU Caches:\n  L1 Data 32 KiB\n\n"
    rows, warnings = imported(before + json.dumps(of_pytest(), indent=1) + "\ndone\n", tmp_path)
    fine(rows)
    assert warnings == [
        "what stands before the JSON of theirs.json was passed over: '2026-05-01T10:00:00'",
        "what stands after the JSON of theirs.json was passed over: 'done'",
    ]


def test_two_documents_in_a_file_are_refused(tmp_path: Path) -> None:
    text = json.dumps(of_pytest())
    with pytest.raises(ResultsError, match="goes on after its first JSON document ends"):
        imported(f"{text}\n{text}", tmp_path)
    with pytest.raises(ResultsError, match="it holds 3 documents of pytest-benchmark, and a run has one"):
        imported(f"{text}\n{text}\n{text}", tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_a_shell_of_windows_redirected_is_read(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(json.dumps(of_pytest()).encode(encoding))
    assert len(read_cells(import_file(tmp_path / "x.json", tmp_path / "results"))) == 1


@pytest.mark.parametrize("spelled", ["nan", "-nan", "-nan(ind)", "inf", "-inf", "+Infinity", "NAN"])
def test_numbers_that_are_none_are_read_in_every_spelling(spelled: str, tmp_path: Path) -> None:
    data = of_pytest(entry("test_odd", median=123456.0))
    rows, _ = imported(json.dumps(data, indent=1).replace("123456.0", spelled), tmp_path)
    fine(rows)
    assert "is no time" in str(rows["test_odd"].reason)


@pytest.mark.parametrize("tool", ["pytest", "pyperf", "asv"])
def test_numbers_that_have_no_place_in_a_column_sink_no_file(tool: str, tmp_path: Path) -> None:
    huge = 10**400
    if tool == "pytest":
        rows, _ = imported(of_pytest(entry("test_odd", [1e-3], iterations=huge), entry("b", [huge])), tmp_path)
    elif tool == "pyperf":
        loops = values("odd", [1e-3], metadata={"loops": 2**62, "inner_loops": 2**62})
        rows, _ = imported(of_pyperf(loops, values("b", [huge])), tmp_path)
    else:
        line = [[1e-3], [], None, None, None, [huge], [huge], [[1e-3]]]
        data = of_asv(tmp_path, {"m.time_odd": TIME}, time_odd=line, time_b=[[huge], []])
        rows, _ = imported(data | {"params": {"ram": huge, "num_cpu": huge}, "date": huge}, tmp_path)
    fine(rows)
    assert [row.status for name, row in rows.items() if "odd" in name] == ["ok"]
    assert [row.status for name, row in rows.items() if name.endswith("b")] == ["not-run"]
