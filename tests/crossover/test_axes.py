"""Axes: the case of each place, their ends, and one clear line for what is none."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from attnbench.crossover.axes import AXES, AxisSetting, axis_named, grid_of, setting_for
from attnbench.crossover.question import CrossoverQuestion, contestants
from attnbench.crossover.search import Grid
from attnbench.errors import UsageError
from tests.program import Cli
from tests.wording import says

SIZES = {"tokens": ("Tq", "S"), "keys": ("S",), "heads": ("Hq", "Hkv"), "head_size": ("D", "Dv"), "batch": ("B",)}


@pytest.mark.parametrize("name", SIZES)
def test_each_axis_varies_what_it_says_and_nothing_else(name: str) -> None:
    axis = axis_named(name)
    setting = setting_for(axis, AxisSetting(), typed=None)
    small, large = (axis.case(setting, x).problem.to_dict() for x in (16, 32))
    changed = {key for key in small if small[key] != large[key]} - {"Da"}
    assert changed == set(SIZES[name])
    assert all(large[key] == 32 for key in SIZES[name])


def test_keys_are_about_decode() -> None:
    axis = axis_named("keys")
    case = axis.case(setting_for(axis, AxisSetting(), typed=None), 1000)
    assert (case.phase, case.problem.Tq, case.problem.S) == ("decode", 1, 1000)
    with pytest.raises(UsageError, match="about decode"):
        setting_for(axis, AxisSetting(phase="train"), typed="train")
    with pytest.raises(UsageError, match="--axis keys"):
        setting_for(axis_named("tokens"), AxisSetting(phase="decode"), typed="train")


@pytest.mark.parametrize("name", AXES)
def test_what_is_held_has_no_number_of_the_axis(name: str) -> None:
    axis = axis_named(name)
    setting = setting_for(axis, AxisSetting(), typed=None)
    held = CrossoverQuestion(("a", "b"), axis, setting, Grid(16, 32)).held()
    assert {"keys": "tokens"}.get(name, name) not in held
    assert set(held) | {"tokens", "batch", "threads"} == set(asdict(setting)), "and all else"


@pytest.mark.parametrize(("typed", "phase"), [("forward", "prefill"), ("backward", "train"), ("prefill", "prefill")])
def test_phases_are_typed_as_in_best(monkeypatch: pytest.MonkeyPatch, cli: Cli, typed: str, phase: str) -> None:
    seen: list[CrossoverQuestion] = []

    def refuse(question: CrossoverQuestion) -> None:
        seen.append(question)
        msg = "seen"
        raise UsageError(msg)

    monkeypatch.setattr("attnbench.crossover.measuring.check_possible", refuse)
    cli("crossover", "numpy/naive", "numpy/blocked", "--phase", typed)
    assert seen[0].setting.phase == phase


@pytest.mark.parametrize(
    ("typed", "warned"),
    [
        (["--axis", "threads", "--range", "1:64"], "--axis threads, up to 64"),
        (["--axis", "threads", "--range", "1:2"], None),
        (["--axis", "threads"], None),
        (["--threads", "64"], "--threads 64"),
    ],
)
def test_more_threads_than_processors_are_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, cli: Cli, typed: list[str], warned: str | None
) -> None:
    def refuse(_: CrossoverQuestion) -> None:
        msg = "far enough"
        raise UsageError(msg)

    monkeypatch.setattr("attnbench.crossover.measuring.check_possible", refuse)
    monkeypatch.setattr("attnbench.results.fingerprint.processors", lambda: 2)
    done = cli("crossover", "numpy/naive", "numpy/blocked", *typed)
    warnings = [line for line in done.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == (warned is not None)
    assert warned is None or warnings[0].startswith(f"warning: {warned}: this process may use 2 processors")


def test_heads_keep_how_they_share_keys() -> None:
    grid = grid_of(AXES["heads"], AxisSetting(shape="h8-2-d128-causal"))
    assert (grid.low, grid.step) == (4, 4)
    problem = AXES["heads"].case(AxisSetting(shape="h8-2-d128-causal"), 16).problem
    assert (problem.Hq, problem.Hkv) == (16, 4)
    with pytest.raises(UsageError, match="multiple of 4"):
        grid_of(AXES["heads"], AxisSetting(shape="h8-2-d128-causal"), 6, 24)


def test_head_sizes_are_in_steps_of_eight_where_the_ends_are() -> None:
    assert grid_of(AXES["head_size"], AxisSetting()).step == 8
    assert grid_of(AXES["head_size"], AxisSetting(), 4, 30).step == 1


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["numpy/naive"], ("two implementations or more", "attnbench crossover numpy/naive numpy/blocked")),
        (["numpy/naive", "numpy/naive"], ("two implementations or more",)),
        (["numpy/naive", "numpy/bloked"], ("did you mean 'numpy/blocked'?",)),
        (["*/*"], ("at most 6",)),
        (["numpy/naive", "numpy/blocked", "--axis", "token"], ("did you mean 'tokens'?",)),
        (["numpy/naive", "numpy/blocked", "--range", "64"], ("LOW:HIGH", "64:8192")),
        (["numpy/naive", "numpy/blocked", "--range", "64:x"], ("1 or more",)),
        (["numpy/naive", "numpy/blocked", "--range", "512:64"], ("smaller number first",)),
        (["numpy/naive", "numpy/blocked", "--range", "0:64"], ("1 or more",)),
        (["numpy/naive", "numpy/blocked", "--range", "64.5:100"], ("1 or more", "64.5")),
        (["numpy/naive", "numpy/blocked", "--range", "64:64"], ("64:64 is one place", "two ends")),
        (
            ["numpy/naive", "numpy/blocked", "--axis", "keys", "--phase", "forward"],
            ("about decode; got --phase forward",),
        ),
        (
            ["numpy/naive", "numpy/blocked", "--axis", "heads", "--shape", "h8-2-d128", "--range", "4:7"],
            ("two places at least", "4:7 in steps of 4 has one"),
        ),
        (["numpy/naive", "numpy/blocked", "--shape", "h4-x65"], ("unknown shape",)),
        (["numpy/naive", "numpy/blocked", "--tokens", "64"], ("--axis tokens varies", "--range")),
        (["numpy/naive", "numpy/blocked", "--axis", "threads", "--threads", "64"], ("--axis threads varies",)),
        (["numpy/naive", "numpy/blocked", "--phase", "decoding"], ("did you mean 'decode'?",)),
        (["numpy/naive", "numpy/blocked", "--dtype", "fp16"], ("did you mean 'float16'?",)),
        (["numpy/naive", "numpy/blocked", "--device", "gpu"], ("did you mean 'cuda'?",)),
        (["numpy/naive", "numpy/blocked", "--budget", "soon"], ("90s, 10m or 1h",)),
        (["numpy/naive", "numpy/blocked", "--budget", "2s"], ("--budget 2s is too short", "type --budget 20s or more")),
        (["numpy/naive", "numpy/mine", "--impls", "nothing.py"], ("no such file",)),
        (["numpy/naive", "numpy/blocked", "--axis", "heads", "--range", "7:7"], ("7:7 is one place", "two ends")),
    ],
)
def test_what_is_wrong_is_one_line_and_writes_nothing(cli: Cli, typed: list[str], words: tuple[str, ...]) -> None:
    done = cli("crossover", *typed)
    assert done.code == 2, done.out
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1
    assert says(done.err, *words)


def test_names_come_in_the_order_in_which_they_were_typed() -> None:
    names, files = contestants(["torch/sdpa", "numpy/naive"], ())
    assert names == ("torch/sdpa", "numpy/naive")
    assert files == {}
