"""Verdicts on claims: total, in the five words of the design, and from intervals alone."""

import math

import pandas as pd
import pytest

from attnbench.analysis import claims
from attnbench.analysis.intervals import Interval
from attnbench.errors import UsageError

# (claim, value, low, high) -> verdict
CASES = [
    ("variance-grows-as-d", 1.0, 0.995, 1.005, "reproduced"),
    ("variance-grows-as-d", 1.0, 0.9, 1.1, "direction only"),
    ("variance-grows-as-d", 1.5, 1.4, 1.6, "direction only"),
    ("variance-grows-as-d", 0.1, -0.1, 0.3, "not detected"),
    ("variance-grows-as-d", -0.5, -0.6, -0.4, "contradicted"),
    ("scale-holds-variance", 0.0, -0.005, 0.005, "reproduced"),
    ("scale-holds-variance", 0.3, 0.2, 0.4, "direction only"),
    ("scale-holds-variance", 1.0, 0.99, 1.01, "not detected"),
    ("scale-holds-variance", 1.5, 1.4, 1.6, "contradicted"),
    ("gradient-vanishes-mean", 0.01, 0.005, 0.02, "reproduced"),
    ("gradient-vanishes-mean", 0.5, 0.4, 0.6, "direction only"),
    ("gradient-vanishes-mean", 0.9, 0.7, 1.2, "not detected"),
    ("gradient-vanishes-mean", 4.0, 3.0, 5.0, "contradicted"),
    ("dot-faster", 30.0, 20.0, 40.0, "reproduced"),
    ("dot-faster", 3.0, 2.0, 4.0, "direction only"),
    ("dot-faster", 30.0, 0.0, math.inf, "not detected"),
    ("dot-faster", 0.5, 0.4, 0.6, "contradicted"),
]


@pytest.mark.parametrize(("claim", "value", "low", "high", "verdict"), CASES)
def test_the_verdict_follows_the_interval(claim: str, value: float, low: float, high: float, verdict: str) -> None:
    judged = claims.judge(claim, Interval(value, low, high, 8))
    assert judged.verdict == verdict
    assert judged.verdict in claims.VERDICTS
    assert judged.row()["ours"] == value


def test_without_a_measurement_a_claim_is_out_of_scope() -> None:
    for ours in (None, Interval(math.nan, math.nan, math.nan, 0)):
        assert claims.judge("dot-faster", ours).verdict == "out of scope"


def test_an_unknown_claim_is_refused_with_a_hint() -> None:
    with pytest.raises(UsageError, match="did you mean"):
        claims.judge("dot-fastr", None)


def test_every_claim_says_where_it_was_read_and_has_a_range_without_the_null_value() -> None:
    assert claims.claims()
    for claim in claims.claims().values():
        assert claim.source
        assert claim.row
        assert claim.published
        assert claim.low < claim.high
        assert claim.equivalence == (claim.low <= claim.null <= claim.high)


def test_implementations_with_the_same_numbers_share_a_row() -> None:
    frame = pd.DataFrame(
        {"impl": ["a/x", "b/x", "c/x", "d/x"], "status": ["ok", "ok", "ok", "crashed"], "value": [1.0, 1.0, 2.0, 9.0]}
    )

    def quantity(rows: pd.DataFrame) -> Interval:
        value = float(rows["value"].iloc[0])
        return Interval(value, value, value, 8)

    verdicts = claims.judge_each(frame, "variance-grows-as-d", quantity)
    assert [(verdict.implementations, verdict.verdict) for verdict in verdicts] == [
        (("a/x", "b/x"), "reproduced"),
        (("c/x",), "direction only"),
    ]
    assert [verdict.row()["implementations"] for verdict in verdicts] == ["a/x, b/x", "c/x"]
