"""Files of google-benchmark of all its ages: what is a benchmark, what it is called, and what it counted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from attnbench.comparing import compare
from attnbench.report.write import write_report
from attnbench.results import read_info
from attnbench.results.read import read_samples
from tests.exchange import imported

NOW = {"date": "2026-05-01T10:00:00+02:00", "host_name": "box", "num_cpus": 8, "library_version": "v1.9.0"}
OF_2017 = {"date": "2017-05-01 10:00:00", "num_cpus": 8, "mhz_per_cpu": 3000, "library_build_type": "release"}


def of_google(*runs: Any, **context: Any) -> dict[str, Any]:
    return {"context": NOW | context, "benchmarks": list(runs)}


def of_2017(*runs: Any, **context: Any) -> dict[str, Any]:
    return {"context": OF_2017 | context, "benchmarks": list(runs)}


def old(name: str, time: Any = 100.0, **more: Any) -> dict[str, Any]:
    """A run before there was ``run_type``."""
    return {"name": name, "iterations": 100, "real_time": time, "cpu_time": time, "time_unit": "ns"} | more


def new(name: str, time: Any = 100.0, **more: Any) -> dict[str, Any]:
    return old(name, time) | {"run_name": name, "run_type": "iteration", "threads": 1} | more


def aggregate(name: str, kind: str, time: Any = 100.0, **more: Any) -> dict[str, Any]:
    run = new(f"{name}_{kind}", time, run_name=name, run_type="aggregate", aggregate_name=kind)
    return run | {"aggregate_unit": "time", "repetitions": 3} | more


def big_o(name: str) -> list[dict[str, Any]]:
    fit = {"cpu_coefficient": 12.5, "real_coefficient": 12.5, "big_o": "N", "time_unit": "ns"}
    return [{"name": f"{name}_BigO"} | fit, {"name": f"{name}_RMS", "rms": 0.01}]


REPEATED = [old("BM_A/8", time) for time in (100.0, 102.0, 104.0)]
SUMMED = [old("BM_A/8_mean", 102.0), old("BM_A/8_median", 102.0), old("BM_A/8_stddev", 2.0), old("BM_A/8_cv", 0.02)]
MEDIANS: list[tuple[list[dict[str, Any]], dict[str, float]]] = [
    (REPEATED + SUMMED, {"BM_A/8": 102}),
    (REPEATED + SUMMED[:1] + SUMMED[2:3], {"BM_A/8": 102}),  # until 2016 there was no median
    ([*REPEATED, *SUMMED[:3], old("BM_A/8_max", 104.0)], {"BM_A/8": 102}),  # a statistic of the user's own
    (SUMMED[:3], {"BM_A/8": 102}),
    ([*REPEATED, *SUMMED, *REPEATED, *SUMMED], {"BM_A/8": 102}),  # two files put together
    ([old("BM_mean", 7.0), old("BM_A", 5.0), old("BM_A_mean", 6.0)], {"BM_mean": 7, "BM_A": 5, "BM_A_mean": 6}),
    ([old("BM_RMS", 7.0), old("BM_A_BigO", 5.0)], {"BM_RMS": 7, "BM_A_BigO": 5}),
    ([old("BM_A/8"), old("BM_A/16", 200.0), *big_o("BM_A")], {"BM_A/8": 100, "BM_A/16": 200}),
    ([new("BM_A", time) for time in (100.0, 300.0, 104.0)], {"BM_A": 104}),
    ([new("BM_A", 1.0), new("BM_A", 3.0), aggregate("BM_A", "median", 2.0), aggregate("BM_A", "cv", 0.5)], {"BM_A": 2}),
    ([aggregate("BM_A", "mean", 9.0), aggregate("BM_A", "median", 2.0), aggregate("BM_A", "max", 30.0)], {"BM_A": 2}),
    ([new("BM_A/8"), aggregate("BM_A", "BigO"), aggregate("BM_A", "RMS", 0.1)], {"BM_A/8": 100}),
    ([{**aggregate("BM_A/8", kind, 2.0), "run_name": ""} for kind in ("mean", "median", "stddev")], {"BM_A/8": 2}),
]


@pytest.mark.parametrize(("runs", "medians"), MEDIANS)
def test_aggregates_and_fits_are_no_benchmarks(
    runs: list[dict[str, Any]], medians: dict[str, float], tmp_path: Path
) -> None:
    rows, warnings = imported(of_2017(*runs), tmp_path)
    assert {name: row.time_median_s for name, row in rows.items()} == pytest.approx(
        {name: median * 1e-9 for name, median in medians.items()}
    )
    assert warnings == []


def test_a_mean_is_no_median(tmp_path: Path) -> None:
    rows, _ = imported(of_2017(*SUMMED[:1], *SUMMED[2:3], old("BM_B", 1.0)), tmp_path)
    assert (rows["BM_A/8"].status, rows["BM_B"].status) == ("not-run", "ok")
    assert rows["BM_A/8"].reason == "the file has neither repetitions nor a median of it, only: mean, stddev"


@pytest.mark.parametrize(
    ("date", "started"),
    [
        ("2015/03/17-18:40:25", "2015-03-17T18:40:25Z"),
        ("2017-05-01 10:00:00", "2017-05-01T10:00:00Z"),
        ("2026-05-01T10:00:00+02:00", "2026-05-01T08:00:00Z"),
        ("2026-05-01T10:00:00Z", "2026-05-01T10:00:00Z"),
    ],
)
def test_dates_of_all_ages_are_read(date: str, started: str, tmp_path: Path) -> None:
    rows, warnings = imported(of_2017(old("BM_A"), date=date), tmp_path)
    assert read_info(tmp_path / "results" / rows["BM_A"].run_id).started == started
    assert warnings == []


@pytest.mark.parametrize("date", ["Tue Mar 17 18:40:25 2015", 7, ["2015"]])
def test_a_date_that_cannot_be_read_is_a_warning(date: Any, tmp_path: Path) -> None:
    rows, warnings = imported(of_2017(old("BM_A"), date=date), tmp_path)
    assert rows["BM_A"].status == "ok"
    assert warnings == [f"its date {date!r} cannot be understood; the time of the import stands for it"]


NAMES: list[tuple[str, str, dict[str, Any]]] = [
    ("BM_Attn/fwd/causal/128", "BM_Attn", {"arg0": "fwd", "arg1": "causal", "arg2": 128}),
    ("BM_Attn/bwd/causal/128", "BM_Attn", {"arg0": "bwd", "arg1": "causal", "arg2": 128}),
    ("BM_Attn<float, 64>/fwd/128", "BM_Attn<float, 64>", {"arg0": "fwd", "arg1": 128}),
    ("BM_Attn<Tag<a/b>, 64>/8", "BM_Attn<Tag<a/b>, 64>", {"arg0": 8}),
    ("BM_less<8", "BM_less<8", {}),
    ("BM_less<8/16", "BM_less<8", {"arg0": 16}),
    ("BM_Named/n:128/causal:1/-3", "BM_Named", {"n": 128, "causal": 1, "arg2": -3}),
    ("BM_Named/mode:fast/0.5", "BM_Named", {"mode": "fast", "arg1": 0.5}),
    ("BM_Named/n:1/n:2", "BM_Named", {"n": 1, "arg1": "n:2"}),
    ("ns::BM_x/8", "ns::BM_x", {"arg0": 8}),
    ("BM_x/std::string/8", "BM_x", {"arg0": "std::string", "arg1": 8}),
    ("Fixture/Method/8", "Fixture", {"arg0": "Method", "arg1": 8}),
    ("/BM_x/8", "/BM_x", {"arg0": 8}),
    ("BM_x/8/real_time", "BM_x", {"arg0": 8}),
    ("BM_x/8/process_time/real_time", "BM_x", {"arg0": 8}),
    ("BM_x/8/min_time:0.500/min_warmup_time:1.000/manual_time", "BM_x", {"arg0": 8}),
    ("BM_x/8/iterations:10/repeats:3/threads:2", "BM_x", {"arg0": 8, "threads": 2}),
    ("BM_x/real_time/8", "BM_x", {"arg0": "real_time", "arg1": 8}),
    ("BM_x/1_000/nan", "BM_x", {"arg0": "1_000", "arg1": "nan"}),
]


def test_every_part_of_a_name_keeps_its_place(tmp_path: Path) -> None:
    rows, _ = imported(of_google(*(new(name) for name, *_ in NAMES)), tmp_path)
    assert [(name, row.case_label, row.point) for name, row in rows.items()] == NAMES
    assert rows["BM_x/8/iterations:10/repeats:3/threads:2"].variant.endswith("threads:2")


def test_threads_are_in_the_row(tmp_path: Path) -> None:
    runs = [new("BM_x/threads:4", threads=4), old("BM_y/8/threads:2"), new("BM_z", threads=0)]
    rows, _ = imported(of_google(*runs), tmp_path)
    assert [row.threads for row in rows.values()] == [4, 2, 1]


def test_two_of_one_name_are_told_apart_by_where_they_were_registered(tmp_path: Path) -> None:
    runs = [
        new("BM_x/8", time, family_index=family, per_family_instance_index=0)
        for family, time in ((0, 1.0), (0, 3.0), (1, 7.0), (1, 9.0))
    ]
    rows, warnings = imported(of_google(*runs), tmp_path)
    assert {name: row.time_median_s for name, row in rows.items()} == pytest.approx({"BM_x/8": 2e-9, "BM_x/8 #2": 8e-9})
    assert [row.point for row in rows.values()] == [{"arg0": 8}] * 2
    assert warnings == ["BM_x/8 is there once more; the further one is called BM_x/8 #2"]


def test_what_it_counted_stands_beside_its_time(tmp_path: Path) -> None:
    counted = [
        {"bytes_per_second": rate, "heads": 8, "allocs_per_iter": 2.5, "max_bytes_used": 9001} for rate in (1e9, 3e9)
    ]
    more = {"label": "avx2", "net_heap_growth": 2**62, "total_allocated_bytes": 4096, "items_per_second": math.inf}
    rows, _ = imported(of_google(*(new("BM_A") | counts | more for counts in counted), new("BM_B")), tmp_path)
    row = rows["BM_A"]
    assert row.metrics == {"bytes_per_second": 2e9, "heads": 8, "allocs_per_iter": 2.5, "total_allocated_bytes": 4096}
    assert (row.kind, row.peak_bytes) == ("timed", 9001)
    assert row.time_median_s == pytest.approx(1e-7)
    assert "memory manager" in str(row.memory["source"])
    assert row.point == {"label": "avx2"}
    assert (rows["BM_B"].metrics, rows["BM_B"].peak_bytes) == ({}, None)
    imported_as = read_info(tmp_path / "results" / row.run_id).imported
    assert imported_as is not None
    assert "peak memory" not in imported_as.unknown


def test_a_file_with_counters_and_mixed_parts_is_reported_and_compared(tmp_path: Path) -> None:
    runs = [new(name, 100.0 + n, bytes_per_second=1e9) for name in ("BM_A/8", "BM_A/fwd", "BM_B/0.5") for n in range(9)]
    rows, _ = imported(of_google(*runs), tmp_path)
    again, _ = imported(of_google(*runs), tmp_path)
    base, head = (tmp_path / "results" / each["BM_A/8"].run_id for each in (rows, again))
    assert {verdict.impl for verdict in compare(base, head)} == {f"google-benchmark/{name}" for name in rows}
    assert "BM_A/fwd" in write_report([base], tmp_path / "report").read_text(encoding="utf-8")


def test_units_and_an_absent_cpu_time(tmp_path: Path) -> None:
    runs = [new(f"BM_{unit}", 2.0, time_unit=unit, cpu_time=None) for unit in ("s", "ms", "us", "ns")]
    rows, _ = imported(of_google(*runs), tmp_path)
    assert [row.time_median_s for row in rows.values()] == [2.0, 2e-3, 2e-6, 2e-9]
    samples = read_samples(tmp_path / "results" / rows["BM_s"].run_id)
    assert [sample.cpu_s for sample in samples] == [None] * 4


ODD: list[tuple[dict[str, Any], str, str]] = [
    (new("BM_odd", time_unit="fortnight"), "not-run", "time_unit is 'fortnight'; there are ns, us, ms, s"),
    (new("BM_odd", time_unit=["ns"]), "not-run", "cannot be understood"),
    (new("BM_odd", 0.0), "not-run", "none of its rounds is a time above 0: 1 at 0 s"),
    (new("BM_odd", None), "not-run", "1 at NaN, infinity, below 0 or no number"),
    ({"name": "BM_odd", "run_type": "iteration"}, "not-run", "it has no 'real_time'"),
    (aggregate("BM_odd", "median", 0.0), "not-run", "the median of it is 0.0, which is no time"),
    (aggregate("BM_odd", "zz"), "not-run", "neither repetitions nor a median of it, only: zz"),
    (new("BM_odd", 0.0, error_occurred=True, error_message="no device"), "crashed", "it said: no device"),
    (new("BM_odd", 0.0, skipped=True), "unsupported", "skipped: no reason given"),
]


@pytest.mark.parametrize(("run", "status", "reason"), ODD)
def test_an_odd_run_is_a_row(run: dict[str, Any], status: str, reason: str, tmp_path: Path) -> None:
    rows, warnings = imported(of_google(new("BM_fine"), run, new("BM_last"), 7), tmp_path)
    assert [rows[name].status for name in ("BM_fine", "BM_odd", "BM_last")] == ["ok", status, "ok"]
    assert reason in str(rows["BM_odd"].reason)
    assert warnings == ["entry 4 of its benchmarks was left out: it is a number and no object"]


def test_a_repetition_of_0_is_left_out(tmp_path: Path) -> None:
    rows, warnings = imported(of_google(new("BM_A", 2.0), new("BM_A", 0.0), new("BM_A", 4.0)), tmp_path)
    assert rows["BM_A"].n_samples == 2
    assert rows["BM_A"].time_median_s == pytest.approx(3e-9)
    assert warnings == ["BM_A: 1 of 3 rounds left out: 1 at 0 s (the clock is too coarse)"]


@pytest.mark.parametrize("context", [{"caches": [{"type": "Data"}, 7, None]}, {"caches": None}, {"num_cpus": "many"}])
def test_an_odd_context_sinks_no_file(context: dict[str, Any], tmp_path: Path) -> None:
    assert imported(of_google(new("BM_A"), **context), tmp_path)[0]["BM_A"].status == "ok"


def test_benchmarks_without_a_context_are_read(tmp_path: Path) -> None:
    rows, _ = imported({"benchmarks": [new("BM_A")]}, tmp_path)
    assert rows["BM_A"].status == "ok"


def test_a_run_without_a_name_is_a_warning(tmp_path: Path) -> None:
    rows, warnings = imported(of_google(new("BM_A"), new("") | {"name": None}), tmp_path)
    assert list(rows) == ["BM_A"]
    assert warnings == ["entry 2 of its benchmarks was left out: it has no 'name'"]
