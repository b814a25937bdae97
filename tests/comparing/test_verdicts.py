"""Verdicts on saved runs: what is found, what is not claimed, and the list of what must never pass."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from attnbench.comparing import SavedRun, Verdict, compare, exit_code, load_saved
from attnbench.comparing import compare_runs as compare_two
from attnbench.errors import (
    EXIT_GATE_FAILED,
    EXIT_INCONCLUSIVE,
    EXIT_NOTHING_MEASURED,
    EXIT_OK,
    ResultsError,
    UsageError,
)
from attnbench.results.schema import RunInfo
from tests.results import synthetic

IMPLS = ("numpy/naive", "torch/sdpa")
HEAD = "20260102T040506Z-smoke-bbbbbb"
# A machine whose runs are known to differ by this much.
compare_runs = partial(compare_two, between_runs=0.02)


def write(folder: Path, run: RunInfo | None = None, **options: Any) -> SavedRun:
    given: dict[str, Any] = {"lengths": (128,), "impls": IMPLS, "bursts": 14}
    return load_saved(synthetic.write_run(folder, run, **(given | options)))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> SavedRun:
    return write(tmp_path_factory.mktemp("base") / "results")


@pytest.fixture
def head(tmp_path: Path) -> Callable[..., SavedRun]:
    def build(run: RunInfo | None = None, **options: Any) -> SavedRun:
        return write(tmp_path / "results", run or synthetic.info(HEAD), **({"seed": 1} | options))

    return build


def of(verdicts: list[Verdict], impl: str, metric: str = "time") -> list[str]:
    return [one.verdict for one in verdicts if one.impl == impl and one.metric == metric]


def test_the_same_code_again_is_the_same(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    found = compare_runs(base, head())
    assert {one.verdict for one in found} == {"same"}
    assert exit_code(found) == EXIT_OK
    assert len(found) == 8  # four cells, in time and in memory


def test_a_true_slowdown_is_found_where_it_is_and_nowhere_else(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    found = compare_runs(base, head(factors={"torch/sdpa": 1.2}))
    assert of(found, "torch/sdpa") == ["slower", "slower"]
    assert of(found, "numpy/naive") == ["same", "same"]
    slow = next(one for one in found if one.verdict == "slower")
    assert slow.ratio == pytest.approx(1.2, rel=0.03)
    assert slow.low is not None
    assert 1.05 < slow.low < 1.2
    assert "bursts, spread between runs 2.0 %" in slow.evidence
    assert exit_code(found) == EXIT_GATE_FAILED


def test_exactly_one_regression_fails(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    """Defect 8: ``if worse > 1`` lets exactly one regression pass."""
    found = compare_runs(base, head(factors={"torch/sdpa": 1.2}))
    one = [v for v in found if v.verdict == "same"] + [v for v in found if v.verdict == "slower"][:1]
    assert exit_code(one) == EXIT_GATE_FAILED


def test_a_true_speedup_is_faster_and_passes(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    found = compare_runs(base, head(factors={"torch/sdpa": 0.8}))
    assert of(found, "torch/sdpa") == ["faster", "faster"]
    assert exit_code(found) == EXIT_OK


def test_a_change_below_the_margin_is_not_called_slower(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    found = compare_runs(base, head(factors={"torch/sdpa": 1.12}), margin=0.3)
    assert "slower" not in of(found, "torch/sdpa")


def test_a_change_near_the_margin_is_inconclusive_with_the_interval(
    base: SavedRun, head: Callable[..., SavedRun]
) -> None:
    found = compare_runs(base, head(factors={"torch/sdpa": 1.035}))
    assert of(found, "torch/sdpa") == ["inconclusive", "inconclusive"]
    one = next(v for v in found if v.verdict == "inconclusive")
    assert one.reason is not None
    assert "neither excludes no change" in one.reason
    assert exit_code(found) == EXIT_INCONCLUSIVE


def test_memory_has_a_verdict_of_its_own(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    found = compare_runs(base, head(extra_bytes={"torch/sdpa": 2**20, "numpy/naive": 2**20 - 1}))
    assert of(found, "torch/sdpa", "memory") == ["larger", "larger"]
    assert of(found, "numpy/naive", "memory") == ["same", "same"]
    assert exit_code(found) == EXIT_GATE_FAILED


def test_memory_measured_on_one_side_only_is_not_comparable(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    other = head()
    cells = other.cells.assign(peak_bytes=float("nan"))
    found = compare_runs(base, dataclasses.replace(other, cells=cells))
    assert of(found, "torch/sdpa", "memory") == ["not-comparable", "not-comparable"]
    assert exit_code(found) == EXIT_INCONCLUSIVE
    neither = dataclasses.replace(base, cells=base.cells.assign(peak_bytes=float("nan")))
    found = compare_runs(neither, dataclasses.replace(other, cells=cells))
    assert {one.metric for one in found} == {"time"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"governor": "powersave"}, "CPU governor differs: unknown in BASE, powersave in HEAD"),
        ({"kernel": "Linux 9"}, "kernel differs: Linux 6.1 in BASE, Linux 9 in HEAD"),
        ({"cpu_limit": 1.0}, "CPU limit differs"),
        ({"python": "CPython 3.14"}, "Python differs"),
        ({"spec_version": "2"}, "specification version differs"),
        ({"frameworks": synthetic.FRAMEWORKS | {"torch": {"torch": "2.14.0"}}}, "torch versions: blas is MKL"),
        ({"frameworks": {"numpy": synthetic.FRAMEWORKS["numpy"]}}, "torch versions are not known in HEAD"),
        ({"thread_pools": {"torch": {"openmp": 2}}}, "torch thread pools: openmp is 1 in BASE, 2 in HEAD"),
        (
            {"hardware": synthetic.fingerprint().hardware.model_copy(update={"cpu_model": "Another"})},
            "machine_id differs",
        ),
    ],
)
def test_unlike_fingerprints_are_not_compared_and_the_difference_is_named(
    base: SavedRun, head: Callable[..., SavedRun], changes: dict[str, Any], reason: str
) -> None:
    """Defect 10: base and candidate measured on two machines and compared by a percentage."""
    other = head(synthetic.info(HEAD, fingerprint=synthetic.fingerprint(**changes)))
    found = [one for one in compare_runs(base, other) if one.impl == "torch/sdpa"]
    assert {one.verdict for one in found} == {"not-comparable"}
    assert reason in str(found[0].reason)
    assert exit_code(found) == EXIT_INCONCLUSIVE


def test_another_frameworks_version_leaves_the_rest_comparable(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    changed = synthetic.fingerprint(frameworks=synthetic.FRAMEWORKS | {"torch": {"torch": "2.14.0"}})
    found = compare_runs(base, head(synthetic.info(HEAD, fingerprint=changed)))
    assert of(found, "numpy/naive") == ["same", "same"]
    assert of(found, "torch/sdpa") == ["not-comparable", "not-comparable"]


def test_a_cell_missing_on_one_side_is_named(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    """Defect 7: failed cells that vanish."""
    found = compare_runs(base, head(impls=("numpy/naive", "jax/naive")))
    reasons = {one.impl: one.reason for one in found if one.verdict == "not-comparable"}
    assert reasons == {
        "torch/sdpa": "HEAD does not have this cell",
        "jax/naive": "BASE does not have this cell",
    }
    assert exit_code(found) == EXIT_INCONCLUSIVE


def test_other_thread_counts_are_named(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    other = head()
    found = compare_runs(base, dataclasses.replace(other, cells=other.cells.assign(threads=2)))
    assert "HEAD does not have this cell; it has it with threads = 2" in {one.reason for one in found}
    assert {one.verdict for one in found} == {"not-comparable"}


@pytest.mark.parametrize("status", ["wrong", "oom", "timeout", "crashed", "not-run", "unsupported"])
def test_a_status_that_differs_is_never_a_pass(base: SavedRun, head: Callable[..., SavedRun], status: str) -> None:
    other = head(failed={("torch/sdpa", 128): (status, "because of this")})
    for found in (compare_runs(base, other), compare_runs(other, base)):
        assert of(found, "torch/sdpa") == ["not-comparable", "not-comparable"]
        assert exit_code(found) == EXIT_INCONCLUSIVE
    reason = next(one.reason for one in found if one.verdict == "not-comparable")
    assert reason == f"{status} in BASE, ok in HEAD: because of this"


@pytest.mark.parametrize("status", ["wrong", "oom", "timeout", "crashed", "not-run"])
def test_failing_alike_on_both_sides_is_never_a_pass(tmp_path: Path, status: str) -> None:
    failed = {("torch/sdpa", 128): (status, "because of this")}
    one, other = (write(tmp_path / n, synthetic.info(n), failed=failed) for n in ("a", "b"))
    found = compare_runs(one, other)
    assert of(found, "torch/sdpa") == ["not-comparable", "not-comparable"]
    assert exit_code(found) == EXIT_INCONCLUSIVE


def test_unsupported_on_both_sides_is_said_and_is_no_measurement(tmp_path: Path) -> None:
    failed = {("torch/sdpa", 128): ("unsupported", "causal is not declared")}
    one, other = (write(tmp_path / n, synthetic.info(n), failed=failed, seed=len(n)) for n in ("a", "bb"))
    found = compare_runs(one, other)
    assert of(found, "torch/sdpa", "status") == ["same", "same"]
    assert exit_code(found) == EXIT_OK
    assert exit_code([v for v in found if v.metric == "status"]) == EXIT_NOTHING_MEASURED


def test_too_few_samples_are_inconclusive(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    """Defect 3: a test that answers *significant* when the counts differ."""
    found = compare_runs(base, head(bursts=5, factors={"torch/sdpa": 3.0}))
    assert of(found, "torch/sdpa") == ["inconclusive", "inconclusive"]
    assert found[0].reason == "too few samples: 14 bursts in BASE, 5 in HEAD, and 6 are needed"
    assert exit_code(found) == EXIT_INCONCLUSIVE


def test_few_samples_are_too_few_for_many_cells(tmp_path: Path) -> None:
    """Six bursts a side can give a p-value of 1/462 at best: not enough where sixty cells are judged together."""
    one, other = (
        write(tmp_path / n, synthetic.info(n), impls=synthetic.IMPLS, lengths=(8, 16, 32, 64, 128), bursts=6)
        for n in ("a", "b")
    )
    found = [v for v in compare_runs(one, other) if v.metric == "time" and v.verdict == "inconclusive"]
    assert all(v.low is None and v.high is None for v in found)
    slow = dataclasses.replace(other, samples=other.samples.assign(wall_s=2 * other.samples["wall_s"]))
    verdicts = [v for v in compare_runs(one, slow) if v.metric == "time"]
    assert {v.verdict for v in verdicts} == {"inconclusive"}
    assert "too few samples for so many cells" in str(verdicts[0].reason)


def test_unequal_counts_are_compared_properly(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    """Defect 3 again: unequal counts are no error and no finding."""
    found = compare_runs(base, head(bursts=9))
    assert "slower" not in {one.verdict for one in found}
    assert "faster" not in {one.verdict for one in found}


def test_a_busy_machine_decides_nothing(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    other = head(factors={"torch/sdpa": 1.5})
    busy = dataclasses.replace(other, cells=other.cells.assign(disturbed_bursts=40))
    found = compare_runs(base, busy)
    assert {one.verdict for one in found if one.metric == "time"} == {"inconclusive"}
    assert found[0].reason == "the machine was busy: most bursts in HEAD were disturbed; measure again"


def test_no_samples_at_all_is_inconclusive(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    other = head()
    found = compare_runs(base, dataclasses.replace(other, samples=other.samples.iloc[:0]))
    assert {one.verdict for one in found if one.metric == "time"} == {"inconclusive"}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_time_that_is_none_is_never_a_pass(base: SavedRun, head: Callable[..., SavedRun], value: float) -> None:
    other = head()
    samples = other.samples.copy()
    samples.loc[~samples["warmup"] & ~samples["disturbed"], "wall_s"] = value
    found = compare_runs(base, dataclasses.replace(other, samples=samples))
    assert {one.verdict for one in found if one.metric == "time"} == {"not-comparable"}
    assert exit_code(found) == EXIT_INCONCLUSIVE


def test_one_nan_among_many_samples_is_enough(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    other = head()
    samples = other.samples.copy()
    samples.loc[samples.index[-1], "wall_s"] = float("nan")
    found = compare_runs(base, dataclasses.replace(other, samples=samples))
    assert sum(one.verdict == "not-comparable" for one in found) == 1


def test_observed_cells_have_no_times(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    kinds = [dataclasses.replace(run, cells=run.cells.assign(kind="observed")) for run in (base, head())]
    found = compare_runs(kinds[0], kinds[1])
    assert {one.reason for one in found} == {"an observed cell has no times to compare"}


def test_times_in_different_cache_states_are_not_compared(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    other = head()
    found = compare_runs(base, dataclasses.replace(other, cells=other.cells.assign(cache="hot")))
    assert {one.reason for one in found} == {"cache differs: none in BASE, hot in HEAD"}


def test_nothing_compared_is_never_a_pass() -> None:
    assert exit_code([]) == EXIT_NOTHING_MEASURED


def test_an_unfinished_run_can_be_compared_as_far_as_it_came(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    found = compare_runs(base, head(finish=False))
    assert {one.verdict for one in found} == {"same"}


def test_the_same_run_twice_is_wrong_usage(base: SavedRun) -> None:
    with pytest.raises(UsageError, match="are the same run"):
        compare_runs(base, base)


@pytest.mark.parametrize("margin", [0.0, -0.1, 1.0, 5.0, float("nan")])
def test_a_senseless_margin_is_wrong_usage(base: SavedRun, margin: float) -> None:
    with pytest.raises(UsageError, match="margin is a fraction between 0 and 1"):
        compare_runs(base, base, margin=margin)


def test_two_rows_for_one_cell_are_refused(base: SavedRun, head: Callable[..., SavedRun]) -> None:
    twice = dataclasses.replace(base, cells=pd.concat([base.cells, base.cells]))
    with pytest.raises(UsageError, match="holds two rows for numpy/naive"):
        compare_runs(twice, head())


def test_folders_are_read_and_refused(tmp_path: Path, base: SavedRun) -> None:
    folder = synthetic.write_run(tmp_path / "a", lengths=(128,), impls=IMPLS)
    other = synthetic.write_run(tmp_path / "b", synthetic.info(HEAD), seed=2, lengths=(128,), impls=IMPLS)
    found = compare(folder, other)
    assert [one.key for one in found] == [one.key for one in compare_runs(base, load_saved(other))]
    with pytest.raises(ResultsError, match="no run"):
        compare(folder, tmp_path / "nothing")


@pytest.mark.parametrize(("drift", "allowed"), [(0.0, 0), (0.014, 1)])
def test_a_against_a_hardly_ever_raises_a_false_alarm(tmp_path: Path, drift: float, allowed: int) -> None:
    """Fifteen runs compared with themselves measured again; the machine as a whole drifts between the two."""
    rng = np.random.default_rng(8)
    alarmed = 0
    for number in range(15):
        pair = []
        for side in "ab":
            factors = dict.fromkeys(IMPLS, float(np.exp(drift * rng.standard_normal())))
            run = synthetic.info(f"{side}{number}")
            pair.append(write(tmp_path / "runs", run, seed=int(rng.integers(2**31)), factors=factors, finish=False))
        alarmed += any(one.verdict in ("slower", "faster") for one in compare_runs(pair[0], pair[1]))
    assert alarmed <= allowed
