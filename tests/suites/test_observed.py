"""The analytic ablations, observed in this process: what they find with a right implementation and with a wrong one."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attnbench.api import AttentionOutput, AttentionSpec, Call, Capabilities, Implementation
from attnbench.backends.attend import resolve
from tests.suites import helpers
from tests.wording import says

SIZES = (1, 4, 16, 64, 256)


def broken(name: str, **changes: Any) -> Implementation:
    """``numpy/naive`` under another name, with fields of its call changed before it sees it."""
    _, right = resolve("numpy/naive")
    assert right.vjp is not None

    def attend(q: Any, k: Any, v: Any, call: Call) -> AttentionOutput:
        attended: AttentionOutput = right.attend(q, k, v, dataclasses.replace(call, **changes))
        return attended

    def vjp(q: Any, k: Any, v: Any, call: Call, d_output: Any, d_lse: Any) -> Any:
        assert right.vjp is not None
        return right.vjp(q, k, v, dataclasses.replace(call, **changes), d_output, d_lse)

    return Implementation(name, Capabilities(bias=True, stages=True, log_n=True, sinks=True), attend, vjp)


@pytest.fixture(scope="module")
def variance() -> pd.DataFrame:
    return helpers.observed("score-variance", d=SIZES)


@pytest.fixture(scope="module")
def saturation() -> pd.DataFrame:
    return helpers.observed("saturation", d=(1, 4, 64, 1024), keys=(64,))


@pytest.fixture(scope="module")
def gradients() -> pd.DataFrame:
    return helpers.observed("gradients", d=(1, 4, 64, 1024))


def test_the_variance_of_the_scores_has_the_exponent_of_its_scale(variance: pd.DataFrame) -> None:
    for scale, expected in (("none", 1.0), ("1/sqrt(d)", 0.0), ("1/d", -1.0)):
        for distribution in ("normal", "uniform", "rademacher"):
            rows = variance[(variance["point.scale"] == scale) & (variance["point.distribution"] == distribution)]
            slope = np.polyfit(np.log(rows["point.d"]), np.log(rows["metric.variance"]), 1)[0]
            assert slope == pytest.approx(expected, abs=0.01)
    scaled = variance[variance["point.scale"] == "1/sqrt(d)"]
    np.testing.assert_allclose(scaled["metric.variance"], 1.0, atol=0.05)


def test_score_variance_reproduces_both_claims(variance: pd.DataFrame) -> None:
    suite = helpers.suite("score-variance")
    assert set(helpers.verdicts(suite, variance).values()) == {"reproduced"}
    first, *_, last = helpers.sentences(suite, variance)
    without = re.search(r"without a scale, (\S+)", first)
    assert without is not None
    assert float(without[1]) == pytest.approx(1.0, abs=0.005)
    assert says(last, "Only numpy/naive", "nothing", "agreement")


def test_a_missing_scale_is_seen(variance: pd.DataFrame) -> None:
    wrong = helpers.observed("score-variance", [broken("numpy/unscaled", scale=1.0)], d=SIZES)
    suite, both = helpers.suite("score-variance"), pd.concat([variance, wrong])
    verdicts = helpers.verdicts(suite, both)
    assert verdicts["scale-holds-variance", ("numpy/naive",)] == "reproduced"
    assert verdicts["scale-holds-variance", ("numpy/unscaled",)] in ("not detected", "contradicted")
    assert verdicts["variance-grows-as-d", ("numpy/naive", "numpy/unscaled")] == "reproduced"
    said = " ".join(helpers.sentences(suite, both))
    assert "numpy/naive: The variance" in said
    assert "numpy/unscaled: The variance" in said
    assert "differ by at most 1.0e+00, relatively (variance" in said


def test_one_head_size_has_no_exponent() -> None:
    frame = helpers.observed("score-variance", d=(4,), scale=("none",), distribution=("normal",))
    suite = helpers.suite("score-variance")
    assert set(helpers.verdicts(suite, frame).values()) == {"out of scope"}
    assert says(helpers.one(helpers.sentences(suite, frame)), "Only numpy/naive", "nothing", "agreement")


def test_the_same_seed_gives_the_same_numbers_bit_for_bit() -> None:
    first, second = (helpers.observed("score-variance", d=(4,), distribution=("normal",)) for _ in range(2))
    pd.testing.assert_frame_equal(first, second, check_exact=True)


def by_d(frame: pd.DataFrame, metric: str, scale: str) -> list[float]:
    return [float(value) for value in frame[frame["point.scale"] == scale].sort_values("point.d")[f"metric.{metric}"]]


def test_the_softmax_saturates_without_a_scale_and_not_with_it(saturation: pd.DataFrame) -> None:
    assert np.diff(by_d(saturation, "entropy", "none")).max() < -0.05
    assert by_d(saturation, "entropy", "none")[-1] < 0.05
    assert by_d(saturation, "max_weight", "none")[-1] > 0.9
    assert by_d(saturation, "saturated_rows", "none")[-1] > 0.5
    assert np.ptp(by_d(saturation, "entropy", "1/sqrt(d)")) < 0.05
    assert max(by_d(saturation, "max_weight", "1/sqrt(d)")) < 0.15
    assert max(by_d(saturation, "saturated_rows", "1/sqrt(d)")) == 0
    suite = helpers.suite("saturation")
    assert helpers.verdicts(suite, saturation) == {("softmax-saturates", ("numpy/naive",)): "reproduced"}
    assert "Without a scale, from d = 1 to 1024 over 64 keys" in helpers.sentences(suite, saturation)[0]


def test_saturation_speaks_of_the_keys_that_were_measured() -> None:
    frame = helpers.observed("saturation", d=(4, 64), keys=(8,))
    assert "from d = 4 to 64 over 8 keys" in helpers.sentences(helpers.suite("saturation"), frame)[0]


def test_the_median_gradient_vanishes_and_the_mean_does_not(gradients: pd.DataFrame) -> None:
    assert by_d(gradients, "q_median", "none")[-1] < 0.05 * by_d(gradients, "q_median", "none")[1]
    assert by_d(gradients, "q_mean", "none")[-1] > 2 * by_d(gradients, "q_mean", "none")[1]
    assert by_d(gradients, "q_p10", "none")[-1] < 1e-6
    assert by_d(gradients, "q_median", "1/sqrt(d)")[-1] > 0.5 * by_d(gradients, "q_median", "1/sqrt(d)")[1]
    verdicts = helpers.verdicts(helpers.suite("gradients"), gradients)
    assert {claim: verdict for (claim, _), verdict in verdicts.items()} == {
        "gradient-vanishes-median": "reproduced",
        "gradient-vanishes-mean": "contradicted",
        "logit-gradient-vanishes-mean": "direction only",
        "scale-keeps-gradient": "reproduced",
    }


def test_the_gradient_at_the_query_is_that_at_the_logits_through_the_keys() -> None:
    # At d = 1 with scale 1, dL/dq = sum_j dL/dlogits_j k_j, so that its norm is at most |dL/dlogits|·|k|.
    frame = helpers.observed("gradients", d=(1,), scale=("none",))
    assert 0 < helpers.one(frame["metric.q_mean"]) < math.sqrt(2 * 64) * helpers.one(frame["metric.logits_mean"])


def test_a_backward_pass_without_the_scale_is_seen(gradients: pd.DataFrame) -> None:
    wrong = helpers.observed("gradients", [broken("numpy/unscaled", scale=1.0)], d=(1, 4, 64, 1024))
    verdicts = helpers.verdicts(helpers.suite("gradients"), pd.concat([gradients, wrong]))
    assert verdicts["scale-keeps-gradient", ("numpy/unscaled",)] == "not detected"
    assert verdicts["scale-keeps-gradient", ("numpy/naive",)] == "reproduced"


@pytest.mark.parametrize("name", ["score-variance", "saturation", "gradients"])
def test_figures_find_their_columns(name: str) -> None:
    levels: dict[str, Sequence[Any]] = {"d": (4, 16)} | ({"keys": (8,)} if name == "saturation" else {})
    frame = helpers.observed(name, levels=levels)
    for figure in helpers.suite(name).story.figures:
        data = figure.data(frame) if figure.data else frame
        for column in (figure.x, figure.y, figure.hue, figure.style, figure.col, figure.row):
            assert column is None or column in data, (figure.name, column)
        assert len(data) == len(frame) * 8 * (4 if name == "gradients" else 1)


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize(("name", "limit"), [("score-variance", 1e-12), ("saturation", 1e-10), ("gradients", 1e-4)])
def test_frameworks_agree(name: str, limit: float, backend: str) -> None:
    pytest.importorskip(backend)
    from attnbench.analysis.frames import largest_difference

    levels: dict[str, Sequence[Any]] = {"d": (4, 256), "scale": ("none", "1/sqrt(d)")}
    levels |= {"distribution": ("normal",)} if name == "score-variance" else {}
    levels |= {"keys": (16,)} if name == "saturation" else {}
    worst = largest_difference(helpers.observed(name, ["numpy/naive", f"{backend}/naive"], levels=levels))
    assert worst is not None
    assert worst.relative < limit, worst.text


def test_entropy_never_passes_the_floor_that_the_logits_leave_it(saturation: pd.DataFrame) -> None:
    assert (saturation["metric.over_floor"] >= -1e-9).all()


def test_additive_scores_keep_their_bound_and_dot_products_outgrow_them() -> None:
    suite = helpers.suite("additive-bounded")
    frame = helpers.observed("additive-bounded", d=(16, 64), size=(1.0, 64.0))
    additive = frame[frame["point.score"] == "additive"]
    assert (additive["metric.of_bound"] <= 1).all()
    assert helpers.verdicts(suite, frame) == {
        ("additive-is-bounded", ("numpy/naive",)): "reproduced",
        ("dot-products-grow-large", ("numpy/naive",)): "reproduced",
    }
    assert "From inputs of size 1 to 64 at d = 64" in helpers.sentences(suite, frame)[0]


def test_a_score_without_its_tanh_passes_the_bound() -> None:
    _, right = resolve("numpy/naive")

    def attend(q: Any, k: Any, v: Any, call: Call) -> AttentionOutput:
        attended: AttentionOutput = right.attend(q, k, v, call)
        return dataclasses.replace(attended, scores=attended.scores * 10)

    wrong = Implementation("numpy/loud", Capabilities(stages=True, scores=("dot", "additive")), attend)
    frame = helpers.observed("additive-bounded", [wrong], d=(64,), size=(1.0, 64.0))
    verdicts = helpers.verdicts(helpers.suite("additive-bounded"), frame)
    assert verdicts["additive-is-bounded", ("numpy/loud",)] != "reproduced"


def test_attention_fades_and_log_n_holds_it() -> None:
    suite = helpers.suite("fading")
    frame = helpers.observed("fading", keys=(32, 512, 8192))
    assert helpers.verdicts(suite, frame) == {
        ("attention-fades", ("numpy/naive",)): "reproduced",
        ("log-n-holds", ("numpy/naive",)): "reproduced",
    }
    nothing = frame[frame["point.arm"] == "softmax+1"]["metric.unmatched_nothing"]
    assert (nothing > 0).all()
    assert abs(frame[frame["point.arm"] != "softmax+1"]["metric.unmatched_nothing"]).max() < 1e-9
    assert helpers.sentences(suite, frame)[0].startswith("From 32 to 8192 keys the weight of the one that matches goes")


def test_an_arm_that_ignores_the_number_of_keys_does_not_hold() -> None:
    wrong = broken("numpy/fixed", spec=AttentionSpec(), scale=1 / 8)
    frame = helpers.observed("fading", [wrong], keys=(32, 8192))
    verdicts = helpers.verdicts(helpers.suite("fading"), frame)
    assert verdicts["log-n-holds", ("numpy/fixed",)] != "reproduced"


def test_nothing_is_lost_by_a_kernel_that_accumulates_in_float32() -> None:
    frame = helpers.observed("numerical-range", factor=(1.0, 4096.0))
    assert (frame["metric.lost"] == 0).all()
    first = helpers.sentences(helpers.suite("numerical-range"), frame)[0]
    assert says(first, "float16", "10%", "every row", "1.51e+05")


def test_rows_are_lost_where_logits_are_stored_in_float16() -> None:
    def attend(q: Any, k: Any, v: Any, call: Call) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):
            logits = ((q @ k.swapaxes(-1, -2)) * call.scale).astype(np.float16).astype(np.float32)
            weights = np.exp(logits - logits.max(-1, keepdims=True))
            return (weights @ v.astype(np.float32) / weights.sum(-1, keepdims=True)).astype(q.dtype)

    wrong = Implementation("numpy/half", Capabilities(dtypes=("float16",)), attend)
    frame = helpers.observed("numerical-range", [wrong], dtype=("float16",), factor=(1.0, 4096.0), scale=("none",))
    assert frame["metric.lost"].tolist()[0] == 0
    assert frame["metric.lost"].tolist()[1] > 0.5
    assert "and rows are lost at" in helpers.sentences(helpers.suite("numerical-range"), frame)[0]
