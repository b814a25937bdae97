"""Files of pyperf, asv and google-benchmark as runs: what they keep is kept, what they do not say is said."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attnbench.comparing import compare
from attnbench.errors import ResultsError
from attnbench.exchange.readers.importing import IMPORTERS, import_file
from attnbench.exchange.writers.export import export
from attnbench.report.write import write_report
from attnbench.results import read_info
from attnbench.results.read import read_cells, read_samples

FILES = Path(__file__).with_name("files")
PYPERF = FILES / "pyperf.json"
SINGLE, REPEATED, AGGREGATES = (FILES / f"google-{name}.json" for name in ("single", "repeated", "aggregates"))
SAMPLES, STATISTICS = (
    FILES / "asv" / "example-machine" / f"9831e658-{name}.json" for name in ("samples", "statistics")
)
EVERY = {PYPERF: "pyperf", SAMPLES: "asv", STATISTICS: "asv"} | dict.fromkeys(
    (SINGLE, REPEATED, AGGREGATES), "google-benchmark"
)


def edited(file: Path, change: Callable[[Any], object], folder: Path, name: str = "edited.json") -> Path:
    """A changed copy; of asv with the folder around it."""
    if "asv" in file.parts:
        shutil.copytree(FILES / "asv", folder / "asv", dirs_exist_ok=True)
        folder = folder / "asv" / "example-machine"
    data = json.loads(file.read_text())
    change(data)
    (folder / name).write_text(json.dumps(data))
    return folder / name


def rows_of(file: Path, out: Path) -> dict[str, Any]:
    return {row.variant: row for row in read_cells(import_file(file, out))}


@pytest.mark.parametrize("file", EVERY, ids=lambda file: file.name)
def test_a_file_is_known_by_its_content_to_one_importer(file: Path) -> None:
    data = json.loads(file.read_text())
    assert [name for name, one in IMPORTERS.items() if one.recognises(data)] == [EVERY[file]]


@pytest.mark.parametrize("file", EVERY, ids=lambda file: file.name)
def test_an_imported_run_is_marked_and_reported(file: Path, tmp_path: Path) -> None:
    folder = import_file(file, tmp_path / "results")
    info = read_info(folder)
    assert info.imported is not None
    assert info.imported.tool == EVERY[file]
    assert "agreement with the oracle" in info.imported.unknown
    assert "disturbances (receipts)" in info.imported.unknown
    assert {row.imported for row in read_cells(folder)} == {EVERY[file]}
    assert {row.error_ratio for row in read_cells(folder)} == {None}


@pytest.mark.parametrize("file", [PYPERF, SAMPLES, REPEATED], ids=lambda file: file.name)
def test_its_report_is_labelled_and_has_a_figure(file: Path, tmp_path: Path) -> None:
    page = write_report([import_file(file, tmp_path / "results")], tmp_path / "report")
    assert f"Imported from {EVERY[file]}" in page.read_text(encoding="utf-8")
    assert list(page.parent.glob("figures/*-time.svg"))


def test_processes_of_pyperf_are_replicates_and_its_warmups_do_not_count(tmp_path: Path) -> None:
    folder = import_file(PYPERF, tmp_path)
    data = json.loads(PYPERF.read_text())
    first = data["benchmarks"][0]
    row = next(row for row in read_cells(folder) if row.variant == "sum of a range")
    own = [one for one in read_samples(folder) if one.cell_id == row.cell_id]
    counted = [one for one in own if not one.warmup]
    values = [value for run in first["runs"] for value in run.get("values", ())]
    assert [one.wall_s for one in counted] == values
    assert len({one.replicate for one in counted}) == row.n_replicates == 3
    assert {one.calls for one in counted} == {first["metadata"]["loops"]}
    assert sum(one.warmup for one in own) == sum(len(run.get("warmups", ())) for run in first["runs"])
    assert row.time_median_s == pytest.approx(sorted(values)[5] / 2 + sorted(values)[6] / 2)
    assert read_info(folder).fingerprint.hardware.cpu_model == data["metadata"]["cpu_model_name"]


def of_2016(version: int) -> dict[str, Any]:
    """A file as pyperf wrote it then: samples, and the seconds of all loops together for a warm-up."""
    shared = {"name": "old", "hostname": "box", "cpu_count": 8, "loops": 4, "inner_loops": 5}
    runs = [
        {"samples": samples, "warmups": [[4, 0.05]], "metadata": {"date": f"2016-10-21 03:14:2{number}"}}
        for number, samples in enumerate(([0.010, 0.011, 0.012], [0.010, 0.011]))
    ]
    return {
        "version": version,
        "benchmarks": [{"common_metadata" if version == 5 else "metadata": shared, "runs": runs}],
    }


@pytest.mark.parametrize("version", [5, 6])
def test_pyperf_of_2016_is_read_as_pyperf_reads_it(version: int, tmp_path: Path) -> None:
    pyperf, file = pytest.importorskip("pyperf"), tmp_path / "old.json"
    data = of_2016(version)
    if version == 6:  # what pyperf reads of it: values, as all later files have them
        for run in data["benchmarks"][0]["runs"]:
            run["values"] = run["samples"]
    file.write_text(json.dumps(data))
    theirs = pyperf.Benchmark.load(str(file))
    (row,) = rows_of(file, tmp_path / "results").values()
    assert (row.status, row.time_median_s) == ("ok", pytest.approx(theirs.median()))
    samples = read_samples(tmp_path / "results" / row.run_id)
    warm = [sample for sample in samples if sample.warmup]
    assert [sample.wall_s for sample in warm] == pytest.approx([run.warmups[0][1] for run in theirs.get_runs()])
    assert [sample.calls for sample in samples if not sample.warmup] == [20] * 5


def test_pyperf_with_samples_in_format_6_is_read(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text(json.dumps(of_2016(6)))
    (row,) = rows_of(file, tmp_path / "results").values()
    assert (row.status, row.time_median_s) == ("ok", pytest.approx(0.011))


def test_a_format_that_pyperf_itself_does_not_read_is_refused_by_its_number(tmp_path: Path) -> None:
    file = edited(PYPERF, lambda data: data.update(version=4), tmp_path)
    with pytest.raises(ResultsError, match=r"in pyperf's format 4; those that can be read are 5, 6, 1\.0"):
        import_file(file, tmp_path / "results")


def test_a_compressed_file_of_pyperf_is_read(tmp_path: Path) -> None:
    packed = tmp_path / "x.json.gz"
    packed.write_bytes(gzip.compress(PYPERF.read_bytes()))
    assert list(rows_of(packed, tmp_path / "results")) == ["sum of a range", "sorted"]
    packed.write_bytes(gzip.compress(PYPERF.read_bytes())[:100])
    with pytest.raises(ResultsError, match="is not JSON, or a damaged file"):
        import_file(packed, tmp_path / "results")


def test_pyperf_of_bytes_is_no_time(tmp_path: Path) -> None:
    file = edited(PYPERF, lambda d: d["metadata"].update(unit="byte"), tmp_path)
    row = rows_of(file, tmp_path / "results")["sorted"]
    assert (row.kind, row.time_median_s) == ("observed", None)
    assert list(row.metrics) == ["median_byte"]


def test_pyperf_with_calibrations_only_has_no_time(tmp_path: Path) -> None:
    def empty(data: Any) -> None:
        data["benchmarks"][0]["runs"] = data["benchmarks"][0]["runs"][:1]

    row = rows_of(edited(PYPERF, empty, tmp_path), tmp_path / "results")["sum of a range"]
    assert (row.status, row.reason) == ("not-run", "the file has no value of it, only calibrations")


def test_repetitions_of_google_benchmark_are_bursts_in_its_unit(tmp_path: Path) -> None:
    data = json.loads(REPEATED.read_text())
    folder = import_file(REPEATED, tmp_path)
    rows = {row.variant: row for row in read_cells(folder)}
    own = [one for one in read_samples(folder) if one.cell_id == rows["sort_list"].cell_id]
    raw = [r for r in data["benchmarks"] if r["run_name"] == "sort_list" and r["run_type"] == "iteration"]
    assert {r["time_unit"] for r in raw} == {"ms"}
    assert [one.wall_s for one in own] == pytest.approx([r["real_time"] * 1e-3 for r in raw])
    assert [one.cpu_s for one in own] == pytest.approx([r["cpu_time"] * 1e-3 for r in raw])
    assert [one.calls for one in own] == [r["iterations"] for r in raw]
    assert rows["sum_range/100"].point == {"arg0": 100}
    assert rows["sum_range/100"].case_label == rows["sum_range/1000"].case_label == "sum_range"
    assert (rows["refuses"].status, rows["refuses"].reason) == ("crashed", "it said: no such device")


def test_aggregates_alone_are_a_median_and_no_verdict(tmp_path: Path) -> None:
    rows = rows_of(AGGREGATES, tmp_path)
    data = json.loads(AGGREGATES.read_text())["benchmarks"]
    median = next(one for one in data if one["name"] == "sum_range/1000_median")
    assert rows["sum_range/1000"].time_median_s == pytest.approx(median["real_time"] * 1e-9)
    assert (rows["sum_range/1000"].n_samples, rows["sum_range/1000"].time_low_s) == (8, None)
    first, second = (import_file(AGGREGATES, tmp_path / name) for name in ("a", "b"))
    assert "leave --benchmark_report_aggregates_only out" in str(read_info(first).imported)
    assert {one.verdict for one in compare(first, second)} == {"inconclusive", "not-comparable"}


def test_one_repetition_says_that_it_shows_no_variation(tmp_path: Path) -> None:
    first, second = (import_file(SINGLE, tmp_path / name) for name in ("a", "b"))
    assert "--benchmark_repetitions=10" in str(read_info(first).imported)
    assert {one.verdict for one in compare(first, second)} == {"inconclusive", "not-comparable"}


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("BM_Copy", {}),
        ("BM_Copy/8/512", {"arg0": 8, "arg1": 512}),
        ("BM_Copy/x:8/real_time/threads:2", {"x": 8, "threads": 2}),
    ],
)
def test_names_of_google_benchmark_give_the_axes(tmp_path: Path, name: str, point: dict[str, Any]) -> None:
    def rename(data: Any) -> None:
        data["benchmarks"] = data["benchmarks"][:1]
        data["benchmarks"][0].update(name=name, run_name=name, threads=2)

    row = rows_of(edited(SINGLE, rename, tmp_path), tmp_path / "results")[name]
    assert (row.point, row.threads, row.case_label) == (point, 2, name.split("/", maxsplit=1)[0])


def test_what_google_benchmark_skipped_is_unsupported(tmp_path: Path) -> None:
    def skip(data: Any) -> None:
        data["benchmarks"][3] = {"name": "refuses", "skipped": True, "skip_message": "needs AVX"}

    row = rows_of(edited(SINGLE, skip, tmp_path), tmp_path / "results")["refuses"]
    assert (row.status, row.reason) == ("unsupported", "skipped: needs AVX")


def test_samples_of_asv_are_bursts_over_its_parameters(tmp_path: Path) -> None:
    folder = import_file(SAMPLES, tmp_path)
    rows = {row.variant: row for row in read_cells(folder)}
    data = json.loads(SAMPLES.read_text())
    line = dict(zip(data["result_columns"], data["results"]["bench.Sums.time_sum"], strict=False))
    found = rows["bench.Sums.time_sum(100, 'list')"]
    assert found.point == {"n": 100, "kind": "list"}
    own = [one for one in read_samples(folder) if one.cell_id == found.cell_id]
    assert [one.wall_s for one in own] == line["samples"][1]
    assert {one.calls for one in own} == {20}
    assert rows["bench.Sums.time_sum(1000, 'list')"].status == "unsupported"
    assert rows["bench.time_fails"].status == "crashed"
    assert rows["bench.peakmem_list"].metrics == {"peakmemory_bytes": data["results"]["bench.peakmem_list"][0][0]}
    assert rows["bench.track_length"].metrics == {"track_items": 42.0}
    assert read_info(folder).fingerprint.git == data["commit_hash"][:12]


def test_asv_without_samples_is_a_median_and_no_verdict(tmp_path: Path) -> None:
    first, second = (import_file(STATISTICS, tmp_path / name) for name in ("a", "b"))
    row = next(row for row in read_cells(first) if row.variant == "bench.time_sorted")
    line = json.loads(STATISTICS.read_text())["results"]["bench.time_sorted"]
    assert (row.time_median_s, row.n_samples) == (line[0][0], line[10][0])
    assert "asv run --record-samples" in str(read_info(first).imported)
    verdicts = [one for one in compare(first, second) if one.metric == "time"]
    assert {one.verdict for one in verdicts} == {"inconclusive", "not-comparable"}


def test_our_own_export_to_asv_comes_back_with_its_times(base: Path, tmp_path: Path) -> None:
    file = export(base, "asv", tmp_path / "asv", "0123456789abcdef").file
    assert file is not None
    times = {row.time_median_s for row in read_cells(import_file(file, tmp_path / "r")) if row.time_median_s}
    assert times == {row.time_median_s for row in read_cells(base) if row.time_median_s}


def _slower(factor: float) -> Callable[[Any], object]:
    def change(data: Any) -> None:
        for run in data["benchmarks"][0]["runs"]:
            run["values"] = [factor * value for value in run.get("values", ())]

    return change


def test_a_slower_file_gets_a_verdict_that_is_labelled(tmp_path: Path) -> None:
    first = import_file(PYPERF, tmp_path)
    second = import_file(edited(PYPERF, _slower(1.8), tmp_path), tmp_path)
    verdicts = {one.impl: one for one in compare(first, second)}
    slow = verdicts["pyperf/sum of a range"]
    assert slow.verdict == "slower"
    assert slow.ratio == pytest.approx(1.8, rel=0.01)
    assert "BASE imported from pyperf; HEAD imported from pyperf" in slow.evidence


@pytest.mark.parametrize("file", [PYPERF, SAMPLES, REPEATED], ids=lambda file: file.name)
def test_files_of_unlike_machines_are_not_compared(file: Path, tmp_path: Path) -> None:
    def elsewhere(data: Any) -> None:
        if "context" in data:
            data["context"]["host_name"] = "another"
        elif "params" in data:
            data["params"]["machine"] = "another"
        else:
            data["metadata"]["cpu_model_name"] = "Another CPU"

    first = import_file(file, tmp_path / "results")
    second = import_file(edited(file, elsewhere, tmp_path), tmp_path / "results")
    times = [one for one in compare(first, second) if one.metric == "time"]
    assert {one.verdict for one in times} == {"not-comparable"}


BROKEN = [
    (PYPERF, lambda d: d.update(benchmarks=[]), "holds no benchmark"),
    (SINGLE, lambda d: d.update(benchmarks=[]), "holds no benchmark"),
    (SAMPLES, lambda d: d.update(version=1), "results version 1; import reads version 2"),
    (SAMPLES, lambda d: d.pop("result_columns"), "it has no 'result_columns'"),
    (SAMPLES, lambda d: d.update(results={}), "holds no benchmark"),
    (SAMPLES, lambda d: d.update(results=7), "results is a number and no object"),
]


@pytest.mark.parametrize(("file", "change", "message"), BROKEN)
def test_what_cannot_be_read_leaves_nothing(
    file: Path, change: Callable[[Any], object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ResultsError, match=message):
        import_file(edited(file, change, tmp_path), tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_two_hosts_of_google_benchmark_are_two_machines(tmp_path: Path) -> None:
    def of_host(name: str) -> Path:
        def change(data: Any) -> None:
            data["context"]["host_name"] = name

        return import_file(edited(REPEATED, change, tmp_path, f"{name}.json"), tmp_path / "results")

    verdicts = compare(of_host("desktop"), of_host("laptop"))
    assert {verdict.verdict for verdict in verdicts} == {"not-comparable"}
