"""Models' units, lengths, tasks and steps are axes of the ablations that train: taken, refused in words, spoken of."""

from __future__ import annotations

import inspect

import pandas as pd
import pytest

from attnbench.analysis import claims, contrasts, frames
from attnbench.errors import UsageError
from attnbench.measure.run.plan import overridden
from attnbench.report.glance.forest import forest
from attnbench.suite import Whole
from tests.suites import helpers
from tests.suites.test_trained import SEEDS, lengths

TRAINED = {
    "context-length": {"task", "length", "units", "steps"},
    "gradient-reach": {"task", "length", "units", "steps"},
    "attention-size": {"task", "length", "units", "steps"},
    "scaling": {"slots", "units", "steps"},
    "heads": {"slots", "units", "steps"},
    "g2p": {"units", "steps"},
}


@pytest.mark.parametrize("name", TRAINED)
def test_what_is_trained_is_a_set_of_axes(name: str) -> None:
    suite = helpers.suite(name)
    assert TRAINED[name] <= set(suite.axes)
    typed = {"task": "sort", "length": "8,12", "units": "32,96", "steps": "7", "slots": "4,8"}
    (changed,) = overridden([suite], [f"{axis}={typed[axis]}" for axis in TRAINED[name]])
    assert {axis: changed.axes[axis] for axis in TRAINED[name]} == {
        axis: tuple(int(word) if word.isdigit() else word for word in typed[axis].split(",")) for axis in TRAINED[name]
    }


@pytest.mark.parametrize(
    ("name", "level", "expected"),
    [
        ("context-length", "units=63", "takes even numbers from 4 to 1024, as in 64; got '63'"),
        ("context-length", "units=2", "takes even numbers from 4 to 1024"),
        ("context-length", "length=65", "takes whole numbers from 2 to 64, as in 20; got '65'"),
        ("gradient-reach", "length=4", "takes whole numbers from 5 to 64"),
        ("attention-size", "task=revers", "takes copy, reverse, sort; got 'revers'; did you mean 'reverse'?"),
        ("scaling", "slots=1", "takes whole numbers from 2 to 64"),
        ("scaling", "steps=0", "takes whole numbers from 1 to 100000"),
        ("heads", "units=48", "takes multiples of 32 from 32 to 1024"),
        ("g2p", "unit=64", "has no axis 'unit'"),
        ("g2p", "units=many", "takes even numbers"),
    ],
)
def test_a_level_that_is_none_is_said_with_what_is_possible(name: str, level: str, expected: str) -> None:
    with pytest.raises(UsageError) as raised:
        overridden([helpers.suite(name)], [level])
    assert expected in str(raised.value)


def test_a_model_of_other_units_learns_another_task_at_another_length(monkeypatch: pytest.MonkeyPatch) -> None:
    module = inspect.getmodule(helpers.observing("context-length").observe)
    monkeypatch.setattr(module, "HELD_OUT", 8)
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(module, "BATCH", 4)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    asked_for = {"seed": (0,), "arm": ("additive",), "steps": (2,), "task": ("copy",), "length": (6,), "units": (8, 16)}
    frame = helpers.observed("context-length", ("torch/naive",), asked_for)
    torch.set_num_threads(threads)
    vars(module)["examples"].cache_clear()
    small, large = frame["metric.parameters"]
    assert small < large
    tested = {
        int(name.removeprefix("metric.accuracy.length"))
        for name in map(str, frame.columns)
        if "accuracy.length" in name
    }
    assert tested == {5, 6, 10, 12, 15, 20, 25, 30, 40}
    assert {"metric.aligned.length6", "metric.aligned.length12"} <= set(frame.columns)
    assert (frame["metric.fall"] == frame["metric.accuracy.length5"] - frame["metric.accuracy.length6"]).all()


def test_slots_and_units_of_the_single_head() -> None:
    levels = {"seed": (0,), "d": (4,), "arm": ("unscaled",), "lr": (1e-2,), "steps": (3,), "slots": (2, 64)}
    frame = helpers.observed("scaling", ("numpy/naive",), {**levels, "units": (4, 8)})
    counted = frame.groupby("point.units")["metric.parameters"].unique().map(list).to_dict()
    assert [len(values) for values in counted.values()] == [1, 1]  # slots are no parameters
    assert counted[4] < counted[8]
    heads = {"seed": (0,), "split": ("32x2",), "steps": (2,), "slots": (4,), "units": (32,)}
    assert len(helpers.observed("heads", ("numpy/naive",), heads)) == 1


def test_findings_and_verdicts_speak_of_one_level_and_say_so() -> None:
    suite = helpers.suite("context-length")
    arms = {"state": 0.3, "input": 0.25, "input_reversed": 0.3, "additive": 0.92, "dot": 0.9, "general": 0.9}
    usual = lengths(SEEDS, **arms).assign(**{"point.length": 20, "point.units": 64})
    others = lengths(SEEDS, **dict.fromkeys(arms, 0.5)).assign(**{"point.length": 10, "point.units": 64})
    both = pd.concat([others, usual], ignore_index=True)
    assert helpers.verdicts(suite, both) == helpers.verdicts(suite, usual)
    sentences = helpers.sentences(suite, both)
    assert "All this is said of length = 20; the figures and the tables have the other levels too." in sentences
    assert [said for said in sentences if "All this" not in said] == helpers.sentences(suite, usual)
    only = helpers.sentences(suite, others)
    assert "trained up to 10" in only[0]


def test_further_axes_stand_behind_the_levels_of_one_where_they_vary() -> None:
    frame = pd.DataFrame({"point.arm": ["a", "b"], "point.units": [8, 16], "point.slots": [4, 4]})
    assert list(frames.joined(frame, "arm", "units", "slots", "absent")["point.arm"]) == ["a, units 8", "b, units 16"]
    assert frames.joined(frame, "arm", "slots") is frame


def test_multiples() -> None:
    assert Whole(1, 100, multiple_of=12).check(36) == 36
    assert Whole(1, 100, multiple_of=12).what == "multiples of 12 from 1 to 100"
    with pytest.raises(UsageError):
        Whole(1, 100, multiple_of=12).check(35)


def test_a_claim_of_ones_own_is_judged_and_drawn_like_a_published_one() -> None:
    grows = claims.expectation("It grows", "after less before", low=0.5)
    alike = claims.expectation("They are alike", "one less the other", low=-0.1, high=0.1, equivalence=True)
    up, level = (contrasts.Contrast(values) for values in ((1.0, 1.1, 0.9, 1.0) * 2, (0.01, -0.01) * 4))
    family: dict[str | claims.Claim, contrasts.Contrast] = {grows: up, alike: level, "attention-beats-fixed": up}
    judged = contrasts.judge_family(family, ("numpy/naive",))
    assert [verdict.verdict for verdict in judged[:2]] == ["reproduced", "reproduced"]
    assert contrasts.judge_family({grows: level})[0].verdict == "not detected"
    assert (
        contrasts.judge_family({grows: contrasts.Contrast(tuple(-x for x in up.differences))})[0].verdict
        == "contradicted"
    )
    (lines,) = forest([("mine", judged[0].row())]).values()
    assert lines[0].within is not None
    assert lines[0].source == "this suite, its own expectation"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, "a finite end, such as low=0.05"),
        ({"low": 1.0, "high": 0.0}, "low below high"),
        ({"low": 0.0, "equivalence": True}, "two finite ends"),
        ({"low": float("nan")}, "low below high"),
        ({"low": 0.1, "null": float("inf")}, "null inf"),
    ],
)
def test_a_claim_that_says_nothing_is_refused(words: dict[str, float], expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        claims.expectation("It grows", "after less before", **words)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="says in words"):
        claims.expectation("", "x", low=0.0)
