"""Change points over runs: hardly ever where nothing changed, at the right place where something did."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from attnbench.attention.arrays import Array
from attnbench.comparing import history as module
from attnbench.comparing import past_runs
from attnbench.comparing.history import ERROR, SMALLEST, change_points, fewest_runs, penalty
from attnbench.comparing.past_runs import history
from attnbench.errors import MissingExtraError, NothingSelectedError, UsageError
from attnbench.report import history as drawn
from attnbench.report.history import COLUMNS, draw_history, history_csv, history_tables, left_out_lines
from tests.results import synthetic

IMPLS = ("numpy/naive", "torch/sdpa")
OLD = synthetic.FRAMEWORKS["torch"] | {"torch": "2.0.0"}


def series(seed: int, n: int = 20, noise: float = 0.01, tails: float = 3.0) -> Array:
    return np.asarray(1e-3 * np.exp(noise * np.random.default_rng(seed).standard_t(tails, n)))


@pytest.mark.parametrize(("n", "tails", "cells"), [(10, 1.5, 1), (16, 1.5, 1), (16, 3.0, 5)])
def test_where_nothing_changed_a_change_is_rarely_found(n: int, tails: float, cells: int) -> None:
    trials = 250
    alarms = sum(bool(change_points(series(seed, n, 0.05, tails), cells)) for seed in range(trials))
    assert stats.binomtest(alarms, trials, ERROR / cells, alternative="greater").pvalue > 0.001
    assert alarms / trials <= 0.1 / cells


def test_the_penalty_is_what_keeps_false_alarms_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "penalty", lambda *_: 2.0)
    assert sum(bool(change_points(series(seed))) for seed in range(40)) > 20


@pytest.mark.parametrize("at", [8, 12, 14])
def test_a_step_of_ten_per_cent_in_twenty_runs_is_found_at_its_place(at: int) -> None:
    right, covered = 0, 0
    for seed in range(40):
        times = series(seed)
        times[at:] *= 1.1
        found = change_points(times, cells=4)
        right += [one.at for one in found] == [at]
        covered += any(one.low is not None and one.high is not None and one.low < 1.1 < one.high for one in found)
    assert right >= 36
    assert covered >= 34


def test_two_steps_and_a_return_are_told_with_their_sizes() -> None:
    times = series(3, 36, 0.005)
    times[12:24] *= 1.2
    found = change_points(times)
    assert [one.at for one in found] == [12, 24]
    assert [one.ratio for one in found] == pytest.approx([1.2, 1 / 1.2], rel=0.02)
    assert [(one.before, one.after) for one in found] == [(12, 12), (12, 12)]


def test_one_odd_run_is_no_change() -> None:
    times = series(4, 20, 0.005)
    times[9] *= 3
    assert change_points(times) == []


def test_a_change_below_the_margin_is_not_told() -> None:
    times = series(0, 24, 0.001)
    times[10:] *= 1.02
    assert [one.at for one in change_points(times)] == [10]
    assert change_points(times, margin=0.03) == []
    times[17:] *= 1.2
    assert [(one.at, one.before) for one in change_points(times, margin=0.03)] == [(17, 17)]


def test_too_few_runs_say_nothing_however_clear_the_step() -> None:
    for cells in (1, 10):
        enough = fewest_runs(cells)
        clear = np.concatenate([np.linspace(1, 1.01, enough // 2), np.linspace(2, 2.01, enough - enough // 2)])
        assert [one.at for one in change_points(clear, cells)] == [enough // 2]
        assert change_points(clear[1:], cells) == []
    assert fewest_runs(1) >= 2 * SMALLEST
    assert fewest_runs(1) < fewest_runs(10) < 20


def test_identical_times_and_no_times_are_no_change() -> None:
    assert change_points([1e-3] * 30) == []
    assert change_points([]) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_what_is_no_time_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="finite and above 0"):
        change_points([1e-3] * 20 + [value])


def test_more_cells_need_a_higher_penalty() -> None:
    assert penalty(20, 1) < penalty(20, 5) < penalty(20, 50)


def test_without_the_library_it_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ruptures", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'attnbench\[history\]'"):
        change_points([1e-3] * 20)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen runs, torch/sdpa slower from the tenth; besides one of another kernel and one of another PyTorch."""
    out = tmp_path_factory.mktemp("history") / "results"
    rng = np.random.default_rng(1)
    unlike: dict[int, dict[str, Any]] = {
        3: {"kernel": "Linux 5"},
        5: {"frameworks": synthetic.FRAMEWORKS | {"torch": OLD}},
    }
    for number in range(18):
        info = synthetic.info(
            f"202601{number + 1:02d}T000000Z-smoke-aaaaaa",
            started=f"2026-01-{number + 1:02d}T00:00:00Z",
            fingerprint=synthetic.fingerprint(git=f"{number:012x}", **unlike.get(number, {})),
        )
        factors = {name: float(np.exp(0.01 * rng.standard_t(3))) for name in IMPLS}
        factors["torch/sdpa"] *= 1.15 if number >= 11 else 1.0
        failed = {("numpy/naive", 128): ("crashed", "SIGSEGV")} if number == 7 else None
        options: dict[str, Any] = {"lengths": (128,), "impls": IMPLS, "bursts": 8}
        synthetic.write_run(out, info, seed=number, factors=factors, failed=failed, **options)
    return out


def folders(results: Path) -> list[Path]:
    return sorted(results.iterdir())


def test_runs_of_one_machine_in_order_and_what_is_left_out(results: Path) -> None:
    found = history(list(reversed(folders(results))), margin=0.03)
    assert list(found.runs) == sorted(found.runs)
    assert len(found.runs) == 17
    assert [(one.run_id[:8], one.what) for one in found.left_out] == [("20260104", "all of"), ("20260106", "torch of")]
    assert "kernel differs: Linux 5 in this run, Linux 6.1 in the newest" in found.left_out[0].reason
    assert found.left_out[1].reason == "torch versions: torch is 2.0.0 in this run, 2.13.0 in the newest"
    by_impl = {one.impl: one for one in found.series}
    assert len(by_impl["torch/sdpa"].points) == 16
    assert (len(by_impl["numpy/naive"].points), by_impl["numpy/naive"].gaps) == (16, 1)


def test_the_step_is_between_the_right_runs_and_revisions(results: Path) -> None:
    found = history(folders(results), margin=0.03)
    for one in found.series:
        if one.impl == "numpy/naive":
            assert (one.word, one.changes) == ("no change point", ())
            continue
        (change,) = one.changes
        before, after = one.points[change.at - 1], one.points[change.at]
        assert (before.revision, after.revision) == (f"{10:012x}", f"{11:012x}")
        assert change.ratio == pytest.approx(1.15, rel=0.03)
    table = history_tables(found)[0]
    assert table.title == "Change points"
    assert "20260111T000000Z-smoke-aaaaaa and 20260112T000000Z-smoke-aaaaaa" in table.rows[0]


def test_choices_and_too_few_runs(results: Path) -> None:
    found = history(folders(results)[-5:], patterns=["numpy/*"])
    assert {one.impl for one in found.series} == {"numpy/naive"}
    assert {one.word for one in found.series} == {"too few runs"}
    assert not found.decided
    assert any(f"needs {found.fewest} runs" in row for row in history_tables(found)[0].rows)
    with pytest.raises(NothingSelectedError, match="no time of a cell that was asked for in 18 runs"):
        history(folders(results), suites=["speed"])
    with pytest.raises(NothingSelectedError, match="no run here is of machine ffff; there are"):
        history(folders(results), machine="ffff")


def test_machines_are_never_mixed(results: Path, tmp_path: Path) -> None:
    other = synthetic.fingerprint(hardware=synthetic.fingerprint().hardware.model_copy(update={"cpu_model": "Other"}))
    info = synthetic.info("20260301T000000Z-smoke-bbbbbb", started="2026-03-01T00:00:00Z", fingerprint=other)
    newer = synthetic.write_run(tmp_path, info, lengths=(128,), impls=IMPLS)
    every = [*folders(results), newer]
    assert history(every).runs == (info.run_id,)
    with pytest.raises(UsageError, match="the runs are of 2 machines, and a history is of one") as refused:
        history(every, choose=False)
    named = [f"{one.machine_id} ({one.hardware.cpu_model}" for one in (synthetic.fingerprint(), other)]
    assert all(name in str(refused.value) for name in named)
    assert str(refused.value).endswith(f"--machine {synthetic.fingerprint().machine_id}")
    assert history(every, machine=other.machine_id, choose=False).runs == (info.run_id,)
    ours = synthetic.fingerprint().machine_id
    assert info.run_id not in history(every, machine=ours[:6]).runs
    assert len(history(every, this_machine=ours).runs) == 17
    assert any("machine differs" in one.reason for one in history(every, this_machine=ours).left_out)


def test_the_oldest_of_very_many_runs_are_left_out_and_told(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_runs, "MOST_RUNS", 12)
    found = history(folders(results), patterns=["numpy/*"])
    assert len(found.runs) == 12
    assert found.runs[-1].startswith("20260118")
    assert any("older than the newest 12 runs" in line and "and 3 more" in line for line in left_out_lines(found))


def test_runs_without_any_time_are_nothing(tmp_path: Path) -> None:
    failed = {("numpy/naive", 128): ("crashed", "SIGSEGV")}
    run = synthetic.write_run(tmp_path, failed=failed, lengths=(128,), impls=("numpy/naive",))
    with pytest.raises(NothingSelectedError, match="no time of a cell that was asked for in 1 run;"):
        history([run])


def test_a_copy_of_a_run_counts_once(results: Path, tmp_path: Path) -> None:
    first = folders(results)[0]
    copy = shutil.copytree(first, tmp_path / "sample")
    found = history([*folders(results), copy])
    assert len(found.runs) == 17
    assert any(f"it is a copy of {first.name}" in line for line in left_out_lines(found))


def test_a_damaged_run_is_told_and_the_rest_is_there(results: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "20260401T000000Z-smoke-cccccc"
    damaged.mkdir()
    (damaged / "run.json").write_text("{")
    found = history([*folders(results), damaged])
    assert len(found.runs) == 17
    assert any("is damaged" in line and damaged.name in line for line in left_out_lines(found))


def test_table_and_figure_hold_the_points(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = history(folders(results), margin=0.03)
    lines = history_csv(found).splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) == 1 + sum(len(one.points) for one in found.series)
    changed = [line for line in lines[1:] if line.split(",")[COLUMNS.index("change")]]
    assert len(changed) == sum(len(one.changes) for one in found.series) == 2
    assert draw_history(found, tmp_path / "x.png") == 0
    first = (tmp_path / "x.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    draw_history(found, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes() == first
    monkeypatch.setattr(drawn, "MAX_PANELS", 1)
    assert draw_history(found, tmp_path / "y.png") == len(found.series) - 1
