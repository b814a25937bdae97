"""The answer on a terminal and in a pipe: it fits, it is not cut, and colour says nothing that the text does not."""

import re
from pathlib import Path

import pytest

from attnbench.analysis.judged import JudgedRun, judge_run
from attnbench.report.content import Report, collect
from attnbench.report.tables import Table
from attnbench.report.terminal.answer import _tables, answer_text
from attnbench.report.terminal.gridded import grid_lines
from attnbench.show.table import Column, Screen, cells
from tests.report import suites
from tests.results import synthetic

COLOUR = re.compile("\x1b\\[[0-9]*m")
FAILED = {
    ("numpy/naive", 512): ("oom", "needs 9.0 GiB"),
    ("jax/nn-xla", 128): ("unsupported", "no"),
    ("jax/nn-xla", 512): ("unsupported", "no"),
    ("torch/naive", 128): ("unsupported", "not here"),
}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> JudgedRun:
    run: Path = synthetic.write_run(tmp_path_factory.mktemp("r"), failed=FAILED, bursts=12)
    return judge_run(run, lambda _: suites.SMOKE)


@pytest.fixture(scope="module")
def report(judged: JudgedRun) -> Report:
    return collect([judged], drawn=False)


def numbers(text: str) -> list[str]:
    """What stands in the cells of the grid, in whatever blocks."""
    return sorted(re.findall(r"(?<=  )(?:\d[\d.]*\??|✕|–)(?=  |$)", text.replace("\n", "  \n"), re.MULTILINE))


def test_the_answer_comes_first_then_grid_reasons_and_machine(report: Report) -> None:
    text = answer_text(report, Screen())
    lines = text.splitlines()
    assert lines[0] == (report.sections[0].advice or pytest.fail("no advice")).sentence
    assert text.index("1.00 is the fastest of its case") < text.index("needs 9.0 GiB") < text.index("Example CPU")
    assert "Supported in none of these cases: jax/nn-xla." in lines
    (machine,) = [line for line in lines if "Example CPU" in line]
    assert "virtual machine · half of the times are known to" in machine
    assert machine.endswith("2026-01-02 03:04:05 UTC")


@pytest.mark.parametrize("width", [24, 40, 60, 80, 120])
def test_it_fits_its_terminal_and_every_cell_is_in_it(report: Report, width: int) -> None:
    grid = report.sections[0].grid
    assert grid is not None
    narrow = list(grid_lines(grid, Screen(width, wraps=True)))
    assert max(map(cells, narrow)) <= max(width, 40)
    whole = "\n".join(grid_lines(grid, Screen()))
    assert numbers("\n".join(narrow)) == numbers(whole)
    assert max(map(cells, answer_text(report, Screen(width, wraps=True)).splitlines())) <= max(width, 40)


def test_colours_mean_what_they_mean_in_tables_and_nothing_more(report: Report) -> None:
    plain, coloured = (answer_text(report, Screen(80, wraps=True, colour=on)) for on in (False, True))
    assert "\x1b" not in plain
    assert "".join(COLOUR.sub("", coloured).split()) == "".join(plain.split())
    assert "\x1b[32m1.00\x1b[0m" in coloured
    assert "\x1b[33m✕\x1b[0m" in coloured
    assert "\x1b[2m–\x1b[0m" in coloured


def test_an_alone_implementation_is_shown_with_its_times(tmp_path: Path) -> None:
    run = synthetic.write_run(tmp_path / "r", impls=("numpy/naive",), lengths=(128,))
    text = answer_text(collect([judge_run(run, lambda _: suites.SMOKE)], drawn=False), Screen())
    assert "median time" in text
    assert "numpy/naive" in text


def test_names_cannot_command_a_terminal(judged: JudgedRun) -> None:
    frame = judged.suites[0].frame
    evil = frame.assign(impl=frame["impl"].replace("torch/sdpa", "torch/\x1b[2J\u202eevil\n"))
    suite = judged.suites[0].__class__("smoke", suites.SMOKE, evil)
    run = JudgedRun(judged.folder, judged.info, evil, (suite,))
    for place in (Screen(), Screen(60, wraps=True)):
        text = answer_text(collect([run], drawn=False), place)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert r"\x1b" in text


def test_a_name_without_a_dash_and_a_long_reason_are_broken_and_cut_with_a_word(judged: JudgedRun) -> None:
    frame = judged.suites[0].frame
    long = frame.assign(impl=frame["impl"].replace("torch/sdpa", "torch/" + "z" * 90), reason="why " * 900)
    suite = judged.suites[0].__class__("smoke", suites.SMOKE, long)
    report = collect([JudgedRun(judged.folder, judged.info, long, (suite,))], drawn=False)
    text = answer_text(report, Screen(60, wraps=True))
    assert text.count("z" * 16) >= 5
    assert "all of it is in the report" in " ".join(text.split())
    grid = report.sections[0].grid
    assert grid is not None
    assert max(map(cells, grid_lines(grid, Screen(60, wraps=True)))) <= 60


def test_claims_come_first_with_their_verdicts(tmp_path: Path) -> None:
    run = suites.write_observed(tmp_path / "r")
    report = collect([judge_run(run, lambda _: suites.VARIANCE)], drawn=False)
    text = answer_text(report, Screen(80, wraps=True))
    assert re.match(r"\d+ verdicts? on \d+ published claims?: ", text)
    for part in report.runs[0].forest.values():
        for line in part:
            assert line.claim in " ".join(text.split())
            assert line.marks[0].text in " ".join(text.split())


def test_two_runs_are_named_and_what_compare_says_of_them(judged: JudgedRun, tmp_path: Path) -> None:
    other = synthetic.write_run(
        tmp_path / "r", impls=("numpy/naive",), lengths=(128,), run=synthetic.info("20260203T030405Z-smoke-b")
    )
    text = answer_text(collect([judged, judge_run(other, lambda _: suites.SMOKE)], drawn=False), Screen())
    assert f"Run {judged.info.run_id}" in text
    assert "are the same by the rules of compare" in text


def test_nothing_measured_is_said_first(tmp_path: Path) -> None:
    failed = {(impl, 128): ("crashed", "signal 11") for impl in synthetic.IMPLS}
    run = synthetic.write_run(tmp_path / "r", failed=failed, lengths=(128,))
    text = answer_text(collect([judge_run(run, lambda _: suites.SMOKE)], drawn=False), Screen(80, wraps=True))
    assert text.startswith("Nothing was measured: 12 crashed.")
    assert "signal 11" in text


def test_titles_of_tables_are_in_one_line_and_cannot_command_a_terminal() -> None:
    short, long = (Table("t\x1b[2J\nevil", (Column("n"),), (("1",),) * count, ("",) * count) for count in (1, 99))
    for place in (Screen(), Screen(60, wraps=True)):
        lines = list(_tables([short, long], place))
        assert all("\x1b" not in line for line in lines)
        assert lines[0].startswith(r"t\x1b[2J\nevil")
        assert lines[1:] == ["", r"t\x1b[2J\nevil: a table of 99 rows, see below where."]
