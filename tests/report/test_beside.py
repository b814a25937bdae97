"""Two runs beside each other: what the page calls other than the same is what ``attnbench compare`` does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attnbench.analysis.judged import JudgedRun, judge_run
from attnbench.comparing import compare
from attnbench.report.glance.beside import Beside, beside
from tests.report import suites
from tests.results import synthetic

BASE, HEAD = (f"20260102T03040{second}Z-smoke-{name}" for second, name in ((5, "aaaaaa"), (6, "bbbbbb")))
SLOWER = {"torch/naive": 3.0}
IMPLS = ("numpy/naive", "torch/naive", "torch/sdpa")
Made = Callable[..., JudgedRun]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    def make(run_id: str, impls: tuple[str, ...] = IMPLS, **changes: Any) -> JudgedRun:
        folder = synthetic.write_run(tmp_path, synthetic.info(run_id), impls=impls, **changes)
        return judge_run(folder, lambda _: suites.SMOKE)

    return make


def table(*runs: JudgedRun) -> Beside:
    shown = beside(runs)
    assert shown is not None
    return shown


def test_what_differs_is_what_compare_calls_other_than_the_same(made: Made) -> None:
    lost = {("numpy/naive", 512): ("unsupported", "no")}
    base, head = made(BASE, failed=lost), made(HEAD, failed=lost, factors=SLOWER, seed=1)
    shown = table(base, head)
    assert (shown.base, shown.head, len(shown.rows)) == (BASE, HEAD, 12)
    expected: dict[tuple[str, str], list[str]] = {}
    for verdict in compare(base.folder, head.folder):
        expected.setdefault((verdict.case_label, verdict.impl), []).append(verdict.verdict)
    for row in shown.rows:
        (words,) = (words for (case, impl), words in expected.items() if case == row.case and impl == row.impl)
        assert row.same == (set(words) == {"same"})
        assert set(row.verdict.split(" · ")) <= set(words)
    assert {row.verdict for row in shown.rows if row.impl == "torch/naive"} == {"slower"}
    assert shown.differing == 10
    assert "the weaker claim" in shown.worth[0]


def test_what_one_run_lacks_or_lost_differs(made: Made) -> None:
    head = made(HEAD, ("numpy/naive", "torch/sdpa"), failed={("torch/sdpa", 512): ("oom", "needs 9 GiB")})
    rows = table(made(BASE), head).rows
    assert {row.head for row in rows if row.impl == "torch/naive"} == {"–"}
    assert {row.head for row in rows if row.impl == "torch/sdpa" and "T512" in row.case} == {"oom"}
    assert not [row for row in rows if row.same and row.impl == "torch/naive"]


def test_other_numbers_of_runs_and_other_suites_have_no_such_table(made: Made, tmp_path: Path) -> None:
    base = made(BASE)
    observed = judge_run(suites.write_observed(tmp_path / "o"), lambda _: suites.VARIANCE)
    assert beside([base]) is beside([base, base]) is beside([base, observed]) is None
