"""One block, measured by whoever takes it: one whole file, or none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from attnbench.dispatch import held, work
from attnbench.dispatch.blocks import Blocks, read_block
from attnbench.dispatch.folder import as_text, read_plan, result_files, write_synced
from attnbench.dispatch.records import BlockResult, HeldVersions
from attnbench.dispatch.work import publish
from attnbench.errors import EXIT_CELLS_FAILED, EXIT_NOTHING_MEASURED, EXIT_USAGE, AttnbenchError
from attnbench.interface.running import RunWords, run_options
from attnbench.measure.run.options import RunOptions, RunOutcome
from attnbench.results.read import read_info
from attnbench.workers.lock import only_run
from tests.dispatch.conftest import Fleet, quickly, unheard, write_files
from tests.dispatch.test_merge import cut, files, lost_row, of_another_machine, other_plan
from tests.program import Cli


def results(folder: Path) -> list[str]:
    return sorted(file.path.name for file in result_files(folder))


def refuse_measuring(*_: object) -> None:
    pytest.fail("nothing was to be measured")


def test_a_crash_is_a_row_and_the_block_has_its_result(fleet: Fleet) -> None:
    assert sorted(fleet.exit_codes) == [0, 0, EXIT_CELLS_FAILED]
    for number, file in enumerate(fleet.files):
        result, block = fleet.result(number), fleet.block(number)
        assert file.name == f"{block.id}.{result.machine}.json"
        assert result.labels == {"rack": "7"}
        assert tuple(row.cell_id for row in result.cells) == block.cell_ids
    assert len(results(fleet.folder)) == 3


def test_what_has_a_result_is_not_measured_again(cli: Cli, measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "run", refuse_measuring)
    done = cli("dispatch", "work", measured, "--block", "1", "--json")
    assert (done.code, done.document["was_there"]) == (0, True)
    by_id = cli("dispatch", "work", measured, "--block", done.document["block"], "--json")
    assert by_id.document["file"] == done.document["file"]


def test_a_result_of_another_machine_counts_unless_each_machine_is_to_measure(
    cli: Cli, measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_another_machine(files(measured)[1])
    monkeypatch.setattr(work, "run", refuse_measuring)
    assert cli("dispatch", "work", measured, "--block", "1").code == 0
    with pytest.raises(pytest.fail.Exception):
        cli("dispatch", "work", measured, "--block", "1", "--each-machine")


@pytest.mark.parametrize("spoil", [cut, other_plan, lost_row])
def test_a_damaged_result_is_none_and_its_block_is_measured_again(
    spoil: Callable[[str], str], cli: Cli, measured: Path, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = files(measured)[1]
    whole = file.read_text()
    file.write_text(spoil(whole))
    listed = cli("dispatch", "list", measured, "--json")
    assert (listed.document["missing"], listed.document["damaged"]) == ([1], [str(file)])
    assert f"{file} is damaged" in listed.err
    monkeypatch.setattr(work, "measured", lambda *_: (fleet.result(1), ""))
    done = cli("dispatch", "work", measured, "--block", "1", "--json")
    assert (done.document["was_there"], done.document["file"]) == (False, str(file))
    assert f"{file} is damaged" in done.err
    assert file.read_text() == whole
    assert cli("dispatch", "list", measured, "--json").document["missing"] == []


def test_a_result_that_was_only_written_in_another_way_counts(cli: Cli, measured: Path) -> None:
    file = files(measured)[1]
    file.write_text(json.dumps(json.loads(file.read_text()), indent=2))
    listed = cli("dispatch", "list", measured, "--json").document
    assert (listed["missing"], listed["damaged"]) == ([], [])


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("attnbench", "9.9.9", "attnbench 9.9.9, here"),
        ("code", "abcdefabcdef", "attnbench's own files (digest abcdefabcdef, here"),
        ("python", "CPython 2.7.18", "CPython 2.7.18, here"),
        ("packages", {"numpy": "1.0.0"}, "numpy 1.0.0, here"),
    ],
)
def test_a_worker_with_other_code_is_refused_by_name(
    field: str, value: object, words: str, cli: Cli, unmeasured: Path
) -> None:
    text = json.loads((unmeasured / "plan.json").read_text())
    text["held"][field] = text["held"]["packages"] | value if isinstance(value, dict) else value
    (unmeasured / "plan.json").write_text(json.dumps(text))
    done = cli("dispatch", "work", unmeasured, "--block", "0")
    assert done.code == EXIT_USAGE
    assert words in done.err
    assert results(unmeasured) == []


def test_only_what_is_unlike_is_named() -> None:
    here = held.versions_here()
    assert held.differences(here, here) == []
    other = HeldVersions.model_validate(here.model_dump() | {"packages": here.packages | {"jax": "0.0.1"}})
    assert held.differences(other, here) == [f"jax 0.0.1, here {here.packages.get('jax', 'none')}"]


def test_hold_names_versions_that_are_not_here(cli: Cli, tmp_path: Path) -> None:
    small = ("smoke", "-a", "T=128", "--impl", "numpy/naive")
    typed = ("--hold", "torch=0.1", "--hold", "jax=none", "--hold", "python=3.99.1", "-o")
    assert cli("dispatch", "plan", *small, *typed, "plan").code == 0
    kept = read_plan(tmp_path / "plan").held
    assert (kept.packages["torch"], "jax" in kept.packages, kept.python) == ("0.1", False, "CPython 3.99.1")
    near = cli("dispatch", "plan", *small, "--hold", "numpi=2", "-o", "other")
    assert near.code == EXIT_USAGE
    assert "did you mean 'numpy'" in near.err


def test_labels_are_asked_for(cli: Cli, small_plan: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = small_plan(labels=["rack=7", "cuda:gpu=h100"])
    assert "says nothing of rack" in cli("dispatch", "work", folder, "--block", "0").err
    assert "says rack=8" in cli("dispatch", "work", folder, "--block", "0", "--label", "rack=8").err
    monkeypatch.setattr(work, "run", refuse_measuring)
    with pytest.raises(pytest.fail.Exception):
        cli("dispatch", "work", folder, "--block", "0", "--label", "rack=7")


def test_a_machine_that_can_measure_nothing_of_a_block_leaves_it_to_others(
    cli: Cli, small_plan: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_plan()
    monkeypatch.setattr("attnbench.measure.run.plan.free_memory", lambda: 10)
    done = cli("dispatch", "work", folder, "--block", "0")
    assert done.code == EXIT_NOTHING_MEASURED
    assert "of memory are free here" in done.err
    assert results(folder) == []


def test_a_second_worker_on_the_machine_is_refused_or_waits(cli: Cli, unmeasured: Path) -> None:
    with only_run(Path(os.environ["ATTNBENCH_LOCK"])):
        done = cli("dispatch", "work", unmeasured, "--block", "0")
    assert done.code == EXIT_USAGE
    assert "--wait 10m" in done.err
    assert results(unmeasured) == []


def test_a_result_that_came_while_the_worker_waited_is_kept(
    cli: Cli, fleet: Fleet, unmeasured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = fleet.files[0]

    def waits(options: object, began: float) -> None:
        (unmeasured / "results" / file.name).write_bytes(file.read_bytes())
        options.on_plan(None)  # type: ignore[attr-defined]
        pytest.fail(f"it measured at {began}")

    monkeypatch.setattr("attnbench.measure.run.run._started", waits)
    done = cli("dispatch", "work", unmeasured, "--block", "0", "--json")
    assert (done.code, done.document["was_there"]) == (0, True)


def test_the_first_of_two_results_stays_and_again_replaces_it(fleet: Fleet, unmeasured: Path) -> None:
    plan = read_plan(unmeasured)
    block = read_block(unmeasured, plan, fleet.block(0).id)
    first = fleet.result(0)
    second = first.model_copy(update={"node": "bbbbbbbbbbbb"})
    assert not publish(unmeasured, block, first).was_there
    later = publish(unmeasured, block, second)
    assert later.was_there
    assert later.file is not None
    assert BlockResult.model_validate_json(later.file.read_bytes()).node == first.node
    assert not publish(unmeasured, block, second, replace_it=True).was_there
    assert BlockResult.model_validate_json(later.file.read_bytes()).node == second.node
    assert len(results(unmeasured)) == 1


def test_a_result_that_cannot_be_kept_in_the_folder_is_kept_elsewhere(
    fleet: Fleet, unmeasured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> bool:
        msg = "the disk is full"
        raise AttnbenchError(msg)

    file = fleet.files[0]
    monkeypatch.setattr(work, "write_synced", full)
    with pytest.raises(AttnbenchError, match="is kept in ") as failed:
        publish(unmeasured, fleet.block(0), fleet.result(0))
    kept = Path(str(failed.value).partition("is kept in ")[2].partition(";")[0])
    assert kept.read_bytes() == file.read_bytes()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", breaks)
    with pytest.raises(AttnbenchError, match="disk is full"):
        write_synced(tmp_path / "result.json", "{}")
    assert list(tmp_path.iterdir()) == []


def test_what_is_infinite_comes_back(fleet: Fleet) -> None:
    result = fleet.result(0)
    row = result.cells[0].model_copy(update={"error_ratio": float("inf"), "status": "wrong", "reason": "a test"})
    changed = result.model_copy(update={"cells": (row.model_copy(update={"time_median_s": None}),)})
    assert BlockResult.model_validate(json.loads(as_text(changed))) == changed


SLEEPS = """
    import os
    import pathlib
    import time

    @implementation("numpy/sleeps", Capabilities())
    def sleeps(q, k, v, call):
        begun = pathlib.Path(__file__).with_name("begun")
        begun.with_suffix(".part").write_text(str(os.getpid()))
        begun.with_suffix(".part").rename(begun)
        time.sleep(60)
"""


def is_alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_worker_that_is_killed_leaves_no_result_and_the_machine_to_the_next_one(
    cli: Cli, tmp_path: Path, dropin: Callable[..., str]
) -> None:
    file = dropin(SLEEPS)
    asked = ("smoke", "-a", "T=128", "--impls", file, "--impl", "numpy/sleeps", "-o", "plan")
    assert cli("dispatch", "plan", *asked).code == 0
    words = [sys.executable, "-m", "attnbench", "dispatch", "work", "plan", "--block", "0", "--quiet"]
    with subprocess.Popen(words, cwd=tmp_path, start_new_session=True) as worker:
        until = time.monotonic() + 60
        while not (tmp_path / "begun").exists() and time.monotonic() < until:
            time.sleep(0.05)
        worker.kill()  # it alone: what it started is to end with it
    assert int((tmp_path / "begun").read_text())
    assert results(tmp_path / "plan") == []
    assert cli("dispatch", "list", "plan", "--missing").out.split() == ["0"]
    until = time.monotonic() + 20
    while (lives := is_alive(int((tmp_path / "begun").read_text()))) and time.monotonic() < until:
        time.sleep(0.05)
    assert not lives
    with only_run(Path(os.environ["ATTNBENCH_LOCK"])):
        pass


def test_what_killed_workers_left_behind_is_swept(
    cli: Cli, small_plan: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, place = small_plan(), tmp_path / "temporary"
    (place / "attnbench-block-dead" / "runs").mkdir(parents=True)
    os.utime(place / "attnbench-block-dead", (1, 1))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(work, "run", refuse_measuring)
    with pytest.raises(pytest.fail.Exception):
        cli("dispatch", "work", folder, "--block", "0")
    assert list(place.iterdir()) == []


def test_an_interrupt_leaves_nothing_and_ends_with_3(
    cli: Cli, small_plan: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_plan()

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("attnbench.measure.run.ongoing.OngoingRun.measure", interrupted)
    done = cli("dispatch", "work", folder, "--block", "0")
    assert done.code == 3
    assert "Nothing of it is kept" in done.out
    assert results(folder) == []


def told(monkeypatch: pytest.MonkeyPatch) -> list[RunOptions]:
    """What runs are asked from now on; none of them measures."""
    asked: list[RunOptions] = []

    def run(options: RunOptions) -> RunOutcome:
        asked.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "run", run)
    return asked


@pytest.mark.parametrize(
    ("planned", "typed", "counts"),
    [(None, None, None), (None, "10m", 600), ("1m", None, 60), ("1m", "10m", 60), ("1m", "2s", 2)],
)
def test_a_block_has_its_share_of_the_budget_or_less(
    planned: str | None,
    typed: str | None,
    counts: float | None,
    cli: Cli,
    small_plan: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = RunWords(suites=["smoke"], axes=["T=128"], impl=["numpy/naive"], budget=planned)
    folder = small_plan(words=words)
    cells = read_plan(folder).cells
    asked = told(monkeypatch)
    cli("dispatch", "work", folder, "--block", "0", *(() if typed is None else ("--budget", typed)))
    share = counts if counts != 60 else 60 * len(Blocks(folder, read_plan(folder)).numbered(0).cells) / cells
    assert [options.budget_s for options in asked] == [share]


def test_what_a_budget_leaves_out_is_a_row_and_the_block_has_a_result(
    cli: Cli, fleet: Fleet, small_plan: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    del fleet
    folder = small_plan()
    done = cli("dispatch", "work", folder, "--block", "0", "--budget", "0.001s", "--json")
    assert (done.code, done.document["counts"]) == (EXIT_NOTHING_MEASURED, {"not-run": 1})
    assert "were not run; --again" in done.err
    merged = cli("dispatch", "merge", folder, "--partial", "--json")
    (run,) = merged.document["runs"]
    assert run["counts"]["not-run"] >= 1
    soon = cli("dispatch", "work", folder, "--block", "0", "--budget", "soon")
    assert (soon.code, "a duration is a number above 0" in soon.err) == (EXIT_USAGE, True)
    asked = told(monkeypatch)
    cli("dispatch", "work", folder, "--block", "0")
    assert not asked
    cli("dispatch", "work", folder, "--block", "0", "--again")
    assert len(asked) == 1


def test_measured_processes_have_the_threads_of_a_local_run(
    cli: Cli, small_plan: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "run", quickly)
    write_files(tmp_path)
    # Nothing in it is timed: a busy machine could make times doubtful, and threads are the question.
    words = RunWords(
        suites=["seen"],
        axes=["seed=0"],
        impl=["numpy/naive"],
        threads=[2],
        out=tmp_path / "local",
        suite_files=[tmp_path / "questions.py"],
    )
    local = quickly(run_options(words, unheard))
    folder = small_plan(words=words)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # as some clusters do
    assert cli("dispatch", "work", folder, "--block", "0").code == 0
    (file,) = result_files(folder)
    there = BlockResult.model_validate_json(file.path.read_bytes()).run.fingerprint.thread_pools
    assert there == read_info(local.folder).fingerprint.thread_pools
    assert set(there["numpy"].values()) == {2}


@pytest.mark.parametrize("typed", ["3", "-1", "x", "../plan", "", "00000000000000000000", "abcdefabcdef", "1.0"])
def test_a_block_that_is_none_is_said(typed: str, cli: Cli, unmeasured: Path) -> None:
    done = cli("dispatch", "work", unmeasured, f"--block={typed}")
    assert done.code == EXIT_USAGE
    assert "has blocks 0 to 2, by number or id" in done.err
