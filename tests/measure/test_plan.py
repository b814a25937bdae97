import re
from collections.abc import Callable
from pathlib import Path

import pytest

from attnbench.api.backends import BackendInfo
from attnbench.api.suites import AttentionSpec, Case, Problem, Story, TimedSuite
from attnbench.backends import discover
from attnbench.errors import NothingSelectedError, UsageError
from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.plan import DESCRIBE_TIMEOUT_S, make_plan, names_in, overridden, within


def cases(T: int, causal: bool, dtype: str, factor: float, window: tuple[int, int] | None) -> Case | None:
    del factor
    return Case(AttentionSpec(causal=causal, window=window), Problem(Tq=T, dtype=dtype)) if T < 1000 else None


AXES = {"T": (16, 32), "causal": (False,), "dtype": ("float32",), "factor": (0.5,), "window": (None,)}
STORY = Story(question="Which?")
SUITE = TimedSuite(name="many", story=STORY, axes=AXES, case=cases, implementations=("numpy/*",))
WINDOWED = TimedSuite(name="windowed", story=STORY, axes=AXES | {"window": (None, (1, 0))}, case=cases)


@pytest.mark.parametrize(
    ("axis", "text", "levels"),
    [
        ("T", "64,128", (64, 128)),
        ("T", " 8 , 8 ", (8,)),
        ("causal", "true,False", (True, False)),
        ("dtype", "float64,bfloat16", ("float64", "bfloat16")),
        ("factor", "1,2.5", (1.0, 2.5)),
    ],
)
def test_levels_are_read_as_the_axis_is_typed(axis: str, text: str, levels: tuple[object, ...]) -> None:
    typed = SUITE.read(axis, text)
    assert typed == levels
    assert [type(level) for level in typed] == [type(level) for level in levels]


def test_an_axis_of_lists_is_read_as_json() -> None:
    assert WINDOWED.read("window", "null,[4,0]") == (None, (4, 0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("T=abc", "axis 'T' of suite 'windowed' takes whole numbers from 1 to 2**30, as in 16, 32; got 'abc'"),
        ("T=1.5", "takes whole numbers"),
        ("T=", "write axis=v1,v2"),
        ("T", "write axis=v1,v2"),
        ("causal=yes", "takes true, false; got 'yes'"),
        ("factor=fast", "takes numbers"),
        ("causl=true", "has no axis 'causl'; it has T, causal, dtype, factor, window; did you mean 'causal'?"),
        ("window=[1", "takes lists"),
    ],
)
def test_a_wrong_override_says_what_is_possible(text: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        overridden([WINDOWED], [text])
    assert said in str(raised.value)


def test_every_point_and_implementation_is_a_cell_and_blocks_share_a_case() -> None:
    plan = make_plan([SUITE], patterns=["numpy/naive", "numpy/loops"], threads=(1, 2))
    assert len(plan.cells) == 2 * 2 * 2
    assert len({cell.id for cell in plan.cells}) == len(plan.cells)
    blocks = plan.blocks()
    assert [len(block) for block in blocks] == [2] * 4
    assert all(len({(cell.case_id, cell.threads) for cell in block}) == 1 for block in blocks)


def test_the_suite_chooses_and_an_explicit_choice_replaces_it() -> None:
    assert {cell.backend for cell in make_plan([SUITE]).cells} == {"numpy"}
    assert make_plan([SUITE], patterns=["torch/naive"]).implementations() == ("torch/naive",)


def test_what_is_not_installed_is_planned_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BackendInfo, "_missing", lambda self: "torch" if self.name == "torch" else None)
    plan = make_plan([SUITE], patterns=["numpy/naive", "torch/naive"])
    refused = {cell.impl for cell in plan.cells if cell.id in plan.refused}
    assert refused == {"torch/naive"}
    assert set(plan.refused.values()) == {"torch is not installed: pip install 'attnbench[torch]'"}


def test_nothing_selected_is_an_error_of_its_own() -> None:
    with pytest.raises(NothingSelectedError):
        make_plan([SUITE], overrides=["T=2000"])
    with pytest.raises(NothingSelectedError):
        make_plan([SUITE], patterns=["nobody/*"])
    with pytest.raises(UsageError, match=r"no implementation matches 'numpy/nave'.*did you mean 'numpy/naive'"):
        make_plan([SUITE], patterns=["numpy/nave"])


def test_two_points_of_one_case_are_refused() -> None:
    with pytest.raises(UsageError, match="differ in factor and are the same case"):
        make_plan([SUITE], overrides=["factor=1,2"])


def test_names_in_a_drop_in_file(dropin: Callable[..., str]) -> None:
    path = dropin()
    assert names_in([path]) == ("numpy/good",)
    plan = make_plan([SUITE], patterns=["numpy/good", "numpy/naive"], files=[path])
    assert {cell.impl: cell.files for cell in plan.cells} == {"numpy/good": (path,), "numpy/naive": ()}


@pytest.mark.parametrize("ending", ["raise RuntimeError('no')", "import os; os._exit(0)", "while True: pass"])
def test_a_file_that_cannot_be_imported_keeps_its_names(ending: str, dropin: Callable[..., str]) -> None:
    assert names_in([dropin(ending)], timeout_s=3.0) == ("numpy/good",)


def test_a_file_without_an_implementation_or_that_is_not_there(tmp_path: Path) -> None:
    empty = tmp_path / "empty.py"
    empty.write_text("x = 1\n")
    with pytest.raises(UsageError, match="no implementation in it"):
        names_in([str(empty)])
    with pytest.raises(UsageError, match="no such file"):
        names_in([str(tmp_path / "none.py")])


def test_a_file_that_hangs_in_its_import_takes_half_of_a_budget_at_most() -> None:
    assert within(None) == within(600.0) == DESCRIBE_TIMEOUT_S
    assert within(5.0) == 2.5
    assert RunOptions(budget_s=5.0).describing_s() == 2.5
    assert within(None, 3.0) == within(600.0, 3.0) == 3.0


@pytest.mark.parametrize(
    ("pattern", "meant"),
    {
        "torch": "did you mean 'torch/*', all of that backend?",
        "sdpa": "did you mean '*sdpa*', all whose names have it?",
        "numpy/naive,torch/sdpa": "numpy/naive torch/sdpa, or --impl numpy/naive --impl torch/sdpa",
        "Numpy/Naive": "did you mean 'numpy/naive'?",
    }.items(),
)
def test_what_people_type_for_an_implementation_is_answered_with_what_to_type(pattern: str, meant: str) -> None:
    with pytest.raises(UsageError, match=re.escape(meant)):
        discover.select([pattern])


def test_suites_with_a_comma_are_answered_with_what_to_type() -> None:
    with pytest.raises(UsageError, match="name several one after the other: smoke speed"):
        discover.suite("smoke,speed")


def test_a_file_that_ends_python_by_itself_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(UsageError, match=re.escape(f"--impls {file}: importing it ended in SystemExit: 3")):
        names_in([file])
