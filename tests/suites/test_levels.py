"""What an axis can be asked: every axis of every suite refuses what it does not take, before anything is planned."""

from __future__ import annotations

from typing import Any

import pytest

from attnbench.api.suites import (
    AttentionSpec,
    Case,
    Lists,
    Number,
    ObservedSuite,
    OneOf,
    OrNone,
    Probe,
    Problem,
    Spelled,
    Story,
    Text,
    TimedSuite,
    UsageError,
    Whole,
)
from attnbench.backends import discover
from attnbench.interface.serving import overrides
from attnbench.measure.run.plan import make_plan, overridden
from attnbench.suite.written import words, written
from tests.program import Cli

STORY = Story(question="Which?")
# No axis takes any of these; those of numbers none of the second row, and those of whole numbers none of the third.
NEVER = (
    "zzz",
    "",
    ",",
    "-1",
    "nan",
    "inf",
    "1e999999999",
    "9" * 40,
    "none?",
    "128,",
    "1 2",
    "0x80",
    "\u0661\u0662",
    "1/2",
)
EMPTY = ("", ",", "128,", " ")
WHOLE = ("1.5", "128.0", "1e-3", "1.0001k", "007")


EVERY = [(name, axis) for name in discover.suite_names() for axis in discover.suite(name).axes]


def refused(suite: str, text: str) -> str:
    """What is said of a text of ``-a``, before anything is planned."""
    with pytest.raises(UsageError) as raised:
        overridden([discover.suite(suite)], [text])
    assert raised.value.exit_code == 2
    return str(raised.value)


@pytest.mark.parametrize(("name", "axis"), EVERY)
def test_every_axis_of_every_suite_refuses_a_wrong_level(name: str, axis: str) -> None:
    suite = discover.suite(name)
    kind = suite.known[axis].kind
    wrong = [*NEVER, *EMPTY]
    wrong += WHOLE if isinstance(kind, Whole) else ()
    wrong += ["0"] if not isinstance(kind, Whole) or kind.least else ()
    wrong += ["zz" + str(suite.axes[axis][0])] if not isinstance(kind, (Whole, Number)) else ["12a", "1,zz"]
    for level in wrong:
        said = refused(name, f"{axis}={level}")
        assert axis in said
        assert name in said or not level.strip()


@pytest.mark.parametrize(("name", "axis"), EVERY)
def test_every_axis_takes_its_own_levels_and_those_of_its_tiers(name: str, axis: str) -> None:
    suite = discover.suite(name)
    for levels in (suite.axes[axis], *(tier[axis] for tier in suite.tiers.values() if axis in tier)):
        assert suite.read(axis, written(levels)) == levels
        assert suite.with_axes({axis: levels}).axes[axis] == levels
        with pytest.raises(UsageError, match=f"axis '{axis}' of suite '{name}'"):
            suite.with_axes({axis: (*levels, "zzz")})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("smoke", "-a", "setting=train"),
            "takes forward, training, bfloat16, decode; got 'train'; did you mean 'training'?",
        ),
        (("scaling", "-a", "arm=zzz"), "axis 'arm' of suite 'scaling' takes unscaled, 1/sqrt(d), folded"),
        (("speed", "--tokens", "1.5"), "--tokens is 1 or more, up to 2**30, such as 512, 4Ki (4096)"),
        (("speed", "--batch", "0"), "--batch is 1 or more"),
        (("speed", "--dtype", "fp16"), "did you mean 'float16'?"),
        (
            ("masks", "--phase", "decode"),
            "suite 'masks' can make nothing of phase=decode: phase 'decode' is not one of",
        ),
        (("smoke", "-a", "setting=forward,training", "-a", "T=128"), "has no case with setting=training among these"),
    ],
)
def test_the_program_says_so_with_exit_2(arguments: tuple[str, ...], said: str, cli: Cli) -> None:
    done = cli("run", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


@pytest.mark.parametrize(
    "command", [("ab", "numpy/naive", "numpy/blocked"), ("plan", "--detect", "5%"), ("calibrate",)]
)
def test_ab_plan_and_calibrate_read_levels_likewise(command: tuple[str, ...], cli: Cli) -> None:
    done = cli(*command, "-a", "setting=train")
    assert done.code == 2
    assert "did you mean 'training'?" in done.err


def case(T: int, arm: str, rate: float) -> Case | None:
    del rate
    if arm == "raises":
        raise KeyError(arm)
    if arm == "odd":
        return "no case"  # type: ignore[return-value]
    return Case(AttentionSpec(), Problem(Tq=T, D=8))


AXES = {"T": (16, 32), "arm": ("plain", "a, b", "raises", "odd"), "rate": (0.0, 0.5)}
SUITE = TimedSuite(name="levelled", story=STORY, axes=AXES, case=case)
PLAIN = SUITE.with_axes({"arm": ("plain",), "rate": (0.5,)})


def test_texts_of_one_axis_add_up_in_order() -> None:
    (both,) = overridden([SUITE], ["T=128", "rate=1", "T=256,128"])
    assert both.axes["T"] == (128, 256)
    assert both.axes["rate"] == (1.0,)
    cells = make_plan([PLAIN], overrides=["T=128", "T=256"], patterns=["numpy/naive"], probe=False).cells
    assert [cell.point["T"] for cell in cells] == [128, 256]


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ('"a, b"', ("a, b",)),
        ('plain,"a, b"', ("plain", "a, b")),
        (' plain , "a, b" ', ("plain", "a, b")),
    ],
)
def test_a_level_with_a_comma_stands_in_quotes(text: str, levels: tuple[str, ...]) -> None:
    assert SUITE.read("arm", text) == levels


def test_a_level_that_fell_apart_at_its_comma_is_written_out() -> None:
    with pytest.raises(UsageError) as raised:
        SUITE.read("arm", "plain,a, b")
    assert "got 'a'; a level with a comma stands in quotes: -a 'arm=\"a, b\"'" in str(raised.value)


@pytest.mark.parametrize("levels", [("a",), ("a, b", "c"), ('say "x"', "a=b"), ('"', ",", "a\u00e9")])
def test_what_is_written_is_read_again(levels: tuple[str, ...]) -> None:
    assert tuple(words(written(levels))) == levels


@pytest.mark.parametrize("text", ['"a', 'a"b"c"', '"a"b'])
def test_a_lone_quote_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        SUITE.read("arm", text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("128k", 128_000), ("128K", 128_000), ("4Ki", 4096), ("4ki", 4096), ("1M", 10**6), ("2Mi", 2 * 2**20)),
        *(("1e3", 1000), ("1_000", 1000), ("1.5k", 1500), ("0.5Ki", 512), ("+7", 7), ("1Gi", 2**30), ("1E+2", 100)),
    ],
)
def test_counts_have_suffixes(text: str, value: int) -> None:
    assert SUITE.read("T", text) == (value,)
    assert SUITE.read("rate", text) == (float(value),)


def test_a_count_of_tokens_is_read_likewise() -> None:
    texts = overrides(["speed"], ["dtype=float32"], {"tokens": ["4Ki", "128"], "batch": ["1e1"], "shape": []})
    assert texts == ["dtype=float32", "tokens=4096,128", "batch=10"]


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ({"T": ("16",)}, "axis 'T' of suite 'levelled' takes whole numbers from 1 to 2**30, as in 16, 32; got '16'"),
        ({"T": "16"}, "takes a tuple of one level or more; got '16'"),
        ({"T": ()}, "takes a tuple of one level or more; got ()"),
        ({"T": (16.0,)}, "got 16.0"),
        ({"T": (True,)}, "got True"),
        ({"arm": ("Plain",)}, "got 'Plain'; did you mean 'plain'?"),
        ({"rate": (float("nan"),)}, "takes numbers from 0 on"),
        ({"t": (1,)}, "has no axis 't'; it has T, arm, rate; did you mean 'T'?"),
    ],
)
def test_levels_given_as_values_are_held_to_the_same(levels: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        SUITE.with_axes(levels)
    assert said in str(raised.value)


def test_values_come_as_the_suite_has_them() -> None:
    import numpy as np

    changed = SUITE.with_axes({"T": [np.int64(8)], "rate": (1,)})
    assert [type(changed.axes[axis][0]) for axis in ("T", "rate")] == [int, float]


def test_what_a_case_function_raises_names_the_level() -> None:
    for level, said in (("raises", "KeyError: 'raises'"), ("odd", "made 'no case' of")):
        with pytest.raises(UsageError, match="suite 'levelled' ") as raised:
            make_plan([SUITE], overrides=[f"arm={level}"], patterns=["numpy/naive"], probe=False)
        assert said in str(raised.value)
        assert f"arm={level}" in str(raised.value)


def observe(probe: Probe, size: Any) -> dict[str, float]:
    del probe, size
    return {"x": 0.0}


def even(text: str) -> None:
    if int(text) % 2:
        msg = f"{text} is odd"
        raise ValueError(msg)


def asking(*levels: Any, **more: Any) -> ObservedSuite:
    return ObservedSuite(name="asking", story=STORY, axes={"size": levels}, observe=observe, **more)


@pytest.mark.parametrize(
    ("kind", "own", "text", "levels", "wrong"),
    [
        (Whole(8, 64), 8, "64,0.03125Ki", (64, 32), ("7", "65", "8.5")),
        (Whole(None, None), 0, "-5,7", (-5, 7), ("x",)),
        (Number(above=0, most=1), 0.5, "1,1e-3", (1.0, 1e-3), ("0", "1.1", "-1")),
        (Number(-1, 1), 0.5, "-1,0", (-1.0, 0.0), ("1.01", "inf")),
        (OneOf("a", "b c"), "a", "b c", ("b c",), ("b", "A B")),
        (OneOf(True, False), True, "TRUE,false", (True, False), ("1", "yes")),
        (OrNone(Whole(1)), None, "None,4", (None, 4), ("0", "nothing")),
        (Spelled(even, "even numbers"), "2", "4,6", ("4", "6"), ("5", "x")),
        (Text(), "a", 'b,"c, d"', ("b", "c, d"), ("", "a,")),
        (Lists("[1,2]", none=True), (1, 2), "null,[3,[4]]", (None, (3, (4,))), ("3", "[", "{}", '"a"', "")),
    ],
)
def test_a_suite_declares_what_an_axis_takes(
    kind: Any, own: Any, text: str, levels: tuple[Any, ...], wrong: tuple[str, ...]
) -> None:
    suite = asking(own, levels={"size": kind})
    assert suite.read("size", text) == levels
    assert suite.with_axes({"size": levels}).axes["size"] == levels
    for level in wrong:
        with pytest.raises(UsageError, match="axis 'size' of suite 'asking'"):
            suite.read("size", level)


@pytest.mark.parametrize(
    ("own", "more", "text", "wrong"),
    [
        ((1, 2), {}, "1024", "0"),
        ((0, 1), {}, "0", "-1"),
        ((-1, 1), {}, "-7", "x"),
        ((0.5,), {}, "2", "0"),
        ((0.0, 0.5), {}, "0", "-0.1"),
        ((-0.5, 1.0), {}, "-2", "x"),
        ((False,), {}, "true", "0"),
        (("a",), {"tiers": {"full": {"size": ("a", "b")}}}, "b", "c"),
        ((None, 4), {}, "none", "0"),
        ((None, "a"), {}, "a", "b"),
        ((None,), {}, "none", "a"),
        (((1, 2),), {}, "[3,4]", "3"),
    ],
)
def test_without_a_declaration_an_axis_takes_what_its_own_levels_say(
    own: tuple[Any, ...], more: dict[str, Any], text: str, wrong: str
) -> None:
    suite = asking(*own, **more)
    assert len(suite.read("size", text)) == 1
    with pytest.raises(UsageError, match="axis 'size' of suite 'asking'"):
        suite.read("size", wrong)
    # What it takes is its own, whatever levels it is asked for in between.
    assert suite.with_axes({"size": suite.read("size", text)}).read("size", text)


def test_a_dtype_a_shape_and_a_phase_are_every_one_there_is() -> None:
    def of_model(dtype: str, shape: str, phase: str) -> Case:
        del shape, phase
        return Case(AttentionSpec(), Problem(dtype=dtype))

    levels = {"dtype": ("float32",), "shape": ("gpt2",), "phase": ("prefill",)}
    suite = TimedSuite(name="of-model", story=STORY, axes=levels, case=of_model)
    assert suite.read("dtype", "float16") + suite.read("phase", "decode") == ("float16", "decode")
    assert suite.read("shape", "llama-3-8b") == ("llama-3-8b",)
    forward = TimedSuite(name="of-model", story=STORY, axes={**levels, "phase": ("forward",)}, case=of_model)
    assert forward.read("phase", "backward") == ("backward",)
    odd = TimedSuite(name="of-model", story=STORY, axes={**levels, "dtype": ("float32", "int8")}, case=of_model)
    assert odd.known["dtype"].kind == OneOf("float32", "int8")


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ({"sise": Whole()}, "has no axis 'sise' to declare the levels of; it has size; did you mean 'size'?"),
        ({"size": Whole(8)}, "axis 'size' of suite 'asking' takes whole numbers from 8 on, as in 4; got 4"),
        ({"size": (4, 8)}, "levels of axis 'size' of suite 'asking' are a kind of levels, such as Whole(1) or OneOf"),
    ],
)
def test_a_wrong_declaration_of_levels_is_refused(levels: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        asking(4, levels=levels)
    assert said in str(raised.value)


def test_closed_sets_are_equal_where_their_levels_are() -> None:
    assert OneOf("a") == OneOf("a") != OneOf("b")
    assert len({OneOf("a"), OneOf("a")}) == 1
