"""Run folders: created, killed, resumed, compacted, loaded; and every way in which a folder can be wrong."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attnbench.errors import MissingExtraError, ResultsError
from attnbench.results import SCHEMA_VERSION, RunWriter, load, new_run_id, read_contents, read_info
from attnbench.results.extra import REPORT_PACKAGES, check_report_extra
from attnbench.results.store import write_whole
from tests.repository import REPOSITORY
from tests.results import synthetic

FAILED = {
    ("numpy/naive", 512): ("oom", "needs 9.0 GiB, 2.0 GiB are free"),
    ("jax/nn-xla", 128): ("wrong", "output differs by 3.2 times the bound"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write_run(tmp_path_factory.mktemp("out") / "results", failed=FAILED, bursts=6)


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "results" / finished.name))


def test_a_finished_run_has_its_four_files(finished: Path) -> None:
    assert {one.name for one in finished.iterdir()} == {
        "run.json",
        "journal.jsonl",
        "cells.parquet",
        "samples.parquet",
    }
    assert read_info(finished).status == "complete"
    assert read_info(finished).finished


def test_there_is_one_row_for_each_planned_cell_and_failures_do_not_vanish(finished: Path) -> None:
    frame = load(finished)
    plan = synthetic.cells()
    assert list(frame["cell_id"]) == [cell.id for cell in plan]
    assert frame["status"].value_counts().to_dict() == {"ok": 20, "oom": 2, "wrong": 2}
    failed = frame[frame["status"] != "ok"]
    assert failed["reason"].notna().all()
    assert failed["time_median_s"].isna().all()


def test_points_are_columns(finished: Path) -> None:
    frame = load(finished)
    assert frame["point.T"].dtype == "int64"
    assert set(frame["point.T"]) == {128, 512}
    assert set(frame["point.causal"]) == {True, False}


def test_parquet_and_journal_give_the_same_frame(copied: Path) -> None:
    for samples in (False, True):
        compacted = load(copied, samples=samples)
        (copied / ("samples.parquet" if samples else "cells.parquet")).unlink()
        pd.testing.assert_frame_equal(load(copied, samples=samples), compacted)


def test_samples_carry_their_marks(finished: Path) -> None:
    frame = load(finished, samples=True)
    assert frame["warmup"].dtype == bool
    assert frame.groupby("cell_id")["disturbed"].sum().eq(3).all()
    assert len(frame) == 20 * 8 * 3


def test_a_killed_run_loses_nothing_that_was_written_and_shows_what_was_not_reached(tmp_path: Path) -> None:
    script = (
        "import sys, os, signal; from pathlib import Path; from tests.results import synthetic as s\n"
        "from attnbench.results import RunWriter\n"
        "run = s.info(); plan = s.cells((128,), s.IMPLS[:2])\n"
        "writer = RunWriter.create(Path(sys.argv[1]), run)\n"
        "writer.plan(s.planned(run, cell) for cell in plan)\n"
        "writer.cell(s.planned(run, plan[0], status='timeout', reason='60 s'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(REPOSITORY), *sys.path)))}
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "out")], env=environment, check=False)
    assert done.returncode < 0
    folder = next((tmp_path / "out").iterdir())
    with (folder / "journal.jsonl").open("a") as journal:
        journal.write('{"type":"cell","da')
    frame = load(folder)
    assert list(frame["status"]) == ["timeout", "not-run", "not-run", "not-run"]
    assert read_info(folder).status == "partial"

    writer, contents = RunWriter.resume(folder)
    assert contents.done() == {synthetic.cells((128,))[0].id}
    with writer:
        plan = synthetic.cells((128,), synthetic.IMPLS[:2])
        writer.cell(synthetic.planned(writer.info, plan[1], status="crashed", reason="SIGSEGV"))
        writer.finish()
    assert list(load(folder)["status"]) == ["timeout", "crashed", "not-run", "not-run"]


def test_a_finished_run_is_not_resumed(finished: Path) -> None:
    with pytest.raises(ResultsError, match="is finished; there is nothing to resume"):
        RunWriter.resume(finished)


def test_a_run_is_found_by_its_id(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.parent.parent)
    assert len(load(finished.name)) == 24
    assert len(load(f"results/{finished.name}/run.json")) == 24


def test_nothing_is_overwritten(copied: Path) -> None:
    before = {one.name: one.read_bytes() for one in copied.iterdir()}
    with pytest.raises(ResultsError, match="is a run already; nothing is overwritten"):
        RunWriter.create(copied.parent, synthetic.info())
    assert {one.name: one.read_bytes() for one in copied.iterdir()} == before


def test_a_run_inside_a_run_is_refused(copied: Path) -> None:
    with pytest.raises(ResultsError, match=r"is itself a run; runs go beside it: --out"):
        RunWriter.create(copied, synthetic.info("other"))


def test_another_programs_folder_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "benchmarks.json").write_text("{}")
    with pytest.raises(ResultsError, match=r"holds files that are not runs of attnbench \(benchmarks.json\)"):
        RunWriter.create(tmp_path, synthetic.info())
    assert [one.name for one in tmp_path.iterdir()] == ["benchmarks.json"]


def test_a_readme_and_our_own_runs_do_not_make_a_folder_foreign(copied: Path) -> None:
    (copied.parent / "README.md").write_text("runs")
    (copied.parent / "notes.txt").write_text("mine")
    with RunWriter.create(copied.parent, synthetic.info("20260102T030406Z-smoke-bbbbbb")) as writer:
        assert writer.folder.is_dir()


def test_out_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ResultsError, match=r"out is a file; name a folder with --out DIR"):
        RunWriter.create(tmp_path / "out", synthetic.info())
    with pytest.raises(ResultsError, match="cannot be written"):
        RunWriter.create(tmp_path / "out" / "below", synthetic.info())


def test_an_unwritable_folder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ResultsError, match=r"cannot be written \(Permission denied\); name a folder that can"):
        RunWriter.create(tmp_path / "out", synthetic.info())


def test_a_pipe_is_written_into_and_a_link_stays_one(tmp_path: Path) -> None:
    """As root, ``-o /dev/null`` would put a file in the place of the device, for everybody on the machine."""
    pipe, link, real = tmp_path / "pipe", tmp_path / "link", tmp_path / "real"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(pipe, "text")
    assert (os.read(reader, 99), pipe.is_fifo()) == (b"text", True)
    os.close(reader)
    real.write_text("old")
    link.symlink_to("real")
    write_whole(link, "new")
    assert (link.is_symlink(), real.read_text()) == (True, "new")
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link", "real"}


def _rewrite(folder: Path, **changes: object) -> None:
    data = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(data | changes))


def test_a_missing_run_names_the_nearest(copied: Path) -> None:
    with pytest.raises(ResultsError, match=r"no run .*did you mean '20260102T030405Z-smoke-aaaaaa'"):
        load(copied.parent / "20260102T030405Z-smoke-aaaaab")


def test_a_folder_of_runs_is_not_a_run(copied: Path) -> None:
    with pytest.raises(ResultsError, match=r"has no run.json; it holds 1 runs, the last one is .*aaaaaa"):
        read_info(copied.parent)


def test_a_file_is_not_a_run(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ResultsError, match=r"is a file; a run is the folder that holds run.json"):
        load(tmp_path / "x.json")


def test_another_programs_run_is_refused(copied: Path) -> None:
    (copied / "run.json").write_text('{"program": "asv"}')
    with pytest.raises(ResultsError, match="is not attnbench's: another program wrote it"):
        load(copied)


def test_a_newer_run_says_what_to_type(copied: Path) -> None:
    _rewrite(copied, schema_version=SCHEMA_VERSION + 1)
    with pytest.raises(ResultsError, match=rf"newer attnbench \(schema {SCHEMA_VERSION + 1}.*Type: "):
        load(copied)


def test_a_damaged_run_names_the_field(copied: Path) -> None:
    _rewrite(copied, suites=7)
    with pytest.raises(ResultsError, match=r"run.json is damaged: suites: .*left untouched"):
        load(copied)
    (copied / "run.json").write_text("{")
    with pytest.raises(ResultsError, match=r"run.json is damaged or cannot be read"):
        load(copied)


def test_damaged_parquet_says_how_to_go_on(copied: Path) -> None:
    (copied / "cells.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ResultsError, match="delete that file and the run is read from its journal"):
        load(copied)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "is not attnbench's"),
        ({"attnbench_schema_version": "9"}, f"schema 9, this attnbench reads up to {SCHEMA_VERSION}"),
    ],
)
def test_foreign_and_newer_parquet_are_refused(copied: Path, metadata: dict[str, str] | None, message: str) -> None:
    table = pa.table({"a": [1]}).replace_schema_metadata(metadata)
    pq.write_table(table, copied / "cells.parquet")
    with pytest.raises(ResultsError, match=message):
        load(copied)


def test_a_row_that_breaks_the_schema_is_damage(copied: Path) -> None:
    (copied / "cells.parquet").unlink()
    lines = (copied / "journal.jsonl").read_text().splitlines()
    lines[2] = lines[2].replace('"reason":"not reached"', '"reason":""')
    (copied / "journal.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(ResultsError, match=r"journal.jsonl is damaged: CellResult: .*not-run needs a reason"):
        load(copied)


def test_a_journal_without_its_run_is_damage(copied: Path) -> None:
    (copied / "cells.parquet").unlink()
    (copied / "journal.jsonl").write_text("")
    with pytest.raises(ResultsError, match="does not say which run it belongs to"):
        load(copied)


def test_a_run_keeps_its_id(tmp_path: Path) -> None:
    with (
        RunWriter.create(tmp_path / "out", synthetic.info()) as writer,
        pytest.raises(ResultsError, match="cannot become run other"),
    ):
        writer.update(synthetic.info("other"))


def test_events_are_kept(tmp_path: Path) -> None:
    with RunWriter.create(tmp_path / "out", synthetic.info()) as writer:
        writer.event("receipt", steal=0.1)
    assert [one["name"] for one in read_contents(writer.folder).events] == ["receipt"]


def test_run_ids_sort_by_time_and_differ() -> None:
    first, second = (new_run_id(["smoke"], "2026-01-02T03:04:05Z") for _ in range(2))
    assert first != second
    assert first.startswith("20260102T030405Z-smoke-")
    assert "several" in new_run_id(["a", "b", "c"])
    assert new_run_id(["a/b"]).count("/") == 0


def test_mixed_levels_survive(tmp_path: Path) -> None:
    run = synthetic.info()
    cell = synthetic.cells((128,))[0]
    points = [{"scale": "none"}, {"scale": 0.5}, {"scale": None}, {"d": [1, 2]}]
    with RunWriter.create(tmp_path / "out", run) as writer:
        for number, point in enumerate(points):
            writer.cell(synthetic.planned(run, cell, cell_id=str(number), point=point))
        writer.finish()
    frame = load(writer.folder)
    assert list(frame["point.scale"])[:2] == ["none", 0.5]
    assert frame["point.scale"].isna().sum() == 2
    assert frame["point.d"].iloc[3] == "[1, 2]"


def test_importing_the_package_and_the_results_imports_no_pandas() -> None:
    script = "import sys, attnbench.results as r; print(sorted({'pandas','pyarrow','scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    broken = subprocess.run(
        [sys.executable, "-c", "import pandas;" + script], capture_output=True, text=True, check=True
    )
    assert "pandas" in broken.stdout  # the check can fail


def test_a_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch, finished: Path) -> None:
    check_report_extra("attnbench report")
    monkeypatch.setattr("attnbench.results.extra.find_spec", lambda name: None if name == "seaborn" else name)
    assert "seaborn" in REPORT_PACKAGES
    with pytest.raises(MissingExtraError, match=r"report needs seaborn.*pip install 'attnbench\[report\]'"):
        check_report_extra("attnbench report")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"needs pyarrow.*attnbench\[report\]"):
        load(finished)
