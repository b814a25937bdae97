"""The rounds of a saved run: read from its samples, for every timed cell, those of old runs too."""

from __future__ import annotations

import pandas as pd

from attnbench import load
from attnbench.analysis.judged import judge_run
from attnbench.analysis.leading import leaders
from attnbench.analysis.sampled import load_sampled, with_rounds, without_rounds
from attnbench.backends import discover
from tests.repository import SMOKE_SAMPLE


def test_an_old_run_has_its_rounds_and_one_that_is_loaded_does_not_read_them() -> None:
    assert "rounds" not in load(SMOKE_SAMPLE)
    frame = load_sampled(SMOKE_SAMPLE)
    measured = frame[frame["status"] == "ok"]
    samples = load(SMOKE_SAMPLE, samples=True)
    counting = samples[~samples["warmup"] & ~samples["disturbed"]]
    for cell, rounds in zip(measured["cell_id"], measured["rounds"], strict=True):
        mine = counting[counting["cell_id"] == cell].sort_values(["replicate", "burst"])
        assert {process for process, _ in rounds} == set(mine["replicate"])
        assert [rounds[at] for at in sorted(rounds)] == mine["wall_s"].tolist()
    assert all(rounds == {} for rounds in frame.loc[frame["status"] != "ok", "rounds"])
    assert "rounds" not in without_rounds(frame)


def test_what_another_tool_measured_one_after_the_other_has_no_rounds() -> None:
    imported = with_rounds(load(SMOKE_SAMPLE).assign(imported="pytest-benchmark"), SMOKE_SAMPLE)
    assert all(rounds == {} for rounds in imported["rounds"])


def test_a_judged_run_is_judged_by_rounds() -> None:
    judged = judge_run(SMOKE_SAMPLE, discover.suite)
    (suite,) = judged.suites
    by_rounds, by_medians = (
        [tuple(leaders(block)[0]["impl"]) for _, block in rows.groupby("block_id")]
        for rows in (frame[frame["status"] == "ok"] for frame in (suite.frame, without_rounds(suite.frame)))
    )
    assert by_rounds != by_medians
    assert isinstance(suite.frame, pd.DataFrame)
