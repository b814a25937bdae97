"""Runs that are broken off, by a kill, a signal, a full disk or another run: nothing finished is lost, all go on."""

import itertools
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from attnbench.api.suites import Story, TimedSuite
from attnbench.errors import UsageError
from attnbench.measure.audits.auditor import Auditor
from attnbench.measure.blocks.weighed import Scales
from attnbench.measure.run.kept import FromBefore
from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.run import run
from attnbench.results.dataset import load
from attnbench.results.journal import STANDS, replicates_of
from attnbench.results.read import read_contents, read_info, read_samples
from attnbench.suite import Cell
from attnbench.workers import lock
from attnbench.workers.pool import Pool
from attnbench.workers.protocol import INTERRUPTED, NOT_RUN, SPENT, Reply
from tests.dropins import tiny
from tests.repository import REPOSITORY

from . import kills
from .conftest import QUICK
from .kills import bursts_of

Make = Callable[..., RunOptions]


def test_a_cell_that_goes_on_has_no_number_that_another_cell_of_its_block_had() -> None:
    # Rounds are paired by these numbers: those of two days would be taken for rounds side by side.
    kept = FromBefore(used={"finished": 5, "cut off": 1})
    assert kept.begin_at(["finished", "cut off", "left out"]) == 5
    assert kept.begin_at(["left out"]) == 0


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
    axes = ["-a", "setting=forward", "-a", "T=128,512,1024", "--budget", "60s"]
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


class KilledError(BaseException):
    """What ``kill -9`` does, as the journal sees it."""


def breaking_off(monkeypatch: pytest.MonkeyPatch, where: type, what: str, at: int, error: BaseException) -> None:
    """Have the call of this number raise."""
    real, calls = getattr(where, what), itertools.count(1)

    def broken(*given: Any, **more: Any) -> Any:
        if next(calls) == at:
            raise error
        return real(*given, **more)

    monkeypatch.setattr(where, what, broken)


def test_bursts_that_nobody_audited_are_timed_again_and_complete_blocks_have_rows(
    options: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the timing and the audits of the second pass, then interrupted when only memory is lacking."""
    suite = TimedSuite(name="tiny", story=Story(question="?"), axes={"T": (16, 24)}, case=tiny)
    given = options(suites=[suite], patterns=["numpy/naive"], effort=replace(QUICK, replicates=2))
    with monkeypatch.context() as patched:
        breaking_off(patched, Auditor, "audit", 4, KilledError())
        with pytest.raises(KilledError):
            run(given)
    (folder,) = given.out.iterdir()
    killed = read_contents(folder)
    stood = replicates_of(killed.events, STANDS)
    timed = {(sample.cell_id, sample.replicate) for sample in killed.samples}
    assert (len(timed), len(stood)) == (4, 3)
    with monkeypatch.context() as patched:
        breaking_off(patched, Scales, "weigh", 1, KeyboardInterrupt())
        interrupted = run(replace(given, suites=[], resume=folder))
    lost = [sample for sample in killed.samples if (sample.cell_id, sample.replicate) not in stood]
    assert interrupted.bursts_lost == sum(not sample.warmup for sample in lost) == 2
    assert interrupted.kept_bursts == len(killed.samples) - len(lost)
    assert [row.status for row in interrupted.rows] == ["ok", "ok"]
    assert {(row.memory or {}).get("source") for row in interrupted.rows} == {INTERRUPTED}
    assert "interrupted, the memory of 2 cells was not measured: 0 of 2" in str(interrupted.note)
    assert interrupted.exit_code == 3
    done = run(replace(given, suites=[], resume=folder))
    assert (done.note, done.exit_code, done.bursts_lost) == (None, 0, 0)
    assert all(row.peak_bytes and (row.n_replicates or 0) >= 2 for row in done.rows)
    kept = {(sample.cell_id, sample.replicate) for sample in read_samples(folder)}
    assert kept == replicates_of(read_contents(folder).events, STANDS)
    assert not kept & (timed - stood)


def without_time(monkeypatch: pytest.MonkeyPatch, op: str) -> None:
    """Have the budget end while a cell is asked this."""
    real = Pool.ask

    def ask(self: Pool, cell: Cell, what: str, /, **arguments: Any) -> Reply:
        return Reply(0, NOT_RUN, f"{SPENT} during {op}") if what == op else real(self, cell, what, **arguments)

    monkeypatch.setattr(Pool, "ask", ask)


def test_a_budget_that_ends_while_a_cell_from_before_is_prepared_leaves_it_open(
    options: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = options(patterns=["numpy/naive"], effort=replace(QUICK, replicates=2))
    with monkeypatch.context() as patched:
        breaking_off(patched, Auditor, "audit", 2, KilledError())
        with pytest.raises(KilledError):
            run(given)
    (folder,) = given.out.iterdir()
    with monkeypatch.context() as patched:
        without_time(patched, "prepare")
        broken_off = run(replace(given, suites=[], resume=folder, budget_s=60.0))
    (row,) = broken_off.rows
    assert (row.status, row.reason) == (NOT_RUN, f"{SPENT} during prepare")
    done = run(replace(given, suites=[], resume=folder))
    assert [(row.status, row.n_replicates) for row in done.rows] == [("ok", 2)]


def test_what_lacks_nothing_but_memory_stays_a_result_where_there_is_no_time_for_it(
    options: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = options(patterns=["numpy/naive"])
    with monkeypatch.context() as patched:
        breaking_off(patched, Scales, "weigh", 1, KeyboardInterrupt())
        before = run(given)
    folder = before.folder
    partial = run(replace(given, suites=[], resume=folder, budget_s=0.001))
    assert partial.rows == before.rows
    assert "the memory of 1 cells was not measured: 0 of 1 cells were not run" in str(partial.note)
    assert partial.exit_code == 3
    done = run(replace(given, suites=[], resume=folder))
    assert (done.note, done.exit_code, bool(done.rows[0].peak_bytes)) == (None, 0, True)


def test_an_interrupt_before_the_audits_says_what_it_lost(options: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    breaking_off(monkeypatch, Auditor, "audit", 1, KeyboardInterrupt())
    done = run(options(patterns=["numpy/naive"]))
    assert done.note == "interrupted, 2 bursts that were not audited yet do not count: 1 of 1 cells were not run"
    assert [row.time_median_s for row in done.rows] == [None]


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
    stood = replicates_of(before.events, STANDS)
    assert {burst for burst in bursts_of(before) if burst[:2] in stood} <= bursts_of(after)
    assert {burst[:2] for burst in bursts_of(after)} == replicates_of(after.events, STANDS)
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
