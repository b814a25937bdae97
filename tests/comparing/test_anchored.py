"""Saved runs judged by the ratio to the anchor: what the machine did is not what the code did."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attnbench.comparing import SavedRun, Verdict, compare_runs, load_saved
from attnbench.comparing.anchored.basis import basis
from attnbench.comparing.anchored.said import judged_by
from attnbench.comparing.baseline import read_baseline, set_baseline
from attnbench.comparing.between import FEWEST_REPEATS, recorded
from attnbench.comparing.past_runs import history
from attnbench.results.calibrations import VARIABLE
from attnbench.results.summary import summarise
from tests.program import Cli
from tests.results import synthetic
from tests.results.synthetic import ANCHOR

IMPLS = ("numpy/naive", "torch/sdpa")
HEAD = synthetic.info("20260103T030405Z-smoke-bbbbbb")
OLDER = {"anchor": None, "anchor_library": None}
judged = partial(compare_runs, between_runs=0.02)


def write(folder: Path, run: Any = None, **options: Any) -> SavedRun:
    given: dict[str, Any] = {"lengths": (128,), "impls": IMPLS, "bursts": 14, "anchor": ANCHOR}
    return load_saved(synthetic.write_run(folder, run, **(given | options)))


@pytest.fixture(autouse=True)
def _no_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SavedRun:
    return write(tmp_path_factory.mktemp("anchored") / "results")


def head(tmp_path: Path, **options: Any) -> SavedRun:
    return write(tmp_path / "head", HEAD, **({"seed": 1} | options))


def times(verdicts: list[Verdict]) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.metric == "time"]


def words(verdicts: list[Verdict]) -> set[str]:
    return {verdict.verdict for verdict in times(verdicts)}


def test_a_machine_that_is_slower_for_everything_is_no_regression(base: SavedRun, tmp_path: Path) -> None:
    slow = head(tmp_path, machine=1.45)
    verdicts = judged(base, slow)
    assert words(verdicts) == {"same"}
    for verdict in times(verdicts):
        assert (verdict.by, verdict.why_raw) == ("anchor", None)
        assert verdict.raw_ratio == pytest.approx(1.45, rel=0.03)
        assert verdict.anchor_change == pytest.approx(1.45, rel=0.03)
        assert "by the anchor, raw +4" in verdict.evidence
    without = dataclasses.replace(slow, cells=slow.cells.assign(anchor=None))
    assert words(judged(base, without)) == {"slower"}  # what it was before there were anchors


def test_a_regression_that_a_faster_machine_hides_is_found(base: SavedRun, tmp_path: Path) -> None:
    verdicts = judged(base, head(tmp_path, machine=0.8, factors={"torch/sdpa": 1.25}))
    of = {verdict.impl: verdict for verdict in times(verdicts)}
    assert of["torch/sdpa"].verdict == "slower"
    assert of["torch/sdpa"].ratio == pytest.approx(1.25, rel=0.03)
    assert of["torch/sdpa"].raw_ratio == pytest.approx(1.0, rel=0.03)
    assert of["numpy/naive"].verdict == "same"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            {"anchor": ANCHOR["anchor"][:-8] + "ffff0000"},
            f"anchor differs: {ANCHOR['anchor']} in BASE, {ANCHOR['anchor'][:-8]}ffff0000 in HEAD",
        ),
        (
            {"anchor_library": "numpy 2.5.0"},
            "what computes the anchor differs: numpy 2.4.6 in BASE, numpy 2.5.0 in HEAD",
        ),
    ],
)
def test_another_anchor_or_library_below_it_is_named_and_not_comparable(
    base: SavedRun, tmp_path: Path, changed: dict[str, str], reason: str
) -> None:
    verdicts = judged(base, head(tmp_path, anchor=ANCHOR | changed))
    assert words(verdicts) == {"not-comparable"}
    assert {verdict.reason for verdict in times(verdicts)} == {reason}


@pytest.mark.parametrize("side", ["BASE", "HEAD", "BASE and HEAD"])
def test_an_older_run_is_judged_as_before_and_that_is_said(base: SavedRun, tmp_path: Path, side: str) -> None:
    new, old = head(tmp_path), write(tmp_path / "old", seed=1, anchor=None)
    old_head = write(tmp_path / "older", HEAD, seed=2, anchor=None)
    pair = {"BASE": (old, new), "HEAD": (base, old_head), "BASE and HEAD": (old, old_head)}[side]
    verdicts = judged(*pair)
    assert {(verdict.by, verdict.verdict) for verdict in times(verdicts)} == {("raw", "same")}
    why = "; ".join(f"{s} has no anchor (measured before there were anchors)" for s in side.split(" and "))
    assert judged_by(verdicts) == [f"All times are judged raw, as they were measured: {why}."]


def test_what_the_anchor_did_is_said(base: SavedRun, tmp_path: Path) -> None:
    (sentence,) = judged_by(judged(base, head(tmp_path, machine=1.12)))
    assert sentence.startswith("Times are judged by their ratio to the anchor")
    assert "the anchor itself took +1" in sentence


def less(run: SavedRun, share: float) -> SavedRun:
    """The run, with an anchor beside only a share of its bursts."""
    kept = run.samples["burst"] < share * run.samples["burst"].max()
    return dataclasses.replace(run, samples=run.samples.assign(anchor_s=run.samples["anchor_s"].where(kept)))


def test_where_the_anchor_was_disturbed_beside_most_bursts_nothing_is_decided(base: SavedRun, tmp_path: Path) -> None:
    verdicts = judged(base, less(head(tmp_path), 0.3))
    assert words(verdicts) == {"inconclusive"}
    assert times(verdicts)[0].reason == "the anchor was disturbed beside most bursts in HEAD; measure again"


def test_too_few_bursts_with_an_anchor_are_judged_raw_with_the_reason(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", bursts=8), less(write(tmp_path / "b", HEAD, bursts=8, seed=1), 0.65)
    verdicts = judged(a, b)
    assert {verdict.by for verdict in times(verdicts)} == {"raw"}
    assert (
        "in HEAD the anchor is known beside 4 bursts of 2 processes, and 6 bursts of 2 processes are needed"
        in judged_by(verdicts)[0]
    )


LOST = "its process was lost (crashed): gone"


def with_reason(run: SavedRun, reason: str | None) -> SavedRun:
    return dataclasses.replace(run, cells=run.cells.assign(anchor_reason=reason))


def test_an_anchor_that_was_lost_is_not_called_disturbed(base: SavedRun, tmp_path: Path) -> None:
    verdicts = judged(base, with_reason(less(head(tmp_path), 0.3), LOST))
    assert {verdict.by for verdict in times(verdicts)} == {"raw"}
    assert f"the anchor is missing beside most bursts in HEAD ({LOST})" in judged_by(verdicts)[0]


def test_an_anchor_that_was_lost_once_and_stands_beside_most_bursts_is_judged_by(
    base: SavedRun, tmp_path: Path
) -> None:
    verdicts = judged(base, with_reason(less(head(tmp_path), 0.7), LOST))
    assert {(verdict.by, verdict.why_raw) for verdict in times(verdicts)} == {("anchor", None)}


def one_process(run: SavedRun) -> SavedRun:
    return dataclasses.replace(run, samples=run.samples.assign(replicate=0))


def test_a_ratio_of_one_process_is_not_judged_by(base: SavedRun, tmp_path: Path) -> None:
    verdicts = judged(one_process(base), head(tmp_path, machine=1.3))
    assert {verdict.by for verdict in times(verdicts)} == {"raw"}
    why = "in BASE the anchor is known beside 14 bursts of 1 process, and 6 bursts of 2 processes are needed"
    assert why in judged_by(verdicts)[0]


def test_where_the_anchor_says_too_little_raw_times_say_no_more_than_ratios_would(
    base: SavedRun, tmp_path: Path
) -> None:
    """Raw times are widened by 4 % where nothing is recorded, and ratios by 8.5 %: losing the anchor gains nothing."""
    verdicts = judged(one_process(base), head(tmp_path, factors=dict.fromkeys(IMPLS, 1.15)))
    assert words(verdicts) == {"inconclusive"}
    assert {"slower"} == words(judged(base, head(tmp_path / "b", factors=dict.fromkeys(IMPLS, 1.15))))


def test_a_noisy_anchor_widens_the_interval_and_hardly_ever_decides(base: SavedRun, tmp_path: Path) -> None:
    usual, decided = head(tmp_path), list[str]()
    for seed in range(6):
        moved = np.exp(0.4 * np.random.default_rng(seed).standard_normal(len(usual.samples)))
        noisy = usual.samples.assign(anchor_s=usual.samples["anchor_s"] * moved)
        verdicts = times(judged(base, dataclasses.replace(usual, samples=noisy)))
        decided += [verdict.verdict for verdict in verdicts if verdict.verdict != "inconclusive"]
    assert len(decided) <= 1, f"{decided} of 24 cells: 5 % of 6 comparisons may"


def test_a_baseline_keeps_the_anchor(base: SavedRun, tmp_path: Path) -> None:
    set_baseline(base, "mine", tmp_path)
    again = read_baseline("mine", tmp_path)
    slow = head(tmp_path, machine=1.3)
    assert words(judged(again, slow)) == {"same"}
    row = next(iter(again.rows.values()))
    pairs = zip(again.ratios(row).values, base.ratios(row).values, strict=True)
    assert all(kept == pytest.approx(ratio, rel=1e-4) for kept, ratio in pairs)
    assert basis(again, slow, row, slow.rows[next(iter(again.rows))]).by == "anchor"


def test_a_baseline_of_a_run_with_some_anchors_missing_has_gaps_there(base: SavedRun, tmp_path: Path) -> None:
    set_baseline(less(base, 0.6), "gaps", tmp_path)
    again, row = read_baseline("gaps", tmp_path), next(iter(base.rows.values()))
    assert again.bursts(row["cell_id"], row["cache"]).n == base.bursts(row["cell_id"], row["cache"]).n
    assert 0 < again.ratios(row).n < base.ratios(row).n


def runs(out: Path, count: int, drift: float, change_at: int | None = None, **options: Any) -> list[Path]:
    """Runs of one code on a machine whose speed moves by ``drift`` (standard deviation of the log) between them."""
    rng, folders = np.random.default_rng(5), []
    for number in range(count):
        info = synthetic.info(
            f"202601{number + 1:02d}T000000Z-smoke-{number:06x}", started=f"2026-01-{number + 1:02d}T"
        )
        factor = 1.15 if change_at is not None and number >= change_at else 1.0
        machine = float(np.exp(drift * rng.standard_normal() + (0.3 if number >= count / 2 else 0.0)))
        given: dict[str, Any] = {"lengths": (128,), "impls": ("numpy/naive",), "bursts": 8, "anchor": ANCHOR}
        factors = {"numpy/naive": factor}
        folders.append(
            synthetic.write_run(out, info, seed=number, machine=machine, factors=factors, **(given | options))
        )
    return folders


def test_the_spread_of_ratios_is_that_of_ratios(tmp_path: Path) -> None:
    runs(tmp_path, FEWEST_REPEATS + 2, drift=0.1)
    first, second = (synthetic.info(f"2027010{n}T000000Z-smoke-aaaaaa") for n in (1, 2))
    raw, ratios = (recorded(first, second, [tmp_path], by) for by in ("raw", "anchor"))
    assert (raw.source, ratios.source) == ("earlier runs", "earlier runs")
    assert ratios.value < 0.1 * raw.value
    assert "of ratios to the anchor" in ratios.sentence


def test_older_runs_say_nothing_of_the_spread_of_ratios(tmp_path: Path) -> None:
    runs(tmp_path, FEWEST_REPEATS + 2, drift=0.1, anchor=None)
    first, second = (synthetic.info(f"2027010{n}T000000Z-smoke-aaaaaa") for n in (1, 2))
    assert recorded(first, second, [tmp_path], "anchor").source == "assumed"


def test_history_does_not_take_the_machine_for_a_change_and_finds_the_one_that_is(tmp_path: Path) -> None:
    pytest.importorskip("ruptures")
    drifting = history(runs(tmp_path / "a", 14, drift=0.05), margin=0.03)
    assert {(cell.by, cell.word) for cell in drifting.series} == {("anchor", "no change point")}
    raw = history(runs(tmp_path / "b", 14, drift=0.05, anchor=None), margin=0.03)
    assert {(cell.by, cell.word) for cell in raw.series} == {("raw", "changed")}
    changed = history(runs(tmp_path / "c", 14, drift=0.05, change_at=9), margin=0.03)
    for cell in changed.series:
        (change,) = cell.changes
        assert change.at == 9
        assert change.ratio == pytest.approx(1.15, rel=0.03)


def test_history_leaves_out_runs_of_another_anchor_by_name(tmp_path: Path) -> None:
    pytest.importorskip("ruptures")
    folders = runs(tmp_path, 6, drift=0.01)
    other = synthetic.info("20250101T000000Z-smoke-cccccc", started="2025-01-01T")
    library = ANCHOR | {"anchor_library": "numpy 1.0"}
    options: dict[str, Any] = {"lengths": (128,), "impls": ("numpy/naive",), "anchor": library}
    past = history([*folders, synthetic.write_run(tmp_path, other, **options)])
    assert {len(cell.points) for cell in past.series} == {6}
    reasons = {out.reason for out in past.left_out}
    assert reasons == {"what computes the anchor differs: numpy 1.0 in this run, numpy 2.4.6 in the newest"}


def test_a_history_with_an_older_run_is_of_raw_times(tmp_path: Path) -> None:
    pytest.importorskip("ruptures")
    folders = runs(tmp_path, 4, drift=0.01)
    old = synthetic.info("20250101T000000Z-smoke-cccccc", started="2025-01-01T")
    folders.append(synthetic.write_run(tmp_path, old, lengths=(128,), impls=("numpy/naive",)))
    past = history(folders)
    assert {(cell.by, len(cell.points)) for cell in past.series} == {("raw", 5)}


def test_a_history_with_a_ratio_that_rests_on_one_process_is_of_raw_times_and_says_so(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ruptures")
    folders = runs(tmp_path / "many", 4, drift=0.01)
    with monkeypatch.context() as patched:
        patched.setattr(synthetic, "summarise", lambda samples: summarise([s for s in samples if s.replicate == 0]))
        folders += runs(tmp_path / "one", 5, drift=0.01)[4:]
    series = history(folders).series[0]
    assert (series.by, len(series.points)) == ("raw", 5)
    needed = "the anchor is known beside 4 bursts of 1 process, and 6 bursts of 2 processes are needed"
    assert series.why_raw == f"1 of 5 runs have no ratio to the anchor, the newest of them {folders[-1].name}: {needed}"
    done = cli("history", *folders, "--out", tmp_path / "out")
    assert needed in " ".join(done.err.split())


def test_a_ratio_of_one_process_does_not_count_for_the_spread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = synthetic.draw_samples
    alone = lambda *a, **k: [s.model_copy(update={"replicate": 0}) for s in draw(*a, **k)]  # noqa: E731
    monkeypatch.setattr(synthetic, "draw_samples", alone)
    runs(tmp_path, FEWEST_REPEATS + 2, drift=0.01)
    first, second = (synthetic.info(f"2027010{n}T000000Z-smoke-aaaaaa") for n in (1, 2))
    assert recorded(first, second, [tmp_path], "anchor").source == "assumed"
    assert recorded(first, second, [tmp_path], "raw").source == "earlier runs"


def test_the_command_says_by_what_it_judged(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "results"
    options: dict[str, Any] = {"lengths": (128,), "impls": ("numpy/naive",), "anchor": ANCHOR}
    one, other = (
        synthetic.write_run(out, run, seed=seed, machine=1 + 0.3 * seed, **options)
        for seed, run in enumerate((None, HEAD))
    )
    done = cli("compare", one, other)
    assert "the anchor itself took +3" in " ".join(done.out.split())
    document = cli("compare", one, other, "--json").document
    assert document["judged_by"][0].startswith("Times are judged by their ratio to the anchor")
    assert document["between_ratios"]["by"] == "anchor"
    assert {verdict["by"] for verdict in document["verdicts"] if verdict["metric"] == "time"} == {"anchor"}
    cli("baseline", "set", one, "--name", "mine")
    checked = cli("baseline", "check", other, "--name", "mine", "--json").document
    assert {verdict["by"] for verdict in checked["verdicts"] if verdict["metric"] == "time"} == {"anchor"}


def test_an_anchor_of_no_time_is_no_anchor(base: SavedRun, tmp_path: Path) -> None:
    broken = head(tmp_path)
    zero = pd.Series(0.0, index=broken.samples.index)
    verdicts = judged(base, dataclasses.replace(broken, samples=broken.samples.assign(anchor_s=zero)))
    assert words(verdicts) == {"inconclusive"}
