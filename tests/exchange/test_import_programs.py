"""Tools of other languages as runs: hyperfine, criterion, Go and nvbench; odd entries are rows, the rest is read."""

from __future__ import annotations

import codecs
import json
import struct
from pathlib import Path
from typing import Any

import pytest

from attnbench.comparing import compare
from attnbench.errors import ResultsError, UsageError
from attnbench.exchange.readers.importing import import_file
from attnbench.results import read_info
from attnbench.results.read import read_cells, read_samples
from attnbench.results.schema import CellResult, Sample

NS = 1e-9


def put(folder: Path, name: str, content: Any) -> Path:
    """A file with this text, or with this as JSON."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def rows_of(path: Path, out: Path, **how: Any) -> dict[str, CellResult]:
    return {row.variant: row for row in read_cells(import_file(path, out, **how))}


def samples_of(row: CellResult, out: Path) -> list[Sample]:
    return [sample for sample in read_samples(out / row.run_id) if sample.cell_id == row.cell_id]


# hyperfine


def command(name: str = "sleep 0.01", times: Any = (0.011, 0.010, 0.012), **more: Any) -> dict[str, Any]:
    known = {"command": name, "mean": 0.011, "stddev": 0.001, "median": 0.011, "user": 0.002, "system": 0.001}
    return known | {"min": 0.01, "max": 0.012, "times": list(times), "exit_codes": [0] * len(times)} | more


def test_runs_of_hyperfine_are_bursts_over_its_parameters(tmp_path: Path) -> None:
    results = [command("sort -S 1", parameters={"S": "1"}), command("sort -S 2", memory_usage_byte=[2, 4, 3])]
    rows = rows_of(put(tmp_path, "h.json", {"results": results}), tmp_path / "r")
    row = rows["sort -S 1"]
    assert (row.status, row.kind, row.time_median_s, row.n_bursts) == ("ok", "timed", 0.011, 3)
    assert row.point == {"S": 1}
    assert row.metrics == {"user_s": 0.002, "system_s": 0.001}
    assert rows["sort -S 2"].metrics["process_peak_bytes"] == 3
    assert [sample.wall_s for sample in samples_of(row, tmp_path / "r")] == [0.011, 0.010, 0.012]


def test_commands_of_one_name_are_told_apart(tmp_path: Path) -> None:
    results = [command("f", parameters={"n": "1"}), command("f", parameters={"n": "2"}), command("g"), command("g")]
    warnings: list[str] = []
    rows = rows_of(put(tmp_path, "h.json", {"results": results}), tmp_path / "r", warn=warnings.append)
    assert list(rows) == ["f (n=1)", "f (n=2)", "g", "g #2"]
    assert warnings == ["g is there once more; the further one is called g #2"]


def test_a_run_that_the_shell_hides_keeps_hyperfines_median(tmp_path: Path) -> None:
    results = [
        command("mostly", times=(0.0, 0.004, 0.005), median=0.004, exit_codes=[0, 3, None]),
        command("never", times=(0.0, 0.0, 0.001), median=0.0),
        command("sound\n  over lines", times=(0.1, -1, "x", 0.2)),
        {"command": "lost"},
        7,
    ]
    warnings: list[str] = []
    rows = rows_of(put(tmp_path, "h.json", {"results": results}), tmp_path / "r", warn=warnings.append)
    assert (rows["mostly"].time_median_s, rows["sound over lines"].n_bursts) == (0.004, 2)
    assert (rows["never"].status, rows["lost"].status, rows["result 5"].status) == ("not-run",) * 3
    assert "hyperfine --shell=none" in (rows["never"].reason or "")
    assert warnings == [
        "mostly: 2 of its 3 runs failed (status 3, a signal); their times count all the same",
        "mostly: 1 of its 3 times are 0; its median is kept, its runs are not",
        "sound over lines: 2 of 4 rounds left out: 2 at NaN, infinity, below 0 or no number",
    ]


def test_hyperfines_csv_has_medians(tmp_path: Path) -> None:
    text = 'command,mean,stddev,median,user,system,min,max,parameter_n\n"a, b",0.2,0.1,0.19,0,0,0.1,0.3,4\nc,1,,,,,,,\n'
    warnings: list[str] = []
    rows = rows_of(put(tmp_path, "h.csv", text), tmp_path / "r", warn=warnings.append)
    row = rows["a, b (n=4)"]
    assert (row.time_median_s, row.point, row.n_samples) == (0.19, {"n": 4}, 1)
    assert warnings == ["c: the file has its mean only, which stands where a median should"]


# criterion


def measured(folder: Path, place: str, *, ns: float = 100.0, names: Any = None, sample: bool = True) -> Path:
    """A benchmark as criterion leaves it: linear sampling, ``ns`` for each iteration."""
    iters = [float(count) for count in range(10, 100, 10)]
    new = folder / place / "new"
    if names is not None:
        put(new, "benchmark.json", names)
    if sample:
        put(new, "sample.json", {"sampling_mode": "Linear", "iters": iters, "times": [ns * n for n in iters]})
    point = {"point_estimate": ns, "standard_error": 1.0, "confidence_interval": {}}
    estimates = {"mean": point, "median": point, "median_abs_dev": point, "slope": None, "std_dev": point}
    put(new, "estimates.json", estimates)
    put(folder / place / "base", "estimates.json", estimates)
    return folder


def names(group: str, function: str | None, value: str | None, **more: Any) -> dict[str, Any]:
    full = "/".join(part for part in (group, function, value) if part)
    return {"group_id": group, "function_id": function, "value_str": value, "throughput": None, "full_id": full} | more


def test_criterions_folder_is_read_whole_from_any_height(tmp_path: Path) -> None:
    top = tmp_path / "target" / "criterion"
    measured(top, "sums/vec/100", names=names("sums", "vec", "100", throughput={"Bytes": 800}))
    measured(top, "fib 10", ns=2.5, names=names("fib 10", None, None))
    measured(top, "nameless", sample=False)
    rows = rows_of(top, tmp_path / "r")
    assert list(rows) == ["fib 10", "nameless", "sums/vec/100"]
    row = rows["sums/vec/100"]
    assert row.time_median_s == pytest.approx(100 * NS)
    assert row.n_bursts == 9
    assert (row.case_label, row.point) == ("sums", {"function": "vec", "value": 100})
    assert row.metrics == {"bytes_per_iteration": 800}
    assert [sample.calls for sample in samples_of(row, tmp_path / "r")] == list(range(10, 100, 10))
    assert rows["nameless"].time_median_s == pytest.approx(100 * NS)
    assert rows["nameless"].n_samples == 1
    for place in (top.parent, top / "sums" / "vec" / "100" / "new", top / "sums/vec/100/new/estimates.json"):
        assert rows_of(place, tmp_path / "r")["sums/vec/100"].n_bursts == 9


def test_one_file_of_criterion_alone_is_read(tmp_path: Path) -> None:
    measured(tmp_path, "fib")
    for name in ("sample.json", "estimates.json"):
        warnings: list[str] = []
        alone = put(tmp_path / "alone", name, (tmp_path / "fib" / "new" / name).read_text())
        (row,) = rows_of(alone, tmp_path / "r", warn=warnings.append).values()
        assert row.time_median_s == pytest.approx(100 * NS)
        assert "benchmark.json, which names the benchmark, is not beside" in warnings[0]
        alone.unlink()


def message(name: str, ns: float = 5.0, **more: Any) -> dict[str, Any]:
    counts = [10, 20, 30]
    known = {"reason": "benchmark-complete", "id": name, "iteration_count": counts, "unit": "ns", "throughput": []}
    return known | {"measured_values": [ns * n for n in counts], "median": {"estimate": ns, "unit": "ns"}} | more


def test_messages_of_cargo_criterion_are_the_same_cells_as_its_folder(tmp_path: Path) -> None:
    stream = [
        message("a/b/sum/100"),
        message("ticks", unit="cycles", median={"estimate": 7.0}),
        {"reason": "group-complete", "group_name": "a/b", "benchmarks": ["a/b/sum/100"]},
        message("broken", iteration_count=[1]),
    ]
    text = "   Compiling x v0.1.0\n" + "\n".join(map(json.dumps, stream)) + "\n"
    rows = rows_of(put(tmp_path, "m.json", text), tmp_path / "r")
    folder = measured(tmp_path / "c", "a_b/sum/100", names=names("a/b", "sum", "100"))
    twin = rows_of(folder, tmp_path / "r")["a/b/sum/100"]
    row = rows["a/b/sum/100"]
    assert row.time_median_s == pytest.approx(5 * NS)
    assert row.point == twin.point
    assert row.cell_id == twin.cell_id
    assert (rows["ticks"].kind, rows["ticks"].metrics) == ("observed", {"median_cycles": 7.0})
    assert "3 times for 1 numbers of iterations" in (rows["broken"].reason or "")
    pretty = put(tmp_path, "p.json", "\n".join(json.dumps(entry, indent=2) for entry in stream[:3]))
    assert len(rows_of(pretty, tmp_path / "r")) == 2
    assert len(rows_of(put(tmp_path, "one.json", message("alone")), tmp_path / "r")) == 1


# go test -bench

GO = """goos: linux
goarch: amd64
pkg: example.org/sums
cpu: Example CPU @ 2.60GHz
BenchmarkSum/n=10/kind=int-8         \t 1000000\t        10.42 ns/op\t7677.74 MB/s
BenchmarkSum/n=10/kind=int-8         \t 1000000\t        10.44 ns/op\t7679.74 MB/s
BenchmarkAlloc-8                     \t  192382\t        60.88 ns/op\t     112 B/op\t       1 allocs/op
BenchmarkCustom-8                    \t 2441028\t         3.500 widgets/op
--- FAIL: BenchmarkBad
    x_test.go:9: boom: it is wrong
BenchmarkLogs-8                      \t 2418176\t         2.487 ns/op
--- BENCH: BenchmarkLogs-8
    x_test.go:10: a log line
printed 1
BenchmarkPrints-8                    \tprinted 1
printed 1
 2436774\t         2.467 ns/op
--- SKIP: BenchmarkSkipped
    x_test.go:8: no GPU here
BenchmarkTiny-8      \t1000000000\t         0.0000 ns/op
BenchmarkOdd-8       \t      10\t         many ns/op
FAIL
exit status 1
FAIL\texample.org/sums\t0.208s
"""


def test_results_of_go_are_bursts_and_what_failed_has_its_reason(tmp_path: Path) -> None:
    warnings: list[str] = []
    file = put(tmp_path, "go.txt", GO)
    rows = rows_of(file, tmp_path / "r", warn=warnings.append)
    row = rows["BenchmarkSum/n=10/kind=int"]
    assert row.time_median_s == pytest.approx(10.43 * NS)
    assert (row.n_bursts, row.threads) == (2, 8)
    assert (row.point, row.case_label) == ({"n": 10, "kind": "int"}, "example.org/sums.BenchmarkSum")
    assert row.metrics == {"MB/s": pytest.approx(7678.74)}
    assert {sample.calls for sample in samples_of(row, tmp_path / "r")} == {1000000}
    assert rows["BenchmarkAlloc"].metrics == {"B/op": 112, "allocs/op": 1}
    assert (rows["BenchmarkCustom"].kind, rows["BenchmarkCustom"].metrics) == ("observed", {"widgets/op": 3.5})
    assert (rows["BenchmarkBad"].status, rows["BenchmarkBad"].reason) == ("crashed", "boom: it is wrong")
    assert (rows["BenchmarkSkipped"].status, rows["BenchmarkSkipped"].reason) == ("unsupported", "no GPU here")
    assert rows["BenchmarkPrints"].time_median_s == pytest.approx(2.467 * NS)
    assert "0 ns/op" in (rows["BenchmarkTiny"].reason or "")
    assert any("BenchmarkOdd-8: its line cannot be read" in warning for warning in warnings)
    assert "go test has example.org/sums as failed: exit status 1" in warnings
    fingerprint = read_info(tmp_path / "r" / row.run_id).fingerprint
    assert (fingerprint.hardware.cpu_model, fingerprint.hardware.architecture) == ("Example CPU @ 2.60GHz", "amd64")
    assert fingerprint.kernel == "linux"


def test_a_stream_of_go_is_the_same_as_its_text(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = [{"Time": "2026-01-02T03:04:05Z", "Action": "start", "Package": "example.org/sums"}]
    for line in GO.splitlines(keepends=True):
        parts = line.replace("\t", "\t\0", 1).split("\0")  # as go prints the name before the numbers
        events += [{"Action": "output", "Package": "example.org/sums", "Output": part} for part in parts]
    stream = put(tmp_path, "go.json", "\n".join(map(json.dumps, events)) + "\n")
    text = rows_of(put(tmp_path, "go.txt", GO), tmp_path / "r")
    rows = rows_of(stream, tmp_path / "r")
    same = ("cell_id", "status", "reason", "time_median_s", "metrics", "point", "threads", "n_bursts")
    assert [[getattr(row, name) for name in same] for row in rows.values()] == [
        [getattr(row, name) for name in same] for row in text.values()
    ]
    assert read_info(tmp_path / "r" / next(iter(rows.values())).run_id).started == "2026-01-02T03:04:05Z"


def test_runs_of_go_in_one_file_are_processes_and_packages_are_cells(tmp_path: Path) -> None:
    def run(package: str, ns: float) -> str:
        head = f"goos: linux\ngoarch: arm64\npkg: {package}\ncpu: A\n"
        line = f"BenchmarkX-2 \t 100\t {ns} ns/op\n"
        return f"{head}BenchmarkX\n{line}{line}PASS\nok \t{package}\t1s\n"

    text = "".join(run(package, ns) for ns in (5.0, 7.0) for package in ("a", "b"))
    folder = import_file(put(tmp_path, "go.txt", text), tmp_path / "r")
    cells = read_cells(folder)
    assert [row.case_label for row in cells] == ["a.BenchmarkX", "b.BenchmarkX"]
    assert {(row.n_replicates, row.n_bursts) for row in cells} == {(2, 4)}
    assert [row.time_median_s for row in cells] == pytest.approx([6 * NS] * 2)
    file = put(tmp_path, "go.txt", text + run("c", 1.0).replace("cpu: A", "cpu: B"))
    with pytest.raises(ResultsError, match=r"several machines \(cpu: A, B\).*a file of its own"):
        import_file(file, tmp_path / "r")


def test_gomaxprocs_are_threads_and_verbose_names_no_rows(tmp_path: Path) -> None:
    text = "BenchmarkS\nBenchmarkS/n=1\nBenchmarkS/n=1   \t 9\t 4.0 ns/op\nBenchmarkS/n=1-2 \t 9\t 3.0 ns/op\nPASS\n"
    rows = read_cells(import_file(put(tmp_path, "go.txt", text), tmp_path / "r"))
    assert [(row.variant, row.threads, row.status) for row in rows] == [
        ("BenchmarkS/n=1", 1, "ok"),
        ("BenchmarkS/n=1", 2, "ok"),
    ]


def test_a_panic_and_a_text_that_breaks_off_are_rows(tmp_path: Path) -> None:
    head = "pkg: p\nBenchmarkA-2 \t 9\t 4.0 ns/op\n"
    died = f"{head}BenchmarkB-2       \tpanic: kaboom\n\ngoroutine 11 [running]:\nexit status 2\nFAIL\tp\t0.1s\n"
    warnings: list[str] = []
    rows = rows_of(put(tmp_path, "a.txt", died), tmp_path / "r", warn=warnings.append)
    assert (rows["BenchmarkA"].status, rows["BenchmarkB"].status) == ("ok", "crashed")
    assert rows["BenchmarkB"].reason == "panic: kaboom"
    assert warnings == ["go test has p as failed: panic: kaboom"]
    rows = rows_of(put(tmp_path, "b.txt", f"{head}BenchmarkB-2   "), tmp_path / "r")
    assert (rows["BenchmarkB"].status, rows["BenchmarkB"].reason) == ("not-run", "the text ends before its result")


def test_a_log_of_a_terminal_or_a_workflow_is_the_same_text(tmp_path: Path) -> None:
    plain = rows_of(put(tmp_path, "a.txt", GO), tmp_path / "r")
    stamped = "".join(f"2026-01-02T03:04:05.1234567Z {line}" for line in GO.splitlines(keepends=True))
    coloured = GO.replace("BenchmarkAlloc-8", "\x1b[32mBenchmarkAlloc-8\x1b[0m")
    for name, text in (("b.txt", stamped), ("c.txt", coloured)):
        rows = rows_of(put(tmp_path, name, text), tmp_path / "r")
        assert {name: row.time_median_s for name, row in rows.items()} == {
            name: row.time_median_s for name, row in plain.items()
        }


def test_a_build_of_go_that_failed_is_refused_by_its_name(tmp_path: Path) -> None:
    text = "# example.org/p\n./x.go:3:1: syntax error\nFAIL\texample.org/p [build failed]\nFAIL\n"
    with pytest.raises(ResultsError, match=r"no benchmark .*go test has example\.org/p as failed: \[build failed\]"):
        import_file(put(tmp_path, "go.txt", text), tmp_path / "r")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_text_that_windows_redirected_is_read(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "go.txt"
    file.write_bytes(GO.replace("\n", "\r\n").encode(encoding))
    assert file.read_bytes().startswith((codecs.BOM_UTF16, codecs.BOM_UTF8))
    assert rows_of(file, tmp_path / "r")["BenchmarkSum/n=10/kind=int"].n_bursts == 2


# nvbench


def value(tag: str, number: Any, kind: str = "float64", name: str = "value") -> dict[str, Any]:
    return {"tag": tag, "name": tag, "data": [{"name": name, "type": kind, "value": number}]}


def state(device: int, summaries: Any, **more: Any) -> dict[str, Any]:
    axis = {"name": "Elements", "type": "int64", "value": "256"}
    known = {"name": f"Device={device} Elements=2^8", "device": device, "axis_values": [axis]}
    return known | {"summaries": summaries, "is_skipped": False} | more


def times(mean: str, **more: Any) -> list[dict[str, Any]]:
    noise = value("nv/cold/time/gpu/stdev/relative", None)
    return [value("nv/cold/sample_size", "499", "int64"), value("nv/cold/time/gpu/mean", mean), noise, *more.values()]


def nvbench(states: list[Any], **more: Any) -> dict[str, Any]:
    devices = [{"id": n, "name": f"GPU {n}", "global_memory_size": 2**34} for n in range(2)]
    version = {"nvbench": {"string": "0.1.0"}}
    return {"meta": {"version": version}, "devices": devices, "benchmarks": [{"name": "copy", "states": states}]} | more


def test_states_of_nvbench_are_cells_on_their_devices(tmp_path: Path) -> None:
    skipped = state(0, None, is_skipped=True, skip_reason="too large", axis_values=[{"name": "n", "value": "9"}])
    data = nvbench([state(0, times("1e-3")), state(1, times("2e-3")), skipped, state(0, [], axis_values=None), 7])
    folder = import_file(put(tmp_path, "n.json", data), tmp_path / "r")
    rows = read_cells(folder)
    assert [(row.variant, row.device, row.status) for row in rows] == [
        ("copy Elements=256", "cuda:0", "ok"),
        ("copy Elements=256", "cuda:1", "ok"),
        ("copy n=9", "cuda:0", "unsupported"),
        ("copy", "cuda:0", "not-run"),
        ("copy state 5", "cpu", "not-run"),
    ]
    assert [row.time_median_s for row in rows[:2]] == [1e-3, 2e-3]
    assert (rows[0].n_samples, rows[0].point, rows[2].reason) == (499, {"Elements": 256}, "skipped: too large")
    info = read_info(folder)
    assert [gpu.name for gpu in info.fingerprint.hardware.gpus] == ["GPU 0", "GPU 1"]
    assert info.fingerprint.hardware.gpus[0].memory_bytes == 2**34
    assert "means, which stand for them" in str(info.imported)


def test_samples_beside_nvbenchs_file_are_bursts(tmp_path: Path) -> None:
    def kept(name: str, size: int) -> dict[str, Any]:
        data = [{"name": "filename", "value": name}, {"name": "size", "type": "int64", "value": str(size)}]
        return {"tag": "nv/json/bin:nv/cold/sample_times", "hint": "file/sample_times", "data": data}

    median = value("nv/cold/time/gpu/median", "1.5")
    states = [
        state(0, times("9.0", samples=kept("n.json-bin/0.bin", 3))),
        state(0, times("9.0", samples=kept("gone/1.bin", 3), median=median), axis_values=[]),
        state(0, times("9.0", samples=kept("n.json-bin/0.bin", 4)), axis_values=[{"name": "k", "value": "x"}]),
    ]
    file = put(tmp_path, "n.json", nvbench(states))
    (tmp_path / "n.json-bin").mkdir()
    (tmp_path / "n.json-bin" / "0.bin").write_bytes(struct.pack("<3f", 1.0, 2.0, 4.0))
    warnings: list[str] = []
    rows = rows_of(file, tmp_path / "r", warn=warnings.append)
    row = rows["copy Elements=256"]
    assert (row.time_median_s, row.n_bursts, row.device) == (2.0, 3, "cuda")
    assert [sample.wall_s for sample in samples_of(row, tmp_path / "r")] == [1.0, 2.0, 4.0]
    assert (rows["copy"].time_median_s, rows["copy k=x"].time_median_s) == (1.5, 9.0)
    assert warnings == [
        "copy: its samples are not beside the file (gone/1.bin); their statistics stand for them",
        "copy k=x: n.json-bin/0.bin is damaged (12 bytes for 4 samples); it is left out",
    ]


def test_what_the_cpu_took_in_nvbench_is_a_time_and_what_is_none_is_observed(tmp_path: Path) -> None:
    cpu = state(0, [value("nv/cpu_only/time/cpu/mean", "0.5"), value("nv/cpu_only/sample_size", "7", "int64")])
    own = state(0, [value("user/bytes", "12", "int64")], axis_values=None)
    rows = rows_of(put(tmp_path, "n.json", nvbench([cpu | {"device": None}, own])), tmp_path / "r")
    assert (rows["copy Elements=256"].time_median_s, rows["copy Elements=256"].device) == (0.5, "cpu")
    assert rows["copy Elements=256"].n_samples == 7
    assert (rows["copy"].kind, rows["copy"].metrics) == ("observed", {"user/bytes": 12})


# Machines


def go(cpu: str, ns: float = 100.0) -> str:
    lines = "".join(f"BenchmarkX-2 \t 100\t {ns * (1 + 0.001 * (n % 5))} ns/op\n" for n in range(40))
    return f"goos: linux\ngoarch: amd64\npkg: p\n{f'cpu: {cpu}' if cpu else ''}\n{lines}PASS\n"


def verdicts(base: Path, head: Path) -> set[tuple[str, str]]:
    return {(one.verdict, one.reason or "") for one in compare(base, head)}


def test_files_without_a_machine_are_compared_once_it_is_named(tmp_path: Path) -> None:
    base, head = put(tmp_path, "base.txt", go("")), put(tmp_path, "head.txt", go("", 200.0))
    out = tmp_path / "r"
    ((verdict, reason),) = verdicts(import_file(base, out), import_file(head, out))
    assert verdict == "not-comparable"
    assert "machine of BASE and of HEAD is not known" in reason
    assert "attnbench import base.txt --machine NAME" in reason
    named = [import_file(file, out, machine="ci  runner") for file in (base, head)]
    assert {word for word, _ in verdicts(*named)} == {"slower"}
    info = read_info(named[0])
    assert info.fingerprint.hardware.cpu_model == "unknown, of machine ci runner"
    assert "the machine (the import was told: ci runner)" in str(info.imported)
    other = import_file(head, out, machine="laptop")
    assert {word for word, _ in verdicts(named[0], other)} == {"not-comparable"}
    ((_, reason),) = verdicts(named[0], import_file(head, out))
    assert "machine of HEAD is not known" in reason
    with pytest.raises(UsageError, match="--machine is empty"):
        import_file(base, out, machine=" ")


def test_a_processor_stays_beside_the_name_of_its_machine(tmp_path: Path) -> None:
    file = put(tmp_path, "go.txt", go("Example CPU"))
    bare, named = import_file(file, tmp_path / "r"), import_file(file, tmp_path / "r", machine="box")
    assert read_info(named).fingerprint.hardware.cpu_model == "Example CPU, machine box"
    again = import_file(file, tmp_path / "r", machine="box")
    assert "not-comparable" not in {word for word, _ in verdicts(named, again)}
    assert {word for word, _ in verdicts(bare, named)} == {"not-comparable"}


def test_a_host_gives_way_to_the_machine_that_is_named(tmp_path: Path) -> None:
    context = {"host_name": "runner-1", "num_cpus": 4, "date": "2026-01-01T00:00:00+00:00"}
    run = {"name": "B", "run_type": "iteration", "iterations": 9, "real_time": 5.0, "cpu_time": 5.0, "time_unit": "ns"}
    folders = [
        import_file(
            put(tmp_path, f"{host}.json", {"context": context | {"host_name": host}, "benchmarks": [run] * 40}),
            tmp_path / "r",
            machine="pool",
        )
        for host in ("runner-1", "runner-2")
    ]
    assert "not-comparable" not in {word for word, _ in verdicts(*folders)}


# One rule for all


GO_ZEROS = "\n".join(f"BenchmarkZ-2 \t 9\t {ns} ns/op" for ns in ("0.0000", "0.0000", "4.0")) + "\n"
OF_ZEROS = {
    "go.txt": GO_ZEROS,
    "sample.json": {"sampling_mode": "Flat", "iters": [1.0, 1.0, 1.0], "times": [0.0, 0.0, 4.0]},
    "list.json": [{"name": "z", "unit": "ns/iter", "value": ns} for ns in (0, 0, 4)],
}


@pytest.mark.parametrize("name", OF_ZEROS)
def test_where_most_rounds_are_zero_the_clock_was_too_coarse_whatever_tool_wrote_them(
    name: str, tmp_path: Path
) -> None:
    (row,) = rows_of(put(tmp_path, name, OF_ZEROS[name]), tmp_path / "r").values()
    assert row.status == "not-run"
    assert "2 of its 3 rounds are 0 s: the clock is too coarse for it" in (row.reason or "")
