"""``attnbench ab`` fails closed: what no cell could answer, or nobody has heard to the end, is never a pass."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from attnbench.commands.live import files as ab_files
from attnbench.commands.live.output import closing, tables
from attnbench.errors import UsageError
from attnbench.live import comparison, pairs
from attnbench.live.comparison import Compared, Terms, compare_live
from attnbench.live.duo import Name, Side, twins_of
from attnbench.live.pair import PairedEffort
from attnbench.live.pairs import Pairs
from attnbench.live.revisions import Revisions
from attnbench.live.sides import Resolved
from attnbench.results.pairs import read_comparison
from attnbench.workers.lock import only_run
from attnbench.workers.process import Setting
from attnbench.workers.protocol import Reply
from tests.live.test_pairs import FakeWorker, World, cell, failing
from tests.live.test_pairs_memory import peaks
from tests.program import SMALL, Cli

MIB = 2**20


class Machine(World):
    """A machine on which one version is as fast as the other, but for noise."""

    def burst(self, side: str, calls: int = 30, **changes: Any) -> Reply:
        own = {"wall_ns": round(random.Random(len(self.log)).gauss(1, 1e-3) * calls * 1e6)}  # noqa: S311
        return super().burst(side, calls, **(own | changes))


@pytest.fixture
def compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Compared]:
    """``attnbench ab --inconclusive pass`` of two revisions on a machine that is not there, with its JUnit file."""
    monkeypatch.setenv("ATTNBENCH_LOCK", str(tmp_path / "lock"))

    def run(world: World, cells: int = 1, *, refused: bool = False, **changes: Any) -> Compared:
        made = partial(Pairs, start=world.start, clock=lambda: world.now)
        monkeypatch.setattr(comparison, "Pairs", made)
        sides: dict[Name, Side] = {name: Side(name, environment={"SIDE": name}, code="abc") for name in ("A", "B")}
        twins = twins_of(cell(8 + i) for i in range(cells))
        why = {one.id: "not on this machine" for one in twins} if refused else {}
        own: dict[str, Any] = {"out": tmp_path / "results", "inconclusive_passes": True, "seed": 1}
        own |= {"effort": PairedEffort(quads=2), "budget_s": 600.0}
        compared = compare_live(Resolved("revisions", sides, twins, why), Terms(**(own | changes)))
        ab_files.write(compared, None, junit=tmp_path / "ab.xml", markdown=tmp_path / "ab.md", github=False)
        return compared

    return run


def junit(folder: Path) -> tuple[int, int, int]:
    """Failures and errors, and the cases there are."""
    root = ET.parse(folder / "ab.xml").getroot()  # noqa: S314  (ours)
    assert len(root.findall(".//testcase")) == int(root.get("tests", "0"))
    return int(root.get("failures", "0")), int(root.get("errors", "0")), int(root.get("tests", "0"))


def test_two_alike_pass(compare: Callable[..., Compared], tmp_path: Path) -> None:
    compared = compare(Machine(), cells=2)
    assert ([one.words for one in compared.verdicts], compared.exit_code) == ([("same", "same")] * 2, 0)
    assert junit(tmp_path) == (0, 0, 2)
    assert read_comparison(compared.folder)["status"] == "complete"


def test_a_reason_that_all_cells_share_is_said_once_and_in_every_test_case(
    compare: Callable[..., Compared], tmp_path: Path
) -> None:
    compared = compare(Machine(), cells=9, refused=True)
    said = " ".join([tables(compared), *closing(compared, None)])
    assert said.count("not on this machine") == 1
    assert "unsupported, 9 cells: not on this machine." in said
    assert (tmp_path / "ab.md").read_text().count("not on this machine") == 1
    assert (tmp_path / "ab.xml").read_text().count("not on this machine") == 9


@pytest.mark.parametrize("wall", [-5, 0, math.nan])
def test_a_clock_that_goes_backwards_is_no_pass(compare: Callable[..., Compared], tmp_path: Path, wall: float) -> None:
    world = Machine()
    world.answers["B", "burst"] = lambda n, asked: world.burst("B", asked["calls"], wall_ns=wall) if n == 20 else None
    compared = compare(world, cells=2)
    assert compared.exit_code == 3
    assert sorted(one.verdict for one in compared.verdicts) == ["not-comparable", "same"]
    assert junit(tmp_path) == (1, 0, 2)


@pytest.mark.parametrize(("op", "at"), [("hello", 0), ("hello", 3), ("prepare", 3), ("burst", 13), ("memory", 1)])
@pytest.mark.parametrize("status", ["crashed", "timeout"])
def test_a_side_that_dies_fails_whenever_it_does(
    compare: Callable[..., Compared], tmp_path: Path, op: str, at: int, status: str
) -> None:
    world = Machine()
    failing(world, "B", op, Reply(0, status, "died"), at)
    compared = compare(world)
    assert compared.exit_code == 4
    (one,) = compared.verdicts
    assert "not-comparable" in one.words
    assert junit(tmp_path) == (0, 1, 1)


def test_a_side_that_does_not_understand_us_is_open_and_no_failure_of_a_kernel(
    compare: Callable[..., Compared], tmp_path: Path
) -> None:
    world = Machine()
    failing(world, "B", "hello", Reply(0, "crashed", "the worker has no operation 'hello'"))
    assert compare(world).exit_code == 5, "nothing was measured"
    assert junit(tmp_path) == (1, 0, 1)


def test_memory_that_one_side_cannot_tell_is_no_pass(compare: Callable[..., Compared], tmp_path: Path) -> None:
    world = Machine()
    peaks(world, "B", None)
    compared = compare(world)
    assert (compared.verdicts[0].words, compared.exit_code) == (("same", "not-comparable"), 3)
    assert junit(tmp_path) == (1, 0, 1)
    peaks(world, "A", None)
    compared = compare(world)
    assert (compared.verdicts[0].words, compared.exit_code) == (("same", "not-measured"), 0)


@pytest.mark.parametrize(
    ("a", "b", "processes", "word", "code"),
    [
        ((100, 100, 110), (150, 150, 150), 6, "larger", 1),
        ((100, 100, 100), (150, 150, 150), 3, "larger", 1),
        ((100, 100, 160), (150, 150, 150), 6, "inconclusive", 0),
        ((100, 100, 110), (150, 150, 150, 105), 6, "inconclusive", 0),
        ((100, 100, 160), (100, 160, 100), 3, "same", 0),
    ],
)
def test_a_change_of_memory_that_varies_is_shown_again_on_fresh_processes(
    compare: Callable[..., Compared],
    a: tuple[int, ...],
    b: tuple[int, ...],
    processes: int,
    word: str,
    code: int,
) -> None:
    world = Machine()
    peaks(world, "A", *(MIB * one for one in a))
    peaks(world, "B", *(MIB * one for one in b))
    compared = compare(world)
    assert (compared.verdicts[0].words, compared.exit_code) == (("same", word), code)
    assert [world.counts[side, "memory"] + 1 for side in ("A", "B")] == [processes] * 2


@pytest.mark.parametrize("bursts", [2, 30])
def test_what_was_broken_off_is_no_pass_and_says_so(
    compare: Callable[..., Compared], tmp_path: Path, bursts: int
) -> None:
    world = Machine()

    def interrupt(number: int, _: dict[str, Any]) -> None:
        if number == bursts:
            raise KeyboardInterrupt

    world.answers["A", "burst"] = interrupt
    compared = compare(world)
    assert compared.exit_code == (5 if bursts < 4 else 3)
    info = read_comparison(compared.folder)
    assert (info["status"], info["note"]) == ("interrupted", "interrupted")
    # A cell that has a pair is let pass, so the comparison as a whole is the error; one that has none fails itself.
    measured = bursts > 4
    assert junit(tmp_path) == ((0, 1, 2) if measured else (1, 0, 1))
    assert ("::error title=attnbench ab::" in ab_files.workflow_commands(compared)[-1]) == measured
    assert ab_files.workflow_commands(compared)[-1].startswith("::error ")


def test_where_nothing_is_supported_junit_has_an_error(compare: Callable[..., Compared], tmp_path: Path) -> None:
    assert compare(Machine(), cells=2, refused=True).exit_code == 5
    assert junit(tmp_path) == (0, 1, 3)
    assert "nothing was measured" in (tmp_path / "ab.xml").read_text()


def test_a_budget_for_one_pair_is_open(
    compare: Callable[..., Compared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "FIRST_START_S", 0.1)
    monkeypatch.setattr(pairs, "FIRST_CELL_S", 0.1)
    compared = compare(Machine(), budget_s=1.2, inconclusive_passes=False)
    assert (len(compared.verdicts[0].log_ratios), compared.exit_code) == (1, 3)
    assert junit(tmp_path) == (1, 0, 1)


def test_a_calibration_that_was_broken_off_is_no_pass(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    world = Machine()

    def start(_backend: str, setting: Setting) -> FakeWorker:
        world.settings.append(setting)
        return FakeWorker(world, "AB"[len(world.settings) % 2])

    def interrupt(number: int, _: dict[str, Any]) -> None:
        if number == 40:
            raise KeyboardInterrupt

    world.answers["A", "burst"] = interrupt
    monkeypatch.setattr(comparison, "Pairs", partial(Pairs, start=start, clock=lambda: world.now))
    done = cli("calibrate", *SMALL, "--json")
    assert (done.code, done.document["exit_code"]) == (3, 3), done.err
    assert done.document["pairs"] >= 1


def test_revisions_are_installed_under_the_lock_and_wrong_usage_does_not_wait_for_it(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []

    def refuse(_self: Revisions, name: str) -> None:
        held.append((tmp_path / "lock.holder").exists())
        raise UsageError(name)

    monkeypatch.setattr(Revisions, "tree", refuse)
    monkeypatch.setattr("attnbench.live.revisions.repository", lambda _: tmp_path)
    asked = ("ab", "WORKTREE", ".", "--impl", "numpy/naive", *SMALL)
    assert cli(*asked).code == 2
    assert held == [True]
    assert not (tmp_path / "lock.holder").exists()
    with only_run(tmp_path / "lock"):
        assert "another run" in cli(*asked).err
        assert "did you mean 'numpy/naive'" in cli("ab", "numpy/naive", "numpy/niave", "--wait", "10m").err
    assert held == [True]
