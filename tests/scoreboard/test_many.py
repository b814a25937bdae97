"""The rule for many cells at once is the rule of a live comparison, verdict for verdict, interval for interval."""

from __future__ import annotations

import numpy as np
import pytest

from attnbench.comparing import many
from attnbench.comparing.calibration import judge
from attnbench.comparing.sequential import REPORTED, Rules

WORDS = {"inconclusive": many.INCONCLUSIVE, "same": many.SAME_WORD, "slower": many.SLOWER, "faster": many.FASTER}


@pytest.mark.parametrize("change", [0.0, 0.03, 0.10, -0.05])
@pytest.mark.parametrize("pairs", [many.MOST, 14])
def test_many_at_once_judge_as_one_by_one(change: float, pairs: int) -> None:
    rng, rules = np.random.default_rng(7), Rules(margin=0.03, cells=8)
    ratios = 0.025 * rng.standard_t(3, (30, pairs)) + change
    ratios[:, 6] = ratios[:, 2]  # drawn twice, as a replay does
    found = many.judge(ratios, rules)
    low, high = many.reported(ratios, found, np.full(len(ratios), pairs))
    for row, one in enumerate(judge(values, rules) for values in ratios):
        assert found.verdict[row] == WORDS[one.verdict]
        if one.verdict != "inconclusive":
            assert found.decided_at[row] == one.screened + one.confirmed
        assert one.effect is not None
        assert (low[row], high[row]) == (one.effect.low, one.effect.high)


def test_an_open_cell_reports_what_its_budget_showed() -> None:
    ratios = 0.05 * np.random.default_rng(3).standard_normal((20, many.MOST))
    found = many.judge(ratios, Rules())
    low, high = many.reported(ratios, found, np.full(20, 12))
    for row in np.flatnonzero((found.decided_at > 12) & (found.screened > 12)):
        one = judge(ratios[row, :12], Rules())
        assert one.effect is not None
        assert (low[row], high[row]) == (one.effect.low, one.effect.high)


def covered(change: float, level: float, monkeypatch: pytest.MonkeyPatch) -> float:
    """The share of reported intervals that hold the change, for 60 pairs of heavy-tailed noise."""
    rng, cells = np.random.default_rng(11), 1000
    ratios = 0.026 * rng.standard_t(3, (cells, many.MOST)) + np.log1p(change)
    found = many.judge(ratios, Rules(margin=0.03, cells=8))
    plain = many.intervals
    with monkeypatch.context() as patch:
        patch.setattr(many, "intervals", lambda x: plain(x, level))
        low, high = many.reported(ratios, found, np.full(cells, 60))
    return float(((low <= np.log1p(change)) & (np.log1p(change) <= high)).mean())


@pytest.mark.parametrize("change", [0.0, 0.02, 0.05, 0.10])
def test_intervals_hold_the_change_though_cells_stop_when_decided(
    change: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert covered(change, REPORTED, monkeypatch) >= 0.93


def test_intervals_at_the_level_that_they_aim_at_would_hold_too_few(monkeypatch: pytest.MonkeyPatch) -> None:
    assert covered(0.02, 0.95, monkeypatch) < 0.93
