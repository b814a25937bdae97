"""The whole trial: three workers, kernels that crash and hang, a worker killed, the scheduler started again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pandas as pd
import pytest
from psutil import Process

import attnbench as ab
from attnbench.dispatch.folder import result_files
from attnbench.errors import EXIT_CELLS_FAILED, EXIT_INCONCLUSIVE
from tests.dispatch.cluster.conftest import SEEN, TWO, Place
from tests.dispatch.cluster.processes import Cluster, free_port, front
from tests.dropins import GOOD
from tests.processes import gone

KERNELS = dedent(GOOD) + dedent(
    """
    import os, time

    @implementation("numpy/crashes", Capabilities())
    def crashes(q, k, v, call):
        os.abort()

    @implementation("numpy/hangs", Capabilities())
    def hangs(q, k, v, call):
        time.sleep(1e6)
    """
)
# Cells of one case at the length 128 stand in one block, so that other lengths make the others.
WORDS = ("smoke", "-a", "T=128,96,64,160,192,224", "-a", "setting=forward", "--timeout", "5", "--impls", "kernels.py")
IMPLS = ("--impl", "numpy/naive", "--impl", "numpy/good", "--impl", "numpy/crashes", "--impl", "numpy/hangs")
WORKERS = {"a": "rack=7,disk=fast", "b": "rack=7", "c": "rack=7,exclusive=yes"}
ELSEWHERE = {"d": "rack=8"}  # no block may go there


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_a_cluster_that_loses_a_worker_and_its_scheduler_measures_what_a_local_run_does(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(KERNELS)
    results = tmp_path / "plan" / "results"

    def count() -> int:
        return len(list(result_files(results.parent))) if results.is_dir() else 0

    cluster_words = ("--out", str(tmp_path / "runs"), "--wait", "40s")
    plan = ("--plan", str(tmp_path / "plan"), "--send-files", "--label", "rack=7")
    with Cluster(tmp_path / "dask") as cluster:
        _start(cluster)
        first = (*WORDS, *IMPLS, "--scheduler", cluster.address, *cluster_words, *plan)
        with front(tmp_path, *first) as broken:
            Cluster.until(lambda: count() >= 1, 600)
            cluster.kill(cluster.workers["b"])
            Cluster.until(lambda: count() >= 3, 600)
            assert cluster.scheduler is not None
            cluster.kill(cluster.scheduler)
            said, _ = broken.communicate(timeout=600)
            sys.stdout.write(said)
            assert broken.returncode == EXIT_INCONCLUSIVE
            assert "worker b was lost; its block" in said
            assert " by d" not in said
            assert f"dispatch run --resume {tmp_path / 'plan'}" in said
        before = _contents(results.parent)
        assert 3 <= len(before) < 6
        for worker in cluster.workers.values():
            cluster.kill(worker)
        _start(cluster)
        with front(tmp_path, "--resume", "plan", "--scheduler", cluster.address, *cluster_words) as resumed:
            said, _ = resumed.communicate(timeout=1200)
            sys.stdout.write(said)
            assert resumed.returncode == EXIT_CELLS_FAILED
            assert " by d" not in said
    assert count() == 6
    assert before.items() <= _contents(results.parent).items()
    local = [sys.executable, "-m", "attnbench", "run", *WORDS, *IMPLS, "--quiet", "--out", "local"]
    alone = os.environ | {"ATTNBENCH_LOCK": str(tmp_path / "lock")}
    assert subprocess.run(local, cwd=tmp_path, env=alone, check=False).returncode == EXIT_CELLS_FAILED
    merged, there = ab.load(tmp_path / "runs"), ab.load(tmp_path / "local")
    assert len(merged) == len(there) == 24
    _assert_alike(merged, there)


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.usefixtures("questions")
def test_a_front_goes_on_by_itself_when_the_scheduler_is_back(tmp_path: Path, place: Place) -> None:
    held = place.hold(0)
    with Cluster(tmp_path / "dask", ATTNBENCH_TEST_PLACE=str(place.folder)) as cluster:
        cluster.start_scheduler()
        cluster.start_worker("a")
        with front(tmp_path, *SEEN, *TWO, "--scheduler", cluster.address, "--send-files") as process:
            cluster.until(lambda: place.seen(0))
            assert cluster.scheduler is not None
            cluster.kill(cluster.scheduler)
            assert gone(place.pid(0))  # a worker ends with its scheduler, and what it measures with it
            cluster.start_scheduler()
            cluster.start_worker("b")
            held.unlink()
            said, _ = process.communicate(timeout=300)
            assert process.returncode == 0, said
    assert "the scheduler does not answer; it is waited for, 10 s" in said
    assert "block 0 by b" in said
    assert [len(place.seen(seed)) for seed in (0, 1)] == [2, 1]


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.usefixtures("questions")
def test_a_worker_that_is_back_at_its_address_is_another_one(tmp_path: Path, place: Place) -> None:
    held, port = place.hold(0), str(free_port())
    with Cluster(tmp_path / "dask", ATTNBENCH_TEST_PLACE=str(place.folder)) as cluster:
        cluster.start_scheduler()
        cluster.start_worker("a", "--worker-port", port)
        with front(tmp_path, *SEEN, *TWO, "--scheduler", cluster.address, "--send-files") as process:
            cluster.until(lambda: place.seen(0))
            cluster.kill(cluster.workers["a"])
            cluster.start_worker("a", "--worker-port", port)
            cluster.until(lambda: len(place.seen(0)) > 1)
            held.unlink()
            said, _ = process.communicate(timeout=300)
            assert process.returncode == 0, said
    assert "worker a was lost; its block 0 is given to another, once" in said
    assert len(ab.load(tmp_path / "results")) == 2


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.usefixtures("questions")
def test_a_worker_that_its_nanny_starts_again_goes_on(tmp_path: Path, place: Place) -> None:
    held = place.hold(0)
    with Cluster(tmp_path / "dask", ATTNBENCH_TEST_PLACE=str(place.folder)) as cluster:
        cluster.start_scheduler()
        cluster.start_worker("a", nanny=True)
        with front(tmp_path, *SEEN, *TWO, "--scheduler", cluster.address, "--send-files") as process:
            cluster.until(lambda: place.seen(0))
            measuring = place.pid(0)
            (worker,) = (child for child in Process(cluster.workers["a"].pid).children() if _computes(child))
            worker.kill()
            assert gone(measuring)
            cluster.until(lambda: len(place.seen(0)) > 1, 300)
            held.unlink()
            said, _ = process.communicate(timeout=300)
            assert process.returncode == 0, said
    assert "worker a was lost; its block 0 is given to another, once" in said
    assert len(ab.load(tmp_path / "results")) == 2
    # A nanny sets this for its worker, besides one thread for each library (test_cluster.py compares those).
    assert all("MALLOC_TRIM_THRESHOLD_" not in str(seen["environment"]) for seen in place.seen())


def _computes(child: Process) -> bool:
    """Whether a nanny's child is its worker, and not what counts the resources of Python's processes."""
    return "resource_tracker" not in " ".join(child.cmdline())


def _contents(plan: Path) -> dict[str, bytes]:
    """The results of a plan by name."""
    return {file.path.name: file.path.read_bytes() for file in result_files(plan)}


def _start(cluster: Cluster) -> None:
    cluster.start_scheduler()
    for name, labels in (WORKERS | ELSEWHERE).items():
        lock = str(cluster.folder / f"lock-{name}")
        cluster.start_worker(name, ATTNBENCH_LABELS=labels, ATTNBENCH_LOCK=lock)


def _assert_alike(merged: pd.DataFrame, there: pd.DataFrame) -> None:
    """Cell for cell, but for what was measured."""
    columns = ["cell_id", "block_id", "suite", "impl", "status"]
    one, other = (frame[columns].sort_values("cell_id").reset_index(drop=True) for frame in (merged, there))
    pd.testing.assert_frame_equal(one, other)
    sys.stdout.write(f"{one.groupby(['impl', 'status']).size()}\n")
