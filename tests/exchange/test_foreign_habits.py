"""Files as people have them: packed, in another coding, printed instead of saved, with names that are anything."""

from __future__ import annotations

import bz2
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from attnbench.errors import ResultsError
from attnbench.exchange.readers.importing import import_file
from attnbench.exchange.writers.export import export
from attnbench.report import write_report
from attnbench.results.read import read_cells, read_info
from tests.exchange import imported
from tests.exchange.test_odd_entries import entry, of_asv, of_pyperf, of_pytest, values

ROUNDS = [1e-3, 2e-3, 3e-3]
NAMES = ["two\nlines", "\x1b[31mred", "a|b", "`tick`", "<b>", "$\\frac$", "漢字", "x[bold]", 'say "it\'s"']


def _run(data: Any, folder: Path) -> Path:
    (folder / "x.json").write_text(json.dumps(data))
    return import_file(folder / "x.json", folder / "results")


@pytest.mark.parametrize("without", [{"name": None, "fullname": None}, {"name": "", "fullname": ""}])
def test_an_entry_whose_names_are_empty_is_a_warning(without: dict[str, Any], tmp_path: Path) -> None:
    rows, warnings = imported(of_pytest(entry("x", ROUNDS) | without), tmp_path)
    assert list(rows) == ["test_fine"]
    assert warnings == ["entry 2 of its benchmarks was left out: it has no 'name'"]


@pytest.mark.parametrize(
    ("odd", "kind"), [(None, "null"), ("x", "a text"), (3, "a number"), ([], "a list"), (True, "true or false")]
)
def test_what_is_no_entry_is_named_in_words_of_json(odd: Any, kind: str, tmp_path: Path) -> None:
    rows, warnings = imported(of_pytest(odd), tmp_path)
    assert list(rows) == ["test_fine"]
    assert warnings == [f"entry 2 of its benchmarks was left out: it is {kind} and no object"]


def test_numbers_in_extra_info_are_metrics_and_nothing_else_of_it_is(tmp_path: Path) -> None:
    noted = {"flops": 1e9, "n": 3, "text": "5", "on": True, "deep": {"a": 1}, "none": None, "nan": float("nan")}
    rows, _ = imported(
        of_pytest(entry("x", ROUNDS) | {"extra_info": noted}, entry("y", [0.0]) | {"extra_info": noted}), tmp_path
    )
    assert (rows["x"].kind, rows["x"].time_median_s, rows["x"].metrics) == ("timed", 2e-3, {"flops": 1e9, "n": 3.0})
    assert (rows["y"].kind, rows["y"].status) == ("timed", "not-run")


@pytest.mark.parametrize("data", [of_pytest(datetime=None), of_pyperf(values("x", ROUNDS))])
def test_a_file_without_a_date_says_that_it_is_not_known(data: Any, tmp_path: Path) -> None:
    imported_as = read_info(_run(data, tmp_path)).imported
    assert imported_as is not None
    assert "when it was measured" in imported_as.unknown


def test_what_is_no_utf_8_is_counted(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(json.dumps(of_pytest(entry("tü", ROUNDS)), ensure_ascii=False).encode("latin-1"))
    warnings: list[str] = []
    import_file(tmp_path / "x.json", tmp_path / "results", warnings.append)
    assert warnings == ["x.json is not UTF-8 throughout: 2 signs are shown as \ufffd"]


def test_the_one_parameter_of_old_hyperfine_is_an_axis(tmp_path: Path) -> None:
    rows, warnings = imported(
        {"results": [{"command": "x", "mean": 1.0, "times": [1.0], "parameter": n} for n in ("4", "8")]}, tmp_path
    )
    assert {name: row.point for name, row in rows.items()} == {
        "x (parameter=4)": {"parameter": 4},
        "x (parameter=8)": {"parameter": 8},
    }
    assert warnings == []


def test_a_text_among_parameters_of_asv_is_read_as_python_wrote_it(tmp_path: Path) -> None:
    texts = ["it's", 'say "x"', 'it\'s "both"', "two\nlines", "back\\slash"]
    line = [[1.0] * len(texts), [list(map(repr, texts))], "v", 1700000000000, 1.0]
    rows, _ = imported(
        of_asv(tmp_path, {"m.time_odd": {"type": "time", "unit": "seconds", "param_names": ["p"]}}, time_odd=line),
        tmp_path,
        "box/x.json",
    )
    assert [row.point["p"] for row in rows.values() if row.point] == texts


def _zipped(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.json", json.dumps(of_pytest()))


PACKED: dict[str, Callable[[Path], object]] = {
    "a zip archive": _zipped,
    "compressed by bzip2": lambda file: file.write_bytes(bz2.compress(b"{}")),
    "compressed by xz": lambda file: file.write_bytes(lzma.compress(b"{}")),
    "compressed by zstd": lambda file: file.write_bytes(b"\x28\xb5\x2f\xfdabc"),
}


@pytest.mark.parametrize("kind", PACKED)
def test_a_packed_file_says_to_unpack_it(kind: str, tmp_path: Path) -> None:
    PACKED[kind](tmp_path / "x")
    with pytest.raises(ResultsError, match=f"x is {kind}; unpack it"):
        import_file(tmp_path / "x", tmp_path / "results")


PRINTED = {
    "Run on (8 X 3000 MHz CPU s)\nBenchmark      Time      CPU   Iterations\nBM 1 ns 1 ns 9\n": "--benchmark_out",
    "name,iterations,real_time,cpu_time,time_unit\nBM,1,2,3,ns\n": "--benchmark_out_format=json",
    "| Command | Mean [ms] | Min [ms] |\n|:---|---:|---:|\n": "--export-json",
    "Benchmark 1: x\n  Time (mean ± σ):     1.0 ms ±   0.1 ms\n": "--export-json",
    "----- benchmark: 3 tests -----\nName (time in ms)\n": "--benchmark-json",
    "x: Mean +- std dev: 1 us +- 0 us\n": "-o FILE",
}


@pytest.mark.parametrize("text", PRINTED)
def test_what_a_tool_prints_says_how_it_saves(text: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(ResultsError, match=f"not what import reads, which it writes with .*{PRINTED[text]}"):
        import_file(tmp_path / "x", tmp_path / "results")


def test_a_run_of_ours_and_a_description_of_asv_are_named(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="is a run of attnbench already"):
        import_file(_run(of_pytest(), tmp_path), tmp_path / "results")
    (tmp_path / "machine.json").write_text(json.dumps({"machine": "box", "version": 1}))
    with pytest.raises(ResultsError, match="describes results of asv, and holds none"):
        import_file(tmp_path / "machine.json", tmp_path / "results")


@pytest.mark.parametrize("entries", [0, 1, 5])
def test_our_data_js_is_read_again_however_little_is_in_it(entries: int, tmp_path: Path) -> None:
    run = _run(of_pytest(*(entry(f"x{n}", ROUNDS) for n in range(entries))), tmp_path)
    export(run, "github-action-benchmark", tmp_path / "data.js")
    again = read_cells(import_file(tmp_path / "data.js", tmp_path / "again"))
    assert [row.time_median_s for row in again] == pytest.approx([row.time_median_s for row in read_cells(run)])


def test_whatever_a_name_holds_it_breaks_no_format(tmp_path: Path) -> None:
    data = of_pytest(*(entry(name, ROUNDS) | {"group": name} for name in NAMES))
    run = _run(data, tmp_path)
    report = write_report([run], tmp_path / "report")
    for svg in (report.parent / "figures").glob("*.svg"):
        ET.fromstring(svg.read_text())  # noqa: S314  (our own file)
    for text in ((report.parent / "report.md").read_text(), export(run, "github").text or ""):
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert all(line.endswith("|") for line in rows)
        assert len([line for line in rows if "pytest-benchmark/" in line and " ms " in line]) == len(NAMES) + 1
        assert "\x1b" not in "".join(rows)
    ET.fromstring(export(run, "junit").text or "")  # noqa: S314  (our own file)
