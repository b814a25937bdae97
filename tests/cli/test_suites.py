"""``--suites FILE``: a suite of one's own from end to end, through every command that takes it."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from attnbench.results.read import read_info
from tests.program import Cli

MINE = """
from attnbench.api.suites import Figure, ObservedSuite, OneOf, Story, claims, contrasts, frames

GROWS = claims.expectation("Twice is more than once", "twice less once", low=1.0)

def observe(probe, seed: int, arm: str) -> dict[str, float]:
    return {"size": {"once": 1.0, "twice": 4.0}[arm] + 0.01 * seed}

def findings(frame):
    return f"{len(frames.measured(frame))} numbers were seen."

def verdicts(frame):
    judged = []
    for name, rows in frames.measured(frame).groupby("impl"):
        judged += contrasts.judge_family(
            {GROWS: contrasts.differences(rows, "size", {"arm": "twice"}, {"arm": "once"})}, (name,)
        )
    return judged

SUITE = ObservedSuite(
    name="growth",
    story=Story(
        question="Does it grow?",
        method="By adding.",
        findings=findings,
        claims=verdicts,
        figures=(Figure("growth", "Size by arm", x="point.arm", y="metric.size", kind="bar"),),
    ),
    axes={"seed": tuple(range(6)), "arm": ("once", "twice")},
    levels={"arm": OneOf("once", "twice")},
    observe=observe,
    implementations=("numpy/naive",),
)
"""
TIMED = """
from attnbench.api.suites import AttentionSpec, Case, Problem, Story, TimedSuite

def case(T: int, setting: str) -> Case:
    return Case(AttentionSpec(), Problem(Tq=T), phase=setting)

AXES = {"T": (128,), "setting": ("forward",)}
SUITE = TimedSuite(name="short", story=Story(question="How fast?"), axes=AXES, case=case)
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(MINE, "utf-8")
    return path


def run(cli: Cli, *more: str) -> Any:
    done = cli("run", "--suites", "mine.py", "--quiet", "--json", *more)
    assert done.code == 0, done.err
    return done.document


def test_a_suite_of_ones_own_has_a_page_like_the_built_in_ones(cli: Cli, mine: Path, tmp_path: Path) -> None:
    run_of = run(cli)
    assert [cell["status"] for cell in run_of["cells"]] == ["ok"] * 12
    source = read_info(Path(run_of["folder"])).suite_files["growth"]
    assert (source.file, source.path, source.question) == ("mine.py", str(mine), "Does it grow?")
    page = Path(run_of["report"])
    text, said = page.read_text("utf-8"), (page.parent / "report.md").read_text("utf-8")
    assert "attnbench run growth --suites mine.py --impl numpy/naive -a seed=0 -a arm=once" in text
    for expected in ("Does it grow?", "By adding.", "12 numbers were seen.", "Twice is more than once", "reproduced"):
        assert expected in said
        assert expected in text
    assert (page.parent / "figures" / "growth-growth.svg").is_file()
    assert "reproduced · 1 claim" in text  # the forest
    assert re.search(r"<rect[^>]*within", text)  # ... on a scale of its own

    # Two runs of it have no times to be compared, and a file of another suite is of no use to them.
    (tmp_path / "timed.py").write_text(dedent(TIMED), "utf-8")
    other = run(cli, "-a", "seed=0")["folder"]
    compared = cli("compare", run_of["folder"], other, "--json")
    assert compared.code == 3
    assert "an observed cell has no times to compare" in {row["reason"] for row in compared.document["verdicts"]}
    idle = cli("report", other, "--suites", "timed.py", "-o", "page")
    assert (idle.code, "none of these runs measured short" in idle.err) == (2, True)

    # The page is the same when it is made again, from wherever the file now is.
    again = cli("report", run_of["folder"], "-o", "again")
    assert again.code == 0
    assert Path("again/index.html").read_text("utf-8") == text
    mine.rename("moved.py")
    cli("report", run_of["folder"], "-o", "gone")
    said = Path("gone/report.md").read_text("utf-8")
    assert "suite 'growth' stands in mine.py, which is not there any more" in said
    assert "Does it grow?" in said  # what the run kept
    assert "Twice is more than once" in said
    assert "12 numbers were seen." not in said
    cli("report", run_of["folder"], "--suites", "moved.py", "-o", "found")
    assert Path("found/index.html").read_text("utf-8") == text
    gone, there = (
        cli("export", run_of["folder"], "--to", "markdown", *more) for more in ([], ["--suites", "moved.py"])
    )
    assert ["12 numbers were seen." in done.out for done in (gone, there)] == [False, True]
    for words, said in {
        ("csv", "timed.py"): "none of these runs measured short",
        ("junit", "moved.py"): "--suites belongs to --to markdown",
    }.items():
        refused = cli("export", run_of["folder"], "--to", words[0], "--suites", words[1])
        assert (refused.code, said in refused.err) == (2, True)
    Path("moved.py").write_text(MINE.replace("numbers were seen", "numbers were counted"), "utf-8")
    cli("report", run_of["folder"], "--suites", "moved.py", "-o", "changed")
    said = Path("changed/report.md").read_text("utf-8")
    assert "measured with mine.py as it was then; this page is by moved.py as it is now" in said
    assert "12 numbers were counted." in said
    broken = MINE.replace("def findings(frame):\n", "def findings(frame):\n    raise KeyError('gone')\n")
    Path("moved.py").write_text(broken, "utf-8")
    cli("report", run_of["folder"], "--suites", "moved.py", "-o", "broken")
    said = Path("broken/report.md").read_text("utf-8")
    assert "The findings of this suite could not be worked out: KeyError: 'gone' (moved.py, line 10)" in said


def test_a_run_goes_on_with_the_file_as_it_was_and_with_no_other(cli: Cli, mine: Path) -> None:
    begun = cli("run", "--suites", "mine.py", "--budget", "0.01s", "--json", "--quiet").document
    mine.write_text(MINE + "# later\n", "utf-8")
    refused = cli("run", "--resume", begun["folder"], "--quiet")
    assert refused.code == 2
    assert "began with suite 'growth' of mine.py, which has changed since; resume it with that file" in refused.err
    mine.unlink()
    Path("moved.py").write_text(MINE, "utf-8")
    other = cli("run", "--resume", begun["folder"], "--quiet")
    assert "which is not there any more" in other.err
    done = cli("run", "--resume", begun["folder"], "--suites", "moved.py", "--quiet", "--json")
    assert done.code == 0, done.err
    assert {cell["status"] for cell in done.document["cells"]} == {"ok"}
    assert "12 numbers were seen." in Path(done.document["report"]).with_name("report.md").read_text("utf-8")


def test_every_command_that_takes_suites_takes_a_file(cli: Cli, mine: Path, tmp_path: Path) -> None:
    (tmp_path / "timed.py").write_text(dedent(TIMED), "utf-8")
    rows = {row["suite"]: row for row in cli("list", "suites", "--suites", tmp_path, "--json").document["suites"]}
    assert rows["growth"]["question"] == "Does it grow?"
    cells = cli("list", "cells", "--suites", mine, "--json").document["cells"]
    assert {cell["suite"] for cell in cells} == {"growth"}
    planned = cli("plan", "--detect", "10%", "--suites", "timed.py")
    assert "attnbench ab A B --suites timed.py --suite short" in planned.out
    for command in (["ab", "numpy/naive", "numpy/blocked"], ["calibrate"], ["plan", "--detect", "5%"]):
        refused = cli(*command, "--suites", "mine.py")
        assert refused.code == 2
        assert "growth is observed" in refused.err


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["run", "smoke", "--suites", "mine.py"], "no suite of it is asked for; it has growth"),
        (["run", "grwth", "--suites", "mine.py"], "did you mean 'growth'?"),
        (["run", "--suites", "mine.py", "-a", "arm=twise"], "did you mean 'twice'?"),
        (["run", "--suites", "mine.py", "--suites", "same.py"], "'growth' is defined in mine.py, line 21 too"),
        (["run", "--suites", "mime.py"], "did you mean 'mine.py'?"),
        (["list", "impls", "--suites", "mine.py"], "--suites belongs to 'attnbench list suites'"),
        (["ab", "numpy/naive", "numpy/loops", "--suites", "mine.py", "--junit", "mine.py"], "mine.py"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(command: list[str], expected: str, cli: Cli, mine: Path) -> None:
    Path("same.py").write_text(MINE, "utf-8")
    done = cli(*command)
    assert done.code == 2
    assert expected in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert mine.read_text("utf-8") == MINE
