"""The replay: it finds a rule that cries wolf and one that sleeps, and ours holds its targets on noise that is real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attnbench.compare import many
from attnbench.compare.sequential import Rules
from attnbench.scoreboard.corpus import TABLE, Corpus, read_corpus
from attnbench.scoreboard.rates import clustered, exact
from attnbench.scoreboard.replay import OURS, Result, drawn, replay, table
from tests.scoreboard.conftest import made

RECORDED = sorted((Path(__file__).resolve().parents[2] / "results" / "noise").glob(f"*/{TABLE}"))
TRIALS = 300


def of(results: list[Result], rule: str, effect: float, budget_s: float) -> Result:
    (found,) = [one for one in results if (one.rule, one.effect, one.budget_s) == (rule, effect, budget_s)]
    return found


@pytest.fixture(scope="module")
def judged() -> list[Result]:
    wolf = {"wolf": lambda windows, factor: windows.pyperf()[1][0] * factor > windows.pyperf()[0][0]}
    asleep = {"asleep": lambda windows, _: np.zeros((windows.runs, 4), bool)}
    return replay(made(), [120, 600], trials=TRIALS, more=wolf | asleep)


def test_a_rule_that_cries_wolf_is_seen(judged: list[Result]) -> None:
    none = of(judged, "wolf", 0.0, 120)
    assert exact(none.slower, none.cells).low > 0.4
    assert none.runs_slower > 0.6 * none.runs


def test_a_rule_that_sleeps_is_seen(judged: list[Result]) -> None:
    assert of(judged, "asleep", 0.10, 120).slower == 0
    assert of(judged, OURS, 0.10, 120).slower > 0.9 * of(judged, OURS, 0.10, 120).cells


def test_ours_keeps_its_error_rates_on_made_up_noise(judged: list[Result]) -> None:
    for budget_s in (120, 600):
        none, five = of(judged, OURS, 0.0, budget_s), of(judged, OURS, 0.05, budget_s)
        assert exact(none.slower, none.cells).low <= 0.005
        assert exact(none.runs_slower, none.runs).low <= 0.02
        assert exact(five.same or 0, five.cells).low <= 0.01
        assert sum(filter(None, (none.slower, none.same, none.faster, none.undecided))) == none.cells


def test_ours_with_loose_rules_is_seen_to_cry_wolf() -> None:
    loose = Rules(margin=0.001, cells=1, false_alarm=0.09, run_false_alarm=0.09)
    found = replay(made(), [600], trials=TRIALS, effects=(0.0,), rules=loose)
    none = of(found, OURS, 0.0, 600)
    assert exact(none.slower, none.cells).low > 0.005


def test_power_rises_with_the_slowdown_and_with_time(judged: list[Result]) -> None:
    for rule in {one.rule for one in judged} - {"asleep"}:
        for budget_s in (120, 600):
            found = [of(judged, rule, effect, budget_s).slower for effect in (0.0, 0.02, 0.05, 0.10)]
            assert found == sorted(found), rule
    assert of(judged, OURS, 0.05, 600).slower > of(judged, OURS, 0.05, 120).slower


def test_the_same_seed_draws_the_same_and_another_another() -> None:
    one, same, other = (
        [one.slower for one in replay(made(), [60], trials=50, seed=seed, effects=(0.0, 0.05))] for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_a_silent_machine_makes_every_rule_right() -> None:
    silent = made(process=1e-6, inner=1e-6, drift=0.0)
    for one in replay(silent, [120], trials=20, effects=(0.0, 0.2)):
        if one.rule != "pyperf compare_to":  # significant however small: half of what is no slower by a millionth
            assert one.slower == (one.cells if one.effect else 0), one.rule


def test_what_holds_on_in_time_holds_on_in_the_draws() -> None:
    noise = made(process=0.001, inner=0.001)
    seconds = noise.seconds.copy()
    seconds[20:40, :, 1] *= 1.2  # for twenty pairs on end, the second process is slow
    bad = Corpus(seconds, noise.cells, 0.5, 1.0, 0.03)
    ratios = drawn(bad, 400, np.random.default_rng(0))[:, :, 0]
    large = np.abs(ratios) > 0.1
    assert ratios.shape == (400, many.MOST)
    assert large.mean() == pytest.approx(1 / 3, abs=0.05)
    # Beside a slow pair there is another one, unless a block ends there; were pairs drawn singly, in a third.
    assert (large[:, 1:5] & large[:, 0:4]).sum() > 0.9 * large[:, 0:4].sum()
    assert (ratios[large] > 0).mean() == pytest.approx(0.5, abs=0.1)


def test_the_table_has_every_rule_and_the_losing_ones_too(judged: list[Result]) -> None:
    page = table(judged, made())
    for rule in {one.rule for one in judged}:
        assert page.count(f"| {rule} |") == 2
    assert "### 2 minutes for 4 cells" in page


def test_intervals_of_runs_are_wider_than_of_cells() -> None:
    alike, apart = clustered([8, 0, 0, 0], [8, 8, 8, 8]), clustered([2, 2, 2, 2], [8, 8, 8, 8])
    assert alike.high > apart.high
    assert (apart.low, apart.high) == (exact(8, 32).low, exact(8, 32).high)
    assert clustered([0] * 20, [8] * 20).high == exact(0, 20).high


@pytest.mark.parametrize("path", RECORDED or [None], ids=lambda path: path.parent.name if path else "made up")
def test_ours_keeps_its_error_rates_on_recorded_noise(path: Path | None) -> None:
    corpus = read_corpus(path) if path else made(cells=8, seed=1)
    found = replay(corpus, [120, 600], trials=TRIALS, effects=(0.0, 0.05))
    for budget_s in (120.0, 600.0):
        none, five = of(found, OURS, 0.0, budget_s), of(found, OURS, 0.05, budget_s)
        assert exact(none.slower, none.cells).low <= 0.005
        assert exact(none.runs_slower, none.runs).low <= 0.02
        assert exact(five.same or 0, five.cells).low <= 0.01
