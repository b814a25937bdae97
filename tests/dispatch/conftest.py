"""A plan of three blocks that was measured once, for all tests of the room: sound, crashing and observed cells."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from filelock import FileLock

from attnbench.dispatch import work
from attnbench.dispatch.blocks import read_block
from attnbench.dispatch.folder import read_plan
from attnbench.dispatch.layout import WantedPlan, lay_out
from attnbench.dispatch.records import BlockResult, DispatchBlock
from attnbench.dispatch.work import WorkWords
from attnbench.interface.running import RunWords, run_options
from attnbench.measure.run import rates
from attnbench.measure.run.options import RunOptions, RunOutcome
from attnbench.measure.run.run import run as run_locally
from tests.dropins import GOOD
from tests.measure.conftest import QUICK

KERNELS = dedent(GOOD) + dedent(
    """
    import os

    @implementation("numpy/crashes", Capabilities())
    def crashes(q, k, v, call):
        os.abort()
    """
)
SUITES = dedent(
    """
    from attnbench.api.suites import AttentionSpec, Case, ObservedSuite, Problem, Story, TimedSuite

    def case(T):
        return Case(AttentionSpec(), Problem(Hq=2, Tq=T, D=8))

    def observe(probe, seed, arm):
        return {"number": float(seed)}

    TIMED = TimedSuite(name="small", story=Story(question="Does it run?"), axes={"T": (16,)}, case=case)
    OBSERVED = ObservedSuite(
        name="seen", story=Story(question="Is it seen?"), axes={"seed": (0, 1), "arm": ("a",)}, observe=observe
    )
    """
)


def quickly(options: RunOptions) -> RunOutcome:
    """A run with few bursts."""
    return run_locally(replace(options, effort=replace(QUICK, timeout_s=options.effort.timeout_s)))


def words(folder: Path) -> RunWords:
    """What is asked: two suites and two implementations of one's own."""
    return RunWords(
        impl=["numpy/good", "numpy/crashes"], impls=[folder / "kernels.py"], suite_files=[folder / "questions.py"]
    )


def write_files(folder: Path) -> None:
    (folder / "kernels.py").write_text(KERNELS, encoding="utf-8")
    (folder / "questions.py").write_text(SUITES, encoding="utf-8")


def unheard(_: str) -> None:
    """A note that nobody needs."""


class Fleet:
    """What was measured: the plan's folder, its files in the order of the blocks' numbers, and a local run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.empty = folder / "plan", folder / "empty"
        kept = json.loads((folder / "kept.json").read_text())
        self.exit_codes: list[int] = kept["exit_codes"]
        self.files = [Path(file) for file in kept["files"]]
        self.local, self.local_exit = Path(kept["local"]), int(kept["local_exit"])

    def block(self, number: int) -> DispatchBlock:
        return read_block(self.folder, read_plan(self.folder), self.files[number].name.partition(".")[0])

    def result(self, number: int) -> BlockResult:
        return BlockResult.model_validate_json(self.files[number].read_bytes())


def measure_all(folder: Path) -> None:
    """Lay out the plan, measure its blocks, and the same once more as a local run."""
    write_files(folder)
    lay_out(WantedPlan(words(folder), folder / "plan", send_files=True, seed=3), unheard)
    shutil.copytree(folder / "plan", folder / "empty")
    labels = WorkWords(labels={"rack": "7"})
    worked = [work.work(folder / "plan", str(number), labels, unheard) for number in range(3)]
    local = quickly(run_options(replace(words(folder), out=folder / "local"), unheard))
    kept = {
        "exit_codes": [block.exit_code for block in worked],
        "files": [str(block.file) for block in worked],
        "local": str(local.folder),
        "local_exit": local.exit_code,
    }
    (folder / "kept.json").write_text(json.dumps(kept))


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Fleet:
    """Measured once, whichever of pytest's processes comes first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "fleet"
    with FileLock(folder.with_name("fleet.lock")), pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTNBENCH_LOCK", str(folder.with_name("fleet.measuring")))
        patch.setattr(rates, "CEILINGS_S", 0.02)
        patch.setattr(rates, "AGAIN_S", 0.05)
        patch.setattr(work, "run", quickly)
        if not folder.exists():
            folder.mkdir()
            measure_all(folder)
    return Fleet(folder)


@pytest.fixture
def measured(fleet: Fleet, tmp_path: Path) -> Path:
    """A copy of the plan with all its results."""
    return Path(shutil.copytree(fleet.folder, tmp_path / "plan"))


@pytest.fixture
def unmeasured(fleet: Fleet, tmp_path: Path) -> Path:
    """A copy of the plan without any."""
    return Path(shutil.copytree(fleet.empty, tmp_path / "empty"))


@pytest.fixture
def small_plan(tmp_path: Path) -> Callable[..., Path]:
    """Lay out a plan of the installed suite ``smoke``, with changes of what is wanted."""

    def make(name: str = "plan", **changes: object) -> Path:
        asked = RunWords(suites=["smoke"], axes=["T=128"], impl=["numpy/naive"])
        lay_out(replace(WantedPlan(asked, tmp_path / name), **changes), unheard)  # type: ignore[arg-type]
        return tmp_path / name

    return make
