"""Baselines: small, and as good a base as the run that they were made of."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.comparing.baseline import choose, default_name, names, read_baseline, set_baseline
from attnbench.comparing.runs import SavedRun, load_saved
from attnbench.comparing.verdicts import compare_runs
from attnbench.errors import ResultsError, UsageError
from tests.repository import REPOSITORY, SMOKE_SAMPLE


@pytest.fixture(scope="module")
def run() -> SavedRun:
    return load_saved(SMOKE_SAMPLE)


@pytest.fixture(scope="module")
def later(run: SavedRun) -> SavedRun:
    """The same run under another name, with numpy/naive half as slow again and 4 MiB larger."""
    cells, samples = run.cells.copy(), run.samples.copy()
    slow = cells["impl"] == "numpy/naive"
    samples.loc[samples["cell_id"].isin(cells.loc[slow, "cell_id"]), "wall_s"] *= 1.5
    cells.loc[slow, "peak_bytes"] += 4 * 2**20
    return SavedRun(run.info.model_copy(update={"run_id": "20990101T000000Z-smoke-aaaaaa"}), cells, samples)


def test_a_baseline_judges_as_its_run_does(run: SavedRun, later: SavedRun, tmp_path: Path) -> None:
    path = set_baseline(run, None, tmp_path)
    by_file = compare_runs(read_baseline(path.stem, tmp_path), later)
    by_run = compare_runs(run, later)
    assert [(one.key, one.metric, one.verdict) for one in by_file] == [
        (one.key, one.metric, one.verdict) for one in by_run
    ]
    found = {(one.impl, one.metric): one.verdict for one in by_file}
    assert (found["numpy/naive", "time"], found["numpy/naive", "memory"]) == ("slower", "larger")


def test_a_baseline_is_small_and_named_by_suite_and_machine(run: SavedRun, tmp_path: Path) -> None:
    path = set_baseline(run, None, tmp_path)
    assert path.stem == default_name(run)
    assert path.stat().st_size < 100_000
    assert choose(run, None, tmp_path) == path.stem
    set_baseline(run, "other", tmp_path)
    assert names(tmp_path) == sorted([path.stem, "other"])
    assert choose(run, "other", tmp_path) == "other"


def test_ours_is_committed_and_reads() -> None:
    folder = REPOSITORY / "results" / "baselines"
    assert names(folder)
    for name in names(folder):
        assert len(read_baseline(name, folder).cells) > 0


def test_what_is_no_baseline_is_an_error_that_says_what_to_do(run: SavedRun, tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="attnbench baseline set RUN"):
        read_baseline("mine", tmp_path)
    (tmp_path / "mine.json").write_text('{"format": "other"}')
    with pytest.raises(ResultsError, match=r"mine\.json"):
        read_baseline("mine", tmp_path)
    with pytest.raises(UsageError, match="letters, digits"):
        set_baseline(run, "../mine", tmp_path)
    with pytest.raises(UsageError, match="no time in it"):
        set_baseline(replace(run, samples=run.samples.iloc[:0]), "empty", tmp_path)
    shutil.rmtree(tmp_path)
