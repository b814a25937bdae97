"""The anchor: always the same work, which one goes with a block, and what becomes of it in a run."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.measure.anchor import work
from attnbench.measure.anchor.beside import BesideBlock
from attnbench.measure.anchor.choosing import AnchorChoice, anchor_for
from attnbench.measure.anchor.serving import ANCHOR_LENGTH, Anchoring
from attnbench.measure.blocks.outcome import Outcome
from attnbench.measure.run import rows
from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.run import run
from attnbench.results import load
from attnbench.results.schema import CellResult, Sample
from attnbench.results.summary import Bursts, too_few_beside
from attnbench.suite import Cell
from attnbench.workers import tree
from attnbench.workers.protocol import CRASHED, OK, Prepared, Reply
from tests.benchmarks.anchor_price import after_and_not
from tests.measure.conftest import QUICK

# The hash of work.py for every version that it had. Another work is another version: raise work.VERSION.
PINNED = {1: "fac14cdc", 2: "6647fab5"}


def test_the_work_is_pinned() -> None:
    assert work.code() == PINNED[work.VERSION], "work.py changed: raise VERSION, and put the new hash here"
    assert work.library().startswith(f"numpy {np.__version__}, ")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["tiles-128", "tiles-512"])
def test_every_set_of_arrays_does_the_same_work(name: str, threads: int) -> None:
    calls = work.make(name, "float64", threads)
    assert len(calls) == work.SETS
    for call in calls:
        call()


def cell(device: str = "cpu", threads: int = 1, phase: str = "forward", **sizes: Any) -> Cell:
    case = Case(AttentionSpec(), Problem(**({"Hq": 8, "D": 64} | sizes)), phase=phase)
    return Cell("smoke", {}, case, "numpy/naive", device=device, threads=threads)


@pytest.mark.parametrize(
    ("beside", "name"),
    [
        (cell(Tq=128), "tiles-128 float32, 1 thread"),
        (cell(Tq=512, threads=2), "tiles-512 float32, 2 threads"),
        (cell(Tq=512, dtype="float64"), "tiles-512 float64, 1 thread"),
        (cell(Tq=512, dtype="bfloat16"), "tiles-512 float32 (for bfloat16), 1 thread"),
        (cell(Tq=1, S=1024, Hkv=2, phase="decode"), "tiles-128 float32, 1 thread"),
        (cell(Tq=1, S=2048, Hkv=2, phase="decode"), "reading-2048 float32, 1 thread"),
        (cell(Tq=1, S=2048, Hkv=8, phase="decode"), "reading-8192 float32, 1 thread"),
        (cell(Tq=1, S=2**15, Hkv=2, phase="decode"), "reading-32768 float32, 1 thread"),
        (cell(Tq=1, S=2**18, Hkv=2, phase="decode"), "reading-131072 float32, 1 thread"),
        (cell(Tq=1, S=2**15, Hkv=2, dtype="bfloat16", phase="decode"), "reading-8192 float32 (for bfloat16), 1 thread"),
        (cell(Tq=1, S=2**15, Hkv=2, threads=64, phase="decode"), "reading-32768 float32, 64 threads"),
    ],
)
def test_the_anchor_is_of_the_kind_and_size_of_the_block(beside: Cell, name: str) -> None:
    assert anchor_for([beside]).name == name


def test_a_block_of_several_cases_has_the_anchor_of_its_largest() -> None:
    assert anchor_for([cell(Tq=128), cell(Tq=2048), cell(Tq=16)]).work == "tiles-512"


def test_on_an_accelerator_there_is_none_and_it_is_said() -> None:
    choice = anchor_for([cell(Tq=128, device="cuda")])
    assert choice.work is None
    assert "on cuda no anchor is measured" in str(BesideBlock(choice).reason_for(cell(device="cuda")))


@pytest.mark.parametrize("threads", [1, 2, 64])
@pytest.mark.parametrize("name", ["reading-2048", "reading-32768"])
def test_a_reading_takes_no_more_memory_than_it_says_whatever_the_threads(name: str, threads: int) -> None:
    tracemalloc.start()
    try:
        (call,) = work.make(name, "float32", threads)
        held = tracemalloc.get_traced_memory()[0]
        call()
    finally:
        tracemalloc.stop()
    besides = 6_000 * threads  # Python's objects
    assert held - besides <= 1.1 * work.read_bytes(name, "float32")  # queries, scores and outputs are few
    assert held >= 0.6 * work.read_bytes(name, "float32")  # keys and values are two thirds


def test_no_call_of_the_largest_reading_takes_more_than_a_few_ms() -> None:
    (call,) = work.make("reading-131072", "float64", 1)
    times = []
    for _ in range(60):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    assert np.median(times) < ANCHOR_LENGTH.longest  # one call was of tens of ms


def test_blocks_of_one_kind_have_the_same_arrays_and_another_kind_takes_their_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, make = list[str](), work.make

    def seen(name: str, dtype: str, threads: int) -> list[Callable[[], None]]:
        made.append(name)
        return make(name, dtype, threads)

    monkeypatch.setattr(work, "make", seen)
    operations = Anchoring().operations()
    small, large = ({"name": name, "dtype": "float32", "threads": 1} for name in ("tiles-128", "reading-8192"))
    for what in (small, small, large, large):
        operations["anchor_prepare"](**what)
    assert made == ["tiles-128", "reading-8192"]
    with pytest.raises(ValueError, match="tiles-128 float32 with 1 threads is not prepared"):
        operations["anchor_burst"](**small)


class Answers:
    """Processes that answer what they are told to, and remember what was asked."""

    def __init__(self, *bursts: Reply) -> None:
        self.bursts, self.asked_for, self.placed = list(bursts), list[str](), 0

    def ask_anchor(self, op: str, /, **_: Any) -> Reply:
        self.asked_for.append(op)
        made_of = {"version": 1, "code": "abcd1234", "library": "numpy"}
        return Reply(1, OK, None, made_of) if op == "anchor_prepare" else self.bursts.pop(0)

    def place_anchor(self, _cell: Cell) -> None:
        self.placed += 1


def a_burst(**receipt: float) -> Reply:
    burst = {"calls": 10, "wall_ns": 5_000_000, "cpu_ns": 5_000_000, "receipt": receipt, "started_at": 0.0}
    return Reply(1, OK, None, burst)


def test_a_burst_is_seconds_of_a_call_and_a_disturbed_one_is_none() -> None:
    answers, beside = Answers(a_burst(), a_burst(delay_s=0.002)), BesideBlock(AnchorChoice("tiles-128"))
    assert beside.burst(answers, cell(Tq=128)) is None  # it has not begun
    beside.begin(answers)
    assert beside.name == "tiles-128 float32, 1 thread; version 1, code abcd1234"
    assert [beside.burst(answers, cell(Tq=128)) for _ in range(2)] == [pytest.approx(5e-4), None]
    assert answers.placed == 2


def test_a_lost_anchor_is_not_asked_again_in_that_replicate_and_the_next_has_one() -> None:
    answers = Answers(Reply(1, CRASHED, "gone"), a_burst())
    beside = BesideBlock(AnchorChoice("tiles-128"))
    beside.begin(answers)
    assert [beside.burst(answers, cell(Tq=128)) for _ in range(3)] == [None] * 3
    assert answers.asked_for.count("anchor_burst") == 1
    assert beside.reason_for(cell(Tq=128)) == "its process was lost (crashed): gone"
    beside.begin(answers)
    assert beside.burst(answers, cell(Tq=256)) is not None
    assert beside.reason_for(cell(Tq=256)) is None  # it was lost beside another cell


def outcome_of(beside: BesideBlock, *anchors: float | None) -> Outcome:
    """A cell of two processes in turns, whose bursts have these anchors beside them."""
    mine = cell(Tq=128)
    samples = [
        Sample(run_id="r", cell_id=mine.id, replicate=n % 2, burst=n, index=0, calls=1, wall_s=2e-3, anchor_s=anchor_s)
        for n, anchor_s in enumerate(anchors)
    ]
    return Outcome(mine, samples=samples, anchor=beside, error_ratio=0.1, prepared=Prepared(0, 0, 0, 0, 1, 0.1, []))


def row_of(outcome: Outcome) -> CellResult:
    return rows.finished(rows.planned(outcome.cell, "r", "m", "1"), outcome, None)


def lost() -> BesideBlock:
    beside = BesideBlock(AnchorChoice("tiles-128"))
    beside.begin(answers := Answers(Reply(1, CRASHED, "gone")))
    beside.burst(answers, cell(Tq=128))
    return beside


def test_a_row_says_why_the_anchor_is_missing_and_says_nothing_where_it_is_not() -> None:
    assert row_of(outcome_of(lost(), *[1e-3] * 8)).anchor_reason is None  # its lost replicate was forgotten
    row = row_of(outcome_of(lost(), *[1e-3] * 6, None, None))
    assert row.anchor_reason == "its process was lost (crashed): gone"
    assert row.anchor_ratio == pytest.approx(2.0)


def test_a_ratio_that_rests_on_few_bursts_or_one_process_is_none_and_the_row_says_so() -> None:
    beside = BesideBlock(AnchorChoice("tiles-128"))
    row = row_of(outcome_of(beside, *[1e-3] * 5, None, None))
    assert (row.anchor_ratio, row.anchor_median_s) == (None, None)
    needed = "and 6 bursts of 2 processes are needed"
    assert row.anchor_reason == f"the anchor is known beside 5 bursts of 2 processes, {needed}"
    row = row_of(outcome_of(beside, *[1e-3, None] * 6))
    assert (row.anchor_ratio, row.anchor_reason) == (
        None,
        f"the anchor is known beside 6 bursts of 1 process, {needed}",
    )
    assert row_of(outcome_of(beside, *[1e-3] * 6)).anchor_ratio == pytest.approx(2.0)


def test_the_process_takes_turns_among_its_sets() -> None:
    operations = Anchoring().operations()
    what = {"name": "tiles-128", "dtype": "float32", "threads": 1}
    status, _, made_of = operations["anchor_prepare"](**what)
    assert (status, made_of["code"]) == (OK, work.code())
    bursts = [operations["anchor_burst"](**what)[2] for _ in range(work.SETS + 1)]
    assert len({burst["calls"] for burst in bursts}) == 1
    assert all(burst["wall_ns"] > 0 for burst in bursts)


def test_every_burst_that_counts_has_its_anchor(options: Callable[..., RunOptions]) -> None:
    effort = replace(QUICK, replicates=2, min_bursts=5, max_bursts=5)
    outcome = run(options(patterns=("numpy/naive",), effort=effort))
    rows = [row for row in outcome.rows if row.status == "ok"]
    assert {row.anchor for row in rows} == {f"tiles-128 float32, 1 thread; version {work.VERSION}, code {work.code()}"}
    assert all(str(row.anchor_library).startswith(f"numpy {np.__version__}, ") for row in rows)
    samples = load(outcome.folder, samples=True)
    counted = samples[~samples["warmup"]]
    assert counted["anchor_s"].notna().mean() > 0.5  # a busy machine disturbs some
    assert samples[samples["warmup"]]["anchor_s"].isna().all()
    for row in rows:
        mine = counted[(counted["cell_id"] == row.cell_id) & counted["anchor_s"].notna()]
        assert (row.anchor_ratio is None) is (too_few_beside(bursts_of(mine)) is not None)
        if row.anchor_ratio is not None:
            assert row.anchor_ratio == pytest.approx(float((mine["wall_s"] / mine["anchor_s"]).median()))


def bursts_of(samples: Any) -> Bursts:
    return Bursts(tuple(samples["wall_s"]), tuple(samples["replicate"]))


@pytest.mark.skipif(not tree.PROC.joinpath("self", "schedstat").exists(), reason="this system does not tell")
def test_where_a_process_has_computed_is_told() -> None:
    spin = "import time\nend = time.time() + 5\nwhile time.time() < end: pass"
    process = subprocess.Popen([sys.executable, "-c", spin])
    try:
        before, processors = tree.ran_s(process.pid), sorted(os.sched_getaffinity(0))
        for processor in (processors[-1], processors[0]):
            os.sched_setaffinity(process.pid, {processor})
            time.sleep(0.1)
            assert tree.busiest_on(process.pid, before) == processor
    finally:
        process.kill()
        process.wait()
    assert tree.busiest_on(process.pid, {}) is None


def test_the_price_of_the_anchor_is_that_of_the_bursts_that_come_after_it() -> None:
    """Two cells in turns, in three processes: after a burst of the anchor one of them takes a tenth longer."""
    lines = []
    for replicate, burst in itertools.product(range(3), range(24)):
        asked, slow = burst // 2 % 2 == 1, burst > 0 and (burst - 1) // 2 % 2 == 1
        wall_s = (1.0 + 0.01 * replicate) * (1.1 if slow and burst % 2 else 1.0)
        times = {"wall_s": wall_s, "anchor_s": 0.1 if asked else math.nan, "disturbed": False}
        lines.append({"cell_id": "ab"[burst % 2], "replicate": replicate, "t_start": 100 * replicate + burst, **times})
    logs = after_and_not(pd.DataFrame(lines))
    assert logs["a"] == pytest.approx([0.0] * 3)
    assert logs["b"] == pytest.approx([math.log(1.1)] * 3)
