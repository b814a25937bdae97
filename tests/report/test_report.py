"""The report as files: complete, offline, valid, the same twice, and never in the place of something else."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from attnbench.analysis.judged import judge_run, judge_suite
from attnbench.analysis.sampled import load_sampled
from attnbench.errors import ResultsError, UsageError
from attnbench.report import claimed, content, findings, write_report
from attnbench.report.content import command_text
from attnbench.report.markdown import markdown
from attnbench.report.palette import Palette
from attnbench.results import load
from attnbench.suite import Story
from tests.report import suites
from tests.results import synthetic
from tests.wording import says

FAILED = {
    ("numpy/naive", 512): ("oom", "needs 9.0 GiB, 2.0 GiB are free"),
    ("jax/nn-xla", 128): ("wrong", "output differs <script>alert(1)</script> | by 3 times the bound"),
}
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Checker(HTMLParser):
    """Collects what makes a page invalid or not offline."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.targets += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else at {self.getpos()}"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    out = tmp_path_factory.mktemp("out") / "results"
    return [synthetic.write_run(out, failed=FAILED, bursts=6), suites.write_observed(out, failed="jax/naive")]


@pytest.fixture(scope="module")
def report(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(runs, tmp_path_factory.mktemp("report") / "new" / "folder", suites.SUITES).parent


def embedded(page: str) -> dict[str, Any]:
    """The data inside a page."""
    (text,) = re.findall('<script type="application/json" id="data">(.*)</script>', page)
    return json.loads(text)  # type: ignore[no-any-return]


def html(report: Path) -> str:
    return (report / "index.html").read_text(encoding="utf-8")


def test_all_files_are_there(report: Path) -> None:
    names = {str(one.relative_to(report)) for one in report.rglob("*") if one.is_file()}
    assert {"index.html", "report.md", "cells.csv", "verdicts.csv"} <= names
    figures = {name for name in names if name.startswith("figures/")}
    assert {Path(name).stem for name in figures} == {
        "run1-smoke-time", "run1-smoke-memory", "run1-smoke-errors",
        "run2-variance-line", "run2-variance-bars", "run2-variance-strip", "run2-variance-heat",
    }  # fmt: skip


def test_the_page_is_valid_and_needs_nothing_from_elsewhere(report: Path) -> None:
    checker = Checker()
    checker.feed(html(report))
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    inner = {target.removeprefix("#") for target in checker.targets if target.startswith("#")}
    assert inner <= set(checker.ids)
    outer = {target for target in checker.targets if not target.startswith(("#", "data:"))}
    assert outer == {"cells.csv", "report.md", "verdicts.csv"}
    assert not checker.tags & {"link", "img", "iframe", "object"}
    assert re.findall("<script[^>]*>", html(report)) == ['<script type="application/json" id="data">', "<script>"]
    assert not re.search(r"@import|url\((?!#)", html(report))
    assert len(re.findall('<svg role="img"', html(report))) == 7


def test_the_checker_can_fail() -> None:
    with pytest.raises(AssertionError, match="closes something else"):
        Checker().feed("<p><b></p>")


@pytest.mark.parametrize(
    "text",
    [
        "Which implementation is fastest here, and does each agree with the reference?",
        "Bursts of calls, interleaved; <code>B = 1</code>, four heads of size 64.",
        "nothing is said of training or of accelerators",
        "How does the variance of q·k grow with the head size &lt;d&gt;?",
        "Unscaled, the variance of the scores grows as d^",
        "3 verdicts on 3 published claims (20260103T030405Z-variance-cccccc).",
        "1 of 3 verdicts on published claims: reproduced. Contradicted: ",
        "<caption>Held against what was published: variance (20260103T030405Z-variance-cccccc)</caption>",
        "Vaswani et al. 2017, Attention Is All You Need · section 3.2.1, footnote 4",
        "Reproduced: 0.99 to 1.01",
        '<td class="n">1.001 [0.995, 1.004]</td><td class="n">8</td><td class="n">0.008</td>',
        "contradicted\nnumpy/naive</td>",
        "24 cells were planned, 20 were measured; 2 oom, 2 wrong",
        "needs 9.0 GiB, 2.0 GiB are free",
        "output differs &lt;script&gt;",
        "Example CPU @ 2.60GHz",
        "torch 2.13.0, blas MKL 2024.2",
        "the 95 % interval",
        "<code>attnbench run variance</code></pre>",
        "<caption>Disturbed bursts (20260102T030405Z-smoke-aaaaaa)</caption>",
        "No burst of <code>20260103T030405Z-variance-cccccc</code> was disturbed.",
    ],
)
def test_the_page_says(report: Path, text: str) -> None:
    assert text in html(report)


def test_markdown_says_the_same(report: Path) -> None:
    text = (report / "report.md").read_text(encoding="utf-8")
    for name in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert (report / name).is_file(), name
    assert "**Question.** Which implementation is fastest here" in text
    assert "attnbench run variance" in text
    assert "signal 11 \\| core dumped" in text
    assert "\n\n\n" not in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    assert tables
    for block in tables:
        pipes = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(pipes) == 1, block


def test_every_finding_is_shown_whatever_its_words_and_no_verdict_is_among_them(report: Path) -> None:
    text = html(report)
    found = re.findall("<li>(.*)</li>", text[text.index('id="run2-suite-variance"') :])
    assert found[1:3] == [suites.ENDING, "24 cells were planned, 16 were measured; 8 crashed."]
    assert f"- {suites.ENDING}\n" in (report / "report.md").read_text(encoding="utf-8")


def test_the_verdicts_are_a_csv_with_every_column(report: Path) -> None:
    rows = pd.read_csv(report / "verdicts.csv")
    assert list(rows["verdict"]) == ["reproduced", "contradicted", "out of scope"]
    assert list(rows.columns) == [
        "run_id", "suite", "claim", "source", "row", "published", "quantity", "ours", "low", "high", "n_seeds", "p",
        "margin", "verdict", "implementations",
    ]  # fmt: skip
    assert rows.loc[0, "p"] == 0.0078125


def test_a_report_without_claims_leaves_no_verdicts_of_an_earlier_one(runs: list[Path], tmp_path: Path) -> None:
    write_report(runs[1:], tmp_path / "r", suites.SUITES)
    assert (tmp_path / "r" / "verdicts.csv").exists()
    write_report(runs[:1], tmp_path / "r", suites.SUITES)
    assert not (tmp_path / "r" / "verdicts.csv").exists()


def test_sections_go_from_the_question_to_what_is_not_shown(report: Path) -> None:
    text = (report / "report.md").read_text(encoding="utf-8")
    text = text[text.index("## variance") :]
    heads = [
        "**Question.**",
        "### Variance of the scores",
        "### Held against what was published",
        "### What was observed",
    ]
    assert [text.index(one) for one in heads] == sorted(text.index(one) for one in heads)
    smoke = html(report)[: html(report).index('id="run2-suite-variance"')]
    assert smoke.index("<figure") < smoke.index("What it does not show")


def test_verdicts_that_fail_say_so(runs: list[Path]) -> None:
    broken = replace(suites.VARIANCE, story=Story(question="q?", claims=lambda f: f["x"]))
    judged = judge_suite("variance", load(runs[1]), lambda _: broken)
    assert claimed.failure(judged) == ["The verdicts of this suite could not be worked out: KeyError: 'x'"]
    assert content.section_of(judged, Palette()).findings == tuple(claimed.failure(judged))


def test_in_short_is_short() -> None:
    assert findings.brief(["a" * 300, "b" * 200, "c"], "t") == ("a" * 300, "t")
    assert findings.brief(["a" * 900, "b"]) == ("a" * 900,)
    assert findings.brief(["a", "b", "c", "d"]) == ("a", "b", "c")
    assert findings.brief([], "t") == ("t",)


def test_the_csv_has_every_row(report: Path, runs: list[Path]) -> None:
    frame = pd.read_csv(report / "cells.csv")
    assert len(frame) == sum(len(load(run)) for run in runs)
    assert frame["status"].value_counts().to_dict() == {"ok": 36, "crashed": 8, "oom": 2, "wrong": 2}


def test_the_same_runs_give_the_same_bytes(report: Path, runs: list[Path], tmp_path: Path) -> None:
    again = write_report(runs, tmp_path / "again", suites.SUITES).parent
    for one in report.rglob("*.*"):
        assert (again / one.relative_to(report)).read_bytes() == one.read_bytes(), one


def test_an_own_report_is_replaced(runs: list[Path], tmp_path: Path) -> None:
    write_report(runs[1:], tmp_path / "r", suites.SUITES)
    write_report(runs[1:], tmp_path / "r", suites.SUITES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("index.html", "index.html was not written by attnbench and is left untouched"),
        ("report.md", "report.md is there without a report of ours"),
        ("cells.csv", "cells.csv is there without a report of ours"),
    ],
)
def test_files_of_others_are_left_alone(runs: list[Path], tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(ResultsError, match=message):
        write_report(runs, tmp_path, suites.SUITES)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [(name, "mine")]


def test_an_unusable_folder_is_one_line(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match=r"file is a file; name a folder for the report with -o DIR"):
        write_report(runs, tmp_path / "file")
    with pytest.raises(ResultsError, match="cannot be written"):
        write_report(runs, tmp_path / "file" / "below", suites.SUITES)


def test_no_run_and_a_missing_run_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a report needs a run. Type: attnbench report results/RUN"):
        write_report([], tmp_path / "r")
    with pytest.raises(ResultsError, match="no run"):
        write_report([tmp_path / "nothing"], tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_suite_that_is_not_installed_still_has_its_rows(runs: list[Path], tmp_path: Path) -> None:
    page = write_report(runs[1:], tmp_path / "r", {}).read_text(encoding="utf-8")
    assert "This suite is not installed here; its rows are shown as they are." in page
    (table,) = embedded(page)["tables"]
    assert [column["key"] for column in table["columns"]][3:6] == ["point.d", "point.scaled", "metric.variance"]
    assert len(table["rows"]) == 24


def test_findings_that_fail_do_not_take_the_report_with_them(runs: list[Path]) -> None:
    broken = Story(question="q?", findings=lambda f: f["x"])
    (sentence,) = findings.findings(load(runs[1]), broken)
    assert sentence == "The findings of this suite could not be worked out: KeyError: 'x'"


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    folder = synthetic.write_run(tmp_path / "out", finish=False, bursts=6)
    page = write_report([folder], tmp_path / "r", suites.SUITES).read_text(encoding="utf-8")
    assert "not finished: what was measured so far" in page


def test_a_run_in_which_nothing_worked_is_reported(tmp_path: Path) -> None:
    failed = {(impl, length): ("crashed", "signal 9") for impl in synthetic.IMPLS for length in (128, 512)}
    folder = synthetic.write_run(tmp_path / "out", failed=failed)
    page = write_report([folder], tmp_path / "r", suites.SUITES).read_text(encoding="utf-8")
    assert "24 cells were planned, 0 were measured; 24 crashed." in page
    assert "Nothing to draw." in page


def test_axes_of_one_suite_do_not_leak_into_another(runs: list[Path]) -> None:
    report = content.collect([judge_run(run, suites.SUITES.__getitem__) for run in runs])
    text = markdown(report)
    assert "point.T" not in text
    assert len(report.sections) == 2
    assert report.title == "smoke, variance"


def _blocks(frame: pd.DataFrame) -> Iterator[str]:
    yield from findings.timed_findings(frame)


def test_findings_claim_only_what_the_intervals_allow(runs: list[Path]) -> None:
    frame = load_sampled(runs[0])
    first = next(_blocks(frame))
    assert says(first, "4 cases", "clearly fastest was torch/sdpa in 4.")
    blurred = frame.assign(time_low_s=frame["time_median_s"] / 50, time_high_s=frame["time_median_s"] * 50)
    undecided = "none in 4, where the paired rounds do not tell the fastest apart"
    assert undecided in next(_blocks(blurred.assign(rounds=None)))
    assert list(_blocks(frame[frame["impl"] == "torch/sdpa"])) == []


def test_commands_are_shown_as_a_person_types_them() -> None:
    assert command_text(("/home/x/bin/attnbench", "run", "my suite")) == "attnbench run 'my suite'"
    assert command_text(("/x/attnbench/__main__.py", "run")) == "attnbench run"
    assert command_text(()) == ""


# What was left out.


def test_the_report_says_what_a_run_left_out_and_why(tmp_path: Path) -> None:
    run = synthetic.write_run(tmp_path / "results", lengths=(128,), impls=("numpy/naive",), bursts=2)
    assert "left out" not in (write_report([run], tmp_path / "none").parent / "report.md").read_text().lower()
    groups = [{"suite": "smoke", "implementations": ["a/b", "a/<c>"], "reason": "too slow | here"}]
    with (run / "journal.jsonl").open("a") as journal:
        journal.write(json.dumps({"type": "event", "data": {"name": "left_out", "groups": groups}}) + "\n")
    page = write_report([run], tmp_path / "report").read_text()
    assert '<a href="#left-out">Left out</a>' in page
    assert "<td>a/b, a/&lt;c&gt;</td><td>too slow | here</td>" in page
    assert "--impl NAME" in page
    text = (tmp_path / "report" / "report.md").read_text()
    assert "## Implementations that were left out" in text
    assert "| smoke | a/b, a/" in text
    assert "too slow \\| here" in text
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert "left-out" in checker.ids
