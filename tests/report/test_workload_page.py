"""What is served stands first: the answer for the mix, not which implementation leads in most of its parts."""

from attnbench.analysis.judged import judge_run
from attnbench.backends import discover
from attnbench.report.content import collect
from tests.repository import REPOSITORY

SAMPLE = REPOSITORY / "results" / "2026-11-28-amd-epyc-2-cores-workload-sample"


def test_the_answer_for_the_mix_stands_first() -> None:
    report = collect([judge_run(SAMPLE, discover.suite)], drawn=False)
    (section,) = report.runs[0].sections
    assert section.advice is not None
    assert section.advice.sentence == section.findings[0]
    assert section.advice.sentence.startswith("Best for this mix: torch/sdpa alone")
    assert [kind.name for kind in section.advice.kinds] == ["Forward pass, float32", "Decoding, float32"]
