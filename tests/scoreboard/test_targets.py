"""The targets: met only where the whole interval is, and by measurements of the rules of now alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnbench.comparing.rates import Rate, exact
from attnbench.scoreboard.live import campaign, targets
from attnbench.scoreboard.page import read_csv, write_csv
from attnbench.scoreboard.recorded.replay import OURS, Result, ours
from tests.program import Cli
from tests.scoreboard.conftest import made

BY_NAME = {one.name: one for one in targets.TARGETS}
ALARMS, FOUND, HELD = (
    BY_NAME[name]
    for name in (
        "cells without a change called `slower`, 2 minutes",
        "+10 % found, 2 minutes",
        "intervals that hold no change, 2 minutes",
    )
)


@pytest.mark.parametrize(
    ("target", "low", "high", "word"),
    [
        (ALARMS, 0.0, 0.004, "met"),
        (ALARMS, 0.0, 0.006, "not shown"),
        (ALARMS, 0.006, 0.02, "not met"),
        (FOUND, 0.951, 1.0, "met"),
        (FOUND, 0.949, 1.0, "not shown"),
        (FOUND, 0.80, 0.94, "not met"),
        (HELD, 0.94, 0.96, "met"),
        (HELD, 0.96, 0.98, "not shown"),
        (HELD, 0.90, 0.99, "not shown"),
        (HELD, 0.98, 0.99, "not met, they hold more"),
        (HELD, 0.80, 0.92, "not met"),
    ],
)
def test_a_target_is_met_only_by_the_whole_interval(target: targets.Target, low: float, high: float, word: str) -> None:
    assert targets.held(Rate(1, 2, low, high), target) == word


def summary(arm: campaign.CampaignArm, slower: Rate, spread: float) -> campaign.Summary:
    words = {"slower": slower, "same": exact(0, 80), "faster": exact(0, 80), "inconclusive": exact(0, 80)}
    return campaign.Summary(arm, 10, words, 0, exact(0, 10), exact(76, 80), spread, 20.0, 0, 0.0)


def row(table: str, target: targets.Target) -> list[str]:
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {target.name} |")]
    return [part.strip() for part in line.strip("|").split(" | ")]


def test_the_table_holds_replay_and_live_against_every_target() -> None:
    replayed = Result(OURS, 120.0, 0.0, exact(0, 10_000), exact(0, 1250), covered=exact(9_500, 10_000))
    foreign = Result("asv", 120.0, 0.1, exact(9_990, 10_000), exact(1, 1250))
    live = [
        summary(campaign.CampaignArm(0, 120, 0), exact(0, 80), 0.01),
        summary(campaign.CampaignArm(10, 120, 0), exact(80, 80), 0.01),
    ]
    found = targets.table([replayed, foreign], 0.01, live)
    assert len(found.splitlines()) == 2 + len(targets.TARGETS)
    assert row(found, ALARMS)[1:] == [
        "at most 0.5 %",
        "0 of 10000: 0 % [0, 0.04]: met",
        "0 of 80: 0 % [0, 4.5]: not shown",
    ]
    assert row(found, FOUND)[1:] == ["at least 95 %", "not measured yet", "80 of 80: 100 % [95.5, 100]: met"]
    assert row(found, HELD)[1:3] == ["93 to 97 %", "9500 of 10000: 95.0 % [94.6, 95.4]: met"]
    noisy = targets.table([], None, [summary(campaign.CampaignArm(10, 120, 0), exact(20, 80), 0.06)])
    assert row(noisy, FOUND)[3].endswith("out of scope, since the spread of pairs was 6.0 %")


def test_a_replay_by_other_rules_is_not_held_against_them(
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("attnbench.scoreboard.recorded.corpus.read_corpus", lambda _: made(cells=8, process=0.02))
    page = tmp_path / "page.md"
    page.write_text("<!-- targets: begin -->\n<!-- targets: end -->\n")
    asked = ("scoreboard", "replay", "any", "--trials", "30", "--out", "mine", "--page", str(page))
    done = cli(*asked)
    assert done.code == 0, done.err
    told = row(page.read_text(), ALARMS)[2:]
    assert told == ["0 of 240: 0 % [0, 11.6]: not shown", "not measured yet"]
    assert row(done.out, ALARMS)[2:] == told
    rows = read_csv(Path("mine") / targets.REPLAYED)
    again = list(ours(made(cells=8, process=0.02), [120.0, 600.0], trials=30))
    assert {str(one) for one in again} == {str(one) for one in map(Result.of, rows) if one.rule == OURS}
    assert cli(*asked[:3], "--trials", "5", "--time", "10s", "--out", "mine", "--json").document["exit_code"] == 0
    write_csv([{**one, "rules": "older"} for one in rows], Path("mine") / targets.REPLAYED)
    assert row(targets.collected(Path("mine")), ALARMS)[2] == "not measured yet"
    write_csv([{"rule": OURS, "slower": 0}], Path("mine") / targets.REPLAYED)
    assert "no noise replayed" in targets.collected(Path("mine"))
