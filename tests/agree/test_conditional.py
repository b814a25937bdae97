"""Mutants behind conditions: wrong where the condition says and nowhere else, judged as a trial judges, and found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.cases.by_feature import CheckCase
from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.eager.attention import Eager
from attnbench.agree.judge.trial import trial
from attnbench.agree.judge.weight_bounds import SLACK
from attnbench.agree.mutants import MUTANTS
from attnbench.agree.mutants.catalogue import Mutant
from attnbench.agree.mutants.conditional.conditions import CONDITIONS
from attnbench.agree.mutants.conditional.drawing import FARTHEST, threshold
from attnbench.agree.mutants.conditional.known import fault, known
from attnbench.agree.mutants.conditional.moments import Condition, Moment
from attnbench.agree.mutants.conditional.mutants import Conditional
from attnbench.agree.mutants.conditional.recipes import BY_FEATURE, BY_KIND, recipes
from attnbench.agree.mutants.conditional.witnesses import KEEPS, ConditionedMutant, draw_pair, witness
from attnbench.attention.arrays import Array
from attnbench.attention.call import Sizes
from attnbench.attention.problem import Case
from attnbench.backends.attend import load_backend
from attnbench.backends.bind import Inputs, inputs_of
from tests.agree import conditional
from tests.agree.conditional_page import TEXT, TITLE, inserted, section
from tests.agree.killtable import PAGE

COUNT, SEED = 50, 12
KILLED = 45  # of COUNT

ALWAYS = Condition("always", "always", lambda _: True, lambda case: case)
PLAIN = BY_FEATURE["gqa"][0]
PARTS: dict[str, Callable[[Sizes], Array]] = {
    "rows": lambda s: (np.arange(s.Tq) >= 21)[None, None],
    "heads": lambda s: (np.arange(s.Hq) >= 4)[None, :, None],
    "batch": lambda s: (np.arange(s.B) >= 1)[:, None, None],
}


def given_by(planted: Conditional, inputs: Inputs) -> tuple[Array, dict[str, Array]]:
    output = planted.attend(*inputs.qkv, inputs.call).output
    return output, planted.vjp(*inputs.qkv, inputs.call, inputs.d_output, inputs.d_lse)


@pytest.mark.parametrize("part", PARTS)
def test_only_a_part_of_the_answer_is_wrong(part: str) -> None:
    """Inside the part every row is the mutant's, outside every bit is the sound one's."""
    inputs = inputs_of(PLAIN)
    condition = replace(ALWAYS, part=PARTS[part])
    inside = condition.rows(inputs.call.sizes)
    assert inside is not None
    output, grads = given_by(Conditional(MUTANTS["MeanOfValues"], condition), inputs)
    right, right_grads = given_by(Conditional(MUTANTS["MeanOfValues"], replace(ALWAYS, when=lambda _: False)), inputs)
    wrong, wrong_grads = given_by(Conditional(MUTANTS["MeanOfValues"], ALWAYS), inputs)
    for got, sound, mutant in ((output, right, wrong), (grads["q"], right_grads["q"], wrong_grads["q"])):
        assert (got[~inside] == sound[~inside]).all()
        np.testing.assert_allclose(got[inside], mutant[inside], rtol=1e-4, atol=1e-5)
        assert not np.allclose(got[inside], sound[inside])


def test_gradients_of_keys_take_the_share_of_the_wrong_rows() -> None:
    """Rows without the part and rows of the part add up to the whole, and nothing else changes."""
    inputs = inputs_of(PLAIN)
    inside = np.broadcast_to(PARTS["rows"](inputs.call.sizes), inputs.q.shape[:3])[..., None]
    _, grads = given_by(Conditional(MUTANTS["GradientWithoutNormaliser"], replace(ALWAYS, part=PARTS["rows"])), inputs)
    zero = np.float32(0)
    share, rest = (np.where(kept, inputs.d_output, zero) for kept in (inside, ~inside))
    wrong = MUTANTS["GradientWithoutNormaliser"].breed().vjp(*inputs.qkv, inputs.call, share, None)
    right = Eager().vjp(*inputs.qkv, inputs.call, rest, None)
    for name in "qkv":
        np.testing.assert_allclose(grads[name], wrong[name] + right[name], rtol=1e-4, atol=1e-5)


def test_keys_beyond_a_threshold_are_wrong_alone() -> None:
    """A mask forgotten beyond the 40th key is obeyed before it; gradients of earlier keys are the sound ones."""
    case = BY_FEATURE["mask"][0]
    inputs = inputs_of(case)
    n = 40
    output, grads = given_by(Conditional(MUTANTS["MaskAdded"], replace(ALWAYS, keys=n)), inputs)
    mask = np.array(inputs.call.mask)
    mask[..., n:] = True
    beyond = Eager().attend(*inputs.qkv, replace(inputs.call, mask=mask)).output
    hidden = ~inputs.call.mask[..., n:]
    assert hidden.any()
    assert not np.allclose(output, Eager().attend(*inputs.qkv, inputs.call).output)
    assert np.abs(output - beyond).max() < 1  # the mutant adds 1 to the logits of what the mask allows
    right = Eager().vjp(*inputs.qkv, inputs.call, inputs.d_output, None)
    assert (grads["k"][:, :, :n] == right["k"][:, :, :n]).all()
    assert not np.allclose(grads["k"][:, :, n:], right["k"][:, :, n:])


@pytest.mark.parametrize(
    "name", ["ScaleMissing", "WrongDtype", "ForeignByteOrder", "InputChanged", "GradientUnscaled", "TransposedOutput"]
)
def test_the_verdict_is_that_of_a_trial(name: str) -> None:
    """On cases where the mutant shows and where it does not, by the whole mutant and by half of it."""
    cases = [PLAIN, replace(PLAIN, phase="forward"), BY_FEATURE["mask"][0].with_problem(B=1)]
    seen = set()
    for condition in (ALWAYS, replace(ALWAYS, when=lambda m: m.call.sizes.B > 1), replace(ALWAYS, part=PARTS["rows"])):
        for case in cases:
            planted = Conditional(MUTANTS[name], condition)
            status = trial(load_backend("numpy"), planted.implementation(name), case).status
            assert (fault(known(case), Conditional(MUTANTS[name], condition)) is not None) == (status == "wrong")
            seen.add(status)
    assert seen == {"ok", "wrong"}


@pytest.mark.parametrize(("share", "wrong"), [(0.9, False), (1.2, True)])
def test_a_side_with_a_narrower_bound_is_judged_by_it(share: float, wrong: bool) -> None:
    """As a trial does: what lies below the oracle is not held to the bound of what lies above it."""
    case = case_from_text("B=1 Hq=2 Tq=4 S=9 D=4 operands=bias_low dtype=float32 seed=1")
    truth = known(case).forward["output"]
    where = np.unravel_index(int(np.argmax(truth.above / truth.below)), truth.above.shape)
    assert truth.above[where] > 1.5 * truth.below[where] > 0
    at = (truth.expected - share * SLACK * truth.below)[where]

    class Below(Eager):
        """One element below the oracle."""

        def finish(self, output: Array, dtype: Any) -> Array:
            right = super().finish(output, dtype)
            right.reshape(truth.expected.shape)[where] = at
            return right

    mutant = Mutant("Below", "value", "", Below)
    assert (trial(load_backend("numpy"), mutant.implementation(), case).status == "wrong") is wrong
    assert (fault(known(case), Conditional(mutant, ALWAYS)) is not None) is wrong


@pytest.mark.parametrize("name", [name for name, mutant in MUTANTS.items() if mutant.kind in KEEPS])
def test_what_is_kept_from_a_call_is_seen_in_the_next(name: str) -> None:
    """The mutants that keep or change something, in a sequence of two calls, as two trials see them."""
    first = BY_FEATURE["sizes"][0]
    sequence = [first.with_problem(seed=1), first]
    planted, apart = Conditional(MUTANTS[name], ALWAYS), Conditional(MUTANTS[name], ALWAYS).implementation(name)
    for case in sequence:
        status = trial(load_backend("numpy"), apart, case).status
        assert (fault(known(case), planted, twice=True) is not None) == (status == "wrong")
    assert status == "wrong"


@pytest.mark.parametrize("kind", CONDITIONS)
def test_every_class_of_conditions_has_witnesses(kind: str) -> None:
    """A fault that shows in many ways is seen behind every condition by a trial, and nowhere that it does not hold."""
    rng = np.random.default_rng(3)
    mutant = MUTANTS["GradientUnscaled" if "gradient" in kind else "ScaleMissing"]
    condition = next(drawn for drawn in (CONDITIONS[kind](rng) for _ in range(1000)) if _small(drawn))
    others = [other for other in _others() if not _holds(condition, other)]
    assert others or kind == "only the forward"
    case = witness(mutant, condition)
    assert case is not None, condition.text
    planted = Conditional(mutant, condition)
    for _ in range(condition.before):
        planted.note(replace(inputs_of(case).call.sizes, S=1))
    assert trial(load_backend("numpy"), planted.implementation("behind"), case).status == "wrong"
    for other in others:
        fresh = Conditional(mutant, condition).implementation("behind")
        assert trial(load_backend("numpy"), fresh, other).status == "ok", (condition.text, other.label())


def _small(condition: Condition) -> bool:
    """Drawn with numbers that a quick case can fulfil, and that some case does not, where one can."""
    p = condition.fit(BY_FEATURE["sizes"][0]).problem
    some = condition.kind == "only the forward" or not all(_holds(condition, other) for other in _others())
    return some and p.B * p.Hq * p.Tq * p.S < 1 << 16


def _others() -> list[Case]:
    sizes = {"B": 1, "Hq": 1, "Hkv": 1, "D": 16, "Dv": 16}
    made = [PLAIN.with_problem(Tq=tq, S=s, **sizes) for tq, s in ((2, 1), (1, 2), (400, 2), (3, 400))]
    return [*made, replace(made[0], phase="forward"), made[0].with_problem(dtype="float64"), made[0].with_problem(Dv=8)]


def _holds(condition: Condition, case: Case) -> bool:
    call = inputs_of(case).call
    return any(condition.holds(Moment(call, backward)) for backward in (False, case.gradients))


def test_what_is_sound_by_construction_has_no_witness() -> None:
    """Grouped heads read wrongly where no heads are grouped, a gradient in a pass without one."""
    alone = replace(ALWAYS, when=lambda m: m.call.sizes.group == 1)
    assert witness(MUTANTS["HeadsTiled"], alone) is None
    assert witness(MUTANTS["HeadsTiled"], ALWAYS) is not None
    assert witness(MUTANTS["GradientUnscaled"], replace(ALWAYS, when=lambda m: not m.backward)) is None


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_has_a_witness_without_a_condition(name: str) -> None:
    """Otherwise it would drop out of every draw, and nobody would notice."""
    assert witness(MUTANTS[name], ALWAYS) is not None


def test_thresholds_spread_over_all_sizes() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([threshold(rng) for _ in range(2000)])
    for low, high in ((1, 8), (8, 64), (64, 512), (512, 4096), (4096, FARTHEST)):
        assert ((drawn >= low) & (drawn < high)).mean() > 0.05
    assert len(set(drawn.tolist())) > 500


def test_recipes_know_every_feature_that_tells_a_mutant() -> None:
    assert {name for mutant in MUTANTS.values() for name in mutant.telling} == set(BY_FEATURE)
    assert set(BY_KIND) <= {mutant.kind for mutant in MUTANTS.values()}
    assert all(recipes(mutant) for mutant in MUTANTS.values())


def test_a_draw_is_a_function_of_the_seed() -> None:
    lines = [draw_pair(np.random.default_rng([5, 6])).sentence() for _ in range(2)]
    assert lines[0] == lines[1]
    assert draw_pair(np.random.default_rng([5, 7])).sentence() != lines[0]


@pytest.mark.slow
def test_the_default_check_finds_mutants_behind_conditions() -> None:
    """So many of fifty by a part of the plan; ``tox -e mutants`` judges two thousand by all of it."""
    judged = list(conditional.verdicts(COUNT, SEED, processes=1, plan=conditional.small_plan))
    killed = sum(verdict.killed is not None for verdict in judged)
    assert len(judged) == COUNT
    assert killed >= KILLED, conditional.report(judged)


def _nothing() -> list[CheckCase]:
    return []


def test_a_plan_without_cases_finds_nobody() -> None:
    assert [verdict.killed for verdict in conditional.verdicts(3, SEED, processes=1, plan=_nothing)] == [None] * 3


def test_a_plan_with_the_witness_finds_it() -> None:
    pair = ConditionedMutant(MUTANTS["ScaleMissing"], replace(ALWAYS, part=PARTS["rows"]), PLAIN)
    assert conditional.first_kill(pair, [CheckCase("sizes", PLAIN)]) == (PLAIN, 1)
    assert conditional.first_kill(pair, [CheckCase("sizes", PLAIN.with_problem(Tq=20))]) == (None, 0)


def test_the_program_says_who_survived(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The seed, the tables, a line for each survivor with its witness, and the status."""
    verdict = conditional.Verdict("only beyond", "mask", "MaskTiny | rows >= 7 | --case", None, 3, ("X | no witness",))
    many = [replace(verdict, killed="a case")] * 99

    def judged(*_: object) -> list[conditional.Verdict]:
        return [*many, verdict]

    monkeypatch.setattr(conditional, "verdicts", judged)
    assert conditional.main(["--count", "100", "--seed", "4"]) == 0
    text = capsys.readouterr().out
    for part in ("seed 4", "| only beyond | 99 | 1 |", "| mask | 99 | 1 |", verdict.line, "X | no witness"):
        assert part in text
    many.pop()
    assert conditional.main(["--count", "99", "--seed", "4"]) == 1
    assert "killed 98 of 99: 99.0%" in capsys.readouterr().out


def test_the_page_has_the_section() -> None:
    """``python -m tests.docs.write mutants-conditional`` writes it."""
    page = PAGE.read_text("utf-8")
    assert page.count(TITLE + TEXT) == 1
    killed = conditional.Verdict("only beyond", "mask", "MaskTiny | rows >= 7 | --case", "a case", 3)
    nowhere = replace(killed, line="MaskAdded | rows >= 9 | --case", killed=None, tried=0)
    new = section([killed, nowhere, replace(nowhere, line="MaskOfFirstRow | rows >= 8 | --case", tried=2)], 4)
    assert "| only beyond | 1 / 3 | MaskAdded (rows >= 9) | MaskOfFirstRow (rows >= 8) |" in new
    without = page[: page.index(TITLE)] + page[page.index("\n## The mutants\n") :]
    assert inserted(inserted(page, new), new) == inserted(without, new)
    assert inserted(without, new).replace(new, "") == without
