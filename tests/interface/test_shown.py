"""Runs and comparisons from Python, and what a notebook shows of them: escaped, small, and disturbing nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

import attnbench as ab
from attnbench.errors import UsageError
from attnbench.interface.places import reports_folder
from attnbench.interface.running import RunWords
from attnbench.interface.suite_files import use_suites
from attnbench.measure.run.options import exit_code
from attnbench.report.html.notebook import style
from attnbench.results.read import read_cells
from attnbench.results.schema import RunInfo
from tests.report import suites
from tests.results import synthetic

LARGEST = 40_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write_run(tmp_path_factory.mktemp("runs") / "results", lengths=(128, 512), bursts=8)


def test_a_saved_run_is_an_object(folder: Path) -> None:
    run = ab.open_run(folder)
    assert run.run_id == folder.name
    assert run.complete
    assert list(run.frame()["run_id"].unique()) == [folder.name]
    assert len(run.samples()) > len(run.frame())
    assert sum(run.counts.values()) == len(run.frame())
    assert run.exit_code == exit_code(read_cells(folder))
    assert str(run).startswith(f"run {folder.name}: ")
    assert "\nUse torch/sdpa: " in str(run)
    assert "numpy/naive" in str(run)
    with pytest.raises(TypeError, match="neither true nor false"):
        assert run


def test_its_page_goes_where_that_of_the_command_goes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("attnbench.report.write.write_report", lambda runs, out, _: (runs, out))
    assert ab.open_run(folder).report() == ([folder], folder.parent.parent / "reports" / folder.name)
    assert ab.open_run(folder).report("page") == ([folder], "page")
    (elsewhere := tmp_path / "linked").mkdir()
    (elsewhere / "results").symlink_to(folder.parent)
    monkeypatch.chdir(elsewhere)
    run = Path("results") / folder.name
    assert ab.open_run(run).report() == ([run], elsewhere / "reports" / folder.name)
    assert reports_folder(run, folder.name) == elsewhere / "reports" / folder.name


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    run = ab.open_run(synthetic.write_run(tmp_path / "results", lengths=(128,), impls=("numpy/naive",), finish=False))
    assert not run.complete
    assert run.exit_code == 3
    assert "not finished" in str(run)
    assert "not finished" in run.html()


def test_a_notebook_shows_the_answer_first(folder: Path) -> None:
    html = ab.open_run(folder)._repr_html_()
    assert html is not None
    assert len(html) < LARGEST
    assert html.index("Use ") < html.index('<table class="grid">') < html.index("<dt>Machine</dt>")
    assert html.count("<div") == html.count("</div>")
    assert not re.search(r"<script|<link|\son\w+=|src=|href=", html)


def test_names_are_escaped(tmp_path: Path) -> None:
    failed = {("numpy/naive", 128): ("crashed", "<b>&'\"")}
    impls = ("numpy/naive", "torch/sdpa", "jax/naive")
    run = synthetic.write_run(tmp_path / "results", lengths=(128,), impls=impls, bursts=8, failed=failed)
    html = ab.open_run(run)._repr_html_()
    assert html is not None
    assert "<b>&" not in html
    assert "crashed: &lt;b&gt;&amp;&#39;&#34;" in html


def test_no_style_reaches_beyond_the_answer() -> None:
    text = re.sub(r"/\*.*?\*/", "", style(), flags=re.DOTALL)
    depth, selectors, start = 0, [], 0
    for place, sign in enumerate(text):
        if sign == "{":
            selectors += [text[start:place]] if depth == 0 else []
            depth += 1
        elif sign == "}":
            depth -= 1
            start = place + 1
    assert depth == 0
    assert selectors
    assert all(part.strip().split()[-1] == ".attnbench" for whole in selectors for part in whole.split(","))
    assert "--paper: light-dark(" in text
    assert len(re.findall(r"\.r\d \{", text)) == 7


def test_a_run_that_has_gone_shows_its_text(tmp_path: Path) -> None:
    folder = synthetic.write_run(tmp_path / "results", lengths=(128,), impls=("numpy/naive",))
    run = ab.open_run(folder)
    for file in folder.iterdir():
        file.unlink()
    assert run._repr_html_() is None
    assert repr(run) == f"run {run.run_id}: its folder {folder} cannot be read"


def test_a_comparison_says_what_the_command_says(folder: Path, tmp_path: Path) -> None:
    info = RunInfo(**synthetic.info("20260103T030405Z-smoke-bbbbbb").model_dump())
    head = synthetic.write_run(tmp_path / "results", info, seed=1, lengths=(128, 512), bursts=8)
    judged = ab.compare(ab.open_run(folder), head, margin=0.05)
    assert judged.exit_code == ab.compare(folder, str(head), margin="5%").exit_code
    assert len(judged.frame()) == len(judged.verdicts) == sum(judged.counts.values())
    assert "the weaker claim" in " ".join(str(judged).split())
    html = judged._repr_html_()
    assert html is not None
    assert "inconclusive" in html or "same" in html
    with pytest.raises(ab.AttnbenchError, match="a margin is a percentage"):
        ab.compare(folder, head, margin="much")


def test_an_agreement_is_shown_with_its_fault() -> None:
    html = ab.check(lambda q, k, v: v * 0 + 1, case="Tq=2 D=3")._repr_html_()
    assert html is not None
    assert "1 of 1 rows disagree." in html
    assert "Unguarded" in html
    assert "smallest case" in html
    assert "<lambda>" not in html


def test_a_run_keeps_the_command_line_that_asks_the_same() -> None:
    words = RunWords(["smoke"], impl=["numpy/*"], axes=["T=128"], levels={"dtype": ["float32"]}, budget=90.0)
    assert words.typed() == [
        *("attnbench", "run", "smoke", "--impl", "numpy/*", "-a", "T=128", "--dtype", "float32", "--budget", "90")
    ]


def test_numbers_are_kept_as_they_can_be_typed_again() -> None:
    typed = RunWords(["smoke"], budget=1234567.0, wait=0.00001, timeout_s=12.5).typed()
    assert typed[-6:] == ["--budget", "1234567", "--wait", "0.00001", "--timeout", "12.5"]


@pytest.mark.parametrize(
    ("word", "message"), [({"out": 3}, "out= is the path"), ({"workload": 3}, "workload= is a text, su")]
)
def test_words_of_another_type_are_refused(word: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ab.run("smoke", **word)


SUITE = """\
from attnbench.api.suites import ObservedSuite, Story
def observe(probe, x: int):
    return {"variance": 1.0}
def claims(frame):
    return []
def findings(frame):
    return ["It is the first."]
story = Story(question="Which?", findings=findings, claims=claims)
SUITE = ObservedSuite(name="variance", story=story, axes={"x": (4, 16)}, observe=observe)
"""


def test_a_file_of_another_run_does_not_judge_this_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SUITE, encoding="utf-8")
    first = hashlib.sha256(SUITE.encode()).hexdigest()
    kept = {"file": str(file), "path": str(file), "sha256": first, "question": "Which, as it was kept?"}
    run = suites.write_observed(tmp_path / "results")
    said = json.loads((run / "run.json").read_text("utf-8"))
    (run / "run.json").write_text(json.dumps(said | {"suite_files": {"variance": kept}}), encoding="utf-8")
    assert "It is the first." in str(ab.open_run(run))
    file.write_text(SUITE.replace("the first", "the second"), encoding="utf-8")
    try:
        use_suites([file])
        shown = ab.open_run(run)
        assert str(shown).count("which has changed since") == 1
        assert "the second" not in str(shown)
        html = shown.html()
        assert "which has changed since" in html
        assert "Which, as it was kept?" in html
        named = str(ab.open_run(run, suite_files=file))
        assert "It is the second." in named
        assert "was measured with" in named
        file.write_text(SUITE.replace("return []", "return 1 / 0"), encoding="utf-8")
        failing = ab.open_run(run, suite_files=file)
        assert "ZeroDivisionError" in str(failing)
        assert "ZeroDivisionError" in failing.html()
        with pytest.raises(UsageError, match="none of these runs measured variance"):
            ab.open_run(synthetic.write_run(tmp_path / "other"), suite_files=file)
    finally:
        use_suites([])


@pytest.mark.slow
def test_a_run_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    run = ab.run("smoke", axes={"T": 128, "setting": "forward"}, impl="numpy/naive", budget=10)
    assert run.folder.parent == Path("results")
    assert run.info.command[:5] == ("attnbench", "run", "smoke", "--impl", "numpy/naive")
    assert list(run.frame()["status"]) == ["ok"]
    assert not (tmp_path / "reports").exists()
    assert capfd.readouterr() == ("", "")
