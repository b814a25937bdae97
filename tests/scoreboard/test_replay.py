"""The replay: it finds a rule that cries wolf and one that sleeps, and ours holds its targets on noise that is real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from attnbench.comparing import many
from attnbench.comparing.rates import clustered, exact
from attnbench.comparing.sequential import Rules
from attnbench.comparing.signed_rank import robust_spread
from attnbench.scoreboard.recorded.corpus import TABLE, Corpus, read_corpus
from attnbench.scoreboard.recorded.replay import OURS, Result, drawn, ours, replay, table
from tests.repository import REPOSITORY
from tests.scoreboard.conftest import made

RECORDED = sorted((REPOSITORY / "results" / "noise").glob(f"*/{TABLE}"))
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
    assert none.slower.low > 0.4
    assert none.any_slower.share > 0.6


def test_a_rule_that_sleeps_is_seen(judged: list[Result]) -> None:
    assert of(judged, "asleep", 0.10, 120).slower.count == 0
    assert of(judged, OURS, 0.10, 120).slower.share > 0.9


def test_ours_keeps_its_error_rates_on_made_up_noise(judged: list[Result]) -> None:
    for budget_s in (120, 600):
        none, five = of(judged, OURS, 0.0, budget_s), of(judged, OURS, 0.05, budget_s)
        assert five.same is not None
        assert none.slower.low <= 0.005
        assert none.any_slower.low <= 0.02
        assert five.same.low <= 0.01
        said = [one.count for one in (none.slower, none.same, none.faster, none.undecided) if one is not None]
        assert (len(said), sum(said)) == (4, none.slower.of)


def test_ours_with_loose_rules_is_seen_to_cry_wolf() -> None:
    loose = Rules(margin=0.001, cells=1, false_alarm=0.09, run_false_alarm=0.09)
    found = replay(made(), [600], trials=TRIALS, effects=(0.0,), rules=loose)
    none = of(found, OURS, 0.0, 600)
    assert none.slower.low > 0.005


def test_power_rises_with_the_slowdown_and_with_time(judged: list[Result]) -> None:
    for rule in {one.rule for one in judged} - {"asleep"}:
        for budget_s in (120, 600):
            found = [of(judged, rule, effect, budget_s).slower.count for effect in (0.0, 0.02, 0.05, 0.10)]
            assert found == sorted(found), rule
    assert of(judged, OURS, 0.05, 600).slower.count > of(judged, OURS, 0.05, 120).slower.count


def test_the_same_seed_draws_the_same_and_another_another() -> None:
    one, same, other = (
        [one.slower.count for one in replay(made(), [60], trials=50, seed=seed, effects=(0.0, 0.05))]
        for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_a_silent_machine_makes_every_rule_right() -> None:
    silent = made(process=1e-6, inner=1e-6, drift=0.0)
    for one in replay(silent, [120], trials=20, effects=(0.0, 0.2)):
        if one.rule != "pyperf compare_to":  # significant however small: half of what is no slower by a millionth
            assert one.slower.count == (one.slower.of if one.effect else 0), one.rule


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
    assert apart.high > exact(8, 32).high, "that four runs agree may be chance"
    assert clustered([0] * 20, [8] * 20).high == exact(0, 20).high


def test_a_first_false_alarm_makes_no_interval_narrower() -> None:
    highs = [clustered([count] + [0] * 19, [8] * 20).high for count in range(9)]
    assert highs == sorted(highs)
    lows = [clustered([8 - count] + [8] * 19, [8] * 20).low for count in range(9)]
    assert lows == sorted(lows, reverse=True)


def test_runs_without_a_cell_are_none() -> None:
    assert clustered([0, 0, 0], [8, 8, 0]) == clustered([0, 0], [8, 8])
    assert clustered([], []) == clustered([0], [0])
    assert clustered([3], [8]).high == pytest.approx(exact(1, 1).high, abs=0.03), "one run says little"


@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("true", [0.03, 0.2])
def test_intervals_hold_the_rate_however_alike_the_cells_of_a_run_are(true: float, alike: float) -> None:
    rng, runs, cells, repeats = np.random.default_rng(2), 10, 8, 300
    held = 0
    for _ in range(repeats):
        shared, own = rng.random((runs, 1)) < true, rng.random((runs, cells)) < true
        found = np.where(rng.random((runs, 1)) < alike, shared, own)
        rate = clustered(found.sum(1).tolist(), [cells] * runs)
        held += rate.low <= true <= rate.high
    assert exact(held, repeats).high >= 0.95


def test_the_replay_counts_runs_and_not_cells() -> None:
    (none,) = ours(made(pairs=40, process=0.15), [120], trials=400, effects=(0.0,), rules=Rules(margin=0.001, cells=1))
    assert none.undecided is not None
    assert none.undecided.count not in (0, none.undecided.of)
    assert none.undecided.high > exact(none.undecided.count, none.undecided.of).high


@pytest.mark.parametrize("path", RECORDED or [None], ids=lambda path: path.parent.name if path else "made up")
def test_ours_meets_its_targets_on_recorded_noise(path: Path | None) -> None:
    corpus = read_corpus(path) if path else made(cells=8, process=0.02, inner=0.015, seed=1)
    judged = list(ours(corpus, [120, 600], trials=20_000 // len(corpus.cells), effects=(0.0, 0.05, 0.10)))
    for budget_s in (120.0, 600.0):
        none, five, ten = (of(judged, OURS, effect, budget_s) for effect in (0.0, 0.05, 0.10))
        assert none.slower.of >= 19_000
        assert none.slower.high <= 0.005
        assert none.any_slower.high <= 0.02
        assert five.same is not None
        assert five.same.high <= 0.01
        for one in (none, five, ten):
            assert one.covered is not None
            assert one.covered.low >= 0.93
        # The targets promise power while the spread is at most 4 %.
        if robust_spread(list(corpus.log_ratios.ravel())) <= 0.04:
            assert ten.slower.low >= 0.95
            assert budget_s < 600 or five.slower.low >= 0.95
