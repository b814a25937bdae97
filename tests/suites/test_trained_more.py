"""gradient-reach, attention-size, heads, and alignment with its controls: what they say of frames that are known."""

import math
from typing import Any

import pandas as pd
import pytest

from attnbench.errors import UsageError
from attnbench.report.figures import draw
from attnbench.report.palette import Palette
from tests.suites import helpers
from tests.wording import says

SEEDS = range(8)


def frame(rows: list[tuple[dict[str, Any], dict[str, float]]]) -> pd.DataFrame:
    """Rows of one implementation; every number is a little different for each seed and point."""
    shaken = []
    for point, metrics in rows:
        noise = 0.001 * math.sin(point["seed"] + len(str(point)))
        shaken.append(helpers.row("torch/naive", point, {name: value + noise for name, value in metrics.items()}))
    return pd.DataFrame(shaken)


def verdicts(name: str, rows: pd.DataFrame) -> dict[str, str]:
    return {claim: verdict for (claim, _), verdict in helpers.verdicts(helpers.suite(name), rows).items()}


@pytest.mark.parametrize("name", ["gradient-reach", "attention-size", "heads", "context-length", "g2p"])
def test_where_nothing_was_measured_that_is_said_and_nothing_breaks(name: str) -> None:
    suite = helpers.suite(name)
    rows = [helpers.row("torch/naive", point, {}) for point in suite.with_axes({"seed": (0, 1)}).points()]
    nothing = pd.DataFrame(rows).assign(status="unsupported", reason="torch is not here")
    assert set(verdicts(name, nothing).values()) <= {"out of scope"}
    assert "have no numbers: torch/naive unsupported" in helpers.sentences(suite, nothing)[-1]
    for figure in suite.story.figures:
        assert "could not be drawn" not in draw(figure, nothing, Palette()).caption, figure.name


def reaching(seeds: range = SEEDS, **falls: tuple[float, float]) -> pd.DataFrame:
    """Decades lost before and after training, by arm."""
    return frame(
        [
            (
                {"seed": seed, "task": "reverse", "arm": arm, "steps": 400},
                {"init.fall": before, "trained.fall": after, "init.right": 1.0, "trained.right": 3.0, "accuracy": 0.5},
            )
            for seed in seeds
            for arm, (before, after) in falls.items()
        ]
    )


def test_the_claims_on_reach() -> None:
    rows = reaching(state=(6.0, 0.2), additive=(0.4, 0.0))
    assert verdicts("gradient-reach", rows) == {
        "attention-shortens-the-way": "reproduced",
        "way-stays-short": "direction only",
    }
    said = helpers.sentences(helpers.suite("gradient-reach"), rows)
    assert says(said[0], "before training", "decades", "state 6.0", "additive 0.4", "at the place")
    alike = verdicts("gradient-reach", reaching(state=(0.4, 0.0), additive=(0.4, 0.0)))
    assert alike["attention-shortens-the-way"] != "reproduced"


def sized(**accuracies: tuple[float, float]) -> pd.DataFrame:
    """Accuracy at the smallest and at the largest attention size, by arm."""
    return frame(
        [
            (
                {"seed": seed, "size": size, "arm": arm, "lr": 5e-3, "steps": 300},
                {"accuracy": accuracy, "validation": accuracy},
            )
            for seed in SEEDS
            for arm, values in accuracies.items()
            for size, accuracy in zip((16, 256), values, strict=True)
        ]
    )


def test_the_claims_on_attention_size() -> None:
    rows = sized(unscaled=(0.86, 0.65), scaled=(0.84, 0.86), additive=(0.85, 0.87), none=(0.41, 0.45))
    assert verdicts("attention-size", rows) == dict.fromkeys(
        [
            "large-multiplicative-falls",
            "large-additive-holds",
            "large-multiplicative-behind",
            "large-scaled-keeps-up",
            "attention-beats-none",
        ],
        "reproduced",
    )
    said = helpers.sentences(helpers.suite("attention-size"), rows)
    assert says(said[0], "16 / 256", "0.005", "unscaled 0.860 / 0.650", "scaled 0.840 / 0.860")
    other = verdicts(
        "attention-size", sized(unscaled=(0.6, 0.8), scaled=(0.5, 0.6), additive=(0.7, 0.9), none=(0.8, 0.9))
    )
    assert other["large-multiplicative-falls"] == "contradicted"
    assert other["large-additive-holds"] == "contradicted"
    assert other["large-scaled-keeps-up"] == "contradicted"
    assert other["attention-beats-none"] == "contradicted"


def test_one_attention_size_says_nothing_of_growth() -> None:
    rows = sized(unscaled=(0.86, 0.65), additive=(0.85, 0.87))
    judged = verdicts("attention-size", rows[rows["point.size"] == 256])
    assert judged["large-multiplicative-falls"] == "out of scope"
    assert judged["large-multiplicative-behind"] == "reproduced"


def shaped(**accuracies: float) -> pd.DataFrame:
    """Accuracy by heads x head size, as ``h1x64``."""
    return frame(
        [
            (
                {"seed": seed, "split": name[1:], "lr": 3e-3, "steps": 400},
                {"accuracy": accuracy, "validation": accuracy},
            )
            for seed in SEEDS
            for name, accuracy in accuracies.items()
        ]
    )


def test_the_claims_on_heads() -> None:
    rows = shaped(h1x64=0.3, h8x8=0.98, h32x2=0.979, h8x2=0.99)
    assert verdicts("heads", rows) == {
        "one-head-is-worse": "reproduced",
        "too-many-heads": "direction only",
        "small-keys-hurt": "contradicted",
    }
    said = helpers.sentences(helpers.suite("heads"), rows)
    assert says(said[0], "Accuracy", "heads x head size", "0.003", "1x64 0.300", "8x8 0.980")
    (figure,) = helpers.suite("heads").story.figures
    assert figure.data is not None
    drawn = figure.data(rows[rows["point.seed"] == 0])
    assert list(zip(drawn["row"].str[0], drawn["level"], strict=True)) == [
        ("A", 1), ("A", 8), ("B", 8), ("A", 32), ("B", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("split", ["8", "x8", "8x", "8xd", "0x8", "-1x8"])
def test_a_split_that_is_none_is_an_error(split: str) -> None:
    with pytest.raises(UsageError, match="a split is heads x head size, such as 8x8 or 8x4; got"):
        helpers.observed("heads", ["numpy/naive"], levels={"seed": (0,), "split": (split,), "steps": (1,)})


def test_an_optimiser_that_is_none_is_an_error() -> None:
    levels = {"seed": (0,), "d": (4,), "arm": ("unscaled",), "lr": (1e-3,), "steps": (1,)}
    with pytest.raises(UsageError, match=r"such as sgd\*100; got 'sgd\*fast'"):
        helpers.observed("scaling", ["numpy/naive"], levels={**levels, "optimiser": ("sgd*fast",)})
    with pytest.raises(UsageError, match="optimiser 'sdg' is not one of adam, sgd"):
        helpers.observed("scaling", ["numpy/naive"], levels={**levels, "optimiser": ("sdg",)})


def test_a_factor_multiplies_the_learning_rate() -> None:
    levels = {"seed": (0,), "d": (4,), "arm": ("unscaled",), "steps": (50,)}
    observed = helpers.observed("scaling", ["numpy/naive"], levels={**levels, "lr": (1e-3,), "optimiser": ("sgd*100",)})
    other = helpers.observed("scaling", ["numpy/naive"], levels={**levels, "lr": (0.1,), "optimiser": ("sgd",)})
    assert observed["metric.loss.step50"].tolist() == other["metric.loss.step50"].tolist()


def aligned(alone: float, permuted: float) -> pd.DataFrame:
    metrics = {f"accuracy.length{length}": 0.9 for length in (5, 10, 15, 20, 25, 30, 40)} | {"fall": 0.0}
    metrics |= {"aligned.length20": alone, "near.length20": alone, "monotone.length20": -0.9}
    metrics |= {"aligned_permuted.length20": permuted, "aligned_uniform.length20": 0.05}
    points = [{"seed": seed, "task": "reverse", "arm": "additive", "steps": 1000} for seed in SEEDS]
    return frame([(point, metrics) for point in points])


def test_alignment_counts_beyond_its_control() -> None:
    assert verdicts("context-length", aligned(0.8, 0.05))["attention-aligns"] == "reproduced"
    assert verdicts("context-length", aligned(0.4, 0.05))["attention-aligns"] == "direction only"
    assert verdicts("context-length", aligned(0.8, 0.8))["attention-aligns"] != "reproduced"
    said = helpers.sentences(helpers.suite("context-length"), aligned(0.8, 0.05))
    assert says(said[1], "permuted", "uniform", "additive 0.80 / 0.80 / 0.05 / 0.05")
    assert says(said[2], "-1 (backward)", "1 (forward)", "additive -0.90")


def test_the_order_of_words_counts_beyond_its_control() -> None:
    rates = {f"{rate}.{name}": 10.0 for rate in ("per", "wer") for name in ("short", "middle", "long")}
    rates |= {"per": 10.0, "wer": 10.0, "growth": 0.0}
    points = [{"seed": seed, "arm": "additive", "steps": 1200} for seed in SEEDS]
    for alone, expected in ((0.9, "reproduced"), (0.3, "direction only"), (-0.5, "contradicted")):
        rows = frame([(point, {**rates, "monotone.words": alone, "monotone_permuted.words": 0.0}) for point in points])
        assert verdicts("g2p", rows)["alignment-is-monotone"] == expected
    assert f"with the phones permuted: additive {alone:.2f} / 0.00" in " ".join(
        helpers.sentences(helpers.suite("g2p"), rows)
    )
