"""Summaries: the burst is the unit, warm-ups and disturbed bursts do not count, intervals cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attnbench.results.schema import Sample
from attnbench.results.summary import bursts, median_interval, summarise, usable

TIMES = st.lists(st.floats(1e-6, 10.0), min_size=6, max_size=40)


def sample(burst: int, wall: float, **fields: object) -> Sample:
    given = {"run_id": "r", "cell_id": "c", "replicate": 0, "burst": burst, "index": 0, "calls": 1, "wall_s": wall}
    return Sample.model_validate(given | fields)


def test_a_burst_counts_once_however_many_samples_it_has() -> None:
    many = [sample(0, 9.0, index=i) for i in range(1000)]
    found = summarise([*many, sample(1, 1.0), sample(2, 1.0)])
    assert found["time_median_s"] == 1.0
    assert (found["n_samples"], found["n_bursts"]) == (1002, 3)


def test_bursts_of_two_replicates_are_apart() -> None:
    found = bursts([sample(0, 1.0), sample(0, 3.0, replicate=1)])
    assert found.values == (1.0, 3.0)
    assert found.replicates == (0, 1)


def test_warmups_and_disturbed_bursts_are_counted_but_do_not_count() -> None:
    samples = [sample(0, 50.0, warmup=True), sample(1, 70.0, disturbed=True), sample(2, 1.0)]
    assert usable(samples) == samples[2:]
    found = summarise(samples)
    assert (found["time_median_s"], found["disturbed_bursts"], found["n_bursts"]) == (1.0, 1, 1)


def test_nothing_that_counts_gives_no_time() -> None:
    assert summarise([sample(0, 1.0, disturbed=True)]) == {"disturbed_bursts": 1}
    assert summarise([]) == {"disturbed_bursts": 0}


def test_cold_times_lead_and_hot_ones_stand_beside_them() -> None:
    found = summarise([sample(0, 2.0, cache="cold"), sample(1, 1.0, cache="hot")])
    assert (found["time_median_s"], found["time_hot_median_s"], found["cache"]) == (2.0, 1.0, "cold")
    assert "time_hot_median_s" not in summarise([sample(1, 1.0, cache="hot")])
    graph = [sample(0, 2.0, cache="cold"), sample(1, 1.0, cache="graph")]
    assert summarise(graph)["time_graph_median_s"] == 1.0


def test_five_values_have_no_interval_and_six_have() -> None:
    assert median_interval([1.0, 2, 3, 4, 5]).low is None
    assert median_interval([1.0, 2, 3, 4, 5]).relative_width == np.inf
    found = median_interval([1.0, 2, 3, 4, 5, 6])
    assert (found.low, found.high, found.median, found.n) == (1.0, 6.0, 3.5, 6)


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_a_median_of_nothing_is_no_number(values: list[float]) -> None:
    with pytest.raises(ValueError, match="a median needs finite values"):
        median_interval(values)


@given(TIMES)
@settings(max_examples=60, deadline=None)
def test_the_interval_is_the_order_statistics_of_the_binomial(values: list[float]) -> None:
    found = median_interval(values)
    ordered = np.sort(values)
    n = len(values)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= np.median(values) <= found.high
    # the largest k with P(Binomial(n, 1/2) < k) <= 2.5 %
    k = max(k for k in range(1, n) if stats.binom.cdf(k - 1, n, 0.5) <= 0.025)
    assert found.low == ordered[k - 1]
    assert found.high == ordered[n - k]


def test_the_interval_covers_the_median_of_a_skewed_distribution() -> None:
    rng = np.random.default_rng(5)
    hits = sum(
        found.low <= 1.0 <= found.high
        for _ in range(300)
        if (found := median_interval(list(rng.lognormal(0.0, 1.0, 15)))).low is not None and found.high is not None
    )
    assert hits / 300 >= 0.92
