"""What a suite measures where nothing is named, what it leaves out and why, and what it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnbench.api.backends import BackendInfo
from attnbench.api.suites import AttentionSpec, Case, ObservedSuite, Probe, Problem, Story, TimedSuite
from attnbench.backends import discover
from attnbench.errors import NothingSelectedError
from attnbench.measure.run.choice import Omission, lacking_of, measured_by, sentences
from attnbench.measure.run.plan import make_plan
from attnbench.workers import devices, gpus
from tests.docs.implementations_page import declaration, is_readable

STORY = Story(question="Which?")
TIMED = [name for name in discover.suite_names() if discover.suite(name).timed]
# What README and docs/interface.md say of the suites on a CPU.
COUNTS = {"smoke": 11, "speed": 17, "memory": 12, "decode": 13, "masks": 15, "threads": 12, "gpu": 19}


def case(T: int) -> Case:
    return Case(AttentionSpec(), Problem(Tq=T))


def observe(probe: Probe, T: int) -> dict[str, float]:
    del probe
    return {"T": float(T)}


def timed(**more: object) -> TimedSuite:
    return TimedSuite(name="mine", story=STORY, axes={"T": (16,)}, case=case, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_what_is_not_measured_is_left_out_with_a_reason(name: str) -> None:
    plan = make_plan([name], probe=False)
    left_out = [impl for group in plan.left_out for impl in group.implementations]
    assert len(plan.implementations()) == COUNTS[name]
    assert sorted([*plan.implementations(), *left_out]) == sorted(discover.implementation_names())
    assert all(group.suite == name and group.reason for group in plan.left_out)


@pytest.mark.parametrize("name", TIMED)
def test_every_reason_of_a_timed_suite_is_one_of_its_own(name: str) -> None:
    reasons = {group.reason for group in make_plan([name], probe=False).left_out}
    assert not [reason for reason in reasons if reason.startswith("the suite is about")]


def test_who_is_named_is_measured_and_nothing_is_left_out() -> None:
    plan = make_plan(["smoke"], patterns=["torch/chunked"], probe=False)
    assert plan.implementations() == ("torch/chunked",)
    assert plan.left_out == ()
    assert len(make_plan(["smoke"], patterns=["*"], probe=False).implementations()) == 47


def test_smoke_on_a_gpu_measures_the_kernels_of_the_gpu() -> None:
    plan = make_plan(["smoke"], devices=["cuda"], probe=False)
    assert {"jax/nn-cudnn", "torch/sdpa-efficient", "torch/sdpa-cudnn"} < set(plan.implementations())
    (elsewhere,) = [group for group in plan.left_out if group.reason.startswith("runs on cpu alone")]
    assert elsewhere.reason == "runs on cpu alone, and this is measured on cuda"
    assert {*NUMPY, "mlx/sdpa", "tinygrad/sdpa"} <= set(elsewhere.implementations)


NUMPY = ("numpy/naive", "numpy/blocked", "numpy/loops")


def test_the_device_comes_first_then_the_suites_own_reason_then_what_it_is_about() -> None:
    suite = timed(implementations=("numpy/*", "torch/*"), leaves_out={"torch/*": "not today"})
    measured, left_out = measured_by(suite, discover.implementation_names(), (), ("cpu",))
    by_name = {name: group.reason for group in left_out for name in group.implementations}
    assert measured == NUMPY
    assert by_name["torch/sdpa-cudnn"] == "runs on cuda alone, and this is measured on cpu"
    assert by_name["torch/naive"] == "not today"
    assert by_name["jax/naive"] == "the suite is about numpy/*, torch/*"


def test_an_observed_suite_says_that_one_stands_for_all() -> None:
    suite = ObservedSuite(
        name="seen", story=STORY, axes={"T": (16,)}, observe=observe, implementations=("numpy/naive",)
    )
    why = suite.why_left_out("numpy/blocked")
    assert why == "it is about arithmetic and not about time, and numpy/naive shows that"


def test_a_drop_in_is_never_left_out() -> None:
    suite = timed(leaves_out={"*": "nothing at all"})
    assert measured_by(suite, ("numpy/naive", "numpy/mine"), ("numpy/mine",), ("cpu",))[0] == ("numpy/mine",)


def test_a_third_partys_implementation_is_measured_without_being_named(monkeypatch: pytest.MonkeyPatch) -> None:
    other = BackendInfo("other", "attnbench", "numpy", None, (("fast", "fast"),))
    monkeypatch.setattr(discover, "backends", lambda: {"numpy": discover._announced()["numpy"], "other": other})
    assert "other/fast" in make_plan(["smoke"], probe=False).implementations()
    assert "other/fast" in make_plan(["gpu"], probe=False).implementations()  # nothing is known of its devices


def test_a_suite_that_measures_nothing_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discover, "backends", lambda: {"numpy": discover._announced()["numpy"]})
    with pytest.raises(NothingSelectedError, match="numpy/loops: runs on cpu alone, and this is measured on cuda"):
        make_plan(["gpu"], probe=False)


def test_suites_that_leave_out_the_same_share_the_lines() -> None:
    groups = [Omission(suite, ("a/b", "a/c"), "slow") for suite in ("one", "two")] + [Omission("three", ("a/b",), "x")]
    assert sentences(groups) == [
        "one, two leave out 2 implementations; --impl NAME measures one all the same, --impl '*' all:",
        "  a/b, a/c: slow",
        "three leaves out 1 implementation; --impl NAME measures one all the same, --impl '*' all:",
        "  a/b: x",
    ]
    assert sentences(()) == []


@pytest.mark.parametrize("info", discover.backends().values(), ids=lambda info: info.name)
def test_a_card_says_of_each_implementation_what_it_is_and_where_it_runs(info: BackendInfo) -> None:
    if not is_readable(info):
        pytest.skip(info.why_missing() or "")
    variants = [variant for variant, _ in info.implementations]
    assert sorted(info.about) == sorted(info.devices) == sorted(variants)
    for variant in variants:
        declared = declaration(f"{info.name}/{variant}")
        runs_on = tuple(device for device in ("cpu", "cuda") if device in declared.capabilities_on(device).devices)
        assert info.devices[variant] == runs_on
        assert 0 < len(info.about[variant]) <= 46  # a line of `attnbench list` at 120 columns
        assert info.about[variant][-1] != "."


# What a suite lacks.


def test_a_suite_that_lacks_a_module_says_so_and_its_cells_are_refused() -> None:
    suite = timed(needs={"no_such_module": "cmudict"})
    why = "suite 'mine' needs no_such_module, which is not installed. Type: pip install 'attnbench[cmudict]'"
    assert lacking_of(suite) == why
    plan = make_plan([suite], patterns=["numpy/naive"])
    assert dict(plan.refused) == {plan.cells[0].id: why}
    assert lacking_of(timed(needs={"numpy": "cmudict"})) is None


def test_g2p_names_what_it_needs() -> None:
    assert dict(discover.suite("g2p").needs) == {"cmudict": "cmudict", "rapidfuzz": "cmudict"}


def test_a_suite_for_a_gpu_lacks_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "gpu_in_sight", lambda: False)
    monkeypatch.setattr(devices, "devices_of", None)  # nobody is asked
    assert lacking_of(discover.suite("gpu")) == "needs cuda: no GPU here"
    assert lacking_of(discover.suite("smoke")) is None


def test_where_a_gpu_is_in_sight_the_frameworks_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "gpu_in_sight", lambda: True)
    monkeypatch.setattr(devices, "devices_of", {"torch": ("cpu",), "jax": None, "numpy": ("cpu",)}.get)
    assert gpus.why_not_here("torch", "cuda") == "needs cuda; torch has cpu here"
    assert gpus.why_not_here("jax", "cuda") is None  # it does not tell
    assert gpus.why_not_here("torch", "cpu") is None
    assert lacking_of(discover.suite("gpu")) is None
    monkeypatch.setattr(devices, "devices_of", lambda _: ("cpu",))
    absent = discover.backend("cupy").why_missing() or "needs cuda; cupy has cpu here"
    every = "; ".join([absent, *(f"needs cuda; {name} has cpu here" for name in ("jax", "torch", "triton"))])
    assert lacking_of(discover.suite("gpu")) == every


def test_a_suite_whose_frameworks_are_missing_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = BackendInfo("torch", "attnbench", "absent_torch", "torch", (("naive", "naive"),))
    monkeypatch.setattr(discover, "backends", lambda: {"numpy": discover._announced()["numpy"], "torch": absent})
    assert lacking_of(discover.suite("scaling")) == "absent_torch is not installed: pip install 'attnbench[torch]'"
    assert lacking_of(discover.suite("saturation")) is None  # numpy/naive is there


@pytest.mark.parametrize("driver", ["dev/nvidiactl", "dev/dxg", "dev/kfd"])
def test_the_file_of_a_driver_is_a_gpu_in_sight(driver: str, tmp_path: Path) -> None:
    (tmp_path / driver).parent.mkdir()
    (tmp_path / driver).touch()
    assert gpus.gpu_in_sight(tmp_path)
