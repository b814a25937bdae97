"""Frames of observed suites: seeds, exponents, differences between implementations, and what is missing."""

import math
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from attnbench.analysis import contrasts, costs, frames, leading, maps
from attnbench.errors import UsageError
from tests.wording import says


def frame_of(**values: list[float]) -> pd.DataFrame:
    """Implementations (``a`` for a/x), each with its metric at d = 1, 4, 16; seed 1 has twice that of seed 0."""
    rows = [
        {
            "impl": f"{name}/x",
            "status": "ok",
            "reason": None,
            "point.d": d,
            "point.scale": "none",
            "metric.m": value,
            "metric.m.seed0": value,
            "metric.m.seed1": 2 * value,
        }
        for name, levels in values.items()
        for d, value in zip((1, 4, 16), levels, strict=True)
    ]
    return pd.DataFrame(rows)


def test_exponents_are_by_seed() -> None:
    rows = frame_of(a=[1.0, 2.0, 4.0])
    assert frames.slopes(rows, "m", "d") == pytest.approx([0.5, 0.5])
    assert frames.slopes(rows[:1], "m", "d") == []


def test_ratios_are_paired_by_seed_and_need_both_ends() -> None:
    rows = frame_of(a=[1.0, 2.0, 8.0])
    assert frames.first_to_last(rows, "m", "d") == [8.0, 8.0]
    assert frames.first_to_last(rows, "m", "d", least=4, scale="none") == [4.0, 4.0]
    assert frames.first_to_last(rows, "m", "d", least=16) == []
    assert frames.at(rows, "m", d=2) == []


def test_a_row_per_seed_holds_that_seeds_value() -> None:
    long = frames.one_row_per_seed(frame_of(a=[1.0, 2.0, 4.0]), "m")
    assert long["seed"].tolist() == [0, 0, 0, 1, 1, 1]
    assert long["metric.m"].tolist() == [1.0, 2.0, 4.0, 2.0, 4.0, 8.0]


def test_seeds_are_in_their_own_order() -> None:
    frame = pd.DataFrame({f"metric.m.seed{i}": [i] for i in (10, 2, 0)} | {"metric.mm.seed1": [1]})
    assert frames.seed_columns(frame, "m") == ["metric.m.seed0", "metric.m.seed2", "metric.m.seed10"]


def test_the_largest_difference_is_found_and_named() -> None:
    worst = frames.largest_difference(frame_of(a=[1.0, 2.0, 4.0], b=[1.0, 2.1, 4.0], c=[1.0, 2.0, 4.0]))
    assert worst is not None
    assert worst.relative == pytest.approx(0.1 / 2.1)
    assert worst.point == "d = 4, scale = none"
    assert worst.text.startswith("a/x, b/x, c/x differ by at most 4.8e-02, relatively (m")


def test_a_nan_against_a_number_is_an_infinite_difference() -> None:
    worst = frames.largest_difference(frame_of(a=[1.0, 2.0, 4.0], b=[1.0, math.nan, 4.0]))
    assert worst is not None
    assert worst.relative == math.inf


def test_equal_numbers_are_said_to_be_equal_and_one_voice_is_no_agreement() -> None:
    (both,) = frames.agreement(frame_of(a=[1.0, 2.0, 4.0], b=[1.0, 2.0, 4.0]))
    assert says(both, "a/x, b/x", "exactly the same")
    (alone,) = frames.agreement(frame_of(a=[1.0, 2.0, 4.0]))
    assert says(alone, "Only a/x", "nothing", "agreement")
    assert frames.agreement(frame_of(a=[1.0, 2.0, 4.0]).assign(status="crashed")) == []


def test_implementations_that_say_the_same_are_quoted_once() -> None:
    def say(rows: Any) -> str:
        return f"It is {rows['metric.m'].iloc[0]:.0f}."

    assert frames.together(frame_of(a=[1.0, 2.0, 4.0], b=[1.0, 9.0, 9.0]), say) == "It is 1."
    said = frames.together(frame_of(a=[1.0, 2.0, 4.0], b=[5.0, 2.0, 4.0], c=[1.0, 2.0, 4.0]), say)
    assert said == "a/x, c/x: It is 1. b/x: It is 5."


def test_cells_without_numbers_are_counted_with_their_reason() -> None:
    frame = frame_of(a=[1.0, 2.0, 4.0], b=[1.0, 2.0, 4.0])
    frame.loc[frame["impl"] == "b/x", ["status", "reason"]] = ["unsupported", "not installed"]
    (line,) = frames.shortfall(frame)
    assert says(line, "3 of 6 cells", "b/x unsupported (3: not installed)")
    assert frames.shortfall(frame_of(a=[1.0, 2.0, 4.0])) == []


def block_of(*machines: str) -> pd.DataFrame:
    """Two timed cells of one block for each machine, in a run of its own."""
    rows = [
        {
            "run_id": f"run-of-{machine}",
            "machine_id": machine,
            "cell_id": f"{machine}{impl}",
            "block_id": "b",
            "case_id": "c",
            "impl": impl,
            "kind": "timed",
            "status": "ok",
            "device": "cpu",
            "threads": 1,
            "point.x": 1,
            "point.y": 1,
            "point.seed": 0,
            "metric.m": 1.0,
            "time_median_s": time,
            "time_low_s": time,
            "time_high_s": time,
            "peak_bytes": 1.0,
        }
        for machine in machines
        for impl, time in (("a/x", 1.0), ("b/x", 2.0))
    ]
    return pd.DataFrame(rows)


ANALYSES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "measured": frames.measured,
    "all_standings": leading.all_standings,
    "lead": leading.lead,
    "leaders": leading.leaders,
    "over_base": lambda rows: costs.over_base(rows, "impl", "a/x"),
    "fastest": lambda rows: costs.fastest(rows, str),
    "growth": lambda rows: costs.growth(rows, "time_median_s", "point.x"),
    "exponent": lambda rows: costs.exponent(rows, "time_median_s", "point.x"),
    "map": lambda rows: maps.ratios(rows, "x", "y", "a/x", "b/x"),
    "differences": lambda rows: contrasts.differences(rows, "m", {}, {}),
    "largest_difference": frames.largest_difference,
    "best_validated": lambda rows: frames.best_validated(rows.assign(**{"metric.validation": 1.0})),
}


@pytest.mark.parametrize("analysis", ANALYSES)
def test_rows_of_two_machines_are_refused_by_name_wherever_they_would_be_put_together(analysis: str) -> None:
    ANALYSES[analysis](block_of("m1"))
    with pytest.raises(UsageError) as refused:
        ANALYSES[analysis](block_of("m1", "m2"))
    assert "2 machines, m1 (run run-of-m1) and m2 (run run-of-m2)" in str(refused.value)
    assert 'frame.groupby("machine_id")' in str(refused.value)
