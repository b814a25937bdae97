"""Whole runs: every planned cell has one row, whatever its kernel does; and nothing that was seen is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from attnbench.api.suites import Story, TimedSuite
from attnbench.errors import ResultsError, UsageError
from attnbench.measure.blocks.outcome import Outcome
from attnbench.measure.run import rows
from attnbench.measure.run.choice import Omission
from attnbench.measure.run.options import RunOptions, exit_code
from attnbench.measure.run.plan import Plan
from attnbench.measure.run.run import run
from attnbench.results.dataset import load
from attnbench.results.journal import STANDS, left_out, replicates_of
from attnbench.results.read import Contents, read_contents
from attnbench.results.schema import Sample
from attnbench.suite import Cell
from attnbench.workers import pool
from attnbench.workers.placement import everywhere, place
from attnbench.workers.protocol import Prepared
from tests.dropins import tiny
from tests.repository import REPOSITORY

from .conftest import QUICK

Make = Callable[..., RunOptions]


def test_every_planned_cell_has_exactly_one_row(options: Make) -> None:
    suite = TimedSuite(name="tiny", story=Story(question="?"), axes={"T": (16, 24)}, case=tiny)
    patterns = ["numpy/naive", "numpy/loops"]
    done = run(options(suites=[suite], patterns=patterns, threads=(1,)))
    frame = load(done.folder)
    assert Counter(zip(frame["impl"], frame["point.T"], strict=True)) == {(i, t): 1 for i in patterns for t in (16, 24)}
    assert set(frame["status"]) == {"ok"}
    assert (frame["roofline_fraction"] > 0).all()
    assert (frame["flops"] > 0).all()
    assert done.exit_code == 0


def test_what_a_suite_leaves_out_is_said_first_kept_and_there_when_resumed(options: Make) -> None:
    leaves_out = {"numpy/loops": "slow", "numpy/blocked": "slow"}
    suite = TimedSuite(
        name="tiny",
        story=Story(question="?"),
        axes={"T": (16,)},
        case=tiny,
        implementations=("numpy/*",),
        leaves_out=leaves_out,
    )
    plans: list[Plan] = []
    done = run(options(suites=[suite], budget_s=1e-9, on_plan=plans.append))
    slow = Omission("tiny", ("numpy/blocked", "numpy/loops"), "slow")
    assert len(plans) == 1
    assert slow in plans[0].left_out
    assert done.left_out == plans[0].left_out
    names = [event["name"] for event in read_contents(done.folder).events]
    assert names.index("left_out") < names.index("start")
    resumed = run(options(suites=(), resume=done.folder))
    assert resumed.left_out == done.left_out
    assert {"suite": "tiny", "implementations": list(slow.implementations), "reason": "slow"} in left_out(
        done.folder / "journal.jsonl"
    )


def test_samples_keep_warm_ups_and_number_every_burst(options: Make) -> None:
    done = run(options(patterns=["numpy/naive"], effort=replace(QUICK, replicates=2)))
    samples = load(done.folder, samples=True)
    assert set(samples["replicate"]) == {0, 1}
    assert not samples.duplicated(["cell_id", "replicate", "burst", "index"]).any()
    assert samples.groupby("replicate")["warmup"].any().all()
    assert (~samples["warmup"]).sum() == 4
    events = read_contents(done.folder).events
    assert sum(event["name"] == "process" for event in events) == 3  # two replicates and the memory run
    assert sum(len(event.get("receipts", ())) for event in events) == len(samples)
    assert done.rows[0].n_replicates == 2


@pytest.mark.skipif(len(everywhere()) < 2, reason="one processor leaves no choice")
def test_all_of_a_round_compute_on_the_same_processors(options: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    placed: list[tuple[int, ...]] = []

    def noted(pid: int, processors: tuple[int, ...]) -> bool:
        placed.append(processors)
        return place(pid, processors)

    monkeypatch.setattr(pool, "place", noted)
    rounds = replace(QUICK, min_bursts=8, max_bursts=8)
    done = run(options(patterns=["numpy/naive", "torch/naive"], threads=(1,), effort=rounds))
    assert [(row.status, row.reason) for row in done.rows] == [("ok", None)] * 2
    orders_of = [event["processors"] for event in read_contents(done.folder).events if event["name"] == "round"]
    assert {tuple(sorted(processors)) for processors in orders_of} == {everywhere()}
    assert len({tuple(processors) for processors in orders_of}) > 1
    # A process that stands there already is not moved; the others go where the order of their round begins.
    assert len(placed) >= 2
    assert set(placed) <= {(processor,) for processor in everywhere()}


def orders(folder: Path) -> list[list[str]]:
    return [event["order"] for event in read_contents(folder).events if event["name"] == "round"]


def test_the_order_is_random_seeded_and_recorded(options: Make, suite: TimedSuite) -> None:
    unweighed = [replace(suite, weigh=False)]
    effort = replace(QUICK, min_bursts=6, max_bursts=6)
    patterns = ["numpy/naive", "numpy/blocked", "numpy/loops"]
    first, again, other = (
        run(options(suites=unweighed, patterns=patterns, effort=effort, seed=seed, out=options().out / str(n))).folder
        for n, seed in enumerate((5, 5, 6))
    )
    assert len({tuple(order) for order in orders(first)}) > 1
    assert orders(first) == orders(again)
    assert orders(first) != orders(other)
    start = next(event for event in read_contents(first).events if event["name"] == "start")
    assert start["seed"] == 5


def test_a_second_run_on_the_machine_is_refused_and_writes_nothing(options: Make, tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock"), pytest.raises(UsageError, match="another run of attnbench is measuring"):
        run(options(patterns=["numpy/naive"]))
    assert not (tmp_path / "results").exists()


def test_a_spent_budget_leaves_not_run_rows_and_can_be_resumed(options: Make) -> None:
    suite = TimedSuite(name="tiny", story=Story(question="?"), axes={"T": (16, 24, 32)}, case=tiny)
    wanted = options(suites=[suite], patterns=["numpy/naive"], budget_s=0.001)
    done = run(wanted)
    assert [row.status for row in done.rows] == ["not-run"] * 3
    assert done.exit_code == 5
    assert "budget" in str(done.note)
    resumed = run(replace(wanted, budget_s=None, resume=done.run_id))
    assert [row.status for row in resumed.rows] == ["ok"] * 3
    assert resumed.run_id == done.run_id
    with pytest.raises(ResultsError, match="nothing to resume"):
        run(replace(wanted, budget_s=None, resume=done.run_id))


SCRIPT = """if True:
    import sys
    from dataclasses import replace
    from pathlib import Path
    from attnbench.api.suites import Story, TimedSuite
    from attnbench.measure.run.options import RunOptions
    from attnbench.measure.run.run import run
    from tests.dropins import tiny
    from tests.measure.conftest import QUICK
    suite = TimedSuite(name="tiny", story=Story(question="?"), axes={"T": (16, 24)}, case=tiny)
    where = Path(sys.argv[1])
    run(RunOptions(suites=[suite], patterns=["numpy/naive", "numpy/loops"], out=where / "results", lock=where / "lock",
        effort=replace(QUICK, min_bursts=20, max_bursts=20), seed=1))
"""


def broken_off(where: Path, with_signal: int, after: Callable[[Contents], bool]) -> Path:
    """Start a run in a process, send it a signal once its journal shows enough, return its folder."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(where)], cwd=REPOSITORY)
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        for journal in where.glob("results/*/journal.jsonl"):
            if journal.stat().st_size and after(read_contents(journal.parent)):
                os.kill(process.pid, with_signal)
                process.wait(20)
                return journal.parent
        time.sleep(0.02)
    process.kill()
    pytest.fail("the run was over before it could be broken off")


def bursts_of(contents: Contents) -> set[tuple[str, int, int, float]]:
    return {(sample.cell_id, sample.replicate, sample.burst, sample.wall_s) for sample in contents.samples}


def audited(contents: Contents) -> set[tuple[str, int]]:
    return replicates_of(contents.events, STANDS)


def test_a_killed_run_is_readable_and_resuming_completes_it(options: Make, tmp_path: Path) -> None:
    folder = broken_off(tmp_path, signal.SIGKILL, lambda seen: bool(audited(seen)))
    with (folder / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"type":"samples","da')  # what a kill in the middle of a line leaves
    before = read_contents(folder)
    assert len(before.cells) == 4
    assert before.info.status == "partial"
    assert set(load(folder)["status"]) <= {"ok", "not-run"}
    done = run(options(suites=[], resume=folder))
    after = read_contents(folder)
    assert [row.status for row in done.rows] == ["ok"] * 4
    assert [row.cell_id for row in done.rows] == [row.cell_id for row in before.cells]
    assert {burst for burst in bursts_of(before) if burst[:2] in audited(before)} <= bursts_of(after)
    assert {burst[:2] for burst in bursts_of(after)} == audited(after)
    numbers = Counter((sample.cell_id, sample.replicate, sample.burst) for sample in after.samples)
    assert set(numbers.values()) == {1}
    assert (done.kept, after.info.status) == (len(before.done()), "complete")


def test_an_interrupt_ends_with_a_valid_partial_run(tmp_path: Path) -> None:
    folder = broken_off(tmp_path, signal.SIGINT, lambda seen: bool(seen.done()))
    contents = read_contents(folder)
    assert contents.done()
    assert {row.status for row in contents.cells} <= {"ok", "not-run"}
    assert contents.events[-1]["name"] == "partial"
    assert "interrupted" in contents.events[-1]["note"]


def test_resuming_something_else_is_refused(options: Make) -> None:
    done = run(options(patterns=["numpy/naive"], budget_s=0.001))
    other = TimedSuite(name="other", story=Story(question="?"), axes={"T": (16,)}, case=tiny)
    with pytest.raises(UsageError, match="is of tiny, not other"):
        run(options(suites=[other], resume=done.run_id))
    path = done.folder / "run.json"
    data = json.loads(path.read_text())
    data["fingerprint"]["python"] = "CPython 2.7"
    journal = done.folder / "journal.jsonl"
    journal.write_text(journal.read_text() + json.dumps({"type": "run", "data": data}) + "\n")
    with pytest.raises(UsageError, match=r"began with python CPython 2\.7"):
        run(options(resume=done.run_id))


OBSERVING = """
from attnbench.api.suites import AttentionSpec, ObservedSuite, Problem, Story, draw

def observe(probe, T):
    if T == 99:
        raise ValueError("ninety-nine")
    spec = AttentionSpec(causal=T == 8)
    found = probe.attend(spec, draw(spec, Problem(Tq=T, D=4)))
    return {"mean": found.output.mean(), "n": found.output.size}

SUITE = ObservedSuite(name="watch", story=Story(question="What is there?"), axes={"T": (4, 8, 99)}, observe=observe)
"""


def test_an_observed_suite_fills_metrics(
    options: Make, dropin: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    (site / "watch-1.0.dist-info").mkdir(parents=True)
    (site / "watch_suite.py").write_text(OBSERVING)
    (site / "watch-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: watch\nVersion: 1.0\n")
    (site / "watch-1.0.dist-info" / "entry_points.txt").write_text("[attnbench.suites]\nwatch = watch_suite:SUITE\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    wanted = options(suites=["watch"], patterns=["numpy/naive", "numpy/good"], files=[dropin()])
    done = run(wanted)
    by_cell = {(row.impl, row.point["T"]): row for row in done.rows}
    assert by_cell["numpy/naive", 4].metrics["n"] == 16
    assert by_cell["numpy/naive", 4].metrics == pytest.approx(by_cell["numpy/good", 4].metrics, rel=1e-5)
    assert by_cell["numpy/good", 8].status == "unsupported"
    assert by_cell["numpy/good", 99].status == "crashed"
    assert "ninety-nine" in str(by_cell["numpy/naive", 99].reason)
    assert done.exit_code == 4


def test_exit_codes() -> None:
    planned = rows.planned(Cell("tiny", {"T": 16}, tiny(), "numpy/naive"), "run", "machine", "code")
    row = planned.model_copy(update={"status": "ok"})
    codes = {
        status: exit_code([row, row.model_copy(update={"status": status})])
        for status in ("ok", "unsupported", "not-run", "crashed", "timeout", "oom", "wrong")
    }
    expected = {"ok": 0, "unsupported": 0, "not-run": 3, "crashed": 4, "timeout": 4, "oom": 4, "wrong": 1}
    assert codes == expected
    assert exit_code([row.model_copy(update={"status": "unsupported"})]) == 5
    assert exit_code([row.model_copy(update={"status": "crashed"})]) == 4


def test_what_the_schema_refuses_is_a_failed_row_and_does_not_end_the_run() -> None:
    row = rows.planned(Cell("tiny", {"T": 16}, tiny(), "numpy/naive"), "run", "machine", "code")
    burst = {"run_id": "run", "cell_id": row.cell_id, "replicate": 0, "burst": 0, "index": 0, "calls": 1}
    prepared = Prepared(0, 0, 0, 0, 1, 3.0, [])
    outcome = Outcome(rows.cell_of(row), prepared=prepared, error_ratio=3.0, samples=[Sample(**burst, wall_s=0.1)])
    finished = rows.finished(row, outcome, None)
    assert finished.status == "crashed"
    assert "error_ratio 3.0 is beyond the bound" in str(finished.reason)
