"""Runs of several machines on one page: grouped by machine, side by side, and nothing between them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from attnbench.analysis.judged import JudgedRun, judge_run
from attnbench.analysis.leading import lead
from attnbench.errors import UsageError
from attnbench.report import content
from attnbench.report.html.page import page
from attnbench.report.markdown import markdown
from attnbench.report.terminal.answer import answer_text
from attnbench.show.table import Screen
from tests.program import Cli
from tests.report import suites
from tests.results import synthetic

IMPLS = ("numpy/naive", "torch/naive", "torch/sdpa")
NAMES = ["Example CPU @ 2.60GHz, 2 cores, virtual machine", "Other CPU, 2 cores, virtual machine"]
Made = Callable[..., JudgedRun]
collect = partial(content.collect, drawn=False)


def other(cpu: str = "Other CPU", **changes: Any) -> Any:
    hardware = synthetic.fingerprint().hardware.model_copy(update={"cpu_model": cpu})
    return synthetic.fingerprint(hardware=hardware, **changes)


def run_id(number: int, suite: str = "smoke") -> str:
    return f"202601020304{number:02d}Z-{suite}-aaaaaa"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def make(number: int, fingerprint: Any = None, **changes: Any) -> JudgedRun:
        info = synthetic.info(run_id(number), fingerprint=fingerprint or synthetic.fingerprint())
        folder = synthetic.write_run(tmp_path / "results", info, impls=IMPLS, bursts=8, **changes)
        return judge_run(folder, lambda _: suites.SMOKE)

    return make


def moved(folder: Path, number: int, cpu: str) -> Path:
    """A copy of a run as if another machine had made it."""
    info = json.loads((folder / "run.json").read_text())
    new = folder.with_name(f"{number}")
    shutil.copytree(folder, new)
    info["run_id"] = run_id(number, "variance")
    info["fingerprint"]["hardware"]["cpu_model"] = cpu
    (new / "run.json").write_text(json.dumps(info))
    return new


def test_each_machine_has_what_its_own_rounds_say_and_nothing_is_divided(made: Made) -> None:
    slow = {"torch/sdpa": 8.0, "numpy/naive": 0.2}
    runs = [made(1), made(2, other(), factors=slow, seed=1)]
    report = collect(runs)
    side = report.machines
    assert side is not None
    assert report.beside is None
    assert [machine.name for machine in side.machines] == NAMES
    (table,) = side.tables
    assert len(table.rows) == 4
    for run, column in zip(runs, range(2), strict=True):
        blocks = {str(part["case_id"].iloc[0]): lead(part) for _, part in run.frame.groupby(["block_id", "case_id"])}
        assert len(blocks) == 4
        alone = collect([run])
        (section,) = alone.sections
        assert section.advice is not None
        assert side.machines[column].answers == (("", section.advice.sentence),)
        expected = {(first.first, first.together, first.second, first.ratio) for first in blocks.values()}
        assert {(c.first, c.leaders, c.second, c.ratio) for c in (row.cells[column] for row in table.rows)} == expected
    assert {row.cells[0].first for row in table.rows} == {"torch/sdpa"}
    assert {row.cells[1].first for row in table.rows} == {"numpy/naive"}
    assert {(row.common, row.on_all) for row in table.rows} == {((), "none")}
    assert table.sentence.startswith("Of the 4 cases that all of them measured, none has an implementation")
    for told in side.describe():
        assert len(told["cases"]) == 4
        assert {case["run_id"] for case in told["cases"]} == set(told["runs"])


def test_two_runs_of_one_machine_are_no_second_machine(made: Made) -> None:
    side = collect([made(1), made(2), made(3, other(), lengths=(128,))]).machines
    assert side is not None
    (table,) = side.tables
    assert {(row.on_all, row.same) for row in table.rows if "512" in row.full} == {("–", False)}
    assert {(row.on_all, row.same) for row in table.rows if "128" in row.full} == {("torch/sdpa", True)}
    mine = replace(table, heads=table.heads[:2], rows=tuple(replace(row, cells=row.cells[:2]) for row in table.rows))
    assert mine.sentence == "One of these machines alone has this suite."


def test_a_case_that_a_machine_has_no_time_of_is_no_row_that_is_the_same(made: Made) -> None:
    lost = {(impl, 512): ("oom", "needs 9 GiB") for impl in IMPLS}
    side = collect([made(1), made(2, other()), made(3, other("Third"), failed=lost)]).machines
    assert side is not None
    (table,) = side.tables
    assert {row.same for row in table.rows if "512" in row.full} == {False}
    assert {row.common for row in table.rows if "512" in row.full} == {("torch/sdpa",)}


def test_what_one_machine_has_not_and_what_is_the_same_is_said(made: Made) -> None:
    lost = {(impl, 512): ("oom", "needs 9 GiB") for impl in IMPLS}
    side = collect([made(1), made(2, other(), failed=lost), made(3, other("Third"), lengths=(128,))]).machines
    assert side is not None
    (table,) = side.tables
    cells = [row.cells for row in table.rows if "512" in row.full]
    assert {row[1].text for row in cells} == {"no time: 3 oom"}
    assert {row[2].text for row in cells} == {"not measured there"}
    assert {row.on_all for row in table.rows if "512" in row.full} == {"–"}
    assert {row.on_all for row in table.rows if "128" in row.full} == {"torch/sdpa"}
    assert table.sentence == (
        "Of the 2 cases that all of them measured, all have an implementation that is the fastest, or not told from "
        "it, on every machine: torch/sdpa in each of them."
    )
    times = {(time.row.full, time.impl): time.times for time in table.times}
    assert len(times) == 12
    assert {row[1:] for (case, _), row in times.items() if "512" in case} == {("oom", "–")}


def test_runs_of_a_machine_stand_together_whatever_their_order(made: Made) -> None:
    report = collect([made(1), made(2, other()), made(3)])
    assert [run.info.run_id for run in report.runs] == [run_id(1), run_id(3), run_id(2)]
    assert report.machines is not None
    heads = report.machines.tables[0].heads
    assert [(head.machine, head.run) for head in heads] == [
        (NAMES[0], run_id(1)),
        (NAMES[0], run_id(3)),
        (NAMES[1], ""),
    ]


def test_one_machine_is_no_several_and_one_that_was_set_up_otherwise_is(made: Made) -> None:
    assert collect([made(1), made(2)]).machines is None
    assert collect([made(3), made(4, other("Example CPU @ 2.60GHz", git="f" * 12))]).machines is None
    again = collect([made(5), made(6, synthetic.fingerprint(kernel="Linux 7.0"))])
    assert again.beside is None
    assert again.machines is not None
    assert [name.rpartition(", ")[2] for name in [machine.name for machine in again.machines.machines]] == [
        "Kernel: Linux 6.1",
        "Kernel: Linux 7.0",
    ]


def test_a_run_that_is_there_as_of_two_machines_is_refused(made: Made) -> None:
    run = made(1)
    copy = replace(run, info=run.info.model_copy(update={"fingerprint": other()}))
    with pytest.raises(UsageError, match=f"run {run_id(1)} is there twice"):
        collect([run, copy])


def test_page_markdown_and_terminal_say_the_same_and_where_everything_is_of(made: Made) -> None:
    report = collect([made(1), made(2, other(), factors={"torch/sdpa": 8.0}, seed=1)])
    assert report.machines is not None
    texts = [page(report), markdown(report), answer_text(report, Screen())]
    for text in texts:
        for machine in report.machines.machines:
            assert machine.name in text
            assert machine.answers[0][1] in text
        assert report.machines.tables[0].sentence in text
        assert report.machines.tables[0].rows[0].cells[1].first in text.replace("<wbr>", "")
    html = texts[0]
    assert '<a href="#side">Machines side by side</a>' in html
    assert html.count(f'<h2 class="machine">{NAMES[1]}</h2>') == 1
    assert f"<code>{run_id(2)}</code> on {NAMES[1]} · complete" in html
    named = re.findall(r'role="region" aria-label="([^"]*)"', html)
    assert len(named) == len(set(named))
    assert "Two runs beside each other" not in html


def test_the_claims_of_each_machine_stand_side_by_side(tmp_path: Path) -> None:
    plain = replace(suites.VARIANCE, story=replace(suites.VARIANCE.story, figures=()))
    first = suites.write_observed(tmp_path / "r", run_id(1, "variance"))
    runs = [judge_run(folder, lambda _: plain) for folder in (first, moved(first, 2, "Other CPU"))]
    report = collect(runs)
    side = report.machines
    assert side is not None
    assert side.tables == ()
    assert side.claims
    for column, run in enumerate(report.runs):
        assert side.machines[column].answers == (("", run.tallied),)
        lines = {(line.suite, line.claim): line for lines in run.forest.values() for line in lines}
        assert {(row.suite, row.claim): row.verdicts[column].verdict for row in side.claims} == {
            key: line.counted for key, line in lines.items()
        }
    assert side.claims_sentence.endswith("the same verdict in all of these runs.")
    assert "Claims side by side" in page(report)


def test_a_folder_of_runs_is_one_page_and_a_script_is_told_of_each_machine(cli: Cli, made: Made) -> None:
    made(1)
    made(2, other())
    done = cli("report", "results", "-o", "page", "--json")
    assert done.code == 0
    assert done.document["runs"] == [run_id(1), run_id(2)]
    assert [machine["machine"] for machine in done.document["machines"]] == NAMES
    assert all(len(machine["cases"]) == 4 for machine in done.document["machines"])
    refused = cli("report", "results")
    assert (refused.code, "-o DIR" in refused.err) == (2, True)
    alone = cli("report", f"results/{run_id(1)}", "-o", "alone", "--json").document
    assert "machines" not in alone
