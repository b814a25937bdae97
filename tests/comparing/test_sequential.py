"""Paired verdicts: exact statistics against scipy, and error rates in simulated worlds."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from attnbench.attention.arrays import Array
from attnbench.comparing import many
from attnbench.comparing.sequential import CONFIRM, SAME, SCREEN, Comparison, Decision, Rules
from attnbench.comparing.signed_rank import (
    Looks,
    bound,
    boundaries,
    estimate,
    means_of_two,
    most,
    null_tail,
    robust_spread,
    statistic,
)
from attnbench.errors import UsageError

World = Callable[[np.random.Generator, int], Array]


def heavy(spread: float, df: float = 3.0) -> World:
    """Student's t, its spread by quantiles as said: by standard deviation it is nearly twice that."""
    factor = spread / (stats.t.ppf(0.75, df) * 1.4826)
    return lambda rng, n: np.asarray(factor * rng.standard_t(df, n))


def stolen(spread: float) -> World:
    """A tenth of the pairs lose 5 to 60 % to a neighbour, on one side or the other."""

    def draw(rng: np.random.Generator, n: int) -> Array:
        hit = rng.random(n) < 0.1
        return np.asarray(spread * rng.standard_normal(n) + hit * rng.choice([-1, 1], n) * rng.uniform(0.05, 0.6, n))

    return draw


def lopsided(spread: float) -> World:
    """A difference of two skewed times: each is skewed, the difference is not."""
    return lambda rng, n: np.asarray(spread * (rng.exponential(1, n) - rng.exponential(1, n)))


WORLDS = {"heavy tails": heavy(0.04), "steal": stolen(0.03), "skewed": lopsided(0.03), "quiet": heavy(0.01, 30)}


def decide(noise: Array, change: float, rules: Rules) -> Decision:
    one = Comparison(rules)
    for value in noise:
        if one.add(value + math.log1p(change)) is not None:
            break
    return one.close()


def verdicts(world: World, change: float, pairs: int, trials: int, rules: Rules | None = None) -> Counter[str]:
    rng = np.random.default_rng(20_151)
    return Counter(decide(world(rng, pairs), change, rules or Rules(cells=8)).verdict for _ in range(trials))


@pytest.mark.parametrize("seed", range(5))
def test_by_unbounded_scores_the_statistic_is_scipys(seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal(9 + seed)
    found = statistic(x.tolist(), share=1)
    theirs = stats.wilcoxon(x, alternative="less", method="exact")
    assert found == theirs.statistic
    if found < len(null_tail(len(x), 1)):
        assert null_tail(len(x), 1)[int(found)] == pytest.approx(theirs.pvalue, rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 13])
@pytest.mark.parametrize("share", [0.01, 0.5, 1])
def test_the_null_distribution_is_that_of_all_signs(n: int, share: float) -> None:
    sizes = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    signs = np.array(list(itertools.product((-1, 1), repeat=n)))
    found = np.sort([statistic(one.tolist(), share) for one in signs * sizes])
    tail = null_tail(n, share)
    counts = np.searchsorted(found, np.arange(len(tail)), side="right")
    np.testing.assert_allclose(tail, counts / len(found), rtol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 6, 9, 14, 31])
def test_the_statistic_counts_the_means_of_two_above(n: int) -> None:
    """So that interval and test cannot contradict each other."""
    x = np.random.default_rng(n).standard_t(2, n)
    means = means_of_two(x)
    assert (np.diff(means) >= 0).all()
    for t in np.random.default_rng(n + 1).standard_normal(50):
        assert statistic((x - t).tolist()) == (means > t).sum()


@pytest.mark.parametrize("n", [5, 6, 9, 14, 22])
def test_the_interval_inverts_the_test(n: int) -> None:
    x = np.random.default_rng(n).standard_normal(n)
    found, tail = estimate(x.tolist()), null_tail(n)
    for end, inwards, sign in ((found.low, 1e-6, -1), (found.high, -1e-6, 1)):
        # At the low end the values lie above, so that the small statistic is that of the values turned round.
        just_in = 2 * tail[int(statistic((sign * (x - end - inwards)).tolist()))]
        just_out = 2 * tail[int(statistic((sign * (x - end + inwards)).tolist()))]
        assert just_out <= 1 - found.confidence + 1e-12 < just_in
    assert abs(found.confidence - 0.95) < 0.02


def test_one_wild_pair_takes_less_back_than_by_plain_ranks() -> None:
    """Two pairs of seventeen that a neighbour took: is the rest enough for a hundredth?"""
    x = [-0.10 - 0.001 * i for i in range(15)] + [0.28, 0.2]
    assert null_tail(17)[int(statistic(x))] < 0.005
    assert null_tail(17, 1)[int(statistic(x, share=1))] > 0.015


def test_four_pairs_have_no_interval() -> None:
    found = estimate([0.1, 0.2, 0.3, 0.4])
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.centre == pytest.approx(0.25)


@pytest.mark.parametrize(("looks", "error"), [(SCREEN, 0.1), (CONFIRM, 0.025), (SAME, 0.05)])
def test_no_more_paths_reach_a_boundary_than_allowed(looks: Looks, error: float) -> None:
    """By another generator and another distribution than the boundaries were found with."""
    rng, limits = np.random.default_rng(7), boundaries(looks, error)
    n_paths = 20_000
    x = rng.standard_cauchy((n_paths, looks.pairs[-1]))
    reached = np.zeros(n_paths, dtype=bool)
    for n, limit in zip(looks.pairs, limits, strict=True):
        ranks = np.abs(x[:, :n]).argsort(1).argsort(1) + 1
        reached |= (np.minimum(ranks, bound(n)) * (x[:, :n] > 0)).sum(1) >= limit
    assert error / 2 < reached.mean() < error + 4 * math.sqrt(error / n_paths)


def test_the_first_boundary_is_exact() -> None:
    """Five of five positive is one path in 32, which the first share of 0.1 allows; six of six one in 64."""
    assert boundaries(SCREEN, 0.1)[0] == 1 + 2 + 3 + 3 + 3
    assert boundaries(CONFIRM, 0.025)[0] == 1 + 2 + 3 + 3 + 3 + 3
    assert boundaries(Looks((3,), (1.0,)), 0.05) == (math.inf,)


@pytest.mark.parametrize("error", [0.009, 1e-3, 1e-5])
def test_small_errors_are_kept_exactly(error: float) -> None:
    """Too few drawn paths would reach such boundaries: the chances of all looks add up to no more than the error."""
    limits = boundaries(CONFIRM, error)
    chances = [
        null_tail(n)[most(n) - int(limit)] for n, limit in zip(CONFIRM.pairs, limits, strict=True) if limit < math.inf
    ]
    assert 0.5 * error < sum(chances) <= error * (1 + 1e-9)


@pytest.mark.parametrize("groups", [(6,), (3, 3), (1, 5), (4, 2), (1, 2, 3), (2, 2, 2)])
def test_ties_do_not_make_it_easier(groups: tuple[int, ...]) -> None:
    """All signs of six values of few sizes: as rarely above any number of six as six of different sizes."""
    sizes = np.repeat(np.arange(1.0, len(groups) + 1), groups)
    every = np.array(list(itertools.product((-1, 1), repeat=6))) * sizes
    found = np.array([statistic(one.tolist()) for one in every])
    assert found.max() == most(6)
    limit = boundaries(CONFIRM, 0.025)[0]
    assert (found >= limit).mean() == 1 / 64


def judged(world: World, change: float, pairs: int, rules: Rules) -> Array:
    """The verdicts of 20,000 cells after so many pairs, 8 in a row one run."""
    noise = world(np.random.default_rng(20_151), 20_000 * pairs).reshape(20_000, pairs)
    return np.concatenate([many.judge(part, rules).verdict for part in np.split(noise + math.log1p(change), 10)])


def at_most(found: Array, share: float) -> bool:
    """Whether the upper end of the exact interval is within a target."""
    return bool(stats.binomtest(int(found.sum()), found.size).proportion_ci(0.95).high <= share)


@pytest.mark.parametrize("world", WORLDS)
def test_false_alarms_are_as_rare_as_promised(world: str) -> None:
    """At most half an alarm in a hundred cells and two in a hundred runs of eight, however long they are."""
    found = judged(WORLDS[world], 0.0, 60, Rules(cells=8))
    for word in (many.SLOWER, many.FASTER):
        assert at_most(found == word, 0.005)
        assert at_most((found == word).reshape(-1, 8).any(axis=1), 0.02)


@pytest.mark.parametrize("world", WORLDS)
def test_a_change_of_five_per_cent_is_hardly_ever_called_the_same(world: str) -> None:
    assert at_most(judged(WORLDS[world], 0.05, 60, Rules(cells=8)) == many.SAME_WORD, 0.01)


def test_changes_are_found_while_the_spread_is_four_per_cent() -> None:
    """In so many pairs as 2 and 10 minutes have for eight cells."""
    rules = Rules(cells=8)
    for noise in (heavy(0.04, 30), heavy(0.04)):
        assert (judged(noise, 0.10, 22, rules) == many.SLOWER).mean() >= 0.95
        assert (judged(noise, -0.10, 22, rules) == many.FASTER).mean() >= 0.93
    assert (judged(heavy(0.04), 0.05, 99, rules) == many.SLOWER).mean() >= 0.95


def test_no_change_is_called_the_same_given_time() -> None:
    found = verdicts(heavy(0.02), 0.0, 46, 300)
    assert found["same"] >= 0.9 * 300


def test_where_the_machine_is_too_noisy_the_verdict_is_inconclusive_with_its_price() -> None:
    found = verdicts(heavy(0.3), 0.0, 20, 300)
    assert found["inconclusive"] >= 0.97 * 300
    assert found["same"] == 0
    undecided = decide(heavy(0.02)(np.random.default_rng(3), 7), 0.0, Rules())
    assert undecided.verdict == "inconclusive"
    assert undecided.more_pairs is not None
    assert undecided.more_pairs + 7 in SAME.pairs


@pytest.mark.parametrize(
    ("pairs", "price"),
    [
        # Seen at the first look, and the time was up: it must be confirmed on six fresh pairs.
        ([0.10, 0.11, 0.12, 0.11, 0.10], 6),
        # Between looks: it is seen at the next one, a pair later, and then confirmed.
        ([0.10, 0.11, -0.20, -0.20, 0.12, 0.11, 0.10], 1 + 6),
        # Seen by noise, and half-way to confirming that nothing is there.
        ([0.02] * 5 + [0.001, -0.002, 0.001], 10 - 3),
    ],
)
def test_the_price_is_that_of_the_stage(pairs: list[float], price: int) -> None:
    one = Comparison(Rules())
    for value in pairs:
        one.add(value)
    assert one.close().more_pairs == price


def test_no_price_is_named_where_no_look_is_left() -> None:
    one = Comparison(Rules(cells=10**6))
    for value in (0.10, 0.11, 0.12, 0.11, 0.10):
        one.add(value)
    found = one.close().more_pairs
    assert found is not None
    assert found > 20  # six of six are no proof among a million cells


def test_intervals_of_decided_cells_cover() -> None:
    """The effect that is reported comes from pairs that nothing selected but their own boundary."""
    rng, covered, decided = np.random.default_rng(5), 0, 0
    for _ in range(300):
        found = decide(heavy(0.03)(rng, 60), 0.08, Rules(cells=8))
        if found.verdict == "slower" and found.effect is not None:
            decided += 1
            covered += found.effect.low <= math.log1p(0.08) <= found.effect.high
    assert decided > 270
    assert 0.91 <= covered / decided <= 0.985


def test_a_certain_change_below_the_margin_is_not_slower() -> None:
    found = verdicts(heavy(0.003), 0.01, 60, 100)
    assert found["slower"] == 0
    assert found["same"] == 100


def test_the_effect_comes_from_fresh_pairs() -> None:
    one = Comparison(Rules())
    for _ in range(5):
        assert one.add(0.5) is None
    assert one.stage == "confirm"
    for value in (0.10, 0.11, 0.12, 0.10, 0.11):
        assert one.add(value) is None
    decision = one.add(0.12)
    assert decision is not None
    assert (decision.verdict, decision.screened, decision.confirmed) == ("slower", 5, 6)
    assert decision.effect is not None
    assert decision.effect.high <= 0.12
    with pytest.raises(ValueError, match="decided"):
        one.add(0.1)


def test_nothing_measured_and_one_pair_are_never_a_pass() -> None:
    assert Comparison(Rules()).close().verdict == "inconclusive"
    assert Comparison(Rules()).close().reason == "no pair was measured"
    one = Comparison(Rules())
    one.add(0.0)
    assert one.close().verdict == "inconclusive"


def test_a_change_without_time_to_confirm_it_says_so() -> None:
    one = Comparison(Rules())
    for _ in range(5):
        one.add(0.2)
    assert "no time to confirm" in str(one.close().reason)


def test_identical_times_are_no_change() -> None:
    """A clock that always says the same proves nothing in either direction, and equivalence within the margin."""
    one = Comparison(Rules())
    for _ in range(60):
        if one.add(0.0):
            break
    assert one.close().verdict == "same"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Comparison(Rules()).add(value)


def test_senseless_rules_are_refused() -> None:
    for wrong in ({"margin": 0.0}, {"margin": 3.0}, {"cells": 0}):
        with pytest.raises(UsageError):
            Rules(**wrong)


def test_spread_is_that_of_a_normal_distribution() -> None:
    assert robust_spread(np.random.default_rng(0).normal(0, 0.04, 4000).tolist()) == pytest.approx(0.04, rel=0.05)
