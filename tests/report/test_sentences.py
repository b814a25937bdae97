"""What the page says of a run is so: of one that was imported, of a workload, of failures, of a page that is alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.analysis.judged import JudgedRun, judge_run
from attnbench.report import content
from attnbench.report.html.page import page
from attnbench.results.schema import Imported
from tests.report import suites

ASV = Imported(tool="asv", file="theirs.json")


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> JudgedRun:
    plain = replace(suites.VARIANCE, story=replace(suites.VARIANCE.story, figures=suites.VARIANCE.story.figures[1:2]))
    run: Path = suites.write_observed(tmp_path_factory.mktemp("r"), failed="jax/naive")
    return judge_run(run, lambda _: plain)


def said(judged: JudgedRun, **changes: object) -> str:
    """The page of the run with another origin."""
    return page(content.collect([replace(judged, info=judged.info.model_copy(update=changes))]))


def test_what_was_imported_is_not_said_to_be_checked_or_undisturbed(judged: JudgedRun) -> None:
    ours, theirs = said(judged), said(judged, imported=ASV)
    assert "was disturbed." in ours
    assert "no result was checked against our oracle" not in ours
    assert "was disturbed." not in theirs
    assert "it is not known: asv measured it." in theirs
    assert "asv timed it in its own way, and no result was checked against our oracle" in theirs


def test_a_workload_is_not_said_to_have_commands_of_single_cells(judged: JudgedRun) -> None:
    assert "The command of a single cell stands in its row" in said(judged)
    for typed in (("--workload", "8x 2q2k"), ("--workload=8x 2q2k",)):
        text = said(judged, command=("attnbench", "run", *typed))
        assert "The command of a single cell" not in text
        assert "A workload is measured whole" in text


def test_failures_are_drawn_and_files_may_be_left_behind(judged: JudgedRun) -> None:
    text = said(judged)
    assert "in no figure" not in text
    assert "where it still lies in the folder that it was written to" in text
