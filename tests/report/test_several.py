"""Several runs on one page: each has its claims, and everything that has a title says which run it is of."""

import re
from dataclasses import replace

import pytest

from attnbench.analysis.judged import judge_run
from attnbench.report import content
from attnbench.report.html.page import page
from tests.report import suites

RUNS = ("20260103T030405Z-variance-aaaaaa", "20260103T030405Z-variance-bbbbbb")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> content.Report:
    folder = tmp_path_factory.mktemp("r")
    plain = replace(suites.VARIANCE, story=replace(suites.VARIANCE.story, figures=suites.VARIANCE.story.figures[1:2]))
    runs = [suites.write_observed(folder, name, failed="jax/naive") for name in RUNS]
    return content.collect([judge_run(run, lambda _: plain) for run in runs])


def test_the_claims_of_two_runs_are_never_one_line(report: content.Report) -> None:
    verdicts = len(report.runs[0].sections[0].verdicts)
    for run in report.runs:
        assert sum(len(line.marks) for lines in run.forest.values() for line in lines) == verdicts
        assert sum(run.tally.values()) == verdicts


def test_every_title_and_link_says_its_run(report: content.Report) -> None:
    text = page(report)
    named = re.findall(r'role="region" aria-label="([^"]*)"', text)
    assert len(named) == len(set(named))
    captions = re.findall(r"<caption[^>]*>([^<]*)</caption>", text)
    assert len(captions) == len(set(captions))
    links = re.findall(r'<li><a href="#run[12]-suite-variance">([^<]*)</a>', text)
    assert links == [f"variance ({name})" for name in RUNS]
    assert [table.title for table in report.data] == links
    assert [len(re.findall(rf'href="#{run.place("variance")}"', text)) > 1 for run in report.runs] == [True, True]


def test_a_claim_has_its_source_its_margin_and_every_interval(report: content.Report) -> None:
    text = page(report)
    lines = [line for lines in report.runs[0].forest.values() for line in lines]
    parts = re.findall(r'<details class="marks">(.*?)</details>', text, re.DOTALL)
    assert len(parts) == 2 * len(lines)
    for line, part in zip(lines, parts, strict=False):
        assert all(word in part for word in (line.margin[:12], line.source[:12], line.published[:8]))
        assert part.count("<li>") == len(line.marks)
    assert any(line.marks[0].impls in part for line, part in zip(lines, parts, strict=False) if line.marks[0].impls)
    assert "reproduced from there on" not in text
    assert "is what counts as reproduced, fixed before measuring" in text
