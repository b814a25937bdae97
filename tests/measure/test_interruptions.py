"""Runs that are broken off, by a kill, a signal, a full disk or another run: nothing finished is lost, all go on."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from attnbench.errors import UsageError
from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.run import run
from attnbench.results.dataset import load
from attnbench.results.read import read_contents, read_info
from attnbench.workers import lock
from tests.repository import REPOSITORY

from . import kills
from .kills import bursts_of

Make = Callable[..., RunOptions]


def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    faults, done = kills.kill_and_resume(tmp_path, 3, seed=3, say=said.append)
    assert not faults, "\n".join([*said, done])
    assert "3 kills" in done


def started(*command: str, where: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"ATTNBENCH_LOCK": str(where / "lock"), "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", *command],
        cwd=where,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def journal_of(process: subprocess.Popen[str], where: Path, enough: Callable[[Path], bool]) -> Path:
    """The folder of the run that a process writes, once it shows enough."""
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        for journal in where.glob("results/*/journal.jsonl"):
            if journal.stat().st_size and enough(journal.parent):
                return journal.parent
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"the run ended too soon: {process.communicate()}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_a_valid_partial_run_and_its_report(number: signal.Signals, tmp_path: Path) -> None:
    axes = ["-a", "setting=forward", "-a", "T=128,512,1024"]
    process = started("attnbench", "run", "smoke", *axes, "--impl", "numpy/naive", where=tmp_path)
    folder = journal_of(process, tmp_path, lambda folder: bool(read_contents(folder).done()))
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "Partial: interrupted" in out
    assert f"attnbench run --resume {folder.relative_to(tmp_path)}" in out
    assert (tmp_path / "reports" / folder.name / "index.html").exists()
    assert set(load(folder)["status"]) == {"ok", "not-run"}
    assert read_info(folder).status == "partial"


def test_a_disk_that_fills_up_is_said_and_the_run_goes_on_later(tmp_path: Path) -> None:
    process = started("tests.measure.kills", "--measure", str(tmp_path), where=tmp_path)
    folder = journal_of(process, tmp_path, lambda folder: len(read_contents(folder).samples) > 3)
    journal = folder / "journal.jsonl"
    limit = journal.stat().st_size + 2000
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.strip().splitlines()[-1].endswith("journal.jsonl failed: File too large")
    before = read_contents(folder)
    assert len(before.samples) > 3
    assert journal.stat().st_size <= limit
    kills.measure(tmp_path, str(folder))
    after = read_contents(folder)
    assert bursts_of(before) <= bursts_of(after)
    assert {row.status for row in after.cells} == {"ok"}
    assert read_info(folder).status == "complete"


def test_a_run_without_its_whole_plan_is_not_resumed(options: Make) -> None:
    done = run(options(patterns=["numpy/naive"], budget_s=0.001))
    journal = done.folder / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b'"name":"start"' not in line))
    with pytest.raises(UsageError, match="broken off before its plan was written"):
        run(options(resume=done.folder))


def test_the_second_run_waits_or_says_who_has_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        lock.only_run(path),
        pytest.raises(UsageError, match=f"process {os.getpid()} since .* --wait 10m"),
        lock.only_run(path, 0.3),
    ):
        pass
    with lock.only_run(path):
        pass
    holder = started("tests.measure.test_interruptions", str(path), where=tmp_path)
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(UsageError, match=f"process {holder.pid} since"), lock.only_run(path):
        pass
    holder.kill()  # the system frees the lock
    holder.communicate()
    with lock.only_run(path, 5.0):
        assert FileLock(path).lock_file == str(path)


if __name__ == "__main__":
    with lock.only_run(Path(sys.argv[1])):
        sys.stdout.write("held\n")
        sys.stdout.flush()
        time.sleep(100)
