"""Among equals: the price of telling two apart is that of ``ab``, and facts stand out or are not said."""

from __future__ import annotations

import numpy as np
import pytest

from attnbench.answers.able import Able
from attnbench.answers.equals import Price, facts, price
from attnbench.comparing.calibration import MOST, assumed, judge
from attnbench.comparing.sequential import Rules


@pytest.fixture(autouse=True)
def _no_calibration(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNBENCH_DATA", str(tmp_path_factory.mktemp("data")))


def of(ratio: float, spread: float | None = None, call_s: float = 0.0) -> Price:
    return price(("a/x", "b/y"), float(np.log(ratio)), spread, "machine", "--suite speed", call_s)


def test_a_difference_that_ab_finds_has_its_price_and_its_command() -> None:
    cost = of(1.1)
    assert cost.shows == "differ"
    assert cost.pairs is not None
    assert 11 <= cost.pairs <= 60
    assert cost.typed.startswith("attnbench ab a/x b/y --suite speed --margin 5% --budget ")


def test_the_price_is_enough_in_nine_of_ten_other_replays() -> None:
    cost = of(1.1)
    rng = np.random.default_rng(7)
    decided = [judge(assumed()(rng, MOST)[: cost.pairs] + np.log(1.1), Rules(margin=cost.margin)) for _ in range(100)]
    assert sum(decision.verdict == "slower" for decision in decided) >= 90


def test_a_larger_spread_or_a_smaller_difference_costs_more() -> None:
    pairs = [cost.pairs for cost in (of(1.3), of(1.1), of(1.05))]
    assert pairs == sorted(pairs, key=lambda count: count or 10**9)
    assert (of(1.1, 0.02).pairs or 0) <= (of(1.1, 0.06).pairs or 10**9)
    assert of(1.1, 0.02).spread_from == "of the processes of this run"


def test_what_is_too_little_to_tell_can_be_shown_to_be_little() -> None:
    cost = of(1.002)
    assert (cost.shows, cost.margin) == ("same", 0.03)
    assert "too little to tell" in cost.sentence
    assert "both are within 3 %" in cost.sentence


def test_where_nothing_can_be_shown_it_is_said() -> None:
    cost = of(1.02, 3.0)
    assert (cost.pairs, cost.seconds) == (None, None)
    assert "a quieter machine" in cost.sentence


def test_long_calls_cost_more_time_and_as_many_pairs() -> None:
    short, long = of(1.1), of(1.1, call_s=2.0)
    assert short.pairs == long.pairs
    assert short.seconds is not None
    assert long.seconds is not None
    assert long.seconds > 5 * short.seconds


def test_limits_are_a_fact_where_all_of_the_equals_are_known() -> None:
    able = {"a/x": Able(limits=0), "b/y": Able(limits=3)}
    assert facts(dict.fromkeys(able), able) == ("a/x declares the fewest limits of sizes and calls: 0 (b/y 3)",)
    assert facts(dict.fromkeys(able), {"a/x": Able()}) == ()
    assert facts({"a/x": 2**30, "b/y": 2**30 + 2**19}, {}) == ()  # half a MiB of a GiB is no difference
    assert facts({"a/x": 2**30, "b/y": None}, {}) == ()
