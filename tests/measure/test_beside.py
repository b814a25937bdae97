"""Blocks that hold several cases: what a suite wants beside each other is interleaved, and paired round by round."""

import random
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from attnbench.analysis import rounds as paired
from attnbench.api.suites import AttentionSpec, Case, Problem, Story, TimedSuite, costs
from attnbench.errors import UsageError
from attnbench.live.duo import twins_of
from attnbench.measure.blocks.block import Block
from attnbench.measure.blocks.outcome import RunClock
from attnbench.measure.run import rows
from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.plan import Plan, make_plan
from attnbench.measure.run.run import run
from attnbench.results.dataset import load
from attnbench.results.read import read_contents
from attnbench.results.schema import Sample
from attnbench.suite import Cell
from attnbench.workers.protocol import OK, Reply

from .conftest import QUICK

Make = Callable[..., RunOptions]
LEVELS = {"none": "none", "scaled": None}
BOTH = ["numpy/naive", "numpy/loops"]


def scaled_or_not(T: int, scale: str) -> Case:
    return Case(AttentionSpec(scale=LEVELS[scale]), Problem(Tq=T, D=8))


AXES = {"T": (16, 24), "scale": tuple(LEVELS)}
SUITE = TimedSuite(
    name="pairs", story=Story(question="?"), axes=AXES, case=scaled_or_not, beside=("scale",), weigh=False
)
APART = replace(SUITE, beside=())


def test_points_equal_on_the_other_axes_share_a_block() -> None:
    plan = make_plan([SUITE], patterns=BOTH, threads=(1, 2))
    blocks = plan.blocks()
    assert len(blocks) == 4  # two lengths on one or two threads
    for block in blocks:
        assert {(cell.point["scale"], cell.impl) for cell in block} == {(s, i) for s in LEVELS for i in BOTH}
        assert len({(cell.point["T"], cell.threads) for cell in block}) == 1
        assert all(cell.shares_block for cell in block)
    assert len({cell.id for cell in plan.cells}) == 16


def test_without_it_a_block_is_one_case_and_cells_keep_their_names() -> None:
    apart, beside = make_plan([APART], patterns=BOTH), make_plan([SUITE], patterns=BOTH)
    assert len(apart.blocks()) == 4
    assert [cell.id for cell in apart.cells] == [cell.id for cell in beside.cells]
    assert not any(cell.shares_block for cell in apart.cells)


def test_an_unknown_axis_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"has no axis 'scal' to stand beside each other.*did you mean 'scale'"):
        replace(SUITE, beside=("scal",))


def test_bursts_of_two_specs_interleave_round_by_round(options: Make) -> None:
    suite = SUITE.with_axes({"T": (16,)})
    done = run(options(suites=[suite], patterns=BOTH, effort=replace(QUICK, min_bursts=3, max_bursts=3)))
    ids = {row.cell_id for row in done.rows}
    rounds = [event["order"] for event in read_contents(done.folder).events if event["name"] == "round"]
    assert len(rounds) == 3
    assert all(set(order) == ids for order in rounds)
    samples = load(done.folder, samples=True)
    counted = samples[~samples["warmup"] & ~samples["disturbed"]].sort_values("t_start")
    number = counted.groupby("cell_id").cumcount()
    assert number.is_monotonic_increasing  # no cell is in its second round before all had their first


def test_the_rows_hold_the_rounds_and_ratios_are_taken_of_them(options: Make) -> None:
    suite = SUITE.with_axes({"T": (16,)})
    effort = replace(QUICK, replicates=2, min_bursts=4, max_bursts=4)
    frame = load(run(options(suites=[suite], patterns=["numpy/naive"], effort=effort)).folder)
    known = [paired.rounds(row) for row in frame.to_dict("records")]
    assert [sorted(bursts) for bursts in known] == [[(r, n) for r in range(2) for n in range(4)]] * 2
    ratios = costs.over_base(frame, "point.scale", "none")
    assert list(ratios["point.scale"]) == ["scaled"]
    both = ratios["pairs"].iloc[0]
    assert (both.n, len(both.logs)) == (8, 2)
    assert ratios["low"].iloc[0] <= ratios["time_ratio"].iloc[0] <= ratios["high"].iloc[0]


def test_a_case_alone_in_its_block_has_no_rounds(options: Make) -> None:
    frame = load(run(options(suites=[APART], patterns=["numpy/naive"])).folder)
    assert not any("round" in str(name) for name in frame.columns)


def test_resuming_keeps_the_blocks(options: Make) -> None:
    wanted = options(suites=[SUITE], patterns=BOTH, budget_s=0.001)
    done = run(wanted)
    contents = read_contents(done.folder)
    again = Plan((), tuple(rows.cell_of(row) for row in contents.cells), {})
    planned = make_plan([SUITE], patterns=BOTH)
    assert [[cell.id for cell in block] for block in again.blocks()] == [
        [cell.id for cell in block] for block in planned.blocks()
    ]
    resumed = run(replace(wanted, suites=[], budget_s=None, resume=done.run_id))
    assert {row.status for row in resumed.rows} == {"ok"}
    orders = [event["order"] for event in read_contents(done.folder).events if event["name"] == "round"]
    assert {len(order) for order in orders} == {4}
    frame = load(done.folder)
    assert all(paired.rounds(row) for row in frame.to_dict("records"))
    longer = costs.over_base(frame, "point.T", 16)  # cells of different blocks are never paired
    assert len(longer) == 4
    assert longer["pairs"].isna().all()


def test_a_cell_goes_through_the_protocol_with_its_block() -> None:
    cell = make_plan([SUITE], patterns=["numpy/naive"]).cells[0]
    assert Cell.from_dict(cell.to_dict()).block_id == cell.block_id != replace(cell, block="").block_id


def test_a_suite_may_ask_for_rounds_and_not_for_memory(options: Make) -> None:
    suite = replace(SUITE.with_axes({"T": (16,), "scale": ("none",)}), rounds=5)
    done, weighed = (
        run(options(suites=[replace(suite, weigh=weigh)], patterns=["numpy/naive"])) for weigh in (False, True)
    )
    assert [row.n_bursts for row in done.rows] == [5]
    assert [row.peak_bytes for row in done.rows] == [None]
    assert weighed.rows[0].peak_bytes is not None


def test_versions_are_compared_case_by_case_in_a_shared_block() -> None:
    cells = make_plan([SUITE], patterns=BOTH).cells
    assert len(twins_of(cells, *BOTH)) == 4


def sample(cell: Cell, burst: int, seconds: float) -> Sample:
    fixed: dict[str, Any] = {"run_id": "r", "replicate": 0, "index": 0, "cpu_s": None, "cache": "none", "t_start": 0.0}
    return Sample(cell_id=cell.id, burst=burst, calls=1, wall_s=seconds, warmup=False, disturbed=False, **fixed)


def block_of(cells: tuple[Cell, ...], samples: list[Sample], pool: Any = None) -> Block:
    effort = replace(QUICK, min_bursts=2, max_bursts=30, cell_s=1.0)
    nobody: Any = SimpleNamespace()
    return Block(cells, pool, effort, RunClock("r", 0.0), nobody, random.Random(1), samples)  # noqa: S311


def test_cells_of_an_implementation_leave_together_but_not_a_spent_one() -> None:
    cells = make_plan([SUITE.with_axes({"T": (16,)})], patterns=["numpy/naive"]).blocks()[0]
    steady = [sample(cells[0], n, 0.01) for n in range(8)]
    restless = [sample(cells[1], n, 0.01 * (1 + n % 3)) for n in range(8)]
    block = block_of(cells, steady + restless)
    assert [outcome.cell for outcome in block._wanting(block.outcomes, 0)] == list(cells)
    calm = block_of(cells, steady + [sample(cells[1], n, 0.01) for n in range(8)])
    assert calm._wanting(calm.outcomes, 0) == []
    slow = block_of(cells, [sample(cells[0], n, 0.6) for n in range(2)] + restless)
    assert [outcome.cell for outcome in slow._wanting(slow.outcomes, 0)] == [cells[1]]


class Scales:
    """A pool whose siblings weigh, and that sees how many large cells were weighed at once."""

    def __init__(self) -> None:
        self.now = self.most = self.weighed = 0
        self._lock = threading.Lock()

    @contextmanager
    def sibling(self, salt: str) -> Any:
        del salt
        yield self

    def weigh(self, cell: Cell) -> Reply:
        large = cell.point["T"] > 1000
        with self._lock:
            self.weighed += 1
            self.now += large
            self.most = max(self.most, self.now)
        time.sleep(0.005)
        with self._lock:
            self.now -= large
        return Reply(0, OK, None, {"peak_bytes": 1, "source": "test", "detail": {}})


def test_large_cells_of_a_block_are_weighed_one_after_the_other() -> None:
    suite = replace(SUITE.with_axes({"T": (16, 4096)}), beside=("T", "scale"))
    cells = make_plan([suite], patterns=BOTH).blocks()
    scales = Scales()
    block = block_of(cells[0], [], scales)
    block.weigh()
    assert (len(cells), scales.weighed, scales.most) == (1, 8, 1)


@pytest.mark.parametrize(("centre", "passed"), [(1.0, True), (1.04, True), (1.09, False), (0.92, False)])
def test_equivalence_is_a_test_of_the_ratio_over_processes(centre: float, *, passed: bool) -> None:
    rng = random.Random(3)  # noqa: S311
    base = {(r, n): 1.0 for r in range(5) for n in range(4)}
    over = {at: centre * (1 + rng.uniform(-0.01, 0.01)) for at in base}
    both = paired.paired(over, base)
    assert both is not None
    assert (both.p_equivalent(0.95, 1.05) <= 0.05) is passed
    interval = both.interval()
    assert interval.low < centre < interval.high
    assert interval.value == pytest.approx(centre, rel=0.01)


def test_one_process_that_differs_is_not_outvoted() -> None:
    base = {(r, n): 1.0 for r in range(2) for n in range(20)}
    over = {(r, n): (1.0 if r == 0 else 1.1) + n * 1e-4 for r, n in base}
    both = paired.paired(over, base)
    assert both is not None
    assert both.p_equivalent(0.95, 1.05) > 0.5
    assert both.interval().high > 1.09


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_fewer_processes_than_five_show_no_equivalence_by_themselves(processes: int) -> None:
    base = {(r, n): 1.0 for r in range(processes) for n in range(20)}
    both = paired.paired(base, base)
    assert both is not None
    assert both.p_equivalent(0.95, 1.05) > 0.05
    assert both.interval().high > 1.05
    shown = paired.paired(base, base, least=0.01)  # what many pairs of the same run show
    assert shown is not None
    assert (shown.p_equivalent(0.95, 1.05) <= 0.05) is (processes > 1)


def test_few_rounds_show_little_and_none_is_no_pair() -> None:
    few = paired.paired({(0, 0): 1.0, (0, 1): 1.0, (1, 5): 2.0}, {(0, 0): 1.0, (0, 1): 1.0})
    assert few is not None
    assert few.n == 2
    assert few.p_equivalent(0.95, 1.05) > 0.05
    assert few.interval().high / few.interval().low > 4
    assert paired.paired({(0, 0): 1.0}, {(1, 0): 1.0}) is None
