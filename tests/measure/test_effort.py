import pytest

from attnbench.measure.blocks.effort import Effort, enough
from attnbench.results.schema import Sample

EFFORT = Effort(min_bursts=3, max_bursts=20, cell_s=1.0, relative_width=0.02)


def samples(walls: list[float], replicate: int = 0, calls: int = 1, **marks: bool) -> list[Sample]:
    return [
        Sample(run_id="r", cell_id="c", replicate=replicate, burst=n, index=0, calls=calls, wall_s=wall, **marks)
        for n, wall in enumerate(walls)
    ]


def test_steady_bursts_are_enough_once_there_is_an_interval() -> None:
    assert not enough(EFFORT, samples([0.01] * 5), 0)
    assert enough(EFFORT, samples([0.01] * 6), 0)


def test_unsteady_bursts_are_not_enough_before_the_limits() -> None:
    walls = [0.01, 0.02] * 8
    assert not enough(EFFORT, samples(walls), 0)
    assert enough(EFFORT, samples(walls + walls), 0)
    assert enough(EFFORT, samples(walls, calls=10), 0)


def test_every_replicate_has_its_fewest() -> None:
    steady = samples([0.01] * 10)
    assert not enough(EFFORT, steady, 1)
    assert enough(EFFORT, steady + samples([0.01] * 3, replicate=1), 1)


def test_warm_ups_and_disturbed_bursts_do_not_count_but_disturbed_ones_take_time() -> None:
    assert not enough(EFFORT, samples([0.01] * 30, warmup=True), 0)
    assert not enough(EFFORT, samples([0.01] * 30, disturbed=True), 0)
    spent = samples([0.4] * 3, disturbed=True) + samples([0.01, 0.02, 0.03])
    assert enough(EFFORT, spent, 0)


@pytest.mark.parametrize(("budget_s", "cell_s"), [(None, 1.0), (1000.0, 1.0), (8.0, 0.08)])
def test_a_budget_shortens_cells(budget_s: float | None, cell_s: float) -> None:
    assert EFFORT.within(budget_s, 10).cell_s == pytest.approx(cell_s)
