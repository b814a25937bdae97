"""Campaigns and trials: their order, their journal, what they count, and going on after an end."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from attnbench.backends import discover
from attnbench.commands.given import seconds
from attnbench.comparing import many
from attnbench.comparing.sequential import SCREEN
from attnbench.errors import MissingExtraError, ResultsError, UsageError
from attnbench.live.pair import PairedEffort
from attnbench.live.pairs import Pairs
from attnbench.scoreboard import attention as attention_module
from attnbench.scoreboard.attention import attention, operands
from attnbench.scoreboard.live import campaign, cells, terms, tools, trials
from attnbench.scoreboard.page import fill
from attnbench.workers import placement, scratch
from tests.program import Cli

ARMS = [campaign.CampaignArm(0, 120, 4), campaign.CampaignArm(10, 120, 2)]


@dataclass
class Fake:
    """In the place of a comparison: what a run said, and how it ended."""

    note: str | None = None
    verdict: str = "same"
    runs: int = 0

    def __call__(self, extra: int, *_: object, at: tuple[int, ...], **__: object) -> SimpleNamespace:
        self.runs += 1
        verdicts = [SimpleNamespace(verdict="slower" if extra else self.verdict) for _ in at]
        return SimpleNamespace(outcome=SimpleNamespace(note=self.note), verdicts=verdicts)


def said(compared: Any) -> dict[str, Any]:
    one = {"status": "ok", "memory": "same", "low": -0.01, "high": 0.01, "again": 1, "quads": 9}
    rows = [{**one, "verdict": found.verdict, "log_ratios": [-0.02, 0.0, 0.02]} for found in compared.verdicts]
    return {"pairs": 3, "cells": rows}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    found = Fake()
    for module in (campaign, trials):
        monkeypatch.setattr(module, "compare_ours", found)
        monkeypatch.setattr(module, "told", said)
    return found


def run(out: Path, **options: Any) -> list[dict[str, Any]]:
    return campaign.finished(campaign.campaign(ARMS, out, runs=out, said=lambda _: None, **options))


def test_a_campaign_takes_turns_and_goes_on_where_it_was_cut(fake: Fake, tmp_path: Path) -> None:
    assert [row["extra"] for row in run(tmp_path, limit_s=119.0)] == []
    fake.note = "interrupted"
    assert run(tmp_path) == []
    fake.note = None
    assert [row["extra"] for row in run(tmp_path)] == [0, 10, 0, 0, 10, 0]
    before = fake.runs
    assert len(run(tmp_path)) == 6
    assert fake.runs == before, "all is done"


@pytest.mark.parametrize("changed", ["machine_id", "rules"])
def test_runs_of_another_machine_or_other_rules_are_kept_and_do_not_count(
    changed: str,
    fake: Fake,
    tmp_path: Path,
    cli: Cli,
) -> None:
    def foreign(journal: Path) -> None:
        lines = journal.read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        for row in rows:
            row["data"][changed] = "of a clone"
        journal.write_text("".join(json.dumps(row) + "\n" for row in rows))

    fake.verdict = "slower"
    run(tmp_path)
    foreign(tmp_path / campaign.JOURNAL)
    fake.verdict = "same"
    rows = run(tmp_path)
    assert len(rows) == 12, "all were measured again, and those of the other are kept"
    assert len(campaign.counting(rows)) == 6
    asked = ("--arm", "0:2m:4", "--arm", "10:2m:2", "--out", str(tmp_path), "--quiet")
    done = cli("scoreboard", "campaign", *asked)
    assert (done.code, fake.runs) == (0, 12)
    assert "| A against A, 2 min, 8 cells | 4 | 32 | 0: 0 %" in done.out
    assert "6 more in the file were measured on another machine or by other rules" in done.out
    foreign(tmp_path / campaign.JOURNAL)
    none = cli("scoreboard", "campaign", *asked, "--limit", "1s", "--json")
    assert (none.code, none.document["exit_code"]) == (5, 5)


def test_what_decides_a_verdict_is_in_the_name_of_its_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    def named() -> str:
        terms.own_rules.cache_clear()
        return terms.own_rules(8)

    now = named()
    assert now == named()
    assert terms.own_rules(4) != now, "the error of a run is shared by its cells"
    assert terms.own_rules(8, memory=False) != now
    changes: list[tuple[Any, str, Any]] = [
        (terms, "SHARE", 1.0),
        (terms, "REPORTED", 0.95),
        (terms, "CONFIRM", SCREEN),
        (terms, "MARGIN", 0.05),
        (terms, "PairedEffort", partial(PairedEffort, retries=1)),
        (terms, "placement", attention_module),
        (terms, "attention", placement),
        (many, "centres", lambda x: np.median(x, axis=1)),
    ]
    names = []
    for where, name, value in changes:
        with monkeypatch.context() as patch:
            patch.setattr(where, name, value)
            names.append(named())
    terms.own_rules.cache_clear()
    assert len({now, *names}) == 1 + len(changes)


def test_comments_do_not_change_the_name_of_a_module(tmp_path: Path) -> None:
    def named(text: str) -> str:
        (tmp_path / "module.py").write_text(text)
        return terms._code(SimpleNamespace(__file__=str(tmp_path / "module.py")))

    plain = named('"""A."""\nx = 1\n')
    assert named('"""B."""\n\nx = 1  # one\n') == plain
    assert named('"""A."""\nx = 2\n') != plain


@pytest.mark.usefixtures("fake")
def test_cells_that_were_not_compared_improve_no_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = iter(["slower", *["same"] * 7, *["not-comparable"] * 8, "not-comparable", *["same"] * 7, *["same"] * 8])

    def compared(*_: object, at: tuple[int, ...], **__: object) -> SimpleNamespace:
        return SimpleNamespace(
            outcome=SimpleNamespace(note=None), verdicts=[SimpleNamespace(verdict=next(words)) for _ in at]
        )

    monkeypatch.setattr(campaign, "compare_ours", compared)
    path = campaign.campaign([campaign.CampaignArm(0, 120, 4)], tmp_path, runs=tmp_path, said=lambda _: None)
    (found,) = campaign.summarise(campaign.finished(path))
    assert (found.words["slower"].count, found.words["slower"].of, found.lost) == (1, 23, 9)
    assert (found.any_slower.count, found.any_slower.of) == (1, 2), "runs of which all is known"
    row = campaign.table(campaign.finished(path)).splitlines()[-1].split(" | ")
    assert row[1:3] == ["4", "23"]
    assert row[7] == "9"


def test_a_campaign_counts_every_verdict(fake: Fake, tmp_path: Path) -> None:
    fake.verdict = "slower"
    run(tmp_path)
    none, ten = campaign.summarise(campaign.finished(tmp_path / campaign.JOURNAL))
    assert (none.words["slower"].count, none.words["slower"].of, none.runs) == (32, 32, 4)
    assert (none.any_slower.count, ten.words["slower"].share) == (4, 1.0)
    assert none.words["slower"].low == pytest.approx(0.025 ** (1 / 4)), "runs count, not cells"
    assert (none.coverage.share, ten.coverage.share) == (1.0, 0.0)
    assert none.spread == pytest.approx(1.4826 * 0.02)
    assert none.again == pytest.approx(0.1)
    assert len(campaign.flat(campaign.finished(tmp_path / campaign.JOURNAL))) == 6 * 8
    table = campaign.table(campaign.finished(tmp_path / campaign.JOURNAL))
    assert "| A against A, 2 min, 8 cells | 4 | 32 | 32: 100 %" in table


@pytest.mark.parametrize("text", ["10", "x:2m:1", "7:2m:1", "10:2m:x", "10:0m:1"])
def test_a_senseless_arm_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        campaign.arm(text, 8, seconds)


@pytest.mark.usefixtures("fake")
def test_trials_go_on_and_a_tool_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = trials.TrialPlan(2, (0, 10), 2, 60.0, ("attnbench", "asv"))
    overheads = []

    def asv(trial: tools.ToolTrial) -> tools.Called:
        overheads.append(trial.overhead_s)
        if trial.extra:
            msg = "asv ended with status 1"
            raise ResultsError(msg)
        slower = {name: {T: T > 50 for T in trial.lengths} for name in trials.RULES["asv"]}
        return tools.Called(slower, took_s=70.0, measured_s=55.0)

    monkeypatch.setenv("ATTNBENCH_LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(tools, "TOOLS", {"asv": asv})
    heard: list[str] = []
    path = trials.trials(plan, tmp_path, runs=tmp_path, said=heard.append)
    rows = trials.read(path)
    assert trials.left(plan, rows) == 0
    assert Counter((row["tool"], row["extra"]) for row in rows) == dict.fromkeys(
        [("attnbench", 0), ("attnbench", 10), ("asv", 0), ("asv", 10)], 2
    )
    assert overheads[-1] in (10.0, 15.0), "what an earlier trial took besides measuring"
    assert any("status 1" in line for line in heard)
    flat = trials.flat(rows)
    assert Counter((one["rule"], one["slower"]) for one in flat if one["tool"] == "asv" and one["T"] == "80") == {
        (rule, True): 2 for rule in trials.RULES["asv"]
    }
    assert sum(one["rule"] == "" for one in flat) == 2
    table = trials.table(rows)
    assert "| asv continuous -f 1.05 | 2 of 4: 50.0 %" in table
    assert "2 trials ended without a verdict" in table
    used = {tool: version for row in rows for tool, version in row["versions"].items()}
    assert trials.recorded_by(rows, 0).endswith(f"; asv {used['asv']}.")
    assert "| attnbench ab | 0 of 4: 0 % [0, 84.2] | 0 of 2: 0 % [0, 84.2] | 4 of 4: 100 %" in table
    trials.trials(plan, tmp_path, runs=tmp_path, said=heard.append)
    assert len(trials.read(path)) == len(rows)
    installed = {**tools.versions(), "asv": "0.0"}
    monkeypatch.setattr(tools, "versions", lambda: installed)
    assert trials.left(plan, trials.counting(rows)) == 4, "what another asv said is asked again of this one"
    trials.trials(plan, tmp_path, runs=tmp_path, said=heard.append)
    rows = trials.counting(trials.read(path))
    assert {row["versions"]["asv"] for row in rows if row["tool"] == "asv"} == {"0.0"}
    assert trials.flat(trials.read(path))[-1]["machine_id"] == rows[0]["machine_id"]


SLEEPER = """
import os, subprocess, sys, time
sleeping = [sys.executable, "-c", "import time; time.sleep(60)"]
apart = subprocess.Popen(sleeping, start_new_session=True)
open("pids.part", "w").write(f"{os.getpid()} {apart.pid}")
os.rename("pids.part", "pids")
time.sleep(60)
"""
PARENT = """
import sys
from pathlib import Path
from attnbench.scoreboard.live import tools
tools._check(Path(sys.argv[1]), [sys.executable, "-c", sys.argv[2]], None)
"""


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(held: Callable[[], bool], limit_s: float = 10.0) -> bool:
    end = time.monotonic() + limit_s
    while not held() and time.monotonic() < end:
        time.sleep(0.02)
    return held()


def test_a_tool_ends_with_the_scoreboard_however_that_ends(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path), SLEEPER])
    try:
        assert until((tmp_path / "pids").exists)
        pids = [int(one) for one in (tmp_path / "pids").read_text().split()]
        assert len(pids) == 2
        assert not any(map(gone, pids))
        os.kill(parent.pid, signal.SIGKILL)
        assert until(lambda: all(map(gone, pids))), "the tool, and what it started in a session of its own"
    finally:
        parent.kill()
        parent.wait()


def test_a_tool_that_takes_too_long_ends_with_all_that_it_started(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="TimeoutExpired"):
        tools._check(tmp_path, [sys.executable, "-c", SLEEPER], None, 1.5)
    pids = [int(one) for one in (tmp_path / "pids").read_text().split()]
    assert all(map(gone, pids))


@pytest.mark.usefixtures("fake")
def test_the_folder_of_a_killed_trial_is_swept_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = scratch.Scratch(trials.FOLDER, tmp_path)
    left._lock.release()
    os.utime(left.path, (0, 0))
    trials.trials(trials.TrialPlan(1, (0,), 1, 1.0, ("attnbench",)), tmp_path, runs=tmp_path, said=lambda _: None)
    assert not left.path.exists()


def test_wrong_usage_says_what_is_possible(cli: Cli) -> None:
    for arguments, words in (
        (("--effects", "7"), "--effects are some of 0, 2, 3, 5, 10, 20"),
        (("--effects", "x"), "such as 0,5,10"),
        (("--tools", "hyperfine"), "attnbench, pytest-benchmark, asv, pyperf; got hyperfine"),
        (("--trials", "0"), "--trials is 1 or more"),
        (("--cells", "9"), "--cells is 1 to 8"),
        (("replay", "nowhere"), "attnbench scoreboard record nowhere"),
        (("replay", "nowhere", "--trials", "0"), "--trials is 1 or more"),
    ):
        done = cli("scoreboard", *arguments)
        assert done.code == 2, arguments
        assert words in done.err


def test_a_tool_that_is_missing_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "find_spec", lambda name: None if name == "pyperf" else object())
    with pytest.raises(MissingExtraError, match=r"needs pyperf.*attnbench\[scoreboard\]"):
        tools.check_extra()


def test_a_page_is_filled_between_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert not fill(page, "live", "x")
    page.write_text("a\n<!-- live: begin -->\nold\n<!-- live: end -->\nz\n")
    assert fill(page, "live", "new")
    assert page.read_text() == "a\n<!-- live: begin -->\nnew\n<!-- live: end -->\nz\n"
    assert not fill(page, "replay", "new")


def test_the_slowdown_is_that_share_of_the_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v, scale = operands(16)
    plain = attention(q, k, v, scale)
    work: list[tuple[int, ...]] = []
    once = attention_module._once

    def counted(*given: Any) -> Any:
        work.append(given[0].shape)
        return once(*given)

    monkeypatch.setattr(attention_module, "_once", counted)
    assert (attention(q, k, v, scale, 10) == plain).all()
    assert work == [(1, 16, 32)] * 110
    kernels = {one.name: one for one in discover.load_file(cells.KERNEL)}
    assert set(kernels) == {f"numpy/extra-{extra}" for extra in cells.EXTRAS}


def test_the_cells_share_their_processes_as_those_of_a_built_in_do() -> None:
    twins = cells.versions(10).twins
    assert len(twins) == len(cells.LENGTHS)
    assert twins[0].b.to_dict()["files"] == [str(cells.KERNEL)]
    anything: Any = None
    pairs = Pairs(cells.versions(10).sides, twins, lambda: anything, anything, random.Random(0))  # noqa: S311  (an order)
    assert len(pairs._groups()) == 1
    assert cells.lengths(2) == (32, 80)
