"""What repeated runs show of a cell, and that intervals from it hold: moderated variances, and the machine's speed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from attnbench.comparing.repeated.spread import CALM, CellLevel, CellSpread, Spread, moderated, of_cells
from attnbench.results.summary import Bursts

STILL, SLOWER = CellLevel(0.0, 0.0, 2), CellLevel(0.0, 0.3, 2)
CELLS = 130
Half = Callable[[Spread, float], float]


def drawn(
    rng: np.random.Generator, runs: int, sd: float, *, slower: int = 0, off: float = 0.0, tails: float = 30.0
) -> list[CellLevel]:
    """Levels of a cell over runs, in the last of which the machine is slower and the ratio off by a part of that."""
    away = np.where(np.arange(runs) >= runs - slower, rng.uniform(0.15, 0.35, runs), rng.uniform(0, CALM / 2, runs))
    values = sd * rng.standard_t(tails, runs) + np.where(away > CALM, off * rng.standard_normal(runs) * away, 0.0)
    return [CellLevel(float(value), float(speed), 5) for value, speed in zip(values, away, strict=True)]


def test_cells_alike_count_for_each_other_and_cells_apart_for_themselves() -> None:
    rng = np.random.default_rng(0)
    freedoms = np.full(400, 5.0)
    alike = rng.chisquare(5, 400) / 5
    variances, held = moderated(alike, freedoms)
    assert variances.std() < 0.3 * alike.std()
    assert held.min() > 50
    apart = alike * np.exp(4 * rng.standard_normal(400))
    variances, held = moderated(apart, freedoms)
    assert np.corrcoef(np.log(variances), np.log(apart))[0, 1] > 0.95
    assert held.max() < 7


def test_no_more_freedom_than_all_cells_have_and_few_cells_stand_for_themselves() -> None:
    variances, freedoms = moderated(np.array([1.0, 1.1, 0.9]), np.array([5.0, 5.0, 5.0]))
    assert freedoms.max() <= 15
    given = np.array([1.0, 2.0]), np.array([5.0, 5.0])
    assert all((a == b).all() for a, b in zip(moderated(*given), given, strict=True))
    assert (variances > 0).all()


def test_the_prior_is_found_again() -> None:
    """Smyth's model itself: variances around 4 with 8 degrees of freedom of the prior, 6 of each cell."""
    rng = np.random.default_rng(1)
    truth = 4 * 8 / rng.chisquare(8, 4000)
    _, freedoms = moderated(truth * rng.chisquare(6, 4000) / 6, np.full(4000, 6.0))
    assert freedoms[0] - 6 == pytest.approx(8, rel=0.15)


def test_a_slower_machine_makes_the_interval_wider_and_what_is_common_to_it_is_taken_out() -> None:
    rng = np.random.default_rng(2)
    levels = drawn(rng, 16, 0.01)
    away = [dataclasses.replace(level, value=level.value + 0.06, anchor=0.3) for level in drawn(rng, 8, 0.01)]
    known = of_cells({"cell": [levels + away]})["cell"]
    assert known.sd == pytest.approx(math.sqrt(2) * 0.01, rel=0.4)
    assert known.follows == pytest.approx(0.2, abs=0.05)
    still, moved = known.pair(STILL, STILL), known.pair(STILL, SLOWER)
    assert (still.away, still.shift) == ((0.0, 0.0), 0.0)
    assert moved.sd > 1.5 * still.sd
    assert moved.shift == pytest.approx(0.06, abs=0.02)
    assert known.pair(SLOWER, STILL).shift == pytest.approx(-moved.shift)


def test_a_machine_that_was_never_seen_slower_is_not_trusted_when_it_is() -> None:
    known = of_cells({"cell": [drawn(np.random.default_rng(3), 12, 0.005)]})["cell"]
    assert known.pair(STILL, SLOWER).sd > 0.3 * 0.28
    assert known.pair(STILL, SLOWER).freedom < 3


def test_fewer_processes_than_were_recorded_make_it_wider_and_more_do_not_make_it_narrower() -> None:
    known = CellSpread(1e-4, 20.0, processes=5.0, usual=0.0)
    few, more = (known.pair(*[CellLevel(0.0, 0.0, n)] * 2) for n in (2, 9))
    assert few.sd == pytest.approx(math.sqrt(2.5) * known.sd)
    assert more.sd == pytest.approx(known.sd)


def processes(*levels: float) -> Bursts:
    values = [math.exp(level) for level in levels for _ in range(4)]
    return Bursts(tuple(values), tuple(n // 4 for n in range(len(values))))


def test_processes_that_differ_as_chance_has_it_do_not_count_twice_and_others_do() -> None:
    spread, still = Spread(0.02, 30.0), processes(0.0, 0.0, 0.0)
    assert spread.held_to(still, processes(-0.02, 0.0, 0.02)) is spread
    odd = spread.held_to(still, processes(-0.2, 0.0, 0.2))
    assert odd.sd > 0.1
    assert odd.freedom == 4


def test_runs_without_anchors_have_no_usual_speed() -> None:
    levels = [CellLevel(float(value)) for value in np.random.default_rng(4).normal(0, 0.1, 12)]
    known = of_cells({"cell": [levels]})["cell"]
    assert (known.usual, known.pair(*levels[:2]).away) == (None, (0.0, 0.0))


def test_a_cell_whose_runs_were_made_of_other_code_each_has_no_spread() -> None:
    assert of_cells({"cell": [[CellLevel(0.0, 0.0)], [CellLevel(1.0, 0.0)]]}) == {}
    assert of_cells({}) == {}


def alarms(seed: int, *halves: Half, runs: int = 7, comparisons: int = 40, tails: float = 8.0) -> list[float]:
    """In what share of comparisons of twins in 130 cells one is called slower, by each way to an interval.

    In some of the runs the machine is slower, and cells differ in their spread, with tails heavier than normal ones.
    """
    rng, alarmed = np.random.default_rng(seed), np.zeros(len(halves))
    for _ in range(comparisons):
        sds = 0.015 * np.exp(0.4 * rng.standard_normal(CELLS))
        every = [drawn(rng, runs + 2, float(sd), slower=int(rng.integers(3)), off=0.25, tails=tails) for sd in sds]
        order = rng.permutation(runs + 2)
        known = of_cells({cell: [[levels[i] for i in order[2:]]] for cell, levels in enumerate(every)})
        spreads = [(known[cell].pair(*(pair := [every[cell][i] for i in order[:2]])), pair) for cell in known]
        alarmed += [any(_slower(*spread, half) for spread in spreads) for half in halves]
    return list(alarmed / comparisons)


def _slower(spread: Spread, pair: Sequence[CellLevel], half: Half) -> bool:
    return pair[1].value - pair[0].value - spread.shift > half(spread, 1 - 0.05 / CELLS)


def held_at_95(spread: Spread, confidence: float) -> float:
    """What stood before: a spread held at 95 %, taken to be normal at the level of one cell of many."""
    held = spread.sd * float(stats.t.ppf(0.975, spread.freedom)) / float(stats.norm.ppf(0.975))
    return held * float(stats.norm.ppf((1 + confidence) / 2))


def test_twins_in_130_cells_are_called_slower_in_at_most_5_of_100_comparisons() -> None:
    now, before = alarms(5, Spread.half_width, held_at_95)
    assert now <= 0.05 < before


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.parametrize("runs", [6, 12, 20])
def test_they_are_so_with_few_runs_and_many(runs: int) -> None:
    (now,) = alarms(runs, Spread.half_width, runs=runs, comparisons=300)
    assert now <= 0.05
