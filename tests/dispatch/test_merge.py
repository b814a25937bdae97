"""Results become runs: what a local run has, a folder for each machine, and nothing lost or mixed."""

from __future__ import annotations

import json
import resource
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pandas.testing import assert_frame_equal

import attnbench as ab
from attnbench.dispatch.blocks import read_order
from attnbench.dispatch.folder import read_plan
from attnbench.dispatch.making import RunInMaking
from attnbench.errors import EXIT_CELLS_FAILED, EXIT_INCONCLUSIVE, EXIT_NOTHING_MEASURED, EXIT_USAGE, ResultsError
from attnbench.results.fingerprint import machine_of
from attnbench.results.read import read_contents, read_info
from attnbench.results.schema import Fingerprint
from tests.dispatch.conftest import Fleet
from tests.program import Cli

SAME = ["cell_id", "block_id", "case_id", "suite", "impl", "device", "threads", "status", "reason", "kind"]


def files(folder: Path) -> list[Path]:
    """The result files in the order of the blocks' numbers."""
    ids = read_order(folder, read_plan(folder)).ids
    return [next((folder / "results").rglob(f"{block}.*.json")) for block in ids]


def of_another_machine(file: Path, cpu: str = "Another CPU") -> Path:
    """The same result as if another machine had measured it, in the place of this one."""
    data: dict[str, Any] = json.loads(file.read_text())
    fingerprint = data["run"]["fingerprint"]
    fingerprint["hardware"]["cpu_model"] = cpu
    there = Fingerprint.model_validate(fingerprint)
    data["machine"] = machine_of(there)
    for row in data["cells"]:
        row["machine_id"] = there.machine_id
    other = file.with_name(f"{data['block']}.{data['machine']}.json")
    other.write_text(json.dumps(data))
    file.unlink()
    return other


def test_the_merged_run_is_the_local_one_cell_for_cell(cli: Cli, measured: Path, fleet: Fleet) -> None:
    done = cli("dispatch", "merge", measured, "--out", "runs", "--json")
    assert done.code == EXIT_CELLS_FAILED == fleet.local_exit, done.err
    (run,) = done.document["runs"]
    merged, local = ab.load(run["folder"]), ab.load(fleet.local)
    assert merged[SAME].to_dict("records") == local[SAME].to_dict("records")
    samples, theirs = ab.load(run["folder"], samples=True), ab.load(fleet.local, samples=True)
    assert set(samples["cell_id"]) == set(theirs["cell_id"])
    assert (samples["t_start"] >= 0).all()
    info, local_info = read_info(Path(run["folder"])), read_info(fleet.local)
    assert info.status == "complete"
    for what in ("suites", "implementations", "axes", "devices", "threads"):
        assert getattr(info, what) == getattr(local_info, what), what
    assert set(info.ceilings) == set(local_info.ceilings)
    assert info.fingerprint.machine_id == local_info.fingerprint.machine_id
    assert info.suite_files["small"].path == str(measured / "files" / "1" / "questions.py")


def test_a_merged_run_is_read_by_everything_that_reads_runs(cli: Cli, measured: Path, fleet: Fleet) -> None:
    run = cli("dispatch", "merge", measured, "--out", "runs", "--json").document["runs"][0]["folder"]
    assert cli("report", run, "-o", "page").code == 0
    assert cli("compare", run, fleet.local).code in (0, 1, 3, 5)
    assert cli("export", run, "--to", "csv").code == 0
    events = read_contents(Path(run)).events
    blocks = [event for event in events if event["name"] == "block"]
    assert sorted(event["number"] for event in blocks) == [0, 1, 2]
    assert all(event["labels"] == {"rack": "7"} for event in blocks)


def test_each_machine_has_a_run_of_its_own(cli: Cli, measured: Path) -> None:
    of_another_machine(files(measured)[1])
    done = cli("dispatch", "merge", measured, "--out", "runs", "--json")
    runs = done.document["runs"]
    assert sorted(run["blocks"] for run in runs) == [1, 2]
    assert {run["cpu"] for run in runs} > {"Another CPU"}
    frames = [ab.load(run["folder"]) for run in runs]
    assert [frame["machine_id"].nunique() for frame in frames] == [1, 1]
    assert frames[0]["machine_id"][0] != frames[1]["machine_id"][0]
    assert not set(frames[0]["cell_id"]) & set(frames[1]["cell_id"])
    assert cli("compare", *(run["folder"] for run in runs)).code != 0


def test_a_block_that_two_machines_measured_is_in_both_runs(cli: Cli, measured: Path) -> None:
    file = files(measured)[0]
    text = file.read_text()
    of_another_machine(file)
    file.write_text(text)
    runs = cli("dispatch", "merge", measured, "--out", "runs", "--json").document["runs"]
    assert sorted(run["blocks"] for run in runs) == [1, 3]


def test_what_is_missing_is_named_and_nothing_is_written(cli: Cli, measured: Path) -> None:
    for file in files(measured)[:2]:
        file.unlink()
    done = cli("dispatch", "merge", measured, "--out", "runs")
    assert done.code == EXIT_INCONCLUSIVE
    assert "2 blocks have no result: 0-1." in done.out
    assert "--partial" in done.out
    assert not list(Path("runs").glob("*"))
    assert cli("dispatch", "list", measured, "--missing").out.strip() == "0-1"


def test_partial_takes_what_is_there_and_loses_no_cell(cli: Cli, measured: Path, fleet: Fleet) -> None:
    files(measured)[0].unlink()
    done = cli("dispatch", "merge", measured, "--out", "runs", "--partial", "--json")
    assert done.code == EXIT_CELLS_FAILED  # it wins over 3
    assert done.document["missing"] == [0]
    frame = ab.load(done.document["runs"][0]["folder"])
    assert list(frame["cell_id"]) == list(ab.load(fleet.local)["cell_id"])
    open_cells = frame[frame["status"] == "not-run"]
    assert set(open_cells["reason"]) == {"planned, and no machine has measured it"}
    assert read_info(Path(done.document["runs"][0]["folder"])).status == "partial"


def test_the_tables_of_a_merged_run_are_those_of_its_journal(cli: Cli, measured: Path) -> None:
    run = Path(cli("dispatch", "merge", measured, "--out", "runs", "--json").document["runs"][0]["folder"])
    tables = {samples: ab.load(run, samples=samples) for samples in (False, True)}
    for file in run.glob("*.parquet"):
        file.unlink()
    for samples, table in tables.items():
        assert_frame_equal(ab.load(run, samples=samples), table)


def test_a_block_whose_only_result_is_damaged_is_planned_in_the_runs_of_all_machines(cli: Cli, measured: Path) -> None:
    first, second, third = files(measured)
    first.unlink()
    of_another_machine(second)
    third.write_text(cut(third.read_text()))
    machines = {file.name.split(".")[1] for file in measured.rglob("results/*/*.json")}
    done = cli("dispatch", "merge", measured, "--out", "runs", "--partial", "--json")
    (run,) = done.document["runs"]
    assert (len(machines), done.document["missing"]) == (2, [0, 2])
    frame = ab.load(run["folder"])
    blocks = (measured / "blocks.jsonl").read_text().splitlines()
    assert len(frame) == sum(len(json.loads(line)["cells"]) for line in blocks)
    assert run["counts"]["not-run"] == (frame["status"] == "not-run").sum() > 0
    assert len(list(Path("runs").iterdir())) == 1


def test_merging_again_replaces_the_runs_of_the_same_plan(cli: Cli, measured: Path) -> None:
    file = files(measured)[0]
    text = file.read_text()
    file.unlink()
    first = cli("dispatch", "merge", measured, "--out", "runs", "--partial", "--json").document["runs"]
    file.write_text(text)
    again = cli("dispatch", "merge", measured, "--out", "runs", "--json").document["runs"]
    assert [run["folder"] for run in again] == [run["folder"] for run in first] == [str(*Path("runs").iterdir())]
    frame = ab.load("runs")
    assert frame["cell_id"].is_unique
    assert not (frame["status"] == "not-run").any()


def test_merging_again_loses_nothing_that_was_measured(cli: Cli, measured: Path) -> None:
    run = Path(cli("dispatch", "merge", measured, "--out", "runs", "--json").document["runs"][0]["folder"])
    before = (run / "run.json").read_bytes()
    files(measured)[0].unlink()
    done = cli("dispatch", "merge", measured, "--out", "runs", "--partial")
    assert (done.code, f"dispatch merge {measured} --out runs-again" in done.err) == (EXIT_USAGE, True)
    assert list(Path("runs").iterdir()) == [run]
    assert (run / "run.json").read_bytes() == before


def test_runs_get_their_places_together_or_not_at_all(
    cli: Cli, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_another_machine(files(measured)[1])
    cli("dispatch", "merge", measured, "--out", "runs")
    before = {run.name: (run / "run.json").stat().st_mtime_ns for run in Path("runs").iterdir()}
    rename, moves = Path.rename, list[Path]()

    def breaks(path: Path, target: Path) -> Path:
        moves.append(path)
        if len(moves) == 4:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", breaks)
    assert cli("dispatch", "merge", measured, "--out", "runs").code != 0
    assert {run.name: (run / "run.json").stat().st_mtime_ns for run in Path("runs").iterdir()} == before
    assert (len(before), len(moves)) == (2, 4 + 3)


def test_copies_of_a_result_are_one_and_a_damaged_one_does_no_harm(cli: Cli, measured: Path) -> None:
    same, damaged = files(measured)[1], files(measured)[2]
    (measured / "results" / same.name).write_bytes(same.read_bytes())
    (measured / "results" / damaged.name).write_text(cut(damaged.read_text()))
    done = cli("dispatch", "merge", measured, "--out", "runs", "--json")
    assert (done.code, done.document["damaged"], done.document["missing"]) == (EXIT_CELLS_FAILED, [], [])
    for file in (same, damaged):
        text = file.read_text()
        (measured / "results" / file.name).write_text(text)
        file.write_text(cut(text))
    assert cli("dispatch", "merge", measured, "--out", "others").code == EXIT_CELLS_FAILED


def test_another_result_of_the_same_block_and_machine_is_named(cli: Cli, measured: Path) -> None:
    file = files(measured)[1]
    data = json.loads(file.read_text())
    (measured / "results" / file.name).write_text(json.dumps(data | {"labels": {"rack": "8"}}))
    done = cli("dispatch", "merge", measured, "--out", "runs")
    assert (done.code, "is one too many" in done.err) == (EXIT_USAGE, True)
    file.unlink()
    assert cli("dispatch", "merge", measured, "--out", "runs").code == EXIT_CELLS_FAILED


@pytest.mark.parametrize(("column", "value"), [("suite", []), ("kind", []), ("cells", []), ("at", [1, 2, 3, 4])])
def test_a_damaged_order_of_blocks_is_named(column: str, value: list[int], cli: Cli, unmeasured: Path) -> None:
    order = unmeasured / "order.json"
    order.write_text(json.dumps(json.loads(order.read_text()) | {column: value}))
    done = cli("dispatch", "list", unmeasured)
    assert (done.code, f"{order} is damaged" in done.err) == (EXIT_USAGE, True)


def test_many_machines_need_no_more_open_files_than_one(cli: Cli, measured: Path) -> None:
    first = files(measured)[0]
    text = first.read_text()
    for number in range(12):
        first.write_text(text)
        of_another_machine(first, f"CPU {number}")
    first.write_text(text)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/proc/self/fd").iterdir())) + 12, hard))
    try:
        done = cli("dispatch", "merge", measured, "--out", "runs", "--json")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(done.document["runs"]) == 13


def cut(text: str) -> str:
    return text[: len(text) // 2]


def other_plan(text: str) -> str:
    return json.dumps(json.loads(text) | {"plan": "aaaaaaaaaaaa"})


def lost_row(text: str) -> str:
    data = json.loads(text)
    return json.dumps(data | {"cells": data["cells"][:-1]})


def another_field(text: str) -> str:
    return json.dumps(json.loads(text) | {"pickle": "gASV"})


def foreign_sample(text: str) -> str:
    data = json.loads(text)
    sample = {"run_id": "x", "cell_id": "aaaaaaaaaaaa", "replicate": 0, "burst": 0, "index": 0, "calls": 1, "wall_s": 1}
    return json.dumps(data | {"samples": [sample]})


def other_kernel(text: str) -> str:
    data = json.loads(text)
    data["cells"][0]["impl"] = "numpy/naive"
    return json.dumps(data)


def no_time(text: str) -> str:
    data = json.loads(text)
    data["run"]["started"] = "yesterday"
    return json.dumps(data)


def other_code(text: str) -> str:
    return json.dumps(json.loads(text) | {"code": "abcdefabcdef"})


def other_package(text: str) -> str:
    data = json.loads(text)
    data["run"]["fingerprint"]["packages"]["numpy"] = "0.0.1"
    data["machine"] = machine_of(Fingerprint.model_validate(data["run"]["fingerprint"]))
    return json.dumps(data)


def deep(_: str) -> str:
    return "[" * 100_000


SPOILERS = [cut, other_plan, lost_row, another_field, foreign_sample, deep, other_kernel, no_time, other_code]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_damaged_file_is_named(spoil: Any, cli: Cli, measured: Path) -> None:
    file = files(measured)[1]
    file.write_text(spoil(file.read_text()))
    done = cli("dispatch", "merge", measured, "--out", "runs")
    assert done.code == EXIT_USAGE
    assert f"{file} is damaged: " in done.err
    assert list(Path("runs").iterdir()) == []
    partial = cli("dispatch", "merge", measured, "--out", "runs", "--partial", "--json")
    assert partial.code == EXIT_INCONCLUSIVE
    assert (partial.document["missing"], len(partial.document["damaged"])) == ([1], 1)


def test_a_worker_with_other_packages_is_named_even_where_its_file_was_brought_by_hand(
    cli: Cli, measured: Path
) -> None:
    file = files(measured)[0]
    text = other_package(file.read_text())
    file.unlink()
    file.with_name(f"{file.name.partition('.')[0]}.{json.loads(text)['machine']}.json").write_text(text)
    done = cli("dispatch", "merge", measured, "--out", "runs")
    assert (done.code, "there 0.0.1" in done.err) == (EXIT_USAGE, True)


def test_a_result_brings_no_code_of_its_own(cli: Cli, measured: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil.py"
    evil.write_text("import pathlib\npathlib.Path(__file__).with_name('was-run').touch()\n")
    file = files(measured)[0]
    data = json.loads(file.read_text())
    filed = {"file": "x.py", "path": str(evil), "sha256": sha256(evil.read_bytes()).hexdigest(), "question": "?"}
    data["run"]["suite_files"] = dict.fromkeys(("small", "seen"), filed)
    file.write_text(json.dumps(data))
    done = cli("dispatch", "merge", measured, "--out", "runs")
    assert (done.code, "is of a file that is not the plan's" in done.err) == (EXIT_USAGE, True)
    cli("dispatch", "merge", measured, "--out", "runs", "--partial")
    assert not (tmp_path / "was-run").exists()


def test_no_run_has_its_place_before_all_are_written(cli: Cli, measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_another_machine(files(measured)[1])
    written: list[int] = []
    finish = RunInMaking.finish

    def breaks(run: RunInMaking, unmeasured: int) -> None:
        written.append(unmeasured)
        if len(written) == 2:
            msg = "the disk is full"
            raise ResultsError(msg)
        finish(run, unmeasured)

    monkeypatch.setattr(RunInMaking, "finish", breaks)
    done = cli("dispatch", "merge", measured, "--out", "runs")
    assert (done.code, len(written)) == (EXIT_USAGE, 2)
    assert list(Path("runs").iterdir()) == []


def test_a_file_under_another_machines_name_is_damaged(cli: Cli, measured: Path) -> None:
    file = files(measured)[0]
    file.rename(file.with_name(f"{file.name.partition('.')[0]}.aaaaaaaaaaaa.json"))
    done = cli("dispatch", "merge", measured, "--out", "runs")
    assert done.code == EXIT_USAGE
    assert "its name is not that of its block and its machine" in done.err


def test_a_machine_that_is_not_what_its_fingerprint_says_is_damaged(cli: Cli, measured: Path) -> None:
    file = files(measured)[0]
    data = json.loads(file.read_text())
    data["run"]["fingerprint"]["hardware"]["cpu_model"] = "Another CPU"
    file.write_text(json.dumps(data))
    done = cli("dispatch", "merge", measured, "--out", "runs")
    assert done.code == EXIT_USAGE
    assert "fingerprint" in done.err


def test_frameworks_that_report_other_versions_are_not_mixed(cli: Cli, measured: Path) -> None:
    file = files(measured)[1]
    data = json.loads(file.read_text())
    data["run"]["fingerprint"]["frameworks"]["numpy"]["numpy"] = "0.0.1"
    file.write_text(json.dumps(data))
    done = cli("dispatch", "merge", measured, "--out", "runs")
    assert done.code == EXIT_USAGE
    assert "0.0.1" in done.err


def test_a_result_of_a_block_that_is_none_is_named(cli: Cli, measured: Path) -> None:
    (measured / "results" / "aaaaaaaaaaaa.bbbbbbbbbbbb.json").write_text("{}")
    done = cli("dispatch", "merge", measured, "--out", "runs")
    assert done.code == EXIT_USAGE
    assert "the plan has no such block" in done.err


def test_nothing_measured_is_5_and_no_plan_is_2(cli: Cli, unmeasured: Path, tmp_path: Path) -> None:
    assert cli("dispatch", "merge", unmeasured).code == EXIT_NOTHING_MEASURED
    assert cli("dispatch", "merge", tmp_path).code == EXIT_USAGE
    assert cli("dispatch", "merge", tmp_path / "nowhere").code == EXIT_USAGE
    assert cli("dispatch", "list", tmp_path).code == EXIT_USAGE
    assert not (tmp_path / "results").exists()


def test_blocks_that_were_measured_beside_others_are_counted(cli: Cli, measured: Path) -> None:
    file = files(measured)[1]
    data = json.loads(file.read_text())
    data["events"].append({"name": "handed-out", "worker": "a", "lost": [], "beside": ["b"]})
    file.write_text(json.dumps(data, separators=(",", ":")) + "\n")
    assert "1 block was measured beside others on the same machine" in cli("dispatch", "merge", measured).out
