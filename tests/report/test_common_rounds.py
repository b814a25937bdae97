"""Tables, findings and the grid have one order: that of common rounds, not of median times."""

from pathlib import Path

import pandas as pd
import pytest

from attnbench.analysis.sampled import load_sampled
from attnbench.report import findings, tables
from attnbench.report.glance.advice import advice_of
from attnbench.report.glance.grid import grid_of
from attnbench.results.frames import records
from tests.report import suites
from tests.results import synthetic

IMPLS = ("torch/sdpa", "jax/naive", "numpy/naive")


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Every common round calls torch/sdpa the fastest by far; its median is the largest.

    That is what is seen where it alone went on after the machine had become slower.
    """
    run: Path = synthetic.write_run(tmp_path_factory.mktemp("r"), impls=IMPLS, lengths=(128,), bursts=24)
    planted = load_sampled(run)
    late = {
        name: planted[name].where(planted["impl"] != "torch/sdpa", planted[name] * 100)
        for name in ("time_median_s", "time_low_s", "time_high_s")
    }
    return planted.assign(**late)


def test_the_median_does_disagree_with_the_rounds(frame: pd.DataFrame) -> None:
    for _, block in frame.groupby("block_id"):
        by_time = block.sort_values("time_median_s")["impl"]
        assert by_time.iloc[-1] == "torch/sdpa"


def test_tables_are_in_the_order_of_the_grid(frame: pd.DataFrame) -> None:
    answer = grid_of(frame)
    assert answer is not None
    for row, table in zip(answer.rows, tables.timing_tables(frame), strict=True):
        by_ratio = sorted(row.cells, key=lambda cell: float(cell.text))
        assert [line[0] for line in table.rows] == [cell.impl for cell in by_ratio]
        assert table.rows[0][0] == "torch/sdpa"
        assert table.marks[0] == "best"


def test_findings_name_whom_the_grid_names(frame: pd.DataFrame) -> None:
    said = advice_of(frame)
    assert said is not None
    assert said.sentence.startswith("Use torch/sdpa: ")
    wins, spelled, *_ = findings.findings(frame, suites.SMOKE.story)
    assert "clearly fastest was torch/sdpa in 2" in wins
    assert " torch/sdpa took " in spelled
    assert " and numpy/naive " in spelled


def test_where_nobody_is_behind_the_sentence_says_so(frame: pd.DataFrame) -> None:
    rows = frame[frame["impl"] != "numpy/naive"]
    alike = dict(records(rows)[0]["rounds"])
    same = rows.assign(rounds=pd.Series([alike] * len(rows), rows.index, object))
    spelled = findings.findings(same, suites.SMOKE.story)[1]
    assert "no implementation is told to be slower than" in spelled


def test_the_ratio_is_of_the_one_that_is_named(frame: pd.DataFrame) -> None:
    """One that is seen in a single process and not told has the largest ratio, which is nobody's finding."""
    (_, block), *_ = frame.groupby("block_id")

    def planted(impl: str) -> dict[tuple[int, int], float]:
        if impl == "numpy/naive":
            return {(0, at): 0.9 if at % 2 else 4.0 for at in range(6)}
        time = 1.5 if impl == "jax/naive" else 1.0
        return {(process, at): time * (1 + 0.002 * at) for process in range(6) for at in range(6)}

    rounds = pd.Series([planted(impl) for impl in block["impl"]], block.index, object)
    spelled = findings.findings(block.assign(rounds=rounds), suites.SMOKE.story)[1]
    assert " and jax/naive 1.50× as long" in spelled, spelled


def test_a_cell_without_a_standing_comes_after_those_that_have_one() -> None:
    rows = [
        {"cell_id": "a", "impl": "z/failed", "status": "oom"},
        {"cell_id": "b", "impl": "y/ok", "status": "ok"},
        {"cell_id": "c", "impl": "a/failed", "status": "wrong"},
    ]
    assert [row["impl"] for row in tables.in_order(rows, {})] == ["y/ok", "a/failed", "z/failed"]
