"""``best``: who is named and who is not, who is left out and why, and what an answer from a saved run rests on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import attnbench as ab
from attnbench.answers.able import Able
from attnbench.answers.answer import EXIT_CODES
from attnbench.answers.best import answered
from attnbench.answers.order import order
from attnbench.answers.question import Wanted, WhichOne, question
from attnbench.answers.sieve import KINDS
from attnbench.answers.words import SENTENCES, AnswersByMachine, BestAnswer
from attnbench.errors import ResultsError, UsageError
from attnbench.results.schema import Hardware, Sample
from attnbench.results.summary import summarise
from tests.answers import planted
from tests.answers.planted import ASKED, Planted, PlantedRun, wrong
from tests.program import Cli

NAIVE, BLOCKED, SDPA, JAX = "numpy/naive", "numpy/blocked", "torch/sdpa", "jax/naive"
TWINS = {NAIVE: Planted(), BLOCKED: Planted()}
APART = {NAIVE: Planted(1.5), BLOCKED: Planted()}
ELSEWHERE = Hardware(architecture="x86_64", cpu_model="Example CPU", logical_cores=64)


@pytest.fixture(autouse=True)
def _a_machine_without_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNBENCH_DATA", str(tmp_path / "data"))


def of(folder: Path, planted_: Mapping[str, Planted], asked: WhichOne = ASKED, **run: Any) -> BestAnswer:
    """The answer from one planted run."""
    measured = replace(asked, wanted=Wanted(asked.device))
    return answered(asked, [planted.write(folder, planted_, PlantedRun(asked=measured, **run))])


def reasons(answer: BestAnswer) -> dict[str, tuple[str, str]]:
    return {left.impl: (left.kind, left.reason) for left in answer.left_out}


def test_of_two_twins_neither_is_named_and_the_price_of_telling_them_apart_is_said(tmp_path: Path) -> None:
    answer = of(tmp_path, TWINS)
    assert (answer.verdict, answer.best, answer.exit_code) == ("either", None, 3)
    assert set(answer.names) == {NAIVE, BLOCKED}
    assert answer.price is not None
    assert str(answer).startswith(f"Either of {', '.join(answer.names)} for h4-d64, 256 tokens")
    assert "pairs" in answer.price.sentence
    assert answer.type[0].startswith(f"attnbench ab {answer.names[0]} {answer.names[1]} --suite speed -a shape=h4-d64")
    assert answer.type[-1] == "attnbench best --shape h4-d64 --tokens 256 --measure 20m"


def test_one_that_is_slower_is_behind_by_a_ratio_whose_interval_holds_it(tmp_path: Path) -> None:
    answer = of(tmp_path, {**APART, SDPA: Planted(4.0)})
    assert (answer.verdict, answer.best, answer.exit_code) == ("fastest", BLOCKED, 0)
    assert answer.lead is not None
    assert 1 < answer.lead.low < 1.5 < answer.lead.high < 2
    assert [contender.impl for contender in answer.contenders] == [BLOCKED, NAIVE, SDPA]
    assert f"The runner-up, {NAIVE}, costs " in str(answer)
    assert answer.price is None


def test_one_that_is_faster_and_wrong_is_left_out_with_the_reason(tmp_path: Path) -> None:
    answer = of(tmp_path, {**APART, SDPA: wrong("row 3 differs by 0.5")})
    assert answer.best == BLOCKED
    assert reasons(answer)[SDPA] == ("wrong", "row 3 differs by 0.5")
    assert "wrong: torch/sdpa: row 3 differs by 0.5" in str(answer)


@pytest.mark.parametrize("peak", [3 * 2**30, None])
def test_one_that_is_faster_and_needs_more_memory_or_an_unknown_amount_is_left_out(
    tmp_path: Path, peak: int | None
) -> None:
    asked = question("h4-d64", 256, memory="2GiB")
    answer = of(tmp_path, {**APART, SDPA: Planted(0.2, peak_bytes=peak)}, asked)
    assert answer.best == BLOCKED
    assert reasons(answer)[SDPA][0] == ("unknown" if peak is None else "over-memory")
    assert (SDPA in answer.untried) == (peak is None)
    assert of(tmp_path, {**APART, SDPA: Planted(0.2, peak_bytes=peak)}, run_id="b").best == SDPA


def test_one_that_is_faster_and_lacks_what_is_needed_is_left_out(tmp_path: Path) -> None:
    folder = planted.write(tmp_path, {**APART, SDPA: Planted(0.2), JAX: Planted(0.1)})

    def declares(names: Sequence[str]) -> Mapping[str, Able]:
        assert set(names) == {NAIVE, BLOCKED, SDPA, JAX}
        plain = {name: Able(frozenset({"gradients", "window"})) for name in (NAIVE, BLOCKED)}
        return {**plain, SDPA: Able(frozenset({"gradients"})), JAX: Able(why_unknown="it crashed")}

    answer = answered(question("h4-d64", 256, needs=["gradients", "window"]), [folder], declares=declares)
    assert answer.best == BLOCKED
    assert reasons(answer)[SDPA] == ("lacks", "does not support window")
    assert reasons(answer)[JAX] == ("unknown", "what it can do is not known: it crashed")
    assert "; not known to fit: jax/naive" in answer.sentence


@pytest.mark.parametrize(("status", "kind"), [("crashed", "crashed"), ("oom", "crashed"), ("timeout", "crashed")])
def test_what_went_wrong_is_said_by_its_name(tmp_path: Path, status: str, kind: str) -> None:
    answer = of(tmp_path, {**APART, SDPA: Planted(status=status, reason="signal 11")})
    assert reasons(answer)[SDPA][0] == kind
    assert "signal 11" in reasons(answer)[SDPA][1]


def test_what_was_not_measured_and_what_is_not_here_are_two_things(tmp_path: Path) -> None:
    other = {"jax/none": Planted(0.1), "nowhere/fast": Planted(0.1)}
    left = reasons(of(tmp_path, {**APART, **other, SDPA: Planted(status="not-run", reason="the budget was spent")}))
    assert left[SDPA] == ("not-measured", "the budget was spent")
    assert left["torch/naive"] == ("not-measured", "its run did not measure it")
    assert left["nowhere/fast"] == ("not-installed", "there is no backend 'nowhere' here now")


def test_the_only_one_that_agrees_is_named_and_one_that_had_no_rival_is_not(tmp_path: Path) -> None:
    only = of(tmp_path, {NAIVE: Planted(), SDPA: wrong()}, run_id="a")
    assert (only.verdict, only.best, only.exit_code) == ("only", NAIVE, 0)
    alone = of(tmp_path, {NAIVE: Planted()}, run_id="b")
    assert (alone.verdict, alone.best, alone.exit_code) == ("alone", None, 3)
    rest = of(tmp_path, {NAIVE: Planted(), SDPA: Planted(status="not-run", reason="no time")}, run_id="c")
    assert (rest.verdict, rest.best) == ("alone", None)


def test_the_answer_says_who_was_not_measured_and_claims_nothing_of_them(tmp_path: Path) -> None:
    fastest, only = of(tmp_path, APART), of(tmp_path, {NAIVE: Planted(), BLOCKED: wrong()}, run_id="b")
    for answer in (fastest, only):
        assert {SDPA, JAX} <= set(answer.untried)
        assert "; not measured: " in answer.sentence
        assert answer.sentence.endswith(f" and {len(answer.untried) - 3} more.")
        assert set(json.loads(json.dumps(answer.describe()))["untried"]) == set(answer.untried)
    assert only.sentence.startswith(f"{NAIVE} is the only one of 2 that agrees and fits")
    assert NAIVE not in fastest.untried


def test_one_whose_memory_nobody_knows_was_not_tried(tmp_path: Path) -> None:
    asked = question("h4-d64", 256, memory="2GiB")
    answer = of(tmp_path, {NAIVE: Planted(), BLOCKED: wrong(), SDPA: Planted(0.2, peak_bytes=None)}, asked)
    assert (answer.verdict, answer.best, answer.exit_code) == ("alone", None, 3)
    assert f"not known to fit: {SDPA}" in answer.sentence
    nobody = of(tmp_path, {NAIVE: Planted(peak_bytes=None), SDPA: wrong()}, asked, run_id="b")
    assert (nobody.verdict, nobody.exit_code) == ("none", 5)
    assert f"; not known to fit: {NAIVE}" in nobody.sentence


def test_what_is_typed_for_the_user_keeps_the_device(tmp_path: Path) -> None:
    asked = question("h4-d64", 256, device="cuda", threads=2)
    answer = of(tmp_path, {SDPA: Planted(), "torch/naive": Planted(1.1)}, asked)
    assert answer.verdict == "either"
    assert " --device cuda --threads 2 " in answer.type[0]
    assert answer.type[-1].startswith("attnbench best --shape h4-d64 --tokens 256 --device cuda --threads 2 --measure ")
    (near,) = answered(ASKED, tmp_path).near
    assert near.typed == "attnbench best --shape h4-d64 --tokens 256 --device cuda --threads 2"


def test_where_nobody_agrees_nobody_is_named(tmp_path: Path) -> None:
    answer = of(tmp_path, {NAIVE: wrong(), SDPA: wrong()})
    assert (answer.verdict, answer.names, answer.exit_code) == ("none", (), 5)
    nothing = of(tmp_path, {NAIVE: Planted(status="not-run", reason="no time")}, run_id="b")
    assert (nothing.verdict, nothing.exit_code) == ("not-measured", 5)


def test_a_run_of_another_machine_is_left_out_in_one_line(tmp_path: Path) -> None:
    answer = of(tmp_path, APART, hardware=ELSEWHERE)
    assert (answer.verdict, answer.exit_code) == ("not-measured", 5)
    (line,) = answer.notes
    assert "another machine (Example CPU, 64 processors)" in line
    planted.write(tmp_path, TWINS, PlantedRun(run_id="mine"))
    assert answered(ASKED, tmp_path).verdict == "either"


def test_runs_of_several_machines_that_are_named_have_an_answer_for_each(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = {SDPA: Planted(), NAIVE: Planted(3.0)}
    monkeypatch.setattr("attnbench.answers.sieve.gone", lambda impl: "not here" if impl == SDPA else None)
    planted.write(tmp_path / "results", gone, PlantedRun("there", hardware=ELSEWHERE))
    planted.write(tmp_path / "results", APART, PlantedRun("here"))
    monkeypatch.chdir(tmp_path)
    alone = ab.best("h4-d64", 256)
    assert isinstance(alone, BestAnswer)
    assert (alone.best, alone.machine) == (BLOCKED, None)
    assert "another machine (Example CPU, 64 processors)" in alone.notes[0]
    both = ab.best("h4-d64", 256, runs=["here", "there"])
    assert isinstance(both, AnswersByMachine)
    assert [answer.best for answer in both.answers] == [BLOCKED, SDPA]
    assert [answer.notes for answer in both.answers] == [(), ()]
    assert [answer.elsewhere for answer in both.answers] == [False, True]
    assert all(str(answer.machine) in str(both) for answer in both.answers)
    said = str(both.answers[1])
    assert said.startswith(f"Example CPU, 2 cores, virtual machine: {SDPA} is the fastest of 2")
    assert "since then: not known from here" in said
    assert "not installed" not in said.partition("Left out")[0]
    typed = cli("best", "here", "there", "--shape", "h4-d64", "--tokens", "256", "--json").document
    assert [told["best"] for told in typed["machines"]] == [BLOCKED, SDPA]
    assert [told["evidence"]["run_id"] for told in typed["machines"]] == ["here", "there"]
    one = ab.best("h4-d64", 256, runs="there")
    assert isinstance(one, BestAnswer)
    assert (one.best, one.machine) == (SDPA, "Example CPU, 2 cores, virtual machine")


def test_a_run_by_another_specification_is_left_out_in_one_line(tmp_path: Path) -> None:
    answer = of(tmp_path, APART, spec_version="0")
    assert answer.verdict == "not-measured"
    assert "version 0 of the specification" in answer.notes[0]


def test_a_run_that_was_broken_off_never_ends_well(tmp_path: Path) -> None:
    answer = of(tmp_path, APART)
    assert (answer.exit_code, replace(answer, interrupted=True).exit_code) == (0, 3)


def test_an_old_run_says_what_changed_since(tmp_path: Path) -> None:
    then = {**planted.NOW, "numpy": {"numpy": "1.0.0"}}
    answer = of(tmp_path, APART, frameworks=then)
    assert answer.best == BLOCKED
    assert answer.sentence.startswith(f"{BLOCKED} was, on 2026-01-02, the fastest of 2")
    assert f"since then: {BLOCKED}, {NAIVE}: numpy 1.0.0 then, {planted.NOW['numpy']['numpy']} now" in str(answer)
    assert answer.type == ("attnbench best --shape h4-d64 --tokens 256 --measure 5m",)
    same = of(tmp_path, APART, run_id="now")
    assert same.sentence.startswith(f"{BLOCKED} is the fastest of 2")
    assert "code and versions of all of them are the same" in str(same)


@pytest.mark.parametrize(("git", "said"), [("0123456789ab", "is not known"), ("0123456789ab+", "uncommitted")])
def test_a_code_that_cannot_be_compared_is_said(tmp_path: Path, git: str, said: str) -> None:
    answer = of(tmp_path, APART, git=git)
    assert answer.best == BLOCKED
    assert all(c.since is not None and c.since.known == "unknown" and said in c.since.text for c in answer.contenders)


def test_blocks_of_two_runs_are_never_mixed(tmp_path: Path) -> None:
    planted.write(tmp_path, {NAIVE: Planted(), BLOCKED: Planted(3.0), SDPA: Planted(2.0)}, PlantedRun("a", seed=1))
    planted.write(tmp_path, {JAX: Planted(0.01), "jax/blocked": Planted(0.02)}, PlantedRun("b", seed=2))
    answer = answered(ASKED, tmp_path)
    assert answer.best == NAIVE
    assert answer.evidence is not None
    assert answer.evidence.run_id == "a"
    assert reasons(answer)[JAX] == ("not-measured", "its run did not measure it")


def test_the_run_is_taken_that_measured_most_as_it_is_now(tmp_path: Path) -> None:
    planted.write(tmp_path, {**APART, SDPA: Planted(2.0)}, PlantedRun("old", frameworks={"numpy": {"numpy": "1.0.0"}}))
    planted.write(tmp_path, APART, PlantedRun("new", started="2026-02-02T03:04:05Z"))
    answer = answered(ASKED, tmp_path)
    assert answer.evidence is not None
    assert answer.evidence.run_id == "new"


def test_two_runs_that_contradict_each_other_name_nobody(tmp_path: Path) -> None:
    planted.write(tmp_path, {**APART, SDPA: Planted(5.0)}, PlantedRun("a", seed=1))
    planted.write(tmp_path, {NAIVE: Planted(), BLOCKED: Planted(1.5)}, PlantedRun("b", seed=2))
    answer = answered(ASKED, tmp_path)
    assert (answer.verdict, answer.best, answer.exit_code) == ("disputed", None, 3)
    assert set(answer.names) == {NAIVE, BLOCKED}
    agreeing = planted.write(tmp_path / "more", APART, PlantedRun("c", seed=3))
    assert answered(ASKED, [tmp_path / "a", agreeing]).best == BLOCKED


def test_a_run_that_was_never_finished_counts_as_far_as_it_came(tmp_path: Path) -> None:
    answer = of(tmp_path, {**APART, SDPA: Planted(status="not-run", reason="no time")}, finish=False)
    assert answer.best == BLOCKED
    assert reasons(answer)[SDPA] == ("not-measured", "no time")


def test_a_copy_of_a_run_is_no_second_opinion_against_it(tmp_path: Path) -> None:
    shutil.copytree(planted.write(tmp_path, APART), tmp_path / "copy")
    answer = answered(ASKED, tmp_path)
    assert answer.best == BLOCKED
    assert [run.contradicts for run in answer.others] == [False]


def test_cases_that_differ_in_one_word_are_not_the_same_case(tmp_path: Path) -> None:
    folder = planted.write(tmp_path, APART)
    for other in ({"threads": 2}, {"batch": 2}, {"dtype": "bfloat16"}, {"phase": "train"}, {"device": "cuda"}):
        answer = answered(question("h4-d64", 256, **other), [folder])
        assert (answer.verdict, len(answer.near)) == ("not-measured", 1), other
    assert answered(question("h4-d64-causal", 256), [folder]).near[0].differs == (
        "mask, scale and operands none, not causal"
    )


def test_what_was_never_measured_is_not_interpolated(tmp_path: Path) -> None:
    planted.write(tmp_path, APART, PlantedRun("short"))
    planted.write(tmp_path, APART, PlantedRun("long", asked=question("h4-d64", 8192, dtype="bfloat16")))
    answer = answered(question("h4-d64", 300), tmp_path)
    assert (answer.verdict, answer.names, answer.exit_code) == ("not-measured", (), 5)
    assert [case.differs for case in answer.near] == [
        "queries/keys 256, not 300",
        "dtype bfloat16, not float32, queries/keys 8192, not 300",
    ]
    assert answer.near[0].typed == "attnbench best --shape h4-d64 --tokens 256"
    assert answer.type == ("attnbench best --shape h4-d64 --tokens 300 --measure 5m",)


def test_memory_is_a_fact_among_equals_and_no_verdict(tmp_path: Path) -> None:
    answer = of(tmp_path, {NAIVE: Planted(peak_bytes=64 * 2**20), BLOCKED: Planted(peak_bytes=2**20)})
    assert answer.best is None
    assert answer.facts == (f"{BLOCKED} needs the least memory for a call: 1.00 MiB ({NAIVE} 64.0 MiB)",)
    assert of(tmp_path, TWINS, run_id="alike").facts == ()


def test_the_document_has_what_the_text_says(tmp_path: Path) -> None:
    answer = of(tmp_path, {**TWINS, SDPA: Planted(3.0), JAX: wrong()})
    data = json.loads(json.dumps(answer.describe()))
    assert data["verdict"] == "either"
    assert data["best"] is None
    assert data["exit_code"] == 3
    assert data["question"]["tokens"] == 256
    assert [row["standing"] for row in data["contenders"]] == ["leading", "leading", "behind"]
    assert data["price"]["type"] == answer.type[0]
    assert {row["kind"] for row in data["left_out"]} <= set(KINDS)
    assert answer._repr_html_().startswith("<p><b>Either of")


def test_every_verdict_has_an_exit_status_and_a_sentence() -> None:
    assert set(SENTENCES) == set(EXIT_CODES)


def test_a_run_that_is_named_and_is_none_is_refused_and_a_damaged_one_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ResultsError, match="nowhere"):
        answered(ASKED, ["nowhere"])
    monkeypatch.chdir(tmp_path)
    assert answered(ASKED).verdict == "not-measured"
    planted.write(tmp_path / "results", APART, PlantedRun("good"))
    broken = tmp_path / "results" / "bad"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    answer = answered(ASKED)
    assert answer.best == BLOCKED
    assert len(answer.notes) == 1
    assert "damaged" in answer.notes[0]


WRONG_WORDS: list[tuple[dict[str, Any], str]] = [
    ({"phase": "prefil"}, "--phase 'prefil' is not one of prefill, decode, train; did you mean 'prefill'"),
    ({"dtype": "fp32"}, "did you mean 'float32'"),
    ({"needs": ["windows"]}, "did you mean 'window'"),
    ({"memory": "lots"}, "such as 2GiB"),
    ({"memory": "0"}, "1 or more"),
    ({"device": "gpu"}, "did you mean 'cuda'"),
    ({"threads": 0}, "--threads is 1 or more"),
    ({"batch": "none"}, "--batch is 1 or more"),
]


@pytest.mark.parametrize(("words", "said"), WRONG_WORDS)
def test_a_wrong_word_is_one_clear_line(words: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        question("h4-d64", 256, **words)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_words_of_people_and_of_cases_mean_the_same() -> None:
    assert question("gpt2", "1Ki", phase="forward") == question("gpt2", 1024, phase="prefill")
    assert question("gpt2", 64, phase="backward").case.phase == "backward"
    assert question("h8-2-d32-causal", 64).case.problem.Hkv == 2
    assert question("gpt2", 64, memory="1.5GiB").wanted.memory_bytes == 3 * 2**29
    with pytest.raises(UsageError, match="cannot share"):
        question("h8-3-d32", 64)


def test_a_question_is_typed_as_it_was_understood() -> None:
    asked = question("gpt2", 64, phase="train", threads=2, needs=["window"], memory=10, batch=3)
    assert asked.typed() == ("--shape gpt2 --tokens 64 --phase train --batch 3 --threads 2 --needs window --memory 10")


def by_process(samples: Sequence[Sample]) -> list[tuple[int, list[Sample]]]:
    return [(process, [s for s in samples if s.replicate == process]) for process in range(planted.PROCESSES)]


def leading(factor: float, seed: int) -> tuple[str, ...]:
    """Who may be the fastest of two, the second so many times as long, by the code of ``best``."""
    rng = np.random.default_rng(seed)
    rows = []
    for impl, times in ((NAIVE, 1.0), (BLOCKED, factor)):
        samples = planted.drawn("r", impl, times, rng, planted.PROCESSES)
        seconds = {(process, at): s.wall_s for process, part in by_process(samples) for at, s in enumerate(part)}
        rows.append({"impl": impl, "cell_id": impl, "rounds": seconds, **summarise(samples)})
    return order(pd.DataFrame(rows)).leading


def test_twins_are_told_apart_at_most_once_in_twenty_and_what_is_far_behind_nearly_always() -> None:
    trials = 60
    assert sum(len(leading(1.0, seed)) == 1 for seed in range(trials)) <= 3
    half_as_long_again = [leading(1.5, seed) for seed in range(trials)]
    assert all(NAIVE in names for names in half_as_long_again)
    assert sum(len(names) == 1 for names in half_as_long_again) >= 20
    assert sum(leading(4.0, seed) == (NAIVE,) for seed in range(trials)) >= 57
