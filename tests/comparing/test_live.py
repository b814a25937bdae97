"""Verdicts of live pairs, and calibration by replay: what fails closed, what a decision costs, what a machine tells."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from attnbench.comparing.calibration import (
    alarms,
    assumed,
    forecast,
    pairs_to_find,
    recorded,
    replay,
)
from attnbench.comparing.live import LiveJudge, LiveVerdict, MemoryVerdict, exit_code, timed, weigh, weigh_again
from attnbench.comparing.sequential import MOST_PAIRS, Comparison, Rules
from attnbench.errors import ResultsError
from attnbench.results.calibrations import for_machine, save
from attnbench.show.units import clock
from tests.results import synthetic

MIB = 2**20


def verdict(word: str = "same", memory: str | None = None, **changes: Any) -> LiveVerdict:
    own: dict[str, Any] = {
        "id": "c",
        "suite": "smoke",
        "case_label": "forward",
        "impl": "numpy/naive",
        "device": "cpu",
        "threads": 1,
        "verdict": word,
        "screened": 8,
        "memory": None if memory is None else MemoryVerdict(memory),  # type: ignore[arg-type]
    }
    return LiveVerdict(**(own | changes))


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([verdict("same"), verdict("faster", "smaller")], 0),
        ([verdict("same"), verdict("slower")], 1),
        ([verdict("same", "larger")], 1),
        ([verdict("not-comparable", status="wrong", side="B"), verdict("same")], 1),
        ([verdict("not-comparable", status="crashed", side="B"), verdict("same")], 4),
        ([verdict("same", memory=None), verdict("not-comparable", status="oom", side="A")], 4),
        ([verdict("slower"), verdict("not-comparable", status="timeout", side="A")], 1),
        ([verdict("inconclusive"), verdict("same")], 3),
        ([verdict("same", "inconclusive")], 3),
        ([verdict("not-comparable")], 3),
        ([verdict("same"), verdict("not-comparable", status="unsupported", side="B", screened=0)], 3),
        ([verdict("same"), verdict("not-comparable", status="unsupported", screened=0)], 0),
        ([verdict("not-comparable", status="unsupported", screened=0)], 5),
        ([verdict("inconclusive", screened=0)], 5),
        ([verdict("not-comparable", status="crashed", side="A", screened=0)], 4),
        ([verdict("same", "not-comparable")], 3),
        ([verdict("inconclusive"), verdict("not-comparable")], 3),
        ([verdict("same", "not-measured")], 0),
        ([], 5),
    ],
)
def test_exit_status(verdicts: list[LiveVerdict], code: int) -> None:
    assert exit_code(verdicts) == code
    words = {word for one in verdicts if one.side or one.status == "ok" for word in one.words}
    expected = 0 if code == 3 and "not-comparable" not in words else code
    assert exit_code(verdicts, inconclusive_passes=True) == expected, "pass forgives the word, and nothing else"
    broken_off = exit_code(verdicts, inconclusive_passes=True, interrupted=True)
    assert broken_off == (expected or 3), "what was broken off never passes"


def test_a_cell_without_a_pair_is_not_forgiven() -> None:
    measured, unmeasured = verdict("same"), verdict("inconclusive", screened=0)
    assert exit_code([measured, unmeasured], inconclusive_passes=True) == 3


@pytest.mark.parametrize(
    ("a", "b", "word"),
    [
        ([100 * MIB] * 3, [102 * MIB] * 3, "larger"),
        ([100 * MIB] * 3, [98 * MIB] * 3, "smaller"),
        ([MIB // 2] * 3, [MIB] * 3, "same"),
        ([1000 * MIB] * 3, [1009 * MIB] * 3, "same"),
        ([10 * MIB, 10 * MIB, 14 * MIB], [12 * MIB, 12 * MIB, 13 * MIB], "inconclusive"),
        ([100 * MIB, 100 * MIB, 160 * MIB], [150 * MIB] * 3, "inconclusive"),
        ([150 * MIB] * 3, [100 * MIB, 100 * MIB, 160 * MIB], "inconclusive"),
        ([100 * MIB, 100 * MIB, 160 * MIB], [100 * MIB, 100 * MIB, 160 * MIB], "same"),
        ([100 * MIB, 100 * MIB, 110 * MIB], [150 * MIB] * 3, "inconclusive"),
        ([100 * MIB, 100 * MIB, 110 * MIB] * 2, [150 * MIB] * 6, "larger"),
        ([150 * MIB] * 6, [100 * MIB, 100 * MIB, 110 * MIB] * 2, "smaller"),
        ([100 * MIB, 100 * MIB, 110 * MIB] * 2, [150 * MIB] * 5 + [105 * MIB], "inconclusive"),
        ([0] * 3, [MIB] * 3, "larger"),
    ],
)
def test_memory_is_larger_by_one_per_cent_and_a_mebibyte_and_by_every_process(
    a: list[int], b: list[int], word: str
) -> None:
    assert weigh(a, b).verdict == word


@pytest.mark.parametrize(
    ("a", "b", "again"),
    [
        ([100, 100, 100], [100, 100, 100], False),
        ([100, 100, 100], [150, 150, 150], False),
        ([100, 100, 160], [100, 100, 160], False),
        ([100, 100, 160], [150, 150, 150], True),
        ([100, 100, 110], [150, 150, 150], True),
        ([], [], False),
        ([100], [150], False),
    ],
)
def test_memory_is_weighed_again_where_three_processes_leave_a_question(
    a: list[int], b: list[int], *, again: bool
) -> None:
    assert weigh_again([MIB * one for one in a], [MIB * one for one in b]) is again


def test_memory_that_varies_is_called_changed_by_chance_in_one_of_five_hundred() -> None:
    rng = np.random.default_rng(0)
    found = {3: 0, 6: 0}
    for _ in range(4000):
        a, b = rng.integers(100 * MIB, 200 * MIB, (2, 6)).tolist()
        first = (a[:3], b[:3])
        found[3] += max(first[0]) < min(first[1]) or max(first[1]) < min(first[0])
        last = (a, b) if weigh_again(*first) else first
        found[6] += weigh(*last).verdict in ("larger", "smaller")
    assert found[3] > 4000 * 0.08, "as often do the ranges of three lie apart"
    assert found[6] <= stats.binom.ppf(0.999, 4000, 2 / 924)


def test_memory_that_was_not_measured_is_never_a_pass() -> None:
    assert weigh([], [], "the budget was spent").verdict == "inconclusive"
    assert weigh([MIB] * 2, [MIB] * 3).verdict == "inconclusive"
    assert weigh([], [], "B: died", status="crashed").verdict == "not-comparable"
    nobody = weigh([], [], "A: not measured: no /proc; B: not measured: no /proc", unknown=("A", "B"))
    assert nobody.verdict == "not-measured"


@pytest.mark.parametrize("a", [[], [MIB] * 3])
def test_memory_that_one_side_cannot_tell_is_not_comparable(a: list[int]) -> None:
    found = weigh(a, [], "B: not measured: torch does not tell on cuda:0", unknown=("B",))
    assert found.verdict == "not-comparable"
    assert exit_code([verdict("same", found.verdict)], inconclusive_passes=True) == 3
    assert weigh([], [], "B: not measured by a worker that died").verdict == "inconclusive", "words decide nothing"


def test_an_open_cell_names_its_price() -> None:
    one = Comparison(Rules())
    for value in (0.01, -0.02, 0.015, 0.0, -0.005, 0.01, 0.002):
        one.add(value)
    found = verdict(**(timed(one.close(), 14.3) | {"word": "inconclusive"}))
    assert found.more_pairs is not None
    assert f"{found.more_pairs} more pair" in found.price
    assert f"about {clock(14.3 * found.more_pairs)}" in found.price
    assert "±" in found.price


def test_a_single_pair_says_that_it_is_too_few() -> None:
    one = Comparison(Rules())
    one.add(0.3)
    found = verdict(**(timed(one.close(), 1.0) | {"word": "inconclusive"}))
    assert found.verdict == "inconclusive"
    assert "too few pairs (1)" in found.price
    assert (found.low, found.high) == (None, None)


def test_a_judge_ends_when_no_further_pair_could_decide() -> None:
    rng, judge = np.random.default_rng(0), LiveJudge(Rules(margin=0.001))
    ends = (count for count in range(1, 200) if judge.add(float(rng.normal(0, 1))) is not None)
    assert next(ends) <= 2 * MOST_PAIRS
    assert judge.decision.verdict == "inconclusive"


def test_a_judge_that_keeps_going_keeps_its_first_verdict() -> None:
    judge = LiveJudge(Rules(), keep_going=True)
    assert [judge.add(0.0) for _ in range(100)] == [None] * 100
    assert judge.decision.verdict == "same"


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0:01"), (100, "1:40"), (3725, "1:02:05")])
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_replay_finds_few_false_alarms_and_the_slowdowns_that_can_be_found() -> None:
    pool = list(np.random.default_rng(1).normal(0, 0.02, 60))
    found = replay([pool[:20], pool[20:]], 0.03, 4)
    assert found is not None
    assert found.alarms <= found.trials * 0.01
    assert found.low <= found.alarms / found.trials <= found.high
    sizes = [size for size in found.found.values() if size is not None]
    assert sizes == sorted(sizes, reverse=True), "more pairs never find less"
    assert found.found[20] is not None
    assert 0.03 < found.found[20] <= 0.10
    assert replay([pool[:5]], 0.03, 4) is None


def test_a_noisy_machine_finds_less() -> None:
    rules = Rules(margin=0.03)
    quiet, noisy = (recorded([list(np.random.default_rng(2).normal(0, spread, 80))]) for spread in (0.01, 0.1))
    assert np.median(pairs_to_find(quiet, 0.1, rules, 40)) < np.median(pairs_to_find(noisy, 0.1, rules, 40))
    assert alarms(noisy, rules, trials=100) <= 3


def test_a_forecast_without_power_has_no_number_of_pairs() -> None:
    found = forecast(assumed(0.5), 0.03, Rules(margin=0.015), 0.5, is_assumed=True)
    assert found.pairs is None
    assert found.power < 0.95
    easy = forecast(assumed(0.01), 0.2, Rules(margin=0.1), 0.01, is_assumed=True)
    assert easy.pairs is not None
    assert 11 <= easy.pairs <= 20


def test_calibrations_are_kept_by_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNBENCH_DATA", str(tmp_path))
    assert for_machine("m1") is None
    ratios = tuple(float(x) for x in np.random.default_rng(3).normal(0, 0.02, 30))
    trial, replayed = synthetic.self_comparison(ratios), replay([ratios], 0.03, 1)
    kept = synthetic.calibration(trial, machine="m1", startup_s=1.0, high=0.9, replayed=replayed)
    path = save(kept)
    assert for_machine("m1") == kept
    text = kept.sentence(60)
    assert "30 pairs of a version with itself" in text
    assert "false alarms in 2000 replayed cells" in text
    path.write_text("{}")
    with pytest.raises(ResultsError, match="attnbench calibrate"):
        for_machine("m1")
    assert math.isclose(kept.describe()["startup_s"], 1.0)
