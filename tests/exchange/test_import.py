"""Files of pytest-benchmark as runs: what is known is kept, what is not is said, and nothing half-read is left."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from attnbench.comparing import compare
from attnbench.errors import ResultsError
from attnbench.exchange.readers.importing import IMPORTERS, import_file
from attnbench.exchange.writers.export import export
from attnbench.report.write import write_report
from attnbench.results import load, read_info
from attnbench.results.read import read_cells, read_samples
from attnbench.results.schema import SCHEMA_VERSION
from attnbench.results.summary import bursts, usable
from tests.exchange import without_pytest

FOREIGN = """
import pytest

@pytest.mark.parametrize("n", [100, 1000])
@pytest.mark.benchmark(group="sums")
def test_sum(benchmark, n):
    benchmark(sum, range(n))

def test_alone(benchmark):
    benchmark(sorted, [3, 1, 2])
"""
MEASURED_HERE = ("run_id", "imported", "n_samples", "time_low_s", "time_high_s", "disturbed_bursts", "cpu_time_s")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that pytest-benchmark wrote for somebody else's tests, with rounds; ``saved.json`` without."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "test_theirs.py").write_text(FOREIGN)
    options = ["--benchmark-max-time=0.02", "--benchmark-min-rounds=20", "-p", "no:cacheprovider", "-q"]
    command = [sys.executable, "-m", "pytest", *options, "--benchmark-json=rounds.json", "--benchmark-save=x"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=100, env=without_pytest())
    saved = next((folder / ".benchmarks").rglob("*.json"))
    return Path(saved.rename(folder / "saved.json")).with_name("rounds.json")


def exported(run: Path, file: Path) -> Path:
    found = export(run, "pytest-benchmark", file).file
    assert found is not None
    return found


def test_a_run_comes_back_from_an_export(base: Path, tmp_path: Path) -> None:
    folder = import_file(exported(base, tmp_path / "x.json"), tmp_path / "results")
    before, after = ({row.cell_id: row for row in read_cells(one)} for one in (base, folder))
    assert list(after) == list(before)
    for cell_id, row in before.items():
        again = after[cell_id]
        assert again.imported == "pytest-benchmark"
        assert again.run_id == folder.name
        kept = [name for name in type(row).model_fields if name not in MEASURED_HERE]
        assert {name: getattr(again, name) for name in kept} == {name: getattr(row, name) for name in kept}
    for row in before.values():
        one, other = (
            bursts(usable(s for s in read_samples(run) if s.cell_id == row.cell_id)) for run in (base, folder)
        )
        assert sorted(one.values) == sorted(other.values)
        assert sorted(one.replicates) == sorted(other.replicates)
    info, ours = read_info(folder), read_info(base)
    assert info.imported is not None
    assert (info.imported.tool, info.imported.file, info.imported.unknown) == ("pytest-benchmark", "x.json", ())
    assert info.fingerprint == ours.fingerprint
    assert (info.axes, info.command, info.started, info.status) == (ours.axes, ours.command, ours.started, "complete")


def test_an_imported_run_is_exported_again_as_it_was(base: Path, tmp_path: Path) -> None:
    first = exported(base, tmp_path / "x.json")
    second = exported(import_file(first, tmp_path / "results"), tmp_path / "y.json")
    one, other = (json.loads(file.read_text()) for file in (first, second))
    for data in (one, other):
        for benchmark in data["benchmarks"]:
            benchmark["stats"].pop("data")
            benchmark["extra_info"].pop("attnbench_row")
            benchmark["extra_info"].pop("replicates")
    assert [b["stats"]["median"] for b in one["benchmarks"]] == [b["stats"]["median"] for b in other["benchmarks"]]
    assert [b["fullname"] for b in one["benchmarks"]] == [b["fullname"] for b in other["benchmarks"]]


def test_report_and_compare_label_it(base: Path, head: Path, tmp_path: Path) -> None:
    first, second = (
        import_file(exported(run, tmp_path / f"{run.name}.json"), tmp_path / "results") for run in (base, head)
    )
    verdicts = {(one.impl, one.case_label): one for one in compare(first, second) if one.metric == "time"}
    slower = verdicts["torch/sdpa", "forward B1 H4 T512 D64 float32"]
    assert slower.verdict == "slower"
    assert "BASE imported from pytest-benchmark; HEAD imported from pytest-benchmark" in slower.evidence
    half = {one.impl: one for one in compare(base, second) if one.metric == "time"}
    assert "; HEAD imported" in half["torch/sdpa"].evidence
    assert "BASE imported" not in half["torch/sdpa"].evidence
    page = write_report([first], tmp_path / "report")
    label = f"Imported from pytest-benchmark 5.3.1 ({base.name}.json), not measured by attnbench run."
    assert label in page.read_text(encoding="utf-8")
    assert label in (page.parent / "report.md").read_text(encoding="utf-8")


def test_somebody_elses_benchmarks_are_a_run_with_what_is_not_known(foreign: Path, tmp_path: Path) -> None:
    folder = import_file(foreign, tmp_path / "results")
    rows = read_cells(folder)
    assert [row.impl for row in rows] == [
        "pytest-benchmark/test_sum[100]",
        "pytest-benchmark/test_sum[1000]",
        "pytest-benchmark/test_alone",
    ]
    assert [row.case_label for row in rows] == ["sums", "sums", "no group"]
    assert rows[0].block_id == rows[1].block_id != rows[2].block_id
    assert [row.point for row in rows] == [{"n": 100}, {"n": 1000}, {}]
    assert {(row.status, row.error_ratio, row.imported) for row in rows} == {("ok", None, "pytest-benchmark")}
    data = json.loads(foreign.read_text())
    for row, one in zip(rows, data["benchmarks"], strict=True):
        assert row.time_median_s == pytest.approx(one["stats"]["median"], rel=1e-12)
        assert row.n_bursts == one["stats"]["rounds"]
    info = read_info(folder)
    assert info.imported is not None
    assert "agreement with the oracle" in info.imported.unknown
    assert info.fingerprint.hardware.cpu_model == data["machine_info"]["cpu"].get("brand_raw")
    assert info.fingerprint.python.endswith(data["machine_info"]["python_version"])
    assert list(load(folder)["point.n"])[:2] == [100, 1000]
    assert "agreement with the oracle" in write_report([folder], tmp_path / "report").read_text(encoding="utf-8")


def test_verdicts_on_one_process_of_another_tool_are_weaker(foreign: Path, tmp_path: Path) -> None:
    data = json.loads(foreign.read_text())
    seconds = [1e-3 * (1 + 0.001 * (n % 7)) for n in range(40)]
    files = []
    for name, factor in (("a", 1.0), ("b", 1.07), ("c", 2.0)):
        for one in data["benchmarks"]:
            one["stats"]["data"] = [factor * second for second in seconds]
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(data))
    first, near, far = (import_file(file, tmp_path / "results") for file in files)
    assert {one.verdict for one in compare(first, near)} == {"inconclusive"}
    assert {one.verdict for one in compare(first, far)} == {"slower"}
    assert all("spread between runs 5.0 %" in one.evidence for one in compare(first, far))


def test_benchmarks_saved_without_rounds_have_a_median_and_no_verdict(foreign: Path, tmp_path: Path) -> None:
    first, second = (import_file(foreign.with_name("saved.json"), tmp_path / name) for name in ("a", "b"))
    assert all(row.time_median_s and row.n_samples for row in read_cells(first))
    assert read_samples(first) == ()
    info = read_info(first)
    assert info.imported is not None
    assert any("--benchmark-save-data" in one for one in info.imported.unknown)
    assert {one.verdict for one in compare(first, second)} == {"inconclusive"}


def _edited(path: Path, change: Any, tmp_path: Path) -> Path:
    data = json.loads(path.read_text())
    change(data)
    file = tmp_path / "edited.json"
    file.write_text(json.dumps(data))
    return file


def _newer(data: Any) -> None:
    data["attnbench"] = {"run": {"schema_version": SCHEMA_VERSION + 1}}


BROKEN = [
    (lambda d: d.update(benchmarks=[]), "holds no benchmark; nothing was imported"),
    (lambda d: d.update(benchmarks=7), "damaged file of pytest-benchmark"),
    (lambda d: d.update(benchmarks=[7, {}]), "no benchmark that can be understood: entry 1 of its benchmarks"),
    (
        lambda d: d.pop("machine_info"),
        "no tool that import knows; it reads what pytest-benchmark, pyperf, asv",
    ),
    (_newer, "written by a newer attnbench"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_what_cannot_be_read_leaves_nothing(foreign: Path, tmp_path: Path, change: Any, message: str) -> None:
    file = _edited(foreign, change, tmp_path)
    before = file.read_bytes()
    with pytest.raises(ResultsError, match=message):
        import_file(file, tmp_path / "results")
    assert not (tmp_path / "results").exists()
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is not JSON"), ("[1]", "no tool that import knows"), (None, "there is no file")]
)
def test_what_is_no_file_of_another_tool(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "x.json").write_text(text)
    with pytest.raises(ResultsError, match=message):
        import_file(tmp_path / "x.json", tmp_path / "results")
    with pytest.raises(ResultsError, match="is a folder, but of no tool that import knows"):
        import_file(tmp_path, tmp_path / "results")


def test_a_row_that_contradicts_itself_is_refused(base: Path, tmp_path: Path) -> None:
    def lie(data: Any) -> None:
        row = next(b["extra_info"]["attnbench_row"] for b in data["benchmarks"] if b["stats"]["rounds"])
        row["error_ratio"] = 5.0

    file = _edited(exported(base, tmp_path / "x.json"), lie, tmp_path)
    with pytest.raises(ResultsError, match="beyond the bound; its status is wrong"):
        import_file(file, tmp_path / "results")


def test_every_importer_says_its_tool() -> None:
    assert all(name == one.tool for name, one in IMPORTERS.items())


@pytest.mark.parametrize("cpu", [None, {"brand": "unknown"}, {"brand_raw": ""}, {"brand_raw": "x86_64"}])
def test_where_the_processor_is_not_named_two_hosts_are_two_machines(cpu: Any, foreign: Path, tmp_path: Path) -> None:
    folders = []
    for number, host in enumerate(("desktop", "laptop", "laptop")):
        data = json.loads(foreign.read_text())
        data["machine_info"] |= {"node": host}
        data["machine_info"].pop("cpu", None)
        if cpu is not None:
            data["machine_info"]["cpu"] = cpu
        file = tmp_path / f"{host}-{number}.json"
        file.write_text(json.dumps(data))
        folders.append(import_file(file, tmp_path / "results"))
    assert [read_info(folder).fingerprint.hardware.cpu_model for folder in folders] == [
        "unknown, of host desktop",
        "unknown, of host laptop",
        "unknown, of host laptop",
    ]
    desktop, laptop, again = folders
    assert {verdict.verdict for verdict in compare(desktop, laptop)} == {"not-comparable"}
    assert "not-comparable" not in {verdict.verdict for verdict in compare(laptop, again)}
