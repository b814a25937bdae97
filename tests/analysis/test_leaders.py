"""Who may be the fastest of a block: the first in time, and all that paired rounds do not tell from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from attnbench.analysis.costs import lead, leaders
from attnbench.analysis.leading import between, compared, standings
from attnbench.analysis.rounds import ASSUMED


def drawn(
    ratios: Sequence[float],
    processes: int = 5,
    rounds: int = 4,
    between: float = 0.01,
    drift: float = 0.3,
    seed: int = 1,
) -> pd.DataFrame:
    """A block of cells with rounds: a cell has a level of its own in every process, and drift hits all alike."""
    rng = np.random.default_rng(seed)
    common = np.cumsum(drift * rng.standard_normal((processes, rounds)), 1)
    rows = []
    for place, ratio in enumerate(ratios):
        level = between * rng.standard_normal((processes, 1))
        times = 0.01 * ratio * np.exp(common + level + 0.01 * rng.standard_normal((processes, rounds)))
        known = {(r, n): float(times[r, n]) for r in range(processes) for n in range(rounds)}
        ends = {"time_low_s": times.min(), "time_high_s": times.max()}  # drift makes all of them overlap
        rows.append({"impl": f"a/{place}", "time_median_s": float(np.median(times)), "rounds": known, **ends})
    return pd.DataFrame(rows)


def of_medians(*rows: tuple[str, float, float, float]) -> pd.DataFrame:
    """Rows of implementation, median, low and high, without rounds."""
    return pd.DataFrame(rows, columns=["impl", "time_median_s", "time_low_s", "time_high_s"])


# How much slower the machine is in each of eight processes, as logarithms.
DRIFTED = dict(enumerate([0.0, 0.0, *[math.log(1.8)] * 6]))


def of_levels(*cells: Mapping[int, float], jitter: float = 0.004, seed: int = 1) -> pd.DataFrame:
    """A block of cells with the logarithms of their times in the processes that each was in, and the drift on top."""
    rng, rows = np.random.default_rng(seed), []
    for place, levels in enumerate(cells):
        logs = {at: log + DRIFTED[at] + jitter * rng.standard_normal() for at, log in levels.items()}
        known = {(at, n): math.exp(log + 0.001 * n) for at, log in logs.items() for n in range(4)}
        time = float(np.median([*known.values()]))
        rows.append({"impl": f"a/{place}", "cell_id": f"cell {place}", "status": "ok", "time_median_s": time})
        rows[-1] |= {"rounds": known, "time_low_s": time, "time_high_s": time}
    return pd.DataFrame(rows)


def in_processes(ratio: float, *processes: int) -> dict[int, float]:
    return dict.fromkeys(processes, math.log(ratio))


def test_the_fastest_is_whom_nobody_beats_though_the_machine_was_slower_when_others_rested() -> None:
    block = of_levels(in_processes(1.0, *range(8)), in_processes(1.6, 0, 1))
    assert block["time_median_s"][0] > block["time_median_s"][1]
    first = lead(block)
    assert (first.first, first.behind) == ("a/0", ("a/1",))
    assert first.ratio is not None
    assert first.ratio.value == pytest.approx(1.6, rel=0.02)
    assert {name: over.told for name, over in standings(block).items()} == {"cell 0": False, "cell 1": True}


def test_those_behind_stand_in_the_order_of_their_ratios_not_of_their_times() -> None:
    block = of_levels(in_processes(1, *range(8)), in_processes(4, 0, 1), in_processes(3, *range(8)))
    assert block["time_median_s"][1] < block["time_median_s"][2]
    assert list(leaders(block)[1]["impl"]) == ["a/2", "a/1"]
    first = lead(block)
    assert (first.second, first.behind) == ("a/2", ("a/2", "a/1"))


def test_where_each_of_three_beats_the_next_nobody_is_told() -> None:
    block = of_levels({0: 0.0, 2: 0.1}, {0: 0.1, 1: 0.0}, {1: 0.1, 2: 0.0 - DRIFTED[2]})
    assert len(lead(block).together) == 3


@pytest.mark.parametrize("order", [*itertools.permutations(range(4))])
def test_of_a_circle_the_one_with_the_least_defeat_is_first_whatever_came_first(order: Sequence[int]) -> None:
    """a beats b by 30 %, b beats c by 20 %, c beats a by 10 %, and all beat d: a is beaten by the least."""
    cells = [{0: 0.0, 2: 0.1}, {0: 0.3, 1: 0.0}, {1: 0.2, 2: 0.0}, {0: 0.9, 1: 0.9, 2: 0.9}]
    block = of_levels(*cells).iloc[list(order)]
    block = block.assign(time_median_s=[0.01 * (1 + place) for place in range(4)])  # so that each begins once
    assert lead(block).first == "a/0"


def test_who_stood_beside_nobody_takes_no_place_of_one_who_did() -> None:
    # The last was alone in another process, in which the machine was faster.
    block = of_levels(in_processes(1.0, 0, 1, 2, 3, 4), in_processes(1.5, 0, 1, 2, 3, 4), {5: math.log(0.95 / 1.8)})
    assert lead(block).first == "a/0"
    assert lead(block).behind == ("a/1",)


def test_two_processes_of_a_pair_are_two_though_the_block_has_three() -> None:
    """Twelve cells that agree by luck; no two of them were in more than two processes together."""
    block = of_levels(*[in_processes(1.0, at % 2, 2) for at in range(12)], jitter=0.001)
    assert between(block, 2, 0).spread >= ASSUMED
    assert between(block, 1, 0).processes == 1
    many = of_levels(*[in_processes(1.0, 0, 1, 2) for _ in range(12)], jitter=0.001)
    assert between(many, 2, 0).spread < ASSUMED / 4


def test_what_two_that_go_on_have_in_common_is_no_spread_of_theirs() -> None:
    """Four rest after two processes, and the machine is slower in those that follow."""
    for seed in range(5):
        block = of_levels(*[in_processes(1.0, *range(8))] * 2, *[in_processes(3.0, 0, 1)] * 4, seed=seed)
        assert between(block, 1, 0).spread < 0.02


def test_what_drifts_together_is_told_apart_though_every_interval_overlaps() -> None:
    block = drawn([1.0, 1.15, 1.6, 2.1])
    assert block["time_low_s"].max() < block["time_high_s"].min()
    ahead, behind = leaders(block)
    assert (list(ahead["impl"]), list(behind["impl"])) == (["a/0"], ["a/1", "a/2", "a/3"])


def test_twins_are_told_apart_by_nobody() -> None:
    assert all(len(leaders(drawn([1.0] * 8, seed=seed))[1]) == 0 for seed in range(40))


def test_rounds_are_not_pooled_over_processes() -> None:
    """A thousand rounds in each of five processes that differ say no more than five numbers."""
    block = drawn([1.0, 1.02], rounds=200, between=0.05, drift=0.0)
    assert len(leaders(block)[1]) == 0


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
@pytest.mark.parametrize("rounds", [1, 2, 6])
def test_what_takes_82_times_as_long_is_always_told_apart_and_two_percent_never_by_luck(
    processes: int, rounds: int
) -> None:
    for seed in range(5):
        block = drawn([1.0, 82.0, 1.02], processes, rounds, between=0.03, seed=seed)
        assert list(leaders(block)[1]["impl"]) == ["a/1"]


def test_a_process_that_differs_keeps_two_together() -> None:
    block = drawn([1.0, 1.2], between=0.0)
    other = {at: seconds * (0.5 if at[0] == 3 else 1.0) for at, seconds in block["rounds"][1].items()}
    block["rounds"] = pd.Series([block["rounds"][0], other], dtype=object)
    assert len(leaders(block)[1]) == 0


def test_two_that_agree_by_luck_are_judged_by_what_the_block_shows() -> None:
    """Five processes that agree to a millesimal where all others differ by a tenth."""
    restless = drawn([1.0] * 8, between=0.1, drift=0.0, seed=3)
    steady = drawn([1.0, 1.01], between=0.0, drift=0.0)
    exact = [dict.fromkeys(restless["rounds"][0], value) for value in (0.005, 0.00505)]
    alone = steady.assign(rounds=pd.Series(exact, dtype=object), time_median_s=[0.005, 0.00505])
    assert len(leaders(alone)[1]) == 1
    together = pd.concat([alone, restless.assign(impl=[f"b/{n}" for n in range(8)])], ignore_index=True)
    assert "a/1" in list(leaders(together)[0]["impl"])


def test_a_lead_names_the_runner_up_with_its_interval_and_what_it_rests_on() -> None:
    first = lead(drawn([1.0, 1.5, 3.0]))
    assert (first.first, first.together, first.behind, first.second) == ("a/0", ("a/0",), ("a/1", "a/2"), "a/1")
    assert first.ratio is not None
    assert first.ratio.low < 1.5 < first.ratio.high
    assert (first.ratio.n, first.rests_on) == (5, "5 processes")
    assert first.ratio.p is not None
    assert first.ratio.p < 1e-4
    few = lead(drawn([1.0, 1.5, 3.0], processes=1))
    assert few.rests_on is not None
    assert "one process only" in few.rests_on
    alone = lead(drawn([1.0]))
    assert (alone.together, alone.behind, alone.second, alone.ratio) == (("a/0",), (), None, None)


def test_of_two_that_are_not_told_apart_the_second_is_still_named() -> None:
    tied = lead(drawn([1.0, 1.001, 1.002]))
    assert len(tied.together) == 3
    assert tied.second == tied.together[1]
    assert tied.ratio is not None
    assert tied.ratio.low < 1 < tied.ratio.high


def test_any_two_cells_are_compared_by_their_places() -> None:
    block = drawn([1.0, 1.3, 2.6])
    both, back = (between(block, *places).interval() for places in ((2, 1), (1, 2)))
    assert both.low < 2 < both.high
    assert both.value == pytest.approx(1 / back.value)


def test_every_cell_is_compared_with_the_fastest_in_the_order_of_times() -> None:
    seen = compared(drawn([2.0, 1.0, 1.001]))
    assert [each.told for each in seen] == [False, False, True]
    assert seen[0].ratio is None


@pytest.mark.parametrize(
    ("second", "together"),
    [
        (("b", 20.0, 19.0, 22.0), ["a"]),
        (("b", 1.2, 1.1, 1.3), ["a", "b"]),  # one process, as another tool's file has it, says little
        (("b", 2.0, math.nan, math.nan), ["a", "b"]),
        (("b", 82.0, math.nan, math.nan), ["a"]),
        (("b", 1.0, 0.9, 1.1), ["a", "b"]),  # as fast: by name
    ],
)
def test_without_rounds_medians_and_a_large_assumed_spread_decide(
    second: tuple[str, float, float, float], together: list[str]
) -> None:
    ahead, behind = leaders(of_medians(second, ("a", 1.0, 0.9, 1.1)))
    assert list(ahead["impl"]) == together
    assert list(behind["impl"]) == [name for name in ("a", "b") if name not in together]
