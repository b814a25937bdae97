"""What is known of the spread between runs of a machine, and what to type where saved runs decide nothing."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from attnbench.comparing import Verdict, compare, compare_runs, load_saved
from attnbench.comparing.between import ASSUMED, FEWEST_REPEATS, BetweenRuns, recorded
from attnbench.comparing.live_command import live_advice
from attnbench.comparing.repeated import levels
from attnbench.results.calibrations import VARIABLE, save
from attnbench.results.dataset import load
from attnbench.results.schema import Imported, RunInfo
from tests.results import synthetic

BASE, HEAD = synthetic.info("20260201T000000Z-smoke-base"), synthetic.info("20260202T000000Z-smoke-head")
MACHINE = BASE.fingerprint.machine_id


@pytest.fixture(autouse=True)
def _no_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))


def earlier(out: Path, count: int, drift: float, gits: list[str] | None = None, **changes: Any) -> None:
    """Runs of the same code, whose level as a whole moves by ``drift`` between them."""
    rng = np.random.default_rng(3)
    for number in range(count):
        own = {} if gits is None else {"fingerprint": synthetic.fingerprint(git=gits[number])}
        info = synthetic.info(f"202601{number + 1:02d}T000000Z-smoke-early", **(changes | own))
        factor = math.exp(drift * rng.standard_normal())
        impls = ("numpy/naive",)
        synthetic.write_run(out, info, seed=number, factors=dict.fromkeys(impls, factor), lengths=(128,), impls=impls)


def calibrate(values: list[float], machine: str = MACHINE) -> None:
    save(synthetic.calibration(synthetic.self_comparison(values), machine=machine))


def test_nothing_recorded_is_said_and_a_cautious_spread_assumed(tmp_path: Path) -> None:
    found = recorded(BASE, HEAD, [tmp_path])
    assert (found.value, found.source) == (ASSUMED, "assumed")
    assert "No spread between runs is recorded" in found.sentence
    assert "4.0 % is assumed" in found.sentence
    assert found.sentence.endswith("Type: attnbench calibrate")


def test_pairs_of_a_calibration_give_a_spread_that_holds_their_tails() -> None:
    values = 0.02 * np.random.default_rng(0).standard_t(3, 400)
    calibrate(list(values))
    found = recorded(BASE, HEAD)
    assert (found.source, found.count) == ("calibration", 400)
    assert np.mean(np.abs(values) <= 1.96 * found.value) >= 0.95
    assert found.value > 0.02
    assert "400 calibrated pairs" in found.sentence


@pytest.mark.parametrize(("values", "machine"), [([0.01] * 11, MACHINE), ([0.01] * 50, "another")])
def test_too_few_pairs_and_another_machine_tell_nothing(values: list[float], machine: str) -> None:
    calibrate(values, machine)
    assert recorded(BASE, HEAD).source == "assumed"


def test_repeated_runs_give_the_spread_between_runs_with_what_few_leave_open(tmp_path: Path) -> None:
    earlier(tmp_path, 9, drift=0.05)
    calibrate([0.01] * 50)
    found = recorded(BASE, HEAD, [tmp_path])
    assert (found.source, found.count) == ("earlier runs", 8)
    drifts = 0.05 * np.random.default_rng(3).standard_normal(9)
    expected = math.sqrt(2) * float(np.std(drifts, ddof=1)) * float(stats.t.ppf(0.975, 8)) / 1.96
    assert found.value == pytest.approx(expected, rel=0.15)
    assert "8 repeats of runs of unchanged code" in found.sentence


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprint": synthetic.fingerprint(git="0123456789ab+")},
        {"fingerprint": synthetic.fingerprint(git=None)},
        {"fingerprint": synthetic.fingerprint(kernel="Linux 9")},
        {"imported": Imported(tool="asv", file="x.json")},
    ],
    ids=["uncommitted", "unknown-code", "unlike-machine", "another-tool"],
)
def test_runs_that_are_no_repeats_tell_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    earlier(tmp_path, FEWEST_REPEATS + 1, drift=0.05, **changes)
    assert recorded(BASE, HEAD, [tmp_path]).source == "assumed"


def test_copies_of_a_run_are_no_repeats(tmp_path: Path) -> None:
    earlier(tmp_path, 1, drift=0.0)
    (one,) = tmp_path.glob("*-early")
    for number in range(FEWEST_REPEATS + 2):
        shutil.copytree(one, tmp_path / f"copy{number}")
    assert recorded(BASE, HEAD, [tmp_path]).source == "assumed"


def test_runs_of_many_revisions_are_no_repeats(tmp_path: Path) -> None:
    count = FEWEST_REPEATS + 2
    earlier(tmp_path, count, drift=0.05, gits=[f"{number:012x}" for number in range(count)])
    assert recorded(BASE, HEAD, [tmp_path]).source == "assumed"


def test_runs_that_do_not_say_their_processes_have_levels_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier(tmp_path, 2, drift=0.05)
    silent = lambda path: load(path).assign(n_replicates=math.nan)  # noqa: E731  (as of another tool)
    monkeypatch.setattr(levels, "load", silent)
    found = levels.levels([sorted(tmp_path.iterdir())], "raw")
    assert {level.processes for groups in found.values() for group in groups for level in group} == {1}


def test_what_is_recorded_widens_the_verdict(tmp_path: Path) -> None:
    options: dict[str, Any] = {"lengths": (128,), "impls": ("numpy/naive",)}
    base = synthetic.write_run(tmp_path, BASE, **options)
    head = synthetic.write_run(tmp_path, HEAD, seed=1, factors={"numpy/naive": 1.12}, **options)
    narrow = compare_runs(load_saved(base), load_saved(head), between_runs=0.005)
    assert {one.verdict for one in narrow if one.metric == "time"} == {"slower"}
    calibrate(list(0.1 * np.random.default_rng(0).standard_normal(40)))
    wide = [one for one in compare(base, head) if one.metric == "time"]
    assert {one.verdict for one in wide} == {"inconclusive"}
    assert all(one.low is not None and one.low < 0.97 for one in wide)


def open_cell(word: str = "not-comparable", **changes: Any) -> Verdict:
    own: dict[str, Any] = {"suite": "smoke", "case_id": "c", "case_label": "c", "impl": "numpy/naive"}
    return Verdict(**(own | {"device": "cpu", "threads": 1, "metric": "time", "verdict": word} | changes))


def run(git: str | None, *words: str, **fingerprint: Any) -> RunInfo:
    return synthetic.info(
        command=("attnbench", "run", "smoke", *words), fingerprint=synthetic.fingerprint(git=git, **fingerprint)
    )


ONE, TWO = "0123456789ab", "ba9876543210"
ADVICE = [
    (run(ONE), run(TWO, "-a", "T=128,512"), f"attnbench ab {ONE} {TWO} --impl numpy/naive --suite smoke -a T=128,512"),
    (run(ONE), run(f"{ONE}+"), f"attnbench ab {ONE} WORKTREE --impl"),
    (run(f"{ONE}+"), run(TWO), "uncommitted files of BASE are not in it"),
    (run(ONE), run(ONE, kernel="Linux 9"), "Set what differs alike and measure both again."),
    (run(None), run(TWO), "attnbench ab REVISION-OF-BASE REVISION-OF-HEAD --impl"),
    (run(ONE), run(TWO, python="CPython 3.14"), "attnbench ab numpy/naive --python-a BASE/bin/python --python-b"),
    (run(ONE), run(TWO, "--impls", "my kernel.py"), "--impls 'my kernel.py'"),
    (run(ONE), run(TWO, "--threads", "2"), "--threads 1"),
]


@pytest.mark.parametrize(("base", "head", "said"), ADVICE)
def test_what_is_open_comes_with_the_live_command(base: RunInfo, head: RunInfo, said: str) -> None:
    (line,) = live_advice(base, head, [open_cell(), open_cell("same", impl="torch/sdpa")], 0.05)
    assert said in line
    assert "torch/sdpa" not in line
    assert line.endswith(("--margin 5%", "measure both again."))


def test_calibrating_is_advised_where_the_same_code_is_undecided() -> None:
    (line,) = live_advice(run(ONE), run(ONE), [open_cell("inconclusive", ratio=1.0)], 0.05)
    assert line.endswith("attnbench calibrate")


@pytest.mark.parametrize(("old", "new"), [(ONE, ONE), (ONE, TWO), (None, None)])
def test_of_two_machines_nothing_is_advised_that_runs_on_one(old: str | None, new: str | None) -> None:
    other = synthetic.fingerprint().hardware.model_copy(update={"cpu_model": "Another"})
    (line,) = live_advice(run(old), run(new, hardware=other), [open_cell()] * 9, 0.05)
    assert line.startswith("The runs are of two machines")
    assert "attnbench ab" not in line
    assert "calibrate" not in line


@pytest.mark.parametrize("reason", ["HEAD does not have this cell", "an observed cell has no times to compare"])
def test_what_no_clock_decides_has_no_live_command(reason: str) -> None:
    (line,) = live_advice(run(ONE), run(TWO), [open_cell(reason=reason)], 0.05)
    assert "attnbench ab" not in line
    assert "Measure them again" in line


def test_calibrating_is_not_advised_for_what_another_tool_measured() -> None:
    imported = HEAD.model_copy(update={"imported": Imported(tool="pyperf", file="x")})
    assert recorded(BASE, HEAD).sentence.endswith("attnbench calibrate")
    assert "calibrate" not in recorded(imported, HEAD).sentence


def test_of_another_tools_runs_both_spreads_are_said() -> None:
    """An assumed 4 % was said beside evidence with 5 %, which is the least for rounds of one process."""
    imported = HEAD.model_copy(update={"imported": Imported(tool="pyperf", file="x")})
    both = "so 4.0 % (or 5.0 % where all rounds of a cell are of one process) is assumed"
    assert both in recorded(imported, HEAD).sentence
    assert "of one process" not in recorded(BASE, HEAD).sentence
    assert "of one process" not in BetweenRuns(0.06, "earlier runs", 9, imported=True).sentence


def test_nothing_open_needs_no_command_and_a_foreign_run_has_none() -> None:
    assert live_advice(run(ONE), run(TWO), [open_cell("same"), open_cell("slower")], 0.05) == []
    foreign = run(ONE).model_copy(update={"imported": Imported(tool="pyperf", file="x", unknown=("threads",))})
    (line,) = live_advice(foreign, run(TWO), [open_cell()], 0.05)
    assert "attnbench cannot measure what pyperf measured" in line


def test_an_assumption_is_told_apart_from_a_record() -> None:
    found = BetweenRuns(0.03, "earlier runs", 9), BetweenRuns(0.03, "calibration", 9), BetweenRuns(0.03, "assumed", 9)
    assert len({one.sentence for one in found}) == 3
