"""The timed suites: their cases, and what they find in frames whose numbers are known."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attnbench.backends import discover
from attnbench.measure.run.plan import make_plan
from tests.suites import helpers
from tests.wording import says

MIB = 2**20


def frame_of(name: str, times: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A frame of a timed suite: for each implementation ``ms`` and ``mib`` of a point, ``None`` where it failed.

    The intervals are 5 % wide on each side; five processes have three rounds each, which differ by a hundredth.
    """
    rows = []
    for number, (point, case) in enumerate(helpers.suite(name).cases()):
        assert case is not None
        for impl, cost in times.items():
            ms, mib = cost["ms"](point), cost["mib"](point)
            failed = {"status": "crashed", "reason": "MemoryError"}
            ok = {
                "time_median_s": ms and ms / 1e3,
                "time_low_s": ms and ms * 0.95 / 1e3,
                "time_high_s": ms and ms * 1.05 / 1e3,
                "peak_bytes": mib and mib * MIB,
            }
            fixed = {"block_id": number, "device": "cpu", "threads": 1, "kind": "timed", "Tq": case.problem.Tq}
            rows.append(helpers.row(impl, point, {}) | fixed | (ok if ms is not None else failed))
            if ms is not None:
                wave = {
                    (r, n): ms / 1e3 * (1 + 0.01 * math.sin(len(rows) + 7 * r + n)) for r in range(5) for n in range(3)
                }
                rows[-1]["rounds"] = wave
    measured = ("time_median_s", "time_low_s", "time_high_s", "peak_bytes")
    return pd.DataFrame([dict.fromkeys(measured) | row for row in rows]).astype(dict.fromkeys(measured, float))


@pytest.mark.parametrize("name", ["smoke", "scoring-cost", "scale-cost"])
def test_no_case_is_measured_twice(name: str) -> None:
    cases = [case for _, case in helpers.suite(name).cases()]
    assert len({case.id for case in cases if case}) == len(cases)


def test_smoke_asks_about_all_it_says() -> None:
    cases = [case for _, case in helpers.suite("smoke").cases() if case]
    assert len(cases) == 6
    assert {case.phase for case in cases} == {"forward", "backward", "decode"}
    assert {case.problem.dtype for case in cases} == {"float32", "bfloat16"}
    assert {case.problem.Tq for case in cases if case.phase == "forward"} == {128, 512, 1024}
    decode = helpers.one(case.problem for case in cases if case.phase == "decode")
    assert (decode.Tq, decode.S, decode.Hq, decode.Hkv) == (1, 2048, 8, 2)


def test_smoke_plans_every_backend_on_the_cpu_and_leaves_lengths_to_the_user() -> None:
    plan = make_plan(["smoke"])
    measured = {name.partition("/")[0] for name in plan.implementations()}
    assert measured == {
        name for name in discover.backends() if not name.startswith(("cupy", "keras_", "mlx", "tinygrad", "triton"))
    }
    longer = make_plan(["smoke"], overrides=["T=256,4096"])
    assert {(cell.point["setting"], cell.point["T"]) for cell in longer.cells} == {("forward", 256), ("decode", 4096)}


def test_smoke_names_the_fastest_with_its_lead_and_the_growth_of_memory() -> None:
    frame = frame_of(
        "smoke",
        {
            "numpy/naive": {"ms": lambda _: 30.0, "mib": lambda p: (p["T"] / 128) ** 2},
            "torch/sdpa": {"ms": lambda _: 10.0, "mib": lambda p: p["T"] / 128},
        },
    )
    said = helpers.sentences(helpers.suite("smoke"), frame)
    assert says(
        said[0],
        "forward, T = 128",
        "torch/sdpa is fastest",
        "10 ms",
        "numpy/naive takes 3.01 [2.99, 3.03] times",
        "5 processes",
    )
    assert says(said[5], "decode, S = 2048", "torch/sdpa is fastest")
    assert says(said[6], "numpy/naive 64 times", "1 to 64 MiB", "torch/sdpa 8 times", "1 to 8 MiB")
    assert says(said[6], "8 times as long", "square", "64")
    assert says(said[7], "All 12 cells")


def test_smoke_knows_no_winner_where_rounds_do_not_tell() -> None:
    frame = frame_of(
        "smoke",
        {
            "a/x": {"ms": lambda _: 10.0, "mib": lambda _: None},
            "b/x": {"ms": lambda _: 10.02, "mib": lambda _: None},
            "c/x": {"ms": lambda _: 20.0, "mib": lambda _: None},
        },
    )
    said = helpers.sentences(helpers.suite("smoke"), frame)
    assert says(said[0], "forward, T = 128", "no clear winner among", "(10 ms)", "paired rounds", "c/x takes 2.00 [")
    assert says(said[0], "a/x", "b/x")
    close = helpers.sentences(helpers.suite("smoke"), frame[frame["impl"] != "c/x"])
    assert says(close[0], "forward, T = 128", "no clear winner", "tell none of 2 apart")


def test_smoke_takes_two_that_differ_little_in_one_process_for_no_win() -> None:
    cost = {"ms": lambda _: 1.0, "mib": lambda _: None}
    frame = frame_of("smoke", {"a/x": cost, "b/x": {**cost, "ms": lambda _: 1.5}}).drop(columns="rounds")
    frame.loc[frame["impl"] == "a/x", ["time_low_s", "time_high_s"]] = None
    assert "no clear winner" in helpers.sentences(helpers.suite("smoke"), frame)[0]


def test_smoke_counts_what_failed_and_says_why() -> None:
    frame = frame_of(
        "smoke",
        {
            "a/x": {"ms": lambda _: 1.0, "mib": lambda _: 1.0},
            "b/x": {"ms": lambda p: None if p["T"] == 512 else 2.0, "mib": lambda _: 1.0},
        },
    )
    assert helpers.sentences(helpers.suite("smoke"), frame)[-1] == (
        "3 of 12 cells have no time: b/x crashed in 3 (MemoryError)."
    )


def test_smoke_with_nothing_measured_still_says_so() -> None:
    frame = frame_of("smoke", {"a/x": {"ms": lambda _: None, "mib": lambda _: None}})
    assert helpers.sentences(helpers.suite("smoke"), frame) == [
        "6 of 6 cells have no time: a/x crashed in 6 (MemoryError)."
    ]


def costs(factor: float) -> dict[str, dict[str, Any]]:
    """Additive attention costs ``factor`` times dot-product attention in time, and d times in memory in a/naive."""

    def ms(point: Mapping[str, Any]) -> float:
        return float(point["T"] ** 2 * point["d"] / 1e6 * (factor if point["score"] == "additive" else 1))

    def mib(point: Mapping[str, Any]) -> float:
        return float(point["T"] ** 2 / 1e4 * (point["d"] if point["score"] == "additive" else 1))

    return {"a/naive": {"ms": ms, "mib": mib}, "b/naive": {"ms": ms, "mib": lambda p: p["T"] ** 2 / 1e4}}


def test_scoring_cost_leaves_out_what_would_not_fit_and_pairs_the_rest() -> None:
    suite = helpers.suite("scoring-cost")
    for tier, longest in ((suite, 512), (suite.with_axes(suite.tiers["full"]), 1024)):
        points = [point for point, _ in tier.cases()]
        assert max(p["T"] for p in points) == longest
        assert max(p["T"] ** 2 * p["d"] for p in points if p["phase"] == "forward") <= 1024 * 1024 * 64
        assert max(p["T"] ** 2 * p["d"] for p in points if p["phase"] == "backward") <= 512 * 512 * 64
        sizes = [{(p["T"], p["d"], p["phase"]) for p in points if p["score"] == score} for score in ("dot", "additive")]
        assert sizes[0] == sizes[1]
    plan = make_plan([suite], patterns=["numpy/naive"])
    assert [len(block) for block in plan.blocks()].count(4) == 1  # all four scores where the verdicts are reached
    assert len(plan.cells) == 16
    assert all({"dot", "additive"} <= {cell.point["score"] for cell in block} for block in plan.blocks())


def test_scoring_cost_finds_the_ratio_at_the_point_chosen_beforehand() -> None:
    suite, frame = helpers.suite("scoring-cost"), frame_of("scoring-cost", costs(30.0))
    said = helpers.sentences(suite, frame)
    assert says(said[0], "T = 256, d = 64, forward", "additive", "a/naive 30 [27.1, 33.2], b/naive 30 [27.1, 33.2]")
    assert says(said[1], "a/naive 64", "419 MiB", "b/naive 1", "6.55 MiB")
    powers = [sentence for sentence in said if sentence.startswith("Forward ")]
    assert says(powers[0], "power of T", "d = 64", "128, 256, 512", "dot", "a/naive 2.00")
    assert says(powers[3], "power of d", "T = 256", "16, 64, 256")
    assert powers[3].endswith("additive: a/naive 1.00 [1.00, 1.00], b/naive 0.00.")
    assert helpers.verdicts(suite, frame) == {
        ("dot-faster", ("a/naive",)): "reproduced",
        ("dot-smaller", ("a/naive",)): "reproduced",
        ("dot-faster", ("b/naive",)): "reproduced",
        ("dot-smaller", ("b/naive",)): "not detected",
    }


@pytest.mark.parametrize(("factor", "verdict"), [(3.0, "direction only"), (1.0, "not detected"), (0.5, "contradicted")])
def test_scoring_cost_may_contradict_the_paper(factor: float, verdict: str) -> None:
    verdicts = helpers.verdicts(helpers.suite("scoring-cost"), frame_of("scoring-cost", costs(factor)))
    assert verdicts["dot-faster", ("a/naive",)] == verdict


def test_scoring_cost_without_intervals_claims_nothing() -> None:
    frame = frame_of("scoring-cost", costs(30.0)).assign(time_low_s=float("nan"), time_high_s=float("nan"))
    verdicts = helpers.verdicts(helpers.suite("scoring-cost"), frame)
    assert verdicts["dot-faster", ("a/naive",)] == "not detected"


def test_scoring_cost_elsewhere_speaks_of_the_most_work_and_judges_nothing() -> None:
    suite, frame = helpers.suite("scoring-cost"), frame_of("scoring-cost", costs(30.0))
    rest = frame[(frame["point.T"] != 256) & (frame["point.d"] == 64)]
    assert helpers.sentences(suite, rest)[0].startswith("At T = 512, d = 64,")
    assert helpers.verdicts(suite, rest) == {}


def test_scoring_cost_with_one_score_alone_compares_nothing() -> None:
    frame = frame_of("scoring-cost", costs(30.0))
    suite = helpers.suite("scoring-cost")
    alone = frame[frame["point.score"] == "dot"]
    assert helpers.sentences(suite, alone) == []
    assert helpers.verdicts(suite, alone) == {}


def scale_costs(factor: float, noise: float) -> pd.DataFrame:
    """A frame of scale-cost in which 1/√d takes ``factor`` times as long as no scale, in blocks with rounds."""
    cost = {"a/x": {"ms": lambda p: factor if p["scale"] == "1/sqrt(d)" else 1.0, "mib": lambda _: None}}
    frame = frame_of("scale-cost", cost).drop(columns="rounds")  # they are metrics below
    rng = np.random.default_rng(5)
    rounds = {
        f"metric.round.{r}.{n}": frame["time_median_s"] * np.exp(noise * rng.standard_normal(len(frame)))
        for r in range(5)
        for n in range(6)
    }
    return frame.assign(block_id=frame["point.phase"], **rounds)


@pytest.mark.parametrize(
    ("factor", "noise", "verdict"),
    [(1.0, 0.01, "reproduced"), (1.1, 0.01, "contradicted"), (1.0, 0.2, "not detected")],
)
def test_scale_cost_shows_equivalence_or_a_difference_or_neither(factor: float, noise: float, verdict: str) -> None:
    suite, frame = helpers.suite("scale-cost"), scale_costs(factor, noise)
    both = ("scale-is-free", "scale-is-free-in-training")
    assert helpers.verdicts(suite, frame) == {(claim, ("a/x",)): verdict for claim in both}
    said = helpers.sentences(suite, frame)
    assert any("folded into the weights (the control" in sentence for sentence in said)
    assert any("worse than 5 % in a/x" in sentence for sentence in said) is (noise > 0.1)


def test_scale_cost_without_pairs_is_out_of_scope() -> None:
    frame = scale_costs(1.0, 0.01)
    frame["block_id"] = range(len(frame))
    assert set(helpers.verdicts(helpers.suite("scale-cost"), frame).values()) == {"out of scope"}


def test_figures_find_their_columns() -> None:
    for name in ("smoke", "scoring-cost", "scale-cost"):
        cost = {"a/naive": {"ms": lambda _: 1.0, "mib": lambda _: 1.0}}
        frame = frame_of(name, cost).assign(error_ratio=0.5)
        for figure in helpers.suite(name).story.figures:
            data = figure.data(frame) if figure.data else frame
            assert len(data)
            for column in (figure.x, figure.y, figure.hue, figure.style, figure.col, figure.row):
                assert column is None or column in data, (figure.name, column)
