"""Contrasts: exact tests and Holm against other implementations of them, and the verdicts that follow."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from attnbench.analysis import contrasts
from attnbench.analysis.claims import claims, judge
from attnbench.analysis.contrasts import Contrast
from attnbench.analysis.intervals import Interval

GROWTH = (0.31, -0.12, 0.42, 0.18, 0.27, 0.09, 0.35, 0.22)


def test_p_counts_the_flips_of_the_signs() -> None:
    data = np.array(GROWTH)
    means = [abs(np.mean(data * signs)) for signs in itertools.product((1, -1), repeat=len(data))]
    expected = np.mean(np.array(means) >= abs(data.mean()) - 1e-12)
    assert Contrast(GROWTH).p() == pytest.approx(expected)


@pytest.mark.parametrize("n", [6, 8, 10])
def test_the_floor_of_p_is_two_over_two_to_the_n(n: int) -> None:
    assert Contrast(tuple(np.linspace(0.1, 0.2, n))).p() == pytest.approx(2 / 2**n)


def test_five_pairs_are_too_few_for_any_test() -> None:
    assert not Contrast((0.1,) * 5).testable
    assert Contrast((0.1,) * 6).testable
    assert contrasts.text(Contrast((0.1, 0.3))) == "0.200 (2 seeds, no test)"


def test_the_interval_is_scipys_bca_and_the_same_every_time() -> None:
    interval = Contrast(GROWTH).interval()
    expected = stats.bootstrap((np.array(GROWTH),), np.mean, method="BCa", n_resamples=9999, rng=0).confidence_interval
    assert (interval.low, interval.high) == (expected.low, expected.high)
    assert interval == Contrast(GROWTH).interval()
    assert Contrast((0.5,) * 8).interval() == Interval(0.5, 0.5, 0.5, 8)


@pytest.mark.parametrize("seed", range(5))
def test_holm_is_that_of_statsmodels(seed: int) -> None:
    p_values = np.random.default_rng(seed).uniform(0, 0.1, 6).tolist()
    assert contrasts.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())
    assert contrasts.holm([]) == []


def test_equivalence_needs_both_sides() -> None:
    small = Contrast((0.01, -0.02, 0.0, 0.015, -0.01, 0.02, -0.005, 0.01))
    assert small.p_equivalent(-0.05, 0.05) == pytest.approx(1 / 2**8)
    assert small.p_equivalent(-0.05, 0.005) > 0.05
    assert small.p_equivalent(-0.005, 0.05) > 0.05
    assert Contrast((0.0,) * 8).p_equivalent(-0.05, 0.05) == pytest.approx(1 / 2**8)


def frame(**arms: list[float]) -> pd.DataFrame:
    rows = [
        {"impl": "torch/naive", "status": "ok", "point.arm": arm, "point.seed": seed, "metric.accuracy": value}
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_differences_are_paired_by_seed_and_a_missing_seed_has_no_pair() -> None:
    rows = frame(a=[0.9, 0.8, 0.7], b=[0.5, 0.6]).sample(frac=1, random_state=1)
    contrast = contrasts.differences(rows, "accuracy", {"arm": "a"}, {"arm": "b"})
    assert contrast.differences == pytest.approx((0.4, 0.2))


def test_a_family_adjusts_its_p_values_and_keeps_what_cannot_be_tested_out_of_scope() -> None:
    gain, none = Contrast((0.6,) * 8), Contrast((0.1, -0.1) * 4)
    family = {"attention-beats-fixed": gain, "dot-beats-general": none, "reversing-helps": Contrast((0.1, 0.1))}
    verdicts = {verdict.claim.id: verdict for verdict in contrasts.judge_family(family, ("torch/naive",))}
    assert verdicts["attention-beats-fixed"].verdict == "reproduced"
    assert verdicts["attention-beats-fixed"].p == pytest.approx(2 * 2 / 2**8)
    assert verdicts["dot-beats-general"].verdict == "not detected"
    assert verdicts["reversing-helps"].verdict == "out of scope"
    assert verdicts["reversing-helps"].ours is None
    asked_for = {"claim", "source", "row", "published", "ours", "low", "high", "n_seeds", "p", "margin", "verdict"}
    assert set(verdicts["dot-beats-general"].row()) >= asked_for


@pytest.mark.parametrize(
    ("claim", "ours", "p", "verdict"),
    [
        ("attention-beats-fixed", (0.6, 0.5, 0.7), 0.01, "reproduced"),
        ("attention-beats-fixed", (0.6, 0.5, 0.7), 0.06, "not detected"),
        ("attention-beats-fixed", (0.3, 0.2, 0.5), 0.01, "direction only"),
        ("attention-beats-fixed", (-0.3, -0.5, -0.2), 0.01, "contradicted"),
        ("unscaled-falls-behind", (0.2, 0.1, 0.3), 0.01, "contradicted"),
        ("similar-when-small", (0.01, -0.01, 0.02), 0.004, "reproduced"),
        ("similar-when-small", (0.04, -0.01, 0.06), 0.2, "not detected"),
        ("similar-when-small", (0.2, 0.15, 0.3), 1.0, "contradicted"),
    ],
)
def test_a_verdict_needs_the_interval_and_the_test(
    claim: str, ours: tuple[float, float, float], p: float, verdict: str
) -> None:
    assert judge(claim, Interval(*ours, 8), (), p).verdict == verdict


def test_every_margin_of_equivalence_is_bounded_on_both_sides() -> None:
    margins = [claim for claim in claims().values() if claim.equivalence]
    assert margins
    assert all(np.isfinite([claim.low, claim.high]).all() and claim.low < claim.null < claim.high for claim in margins)
