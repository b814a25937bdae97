"""What is served stands first: the answer for the mix, not which implementation leads in most of its parts."""

from attnbench.analysis.judged import judge_run
from attnbench.backends import discover
from attnbench.report.content import collect
from attnbench.report.html.notebook import run_html
from attnbench.report.terminal.answer import answer_text
from tests.repository import REPOSITORY

SAMPLE = REPOSITORY / "results" / "2026-11-28-amd-epyc-2-cores-workload-sample"


def test_the_answer_for_the_mix_stands_first() -> None:
    report = collect([judge_run(SAMPLE, discover.suite)], drawn=False)
    (section,) = report.runs[0].sections
    assert section.advice is not None
    assert section.advice.sentence == section.findings[0]
    assert section.advice.sentence.startswith("Best for this mix: torch/sdpa alone")
    assert [kind.name for kind in section.advice.kinds] == ["Forward pass, float32", "Decoding, float32"]


def test_a_notebook_and_a_terminal_begin_with_it_too() -> None:
    judged = judge_run(SAMPLE, discover.suite)
    assert "Best for this mix: torch/sdpa alone" in run_html(judged, most=40)
    report = collect([judged], drawn=False)
    assert answer_text(report).startswith("Best for this mix: torch/sdpa alone")
    assert "Best for this mix" not in answer_text(report, served=True)  # it was said before
