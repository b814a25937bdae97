"""Who may be the fastest of a block: the first in time, and all that its interval does not tell from it."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from attnbench.analysis.costs import leaders


def block(*rows: tuple[str, float, float, float]) -> pd.DataFrame:
    """Rows of implementation, median, low and high."""
    return pd.DataFrame(rows, columns=["impl", "time_median_s", "time_low_s", "time_high_s"])


@pytest.mark.parametrize(
    ("second", "together"),
    [
        (("b", 2.0, 1.8, 2.2), ["a"]),
        (("b", 2.0, 1.1, 2.2), ["a", "b"]),  # it reaches to the end of the first
        (("b", 2.0, math.nan, math.nan), ["a", "b"]),
        (("b", 1.0, 0.9, 1.1), ["a", "b"]),  # as fast: by name
    ],
)
def test_an_overlapping_or_missing_interval_tells_nothing(
    second: tuple[str, float, float, float], together: list[str]
) -> None:
    first = ("a", 1.0, 0.9, 1.1)
    ahead, behind = leaders(block(second, first))
    assert list(ahead["impl"]) == together
    assert list(behind["impl"]) == [name for name in ("a", "b") if name not in together]


def test_a_first_without_an_interval_is_told_from_nobody() -> None:
    ahead, behind = leaders(block(("b", 9.0, 8.0, 9.5), ("a", 1.0, math.nan, math.nan)))
    assert (list(ahead["impl"]), len(behind)) == (["a", "b"], 0)
