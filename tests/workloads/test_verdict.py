"""The answer for a mix: right on both sides of a flip, the flip within its interval, and nothing told of twins."""

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from attnbench.workloads.asked_for import workload
from attnbench.workloads.mixes import Workload
from attnbench.workloads.parts import parts
from attnbench.workloads.said import findings, rows, sentences
from attnbench.workloads.shown import over_the_winner, totals
from attnbench.workloads.totals import Seconds, chosen_by_others, geometric_mean, served
from attnbench.workloads.verdict import NEVER, ServingVerdict, as_dict, verdict
from tests.workloads.rates import FOR_DECODE, FOR_PREFILL, planted, specialists, twins, twins_in_more_ways
from tests.workloads.simulated import Costs, flip_of, frame, row

PREFILLING, DECODING = "64x 512q512, 4x 1q1k", "1x 64q64, 400x 1q1k"
TWIN = {"prefill": 1e-8, "decode": 5e-8}


def answered(mix: Workload | str, costs: Costs, *, processes: int = 5, batches: bool = False) -> ServingVerdict:
    """The verdict on one simulated run."""
    asked_for = workload(mix) if isinstance(mix, str) else mix
    (known,) = served(frame(asked_for, costs, np.random.default_rng(3), processes=processes, batches=batches))
    return verdict(known)


@pytest.mark.parametrize(("mix", "best"), [(PREFILLING, FOR_PREFILL), (DECODING, FOR_DECODE)])
def test_the_right_one_is_named_on_both_sides_of_the_flip(mix: str, best: str) -> None:
    costs = specialists(1.0)
    answer = answered(mix, costs)
    assert (answer.single, answer.rivals) == (best, ())
    assert answer.pair == {"prefill": FOR_PREFILL, "decode": FOR_DECODE}
    assert answer.gain is not None
    assert answer.gain.value > 1
    (flip,) = answer.flips
    truth = flip_of(workload(mix), costs, FOR_DECODE, FOR_PREFILL)
    assert flip.at is not None
    assert flip.low is not None
    assert flip.high is not None
    assert flip.low <= truth <= flip.high
    assert flip.high - flip.low < 0.3 * truth
    assert (flip.below, flip.above) == (FOR_DECODE, FOR_PREFILL)
    assert (answer.share or 0) > flip.high if best == FOR_PREFILL else (answer.share or 0) < flip.low
    said = " ".join(sentences(answer))
    assert said.startswith(f"Best for this mix: {FOR_PREFILL} for prefill with {FOR_DECODE} for decode, ")
    assert f"the best single one, {best}, which takes" in said
    assert "The winner flips at a share of prefill of" in said


def test_one_that_is_better_in_both_never_flips() -> None:
    answer = answered(DECODING, {"numpy/a": TWIN, "numpy/b": {"prefill": 1.5e-8, "decode": 6e-8}})
    assert (answer.single, answer.pair, answer.flips, answer.no_flip) == ("numpy/a", None, (), NEVER)
    assert "alone" in sentences(answer)[0]


def test_of_twins_nothing_is_named() -> None:
    answer = answered(DECODING, {"numpy/a": TWIN, "numpy/b": TWIN})
    assert len(answer.rivals) == 1
    assert (answer.pair, answer.told, answer.flips_told) == (None, False, ())
    assert "cannot be told" in sentences(answer)[0]
    assert any("cannot be told" in sentence for sentence in sentences(answer)[1:])


def test_a_twin_of_a_specialist_is_said_beside_the_pair() -> None:
    answer = answered(DECODING, {**specialists(1.0), "numpy/twin": specialists(1.0)[FOR_DECODE]})
    assert answer.pair is not None
    assert len(answer.stage_best["decode"][1]) == 1
    assert "Not told from the pair's halves: decode: " in " ".join(sentences(answer))


def test_with_two_processes_nothing_is_told() -> None:
    answer = answered(DECODING, specialists(1.0), processes=2)
    assert not answer.told
    assert all("too few to tell" in flip.reason for flip in answer.flips)


def test_a_mix_of_one_stage_has_no_flip() -> None:
    answer = answered("3x 1q1k, 1x 4q2k", specialists(1.0))
    assert (answer.single, answer.no_flip) == (FOR_DECODE, "the mix has decode alone")
    assert "flips: the mix has decode alone" in " ".join(sentences(answer))


def test_the_way_that_takes_least_counts_and_what_it_saves_is_said() -> None:
    answer = answered("4x 1q512, 4x 1q1k, 2x 64q64", {"numpy/a": TWIN}, batches=True)
    assert answer.served.ways_of("numpy/a") == {"decode": "padded", "prompt": "padded"}
    said = " ".join(sentences(answer))
    assert "decode: one padded call for a batch takes 0.9" in said or "takes 0.8" in said


def without(known: pd.DataFrame, impl: str, stage: str) -> pd.DataFrame:
    """The same run in which an implementation does not support a stage."""
    queries = known["point.part"].str.contains("1q") == (stage == "decode")
    mine = (known["impl"] == impl) & queries
    return known.assign(status=known["status"].mask(mine, "unsupported"), reason=known["reason"].mask(mine, "no cache"))


def test_a_pair_is_named_where_nobody_serves_all_and_what_is_missing_is_said() -> None:
    known = frame(workload(DECODING), specialists(1.0), np.random.default_rng(1))
    known = without(without(known, FOR_PREFILL, "decode"), FOR_DECODE, "prefill")
    (mix,) = served(known)
    answer = verdict(mix)
    assert answer.single is None
    assert answer.pair == {"prefill": FOR_PREFILL, "decode": FOR_DECODE}
    assert answer.told
    said = sentences(answer)
    assert "no implementation serves all of it" in said[0]
    assert f"decode: {FOR_PREFILL}: unsupported (no cache)" in said[-1]
    assert {texts[0]: texts[1] for texts in rows(answer)} == {FOR_PREFILL: "–", FOR_DECODE: "–"}


def test_a_part_that_failed_takes_the_total_with_it() -> None:
    known = frame(workload("2x 1q1k, 2x 1q2k, 1x 64q64"), specialists(1.0), np.random.default_rng(1))
    mine = (known["impl"] == FOR_DECODE) & (known["point.part"] == "2x 1q2k")
    known = known.assign(status=known["status"].mask(mine, "wrong"), reason=known["reason"].mask(mine, "off by 3"))
    (mix,) = served(known)
    assert set(mix.totals()) == {FOR_PREFILL}
    assert mix.lacking["decode"] == {FOR_DECODE: "wrong (off by 3)"}


def test_settings_are_answered_by_themselves() -> None:
    known = frame(workload(DECODING), specialists(1.0), np.random.default_rng(1))
    both = pd.concat([known, known.assign(threads=2)])
    assert [mix.setting["threads"] for mix in served(both)] == [1, 2]
    assert sum("Best for this mix" in sentence for sentence in findings(both)) == 2


def test_runs_are_answered_by_themselves() -> None:
    known = frame(workload(DECODING), specialists(1.0), np.random.default_rng(1)).assign(run_id="first")
    assert [mix.setting["run_id"] for mix in served(pd.concat([known, known.assign(run_id="second")]))] == [
        "first",
        "second",
    ]


def test_of_a_pair_where_nobody_serves_all_both_halves_must_be_told() -> None:
    known = frame(workload(DECODING), specialists(1.0), np.random.default_rng(1))
    known = without(without(known, FOR_PREFILL, "decode"), FOR_DECODE, "prefill")
    twin = known[known["impl"] == FOR_DECODE].assign(impl="numpy/twin")
    (mix,) = served(pd.concat([known, twin]))
    answer = verdict(mix)
    assert (answer.pair, answer.told) == (None, False)
    assert "the best pair cannot be told" in sentences(answer)[0]


def test_who_is_best_in_one_stage_and_lacks_the_other_makes_no_winner_that_never_flips() -> None:
    known = frame(workload(DECODING), specialists(1.0), np.random.default_rng(1))
    (mix,) = served(without(known, FOR_DECODE, "prefill"))
    assert f"{FOR_DECODE} (decode) is faster there" in verdict(mix).no_flip


def test_an_empty_or_failed_run_has_no_answer() -> None:
    part = parts(workload("2x 1q1k"))[0]
    failed = pd.DataFrame([row("numpy/a", part, "each", {}, status="crashed", reason="SIGSEGV")])
    (mix,) = served(failed)
    answer = verdict(mix)
    assert (answer.single, answer.told) == (None, False)
    assert "No implementation serves" in sentences(answer)[0]
    assert served(failed.iloc[:0]) == []


def _thinned(rows: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The same run on a machine so busy that each cell kept a random few of its processes, or none."""
    kept = rows.copy()
    columns = [str(name) for name in kept if str(name).startswith("metric.round.")]
    for place in kept.index:
        share = rng.uniform()
        lost = {process for process in range(5) if rng.uniform() < share}
        kept.loc[place, [name for name in columns if int(name.split(".")[2]) in lost]] = np.nan
    return kept


def test_whatever_processes_a_busy_machine_left_there_is_an_answer() -> None:
    rng = np.random.default_rng(7)
    mixes = workload("8x 512q512, 4x 1q1k, 4x 1q512"), workload("8x 512q512, 4x 1q1k")
    runs = [frame(mix, specialists(1.0), rng, batches=batches) for mix in mixes for batches in (True, False)]
    never = 0
    for number in range(60):
        rows_left = _thinned(runs[number % len(runs)], rng)
        (mix,) = served(rows_left)
        answer = verdict(mix)
        said = " ".join([*sentences(answer), *(" ".join(line) for line in rows(answer)), *findings(rows_left)])
        assert "nan" not in said
        assert "inf" not in said.replace("info", "")
        json.dumps(as_dict(answer), allow_nan=False)
        totals(rows_left)
        over_the_winner(rows_left)
        never += bool(mix.never_whole())
        for impl in mix.never_whole():
            assert f"{impl}: no process measured all of it" in said or f"{impl}, numpy" in said
    assert never


def test_the_answer_as_json_and_its_figures() -> None:
    known = frame(workload(DECODING), specialists(1.0), np.random.default_rng(1))
    (mix,) = served(known)
    data = json.loads(json.dumps(as_dict(verdict(mix))))
    assert data["pair"] == {"prefill": FOR_PREFILL, "decode": FOR_DECODE}
    assert set(data["flips"][0]) == {"at", "low", "high", "query_share", "faster_below", "faster_above", "reason"}
    assert data["calls"] == {"prefill": 1, "decode": 400}
    drawn = totals(known)
    assert set(drawn["stage"]) == {"prefill", "decode"}
    ratios = over_the_winner(known)
    assert ratios.groupby("share")["ratio"].min().eq(1).all()


def test_a_panel_names_its_run_and_its_mix_only_among_several() -> None:
    known = frame(workload(DECODING), specialists(1.0), np.random.default_rng(1)).assign(run_id="first")
    (alone,) = set(totals(known)["setting"])
    assert "first" not in alone
    both = pd.concat([known, known.assign(run_id="second")])
    for drawn in (totals(both), over_the_winner(both)):
        assert set(drawn["setting"]) == {f"first, {alone}", f"second, {alone}"}


def test_rates_on_drawn_mixes() -> None:
    """A small part of what ``python -m tests.workloads.rates`` counts."""
    rates = planted(25, 0.3)
    assert rates.seen["above"] >= 5
    assert rates.seen["below"] >= 5
    assert rates.seen["wrong"] == 0
    assert rates.of("right") >= 0.7
    assert rates.seen["flip told"] >= 22
    assert rates.seen["flip inside"] >= 0.85 * rates.seen["flip told"]
    assert twins(20).of("told") <= 0.1


def taking_least(by_way: Mapping[str, Seconds]) -> dict[int, str]:
    """The way that takes least by the very times that then count: the choice that was wrong."""
    best = min(by_way, key=lambda way: geometric_mean(by_way[way]))
    return dict.fromkeys(by_way[best], best)


def test_who_is_called_in_more_ways_leads_no_more_often_than_his_twin(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = twins_in_more_ways(60)
    assert 0.3 <= rates.of("many ways lead") <= 0.7
    assert rates.of("told") <= 0.1
    monkeypatch.setattr("attnbench.workloads.totals.chosen_by_others", taking_least)
    assert twins_in_more_ways(60).of("many ways lead") >= 0.8


def test_the_way_of_a_process_is_chosen_by_the_others() -> None:
    each, padded = {0: 1.0, 1: 1.0, 2: 1.0}, {0: 0.1, 1: 1.2, 2: 1.2}
    assert chosen_by_others({"each": each, "padded": padded}) == {0: "each", 1: "padded", 2: "padded"}
    assert chosen_by_others({"padded": {0: 0.1}, "each": {0: 1.0}}) == {0: "each"}  # nobody else: what stands first
    assert chosen_by_others({"padded": {0: 1.0, 1: 1.0}}) == {0: "padded", 1: "padded"}


def test_ways_of_blocks_at_other_times_are_told_apart_by_more_only() -> None:
    costs = {"numpy/a": TWIN, "numpy/b": {"prefill": 1.15e-8, "decode": 5.75e-8}}
    known = frame(workload("64x 64q64"), costs, np.random.default_rng(3), batches=True)
    ways = {"numpy/a": "padded", "numpy/b": "each"}  # each of them takes one way only
    known = known[known["point.way"] == known["impl"].map(ways)]
    (together,) = served(known.assign(block_id="one"))
    (elsewhere,) = served(known.assign(block_id=known["point.way"]))
    assert together.apart("numpy/a", "numpy/b") is False
    assert elsewhere.apart("numpy/a", "numpy/b") is True
    assert verdict(together).behind
    wider, narrow = verdict(elsewhere).compared["all of it"][0], verdict(together).compared["all of it"][0]
    assert wider.ratio.low < narrow.ratio.low < narrow.ratio.high < wider.ratio.high
    assert wider.ratio.high / wider.ratio.low > 1.2


@pytest.mark.slow
@pytest.mark.proof
def test_rates_at_large() -> None:
    for gain in (0.05, 0.1, 0.3, 2.0):
        rates = planted(400, gain)
        assert rates.of("wrong") <= 0.025
        assert rates.of("wrong pair") <= 0.025
        assert rates.seen["flip inside"] >= 0.92 * rates.seen["flip told"]
    for rates in (drawn(200, count) for drawn in (twins, twins_in_more_ways) for count in (2, 9)):
        assert rates.of("told") <= 0.05
        assert rates.of("flip told") <= 0.05


def test_runs_of_two_machines_have_an_answer_each_that_says_whose_it_is() -> None:
    asked_for = workload(PREFILLING)
    costs = {"m1": specialists(1.0), "m2": {"numpy/a": TWIN, "numpy/b": {"prefill": 1.5e-8, "decode": 6e-8}}}
    parted = [
        frame(asked_for, mine, np.random.default_rng(3)).assign(run_id=f"run-of-{name}", machine_id=name)
        for name, mine in costs.items()
    ]
    both = [verdict(mix) for mix in served(pd.concat(parted))]
    assert [answer.single for answer in both] == [FOR_PREFILL, "numpy/a"]
    alone = [verdict(mix) for rows_of_one in parted for mix in served(rows_of_one)]
    assert [answer.compared for answer in both] == [answer.compared for answer in alone]
    assert [as_dict(answer)["machine_id"] for answer in both] == ["m1", "m2"]
    said = findings(pd.concat(parted))
    assert [sum(f"machine {name}, run run-of-{name}" in line for line in said) for name in costs] == [1, 1]
