"""While a case is measured the time goes to those that may still be the fastest, and twins are told no more often."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pytest

from attnbench.analysis.leading import LEVEL, MOST_PROCESSES, processes_to_tell
from attnbench.analysis.rounds import FEWEST, Paired
from attnbench.answers.able import Able
from attnbench.answers.ask import HowMeasured, _fitting
from attnbench.answers.order import GoingOn, order, rows_of
from attnbench.answers.question import Wanted
from tests.answers.halving import MIXES, Measuring, kinds, rates
from tests.benchmarks.told_apart import World


def block(ratios: tuple[float, ...], seed: int = 0) -> Measuring:
    return Measuring(World(kinds(), np.random.default_rng(seed)), ratios)


def names(cells: Collection[str], of: Measuring) -> set[str]:
    return {cell.impl for cell in of.cells if cell.id in cells}


def test_those_that_are_told_rest_and_the_others_go_on() -> None:
    of, goes_on = block((1, 1, 4, 8)), GoingOn()
    cells = of.ids
    for _ in range(FEWEST + 1):
        of.look(cells)
        cells = goes_on(of.cells)
    assert names(cells, of) == {"a/0", "a/1"}
    assert set(goes_on.at_rest) == {"a/2", "a/3"}
    (said,) = goes_on.said()
    assert said.startswith("told from the fastest early")
    assert "a/2" in said


def test_after_one_look_nobody_rests() -> None:
    of, goes_on = block((1, 8, 9)), GoingOn()
    of.look(of.ids)
    assert len(goes_on(of.cells)) == 3


def test_where_one_is_left_the_next_stays_until_their_ratio_has_its_processes_and_then_it_is_over() -> None:
    of, goes_on = block((1, 3, 9)), GoingOn()
    cells = of.ids
    while cells:
        before = cells
        of.look(cells)
        cells = goes_on(of.cells)
        assert of.looks < MOST_PROCESSES
    assert names(before, of) == {"a/0", "a/1"}
    final = order(rows_of(of.cells))
    assert (final.leading, final.pairs["a/1"].processes) == (("a/0",), FEWEST)


def test_one_that_the_end_would_not_leave_behind_comes_back() -> None:
    of, goes_on = block((1, 1.0)), GoingOn(at_rest={"a/0": 2, "a/1": 2})
    for _ in range(2):
        of.look(of.ids)
    assert len(goes_on(of.cells)) == 2
    goes_on.looks = 3
    assert len(goes_on(of.cells)) == 2
    assert goes_on.at_rest == {}


def test_one_alone_is_not_measured_for_ever() -> None:
    of, goes_on = block((1,)), GoingOn()
    cells = of.ids
    while cells and of.looks < MOST_PROCESSES:
        of.look(cells)
        cells = goes_on(of.cells)
    assert of.looks == FEWEST


@pytest.mark.parametrize("wanted", [Wanted(memory_bytes=2**20), Wanted(needs=("window",))])
def test_one_that_is_faster_and_does_not_fit_makes_nobody_rest_that_fits(wanted: Wanted) -> None:
    of = block((1, 4, 4))

    def declares(impls: Sequence[str]) -> dict[str, Able]:
        return {impl: Able(frozenset() if impl == "a/0" else frozenset({"window"})) for impl in impls}

    goes_on = GoingOn(_fitting(wanted, HowMeasured(1.0), declares))
    of.peaks = (2**30, 2**10, 2**10)
    cells = of.ids
    for _ in range(3):
        of.look(cells)
        cells = goes_on(of.cells)
    assert names(cells, of) == {"a/1", "a/2"}


def test_in_the_same_time_the_fastest_is_named_more_often_and_twins_are_told_no_more() -> None:
    """A small part of what ``python -m tests.answers.halving`` counts."""
    close = MIXES["a lead of 3 % over one, six far"]
    alike, halved = (rates(close, 45.0, 16, halving=halving) for halving in (False, True))
    assert halved["named"] >= alike["named"] + 0.15
    assert halved["wrong"] == alike["wrong"] == 0
    assert rates(MIXES["2 twins, four far"], 30.0, 24, halving=True)["wrong"] <= 0.1


def test_what_the_machine_does_to_all_alike_changes_no_answer() -> None:
    """Those that rest miss the drift: where times said who is first, the fastest was named half as often."""
    close = MIXES["a lead of 5 % over one, four far"]
    still, drifting = (rates(close, 45.0, 8, halving=True, drift=drift) for drift in (0.0, 0.3))
    assert drifting == pytest.approx(still)


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("mix", ["2 twins", "2 twins, four far", "6 twins"])
def test_twins_are_told_apart_in_at_most_one_of_twenty_measurements(mix: str) -> None:
    assert rates(MIXES[mix], 60.0, 150, halving=True)["wrong"] <= 0.05


def test_what_naming_one_takes_is_enough_and_no_number_is_where_none_is() -> None:
    counts = [processes_to_tell(np.log(ratio), 0.03, 2) for ratio in (1.2, 1.05, 1.03)]
    assert all(count is not None and FEWEST <= count <= MOST_PROCESSES for count in counts)
    assert counts == sorted(counts, key=lambda count: count or 0)
    assert (processes_to_tell(np.log(1.05), 0.03, 6) or 0) > (counts[1] or 0)
    assert processes_to_tell(np.log(1.001), 0.03, 2) is None
    assert processes_to_tell(0.0, 0.03, 2) is None


def test_that_many_processes_tell_a_planted_lead() -> None:
    spread, lead, rng = 0.03, np.log(1.05), np.random.default_rng(2)
    count = processes_to_tell(lead, spread, 2)
    assert count is not None
    drawn = [Paired(tuple((log,) for log in lead + spread * rng.standard_normal(count))) for _ in range(300)]
    assert np.mean([pair.p() <= LEVEL for pair in drawn]) >= 0.92
