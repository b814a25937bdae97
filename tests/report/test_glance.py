"""What stands first on a page: the grid, the advice, the forest, the conditions, and the commands of cells."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from attnbench.analysis.claims import claims, expectation, judge
from attnbench.analysis.intervals import Interval
from attnbench.analysis.leading import leaders, standings
from attnbench.analysis.sampled import load_sampled
from attnbench.report import claimed
from attnbench.report.glance import advice, cases, conditions, forest, grid
from attnbench.results.frames import records
from attnbench.results.read import read_info
from attnbench.results.schema import Imported
from tests.results import synthetic

FAILED = {
    ("numpy/naive", 512): ("oom", "needs 9.0 GiB"),
    ("jax/nn-xla", 128): ("unsupported", "no"),
    ("jax/nn-xla", 512): ("unsupported", "no"),
    ("torch/naive", 128): ("not-run", "the budget was spent"),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """torch/sdpa is by far the fastest; jax/naive and torch/naive take equally long."""
    factors = {"torch/sdpa": 1.0, "torch/naive": 0.75}
    return synthetic.write_run(tmp_path_factory.mktemp("r"), failed=FAILED, factors=factors, bursts=12)


@pytest.fixture(scope="module")
def frame(run: Path) -> pd.DataFrame:
    return load_sampled(run)


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """torch/sdpa and jax/naive are equal, and the others behind."""
    factors = {"jax/naive": 1.1e-3 / 3e-3}
    impls = ("torch/sdpa", "jax/naive", "numpy/naive")
    return load_sampled(synthetic.write_run(tmp_path_factory.mktemp("t"), factors=factors, impls=impls))


def cells(answer: grid.AnswerGrid | None, impl: str) -> list[grid.GridCell]:
    assert answer is not None
    return [cell for row in answer.rows for cell in row.cells if cell.impl == impl]


def test_the_grid_has_a_row_for_each_case_and_libraries_beside_each_other(frame: pd.DataFrame) -> None:
    answer = grid.grid_of(frame)
    assert answer is not None
    assert [row.name for row in answer.rows] == [
        "T = 128, not causal", "T = 512, not causal", "T = 128, causal", "T = 512, causal",
    ]  # fmt: skip
    assert answer.rows[0].case == "forward B1 H4 T128 D64 float32"
    assert answer.libraries == (("numpy", 2), ("torch", 2), ("jax", 1))
    assert answer.absent == ("jax/nn-xla",)
    assert answer.kinds == {"fastest", "behind", "failed", "not-run"}


def test_a_measured_cell_says_its_ratio_and_a_mark_its_reason(frame: pd.DataFrame) -> None:
    answer = grid.grid_of(frame)
    assert [(cell.kind, cell.text, cell.step) for cell in cells(answer, "torch/sdpa")] == [("fastest", "1.00", 0)] * 4
    oom = cells(answer, "numpy/naive")[1]
    assert (oom.kind, oom.text, oom.words) == ("failed", "✕", "oom: needs 9.0 GiB")
    assert cells(answer, "torch/naive")[0].kind == "not-run"
    slow = cells(answer, "numpy/blocked")[0]
    assert slow.kind == "behind"
    assert slow.step == 5
    assert "times the fastest; slower than the fastest; peak memory" in slow.words


def test_ties_are_those_of_the_paired_rounds(tied: pd.DataFrame) -> None:
    answer = grid.grid_of(tied)
    assert {cell.kind for impl in ("torch/sdpa", "jax/naive") for cell in cells(answer, impl)} == {"tied"}
    assert {cell.kind for cell in cells(answer, "numpy/naive")} == {"behind"}
    for (_, block), row in zip(
        tied.groupby(["block_id", "case_id"], sort=False), answer.rows if answer else (), strict=True
    ):
        together, _ = leaders(block)
        assert {cell.impl for cell in row.cells if cell.kind == "tied"} == set(together["impl"])


def test_the_fastest_of_a_tie_is_not_said_to_be_slower_than_itself(tied: pd.DataFrame) -> None:
    for row in answer.rows if (answer := grid.grid_of(tied)) else ():
        first, other = sorted((cell for cell in row.cells if cell.kind == "tied"), key=lambda cell: bool(cell.within))
        assert "; the fastest, and others are not told from it" in first.words
        assert "; not told from the fastest" in other.words


def test_cases_are_told_together_only_where_the_same_one_is_fastest(tied: pd.DataFrame) -> None:
    ahead = [0.99 if (row["impl"] == "jax/naive") == (row["T"] == 128) else 1.0 for row in short(tied)]
    said = advice.advice_of(slowed(tied, [1.01 * factor for factor in ahead]))
    assert said is not None
    by_first = {outcome.first: outcome.cases for outcome in said.kinds[0].outcomes}
    for first, names in by_first.items():
        assert {name.partition(",")[0] for name in names} <= {"T = 128" if first == "jax/naive" else "T = 512"}


def slowed(frame: pd.DataFrame, by: list[float]) -> pd.DataFrame:
    """The frame with each row so many times as slow, in its rounds and in its times."""
    rounds = [
        {place: factor * seconds for place, seconds in row["rounds"].items()}
        for row, factor in zip(records(frame), by, strict=True)
    ]
    times = {name: frame[name] * by for name in ("time_median_s", "time_low_s", "time_high_s")}
    return frame.assign(rounds=pd.Series(rounds, frame.index, object), **times)


def test_the_grid_cannot_call_a_tie_where_the_rounds_tell(tied: pd.DataFrame) -> None:
    answer = grid.grid_of(slowed(tied, [3.0 if impl == "jax/naive" else 1.0 for impl in tied["impl"]]))
    assert {cell.kind for cell in cells(answer, "torch/sdpa")} == {"fastest"}
    assert {cell.kind for cell in cells(answer, "jax/naive")} == {"behind"}


def test_what_the_run_never_reached_keeps_its_column_and_is_not_called_unsupported(frame: pd.DataFrame) -> None:
    never = [impl == "torch/naive" for impl in frame["impl"]]
    answer = grid.grid_of(frame.assign(status=frame["status"].mask(pd.Series(never, frame.index), "not-run")))
    assert answer is not None
    assert answer.absent == ("jax/nn-xla",)
    assert [cell.text for cell in cells(answer, "torch/naive")] == ["…"] * 4
    assert grid.grid_of(frame.assign(status="not-run")) is None


def test_observed_cells_have_no_grid_and_no_advice(frame: pd.DataFrame) -> None:
    assert grid.grid_of(frame.assign(status="unsupported")) is None
    observed = frame.assign(kind="observed")
    assert grid.grid_of(observed) is None
    assert advice.advice_of(observed) is None


def test_cases_that_share_their_levels_are_told_apart_by_the_whole_case(frame: pd.DataFrame) -> None:
    same = frame.assign(**{"point.T": 1, "point.causal": True})
    names = cases.case_names(same)
    assert len(set(names.values())) == 4
    assert all("forward" in name for name in names.values())


def test_the_advice_names_the_leader_of_all_cases(frame: pd.DataFrame) -> None:
    said = advice.advice_of(frame)
    assert said is not None
    assert said.sentence == "Use torch/sdpa: fastest in all 4 cases."
    (kind,) = said.kinds
    assert kind.name == "Forward pass, float32"
    (outcome,) = kind.outcomes
    assert (outcome.where, outcome.first, outcome.ties) == ("4 cases", "torch/sdpa", "")
    least = min(_next_low(block) for _, block in frame[frame["status"] == "ok"].groupby("block_id"))
    assert outcome.sure.endswith(f"takes at least {least:.2f} times as long")
    assert said.rests_on.startswith("How sure: 95 % intervals by paired rounds, 2 processes only")


def _next_low(block: pd.DataFrame) -> float:
    """The low end of the interval of the first that is told from the fastest, by the columns of tables."""
    ratios = [over.ratio for over in standings(block).values() if over.told and over.ratio is not None]
    return min(ratios, key=lambda ratio: ratio.value).low


def without(frame: pd.DataFrame, impl: str, T: int) -> pd.DataFrame:
    """The frame with an implementation that crashed at a length."""
    status = ["crashed" if row["impl"] == impl and row["point.T"] == T else row["status"] for row in records(frame)]
    return frame.assign(status=status)


def test_nobody_is_fastest_in_all_cases_who_failed_in_one(tied: pd.DataFrame) -> None:
    lonely = without(without(tied, "jax/naive", 512), "numpy/naive", 512)
    both = advice.advice_of(lonely)
    assert both is not None
    assert both.sentence == (
        "Use torch/sdpa: fastest, or not told from the fastest, or the only one measured, in all 4 cases."
    )
    assert [(o.first, o.sure) for o in both.kinds[0].outcomes if o.where.startswith("T = 512")] == [
        ("torch/sdpa", "nothing else was measured")
    ]
    nobody = advice.advice_of(without(without(without(tied, "torch/sdpa", 512), "numpy/naive", 512), "jax/naive", 128))
    assert nobody is not None
    assert nobody.sentence.startswith("No implementation leads everywhere: choose by the case.")


def test_cases_of_which_nothing_was_measured_are_not_counted_as_won(frame: pd.DataFrame) -> None:
    lost = frame["point.T"] == 512
    said = advice.advice_of(frame.assign(status=frame["status"].mask(lost, "crashed")))
    assert said is not None
    assert said.sentence == "Use torch/sdpa: fastest in all 2 cases that were measured, of 4."
    one = frame["point.causal"] | lost
    said = advice.advice_of(frame.assign(status=frame["status"].mask(one, "crashed")))
    assert said is not None
    assert said.sentence == "Use torch/sdpa: fastest in the one case that was measured, of 4."
    nothing = advice.advice_of(frame.assign(status="crashed"))
    assert nothing == advice.Advice("Nothing was measured: 24 crashed.", (), "")


def test_the_advice_says_who_is_tied(tied: pd.DataFrame) -> None:
    said = advice.advice_of(tied)
    assert said is not None
    assert "fastest, or not told from the fastest, in all 4 cases" in said.sentence
    outcomes = said.kinds[0].outcomes
    assert {outcome.first for outcome in outcomes} | {outcome.ties for outcome in outcomes} == {
        "torch/sdpa",
        "jax/naive",
    }
    assert all("the next, numpy/naive, takes at least" in outcome.sure for outcome in outcomes)


def short(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{"impl": row["impl"], "T": row["point.T"]} for row in records(frame)]


def test_the_advice_chooses_by_the_case_where_nobody_leads_everywhere(tied: pd.DataFrame) -> None:
    changed = slowed(tied, [3.0 if (row["impl"] == "jax/naive") == (row["T"] == 128) else 1.0 for row in short(tied)])
    said = advice.advice_of(changed)
    assert said is not None
    assert said.sentence.startswith("No implementation leads everywhere: choose by the case. If it has to be one: ")
    assert "whose worst case is the mildest: " in said.sentence
    assert said.sentence.endswith("It is the fastest, or not told from it, in 2 of 4 cases.")
    assert {outcome.first for outcome in said.kinds[0].outcomes} == {"torch/sdpa", "jax/naive"}


FIRST = "attnbench run smoke --impl numpy/naive"


@pytest.mark.parametrize(
    ("change", "command"),
    [
        ({}, "attnbench run smoke --impl numpy/naive -a T=128 -a causal=False --threads 1"),
        (
            {"device": "cuda"},
            "attnbench run smoke --impl numpy/naive --device cuda -a T=128 -a causal=False --threads 1",
        ),
        ({"point.causal": "a, b"}, "attnbench run smoke --impl numpy/naive -a T=128 -a 'causal=\"a, b\"' --threads 1"),
        ({"impl": "a/b; rm x"}, "attnbench run smoke --impl 'a/b; rm x' -a T=128 -a causal=False --threads 1"),
        ({"imported": "asv"}, ""),
    ],
)
def test_a_cell_has_its_command(run: Path, frame: pd.DataFrame, change: dict[str, Any], command: str) -> None:
    row = next(iter(records(frame))) | change
    assert cases.command(read_info(run), row) == command


def test_a_command_carries_files_and_workloads(run: Path, frame: pd.DataFrame) -> None:
    row = next(iter(records(frame)))
    typed = ("attnbench", "run", "smoke", "--impls", "my file.py", "--workload=8x 2q2k", "--budget", "5m")
    words = shlex.split(cases.command(read_info(run).model_copy(update={"command": typed}), row))
    assert words[2:6] == ["--impls", "my file.py", "--workload", "8x 2q2k"]
    assert "--budget" not in words
    last = ("attnbench", "run", "smoke", "--impls=mine.py")
    words = shlex.split(cases.command(read_info(run).model_copy(update={"command": last}), row))
    assert words[3:5] == ["--impls", "mine.py"]


def test_the_conditions_are_few_and_named(run: Path, frame: pd.DataFrame) -> None:
    facts = conditions.conditions(read_info(run), frame)
    assert list(facts) == ["Machine", "Noise", "Date", "Versions"]
    assert facts["Machine"] == "Example CPU @ 2.60GHz, 2 cores, virtual machine"
    assert facts["Date"] == "2026-01-02 03:04:05 UTC"
    assert "half of the times are known to ±" in facts["Noise"]
    assert "2 processes for each cell" in facts["Noise"]
    theirs = read_info(run).model_copy(update={"imported": Imported(tool="asv", file="theirs.json")})
    assert "disturbed bursts" in facts["Noise"]
    assert "disturbed bursts" not in conditions.conditions(theirs, frame)["Noise"]
    assert "Noise" not in conditions.conditions(read_info(run), frame.head(0))


def row(claim: str, value: float, low: float, high: float, p: float | None = None) -> dict[str, Any]:
    return judge(claim, Interval(value, low, high, 8), ("numpy/naive",), p).row()


def drawn(verdict: dict[str, Any]) -> forest.ForestLine:
    ((line,),) = forest.forest([("s", verdict)]).values()
    return line


def test_every_claim_has_a_scale_on_which_its_verdict_can_be_read() -> None:
    for name, claim in claims().items():
        ends = [end for end in (claim.low, claim.high) if abs(end) != float("inf")]
        inside = sum(ends) / len(ends)
        (line,) = (
            line for lines in forest.forest([("s", row(name, inside, inside, inside, 0.01))]).values() for line in lines
        )
        assert line.within is not None, name
        (mark,) = line.marks
        assert mark.middle is not None
        assert line.within[0] - 1e-9 <= mark.middle <= line.within[1] + 1e-9, name
        null = claim.null if not claim.equivalence else inside
        (other,) = (
            line for lines in forest.forest([("s", row(name, null, null, null, 0.9))]).values() for line in lines
        )
        assert abs(other.marks[0].middle or 0.0) < 1e-9, name


def test_claims_that_did_not_hold_come_first_and_verdicts_that_differ_stand_together() -> None:
    rows = [
        row("variance-grows-as-d", 1.0, 0.995, 1.004, 0.01),
        row("scale-holds-variance", 1.5, 1.2, 1.7),
        row("dot-faster", 20.0, 15.0, 30.0),
        row("dot-faster", 5.0, 4.0, 6.0),
        judge("dot-smaller", None).row(),
    ]
    found = forest.forest([("s", each) for each in rows])
    assert list(found) == ["contradicted", "differs by implementation", "reproduced", "out of scope"]
    (both,) = found["differs by implementation"]
    assert both.counted == "1 reproduced, 1 direction only"
    assert len(both.marks) == 2
    assert found["out of scope"][0].marks[0].text == "not measured"


def test_two_claims_are_never_taken_for_the_same() -> None:
    every = forest.forest([("s", row(name, 0.5, 0.4, 0.6)) for name in claims()])
    assert sum(map(len, every.values())) == len(claims())
    assert {len(line.marks) for lines in every.values() for line in lines} == {1}


def test_rates_are_said_in_words_with_their_units(run: Path) -> None:
    ceilings = {"float32_flop_rate.cpu.threads1": 1.06e11, "copy_bytes_rate.cuda.threads2": 3.66e10}
    ceilings |= {"exp_rate.cpu.threads1": 2.2e9, "something odd": 3.0}
    assert conditions.rates(read_info(run).model_copy(update={"ceilings": ceilings})) == {
        "float32 matrix products, measured (cpu, 1 thread)": "106 billion operations in a second",
        "copies in memory, measured (cuda, 2 threads)": "36.6 billion bytes read and written in a second",
        "evaluations of exp, measured (cpu, 1 thread)": "2.20 billion in a second",
        "something odd, measured": "3.00",
    }


OWN = expectation("more is better", "accuracy", low=0.05)


@pytest.mark.parametrize(
    ("claims_of", "named", "title"),
    [
        (["dot-faster", "variance-grows-as-d"], "2 published claims", claimed.TITLE),
        ([OWN, replace(OWN, claim="less is worse")], "2 claims of this suite", claimed.OF_ITS_OWN),
        ([OWN, "dot-faster"], "2 claims", claimed.OF_BOTH),
    ],
)
def test_claims_of_a_suite_of_ones_own_are_not_called_published(claims_of: list[Any], named: str, title: str) -> None:
    rows = [judge(claim, Interval(1.0, 0.9, 1.1, 8)).row() for claim in claims_of]
    drawn = forest.forest(("mine", row) for row in rows)
    assert f"2 {forest.forest_noun(drawn)}" == named
    assert claimed.tally(rows).startswith(f"Held against {named}: ")
    assert claimed.claims_table(rows).title == title
    assert "published" not in claimed.spelled(rows) or "published" in named
