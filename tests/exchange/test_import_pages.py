"""github-action-benchmark and memray as runs, what lies behind a path, and what is of nobody."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from attnbench.errors import MissingExtraError, ResultsError, UsageError
from attnbench.exchange.readers.importing import IMPORTERS, import_file
from attnbench.exchange.readers.opening import BrokenJson, JsonLines, opened
from attnbench.exchange.readers.units import unit_of
from attnbench.results import read_info
from attnbench.results.read import read_cells
from tests.exchange.test_import_programs import put, rows_of
from tests.program import Cli

NS = 1e-9
OLD, NEW = "a" * 40, "b" * 40
PREFIX = "window.BENCHMARK_DATA = "


def entry(commit: str, date: int, *benches: Any, tool: str = "cargo") -> dict[str, Any]:
    return {"commit": {"id": commit, "message": "m"}, "date": date, "tool": tool, "benches": list(benches)}


def bench(name: str, value: Any, unit: str = "ns/iter", **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit} | more


def page(**suites: list[Any]) -> str:
    return PREFIX + json.dumps({"lastUpdate": 1, "repoUrl": "https://example.org", "entries": suites}, indent=2)


# github-action-benchmark


def test_the_newest_commit_of_a_page_is_read_and_another_can_be_named(tmp_path: Path) -> None:
    suites = {
        "Rust": [entry(OLD, 1000, bench("f", 200)), entry(NEW, 2000, bench("f", 100, range="± 3"))],
        "Go": [entry(OLD, 1500, bench("g", 7))],
    }
    file, warnings = put(tmp_path, "data.js", page(**suites)), list[str]()
    folder = import_file(file, tmp_path / "r", warn=warnings.append)
    (row,) = read_cells(folder)
    assert (row.variant, row.case_label, row.n_samples) == ("f", "Rust", 1)
    assert row.time_median_s == pytest.approx(100 * NS)
    info = read_info(folder)
    assert (info.fingerprint.git, info.started) == (NEW[:12], "1970-01-01T00:00:02Z")
    assert warnings == [
        f"data.js holds 2 commits; the newest, {NEW[:12]}, is read. Another: --commit {OLD[:12]}",
        f"suite Go has nothing of commit {NEW[:12]}; its newest is --commit {OLD[:12]}",
    ]
    older = read_cells(import_file(file, tmp_path / "r", commit=OLD[:7]))
    assert [(row.variant, row.case_label) for row in older] == [("f", "Rust"), ("g", "Go")]
    with pytest.raises(UsageError, match=f"names none of its 2 commits.*the newest are {NEW[:12]}, {OLD[:12]}"):
        import_file(file, tmp_path / "r", commit="cccccc")
    with pytest.raises(UsageError, match=r"chooses among the commits of github-action-benchmark's data\.js"):
        import_file(put(tmp_path, "g.txt", "BenchmarkX 1 2 ns/op\n"), tmp_path / "r", commit=OLD)


def test_units_become_times_and_all_others_metrics(tmp_path: Path) -> None:
    benches = [
        bench("cargo", 200),
        bench("pytest", 952.0, "iter/sec", extra="mean: 1.05 msec\nrounds: 510"),
        bench("catch2", 43.186, "us"),
        bench("js", 11465, "ops/sec"),
        bench("size", 12.5, "MB"),
        bench("speed", 3, "MB/s"),
        bench("text", "soon"),
        bench("zero", 0),
        bench("go", 50, "ns/op\t     920 B/op\t      16 allocs/op"),
        bench("go - ns/op", 50, "ns/op"),
        bench("go - B/op", 920, "B/op"),
        bench("go", 70, "ns/op\t     940 B/op\t      16 allocs/op"),
        7,
    ]
    folder = import_file(put(tmp_path, "data.js", page(S=[entry(NEW, 1, *benches)])), tmp_path / "r")
    rows = {row.variant: row for row in read_cells(folder)}
    times = {name: row.time_median_s for name, row in rows.items() if row.time_median_s}
    assert times == pytest.approx(
        {"cargo": 200 * NS, "pytest": 1 / 952, "catch2": 43.186e-6, "js": 1 / 11465, "go": 60 * NS}
    )
    assert rows["pytest"].metrics == {"iter/sec": 952}
    assert rows["go"].metrics == {"B/op": 930, "allocs/op": 16}
    assert (rows["go"].n_bursts, rows["go"].n_replicates) == (2, 1)
    assert [(rows[name].kind, rows[name].metrics) for name in ("size", "speed")] == [
        ("observed", {"MB": 12.5}),
        ("observed", {"MB/s": 3}),
    ]
    assert {rows[name].status for name in ("text", "zero", "entry 13")} == {"not-run"}
    assert "its value is no time above 0: 0 ns/iter" in (rows["zero"].reason or "")
    assert "times of rates" in str(read_info(folder).imported)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("ns/iter", 10 * NS),
        ("ms", 10e-3),
        ("Milliseconds", 10e-3),
        ("sec", 10),
        ("µs/op", 10e-6),
        ("ops/ms", 1e-4),
        ("iter/sec", 0.1),
        ("MB/s", None),
        ("req/sec", None),
        ("ns per iter", 10 * NS),
        ("ns/byte", None),
        ("Ms", None),
        ("bytes", None),
        ("", None),
    ],
)
def test_a_unit_is_a_time_a_rate_or_neither(text: str, seconds: float | None) -> None:
    unit = unit_of(text)
    assert (None if unit is None else unit.time(10)) == (None if seconds is None else pytest.approx(seconds))


def test_measurements_of_one_commit_are_repetitions(tmp_path: Path) -> None:
    entries = [entry(NEW, date, bench("f", value)) for date, value in ((1, 10), (2, 30), (3, 20))]
    row = rows_of(put(tmp_path, "data.js", page(S=entries)), tmp_path / "r")["f"]
    assert row.time_median_s == pytest.approx(20 * NS)
    assert (row.n_bursts, row.n_replicates) == (3, 3)


def test_the_list_that_the_action_takes_and_its_page_as_json_are_read(tmp_path: Path) -> None:
    listed = [bench("a", 1), bench("b", 2, "s"), {"name": "c"}]
    rows = rows_of(put(tmp_path, "l.json", listed), tmp_path / "r")
    assert [(name, row.status) for name, row in rows.items()] == [("a", "ok"), ("b", "ok"), ("c", "not-run")]
    data = json.loads(page(S=[entry(NEW, 1, bench("a", 1))]).removeprefix(PREFIX))
    assert list(rows_of(put(tmp_path, "d.json", data), tmp_path / "r")) == ["a"]
    script = "// by a workflow\n" + page(S=[entry(OLD, 0, bench("b", 1)), entry(NEW, 0, bench("a", 1))]) + ";\n"
    assert list(rows_of(put(tmp_path, "d.js", script), tmp_path / "r")) == ["a"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{PREFIX}{{ entries: {{ 'Test': [] }} }}", "is not JSON, as the action writes it"),
        (f"{PREFIX}{{}}", "has no 'entries'"),
        (page(), "holds no benchmark"),
        (page(S=[]), "holds no benchmark"),
        (page(S=[entry(NEW, 1)]), "holds no benchmark"),
    ],
)
def test_a_page_that_holds_nothing_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match=message):
        import_file(put(tmp_path, "data.js", text), tmp_path / "r")
    assert not (tmp_path / "r").exists()


# memray


def peaks(folder: Path) -> Path:
    """What pytest-memray leaves with ``--memray-bin-path``."""
    for name, peak in (("test_a", 5000), ("test_b[1]", 200)):
        about = {"test_id": f"tests/x.py::{name}", "peak_memory": peak, "result_file": f"elsewhere/p-{name}.bin"}
        put(folder / "metadata", f"p-{name}.metadata", about)
    return folder


def test_the_peaks_of_pytest_memray_need_no_library(tmp_path: Path) -> None:
    folder = peaks(tmp_path / "bins")
    rows = rows_of(folder, tmp_path / "r")
    assert {name: (row.kind, row.metrics) for name, row in rows.items()} == {
        "tests/x.py::test_a": ("observed", {"peak_memory_bytes": 5000}),
        "tests/x.py::test_b[1]": ("observed", {"peak_memory_bytes": 200}),
    }
    assert {row.case_label for row in rows.values()} == {"tests/x.py"}
    one = folder / "metadata" / "p-test_a.metadata"
    assert list(rows_of(one, tmp_path / "r")) == ["tests/x.py::test_a"]
    (folder / "metadata" / "p-odd.metadata").write_text("{")
    assert rows_of(folder, tmp_path / "r")["p-odd"].status == "not-run"


def test_a_capture_without_memray_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "memray", None)
    folder = peaks(tmp_path / "bins")
    for name in ("p-test_a.bin", "p-test_failed.bin"):
        (folder / name).write_bytes(b"memray\0\x0c\0")
    with pytest.raises(MissingExtraError, match=r"p-test_a\.bin is a capture of memray.*Type: pip install memray"):
        import_file(folder / "p-test_a.bin", tmp_path / "r")
    rows = rows_of(folder, tmp_path / "r")
    assert len(rows) == 3
    assert "Type: pip install memray" in (rows["p-test_failed"].reason or "")


def test_a_capture_is_read_by_memray(tmp_path: Path) -> None:
    memray = pytest.importorskip("memray")
    with memray.Tracker(tmp_path / "x.bin", file_format=memray.FileFormat.AGGREGATED_ALLOCATIONS):
        bytearray(3_000_000)
    row = rows_of(tmp_path / "x.bin", tmp_path / "r")["x"]
    assert row.metrics["peak_memory_bytes"] == memray.FileReader(tmp_path / "x.bin").metadata.peak_memory
    (tmp_path / "y.bin").write_bytes((tmp_path / "x.bin").read_bytes()[:20])
    broken = rows_of(tmp_path / "y.bin", tmp_path / "r")["y"]
    assert "memray cannot read it" in (broken.reason or "")


def test_the_statistics_of_memray_are_read_and_the_report_for_people_is_not(tmp_path: Path) -> None:
    about = {"command_line": "prog.py", "start_time": "2026-01-02 03:04:05+00:00", "peak_memory": 77}
    stats = {"total_num_allocations": 3, "total_bytes_allocated": 99, "metadata": about}
    row = rows_of(put(tmp_path, "s.json", stats), tmp_path / "r")["prog.py"]
    assert row.metrics == {"peak_memory_bytes": 77, "total_allocations": 3, "total_bytes_allocated": 99}
    assert read_info(tmp_path / "r" / row.run_id).started == "2026-01-02T03:04:05Z"
    report = "===== MEMRAY REPORT =====\nAllocation results for x.py::test at the high watermark\n\t 📦 Total: 5.0MiB\n"
    with pytest.raises(ResultsError, match=r"rounded sizes.*--memray-bin-path=DIR, then attnbench import DIR"):
        import_file(put(tmp_path, "t.txt", report), tmp_path / "r")


# What lies behind a path


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"a": 1}', dict),
        (b"\xef\xbb\xbf[1]", list),
        (b'{"a": 1}\n{"b": 2}\n', JsonLines),
        (b'warning: x\n{"a": 1}\n{"b": 2}\n', JsonLines),
        (b'{\n "a": 1\n}\n{\n "b": 2\n}', JsonLines),
        (b'{"a": 1', BrokenJson),
        (b"[" * 100_000, BrokenJson),
        (b"a\xffb", str),
        ("text".encode("utf-16"), str),
        (b"a\0b", bytes),
    ],
)
def test_what_is_opened_is_known_by_its_content(content: bytes, kind: type, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    data = opened(tmp_path / "x", [])
    assert isinstance(data, kind)
    assert not any(importer.recognises(data) for importer in IMPORTERS.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"hello\n", "is text, but of no tool that import knows; it reads what pytest-benchmark, pyperf,"),
        (b'{"a": 1}\n{"b": 2}\n', "is lines of JSON, but of no tool"),
        (b"\x7fELF\0", "is no text, but of no tool"),
        (b"{", "is not JSON, or a damaged file"),
        (b" \n", "is empty"),
    ],
)
def test_what_nobody_wrote_is_refused_by_what_it_is(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ResultsError, match=message):
        import_file(tmp_path / "x", tmp_path / "r")


def test_import_says_what_is_odd_and_how_to_name_the_machine(cli: Cli, tmp_path: Path) -> None:
    results = {"results": [{"command": "a", "times": [0.1], "exit_codes": [1]}]}
    file = put(tmp_path, "h.json", results)
    odd = "a: 1 of its 1 runs failed (status 1); their times count all the same"
    done = cli("import", file)
    assert done.code == 0
    assert f"warning: {odd}" in " ".join(done.err.split())
    assert "h.json --machine NAME" in done.err
    assert cli("import", file, "--machine", "box", "--json").document["warnings"] == [odd]
    assert "--machine NAME" not in cli("import", file, "--machine", "box").err
