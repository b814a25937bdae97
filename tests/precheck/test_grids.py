"""What an implementation would launch in the cases of a suite: grids, waves, and what is said of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attnbench.agree.cases.case_text import case_from_text
from attnbench.backends import discover
from attnbench.precheck.grids import suite_grids
from attnbench.precheck.grids.launching import launches_of
from attnbench.precheck.grids.suite_grids import SuiteOnDevice, grid_row
from attnbench.precheck.grids.waves import Waves, per_multiprocessor, too_many, waves_of
from attnbench.precheck.question import PrecheckQuestion
from attnbench.precheck.rows import Prechecked
from attnbench.precheck.shown import text
from attnbench.workers.process import Setting
from attnbench.workers.protocol import CRASHED, OK, Reply
from attnbench.workers.session import Session
from tests.precheck.loaded import REGISTERS, WORDS
from tests.precheck.planted import GOOD, NAME, write
from tests.program import Cli
from tests.repository import REPOSITORY

# Keys of 1 GiB, and as many bytes of values: nobody reads them, and so they take no memory.
LONG = "B=4 Hq=8 Hkv=8 Tq=1000 S=262144 D=64 dtype=float16 phase=forward"
STAGE = SuiteOnDevice("gpu", [("a", "first", {}), ("b", "second", {}), ("c", "third", {})], "H100", "sm_90", 132)


def launch(**changes: Any) -> dict[str, Any]:
    """A launch as a worker tells it."""
    usual = {"kernel": "attend", "grid": [256, 2], "programs": 512, "compiled": True, "registers": 128}
    usual |= {"spill_bytes": 0, "shared_bytes": 0, "occupancy": 0.125, "limited_by": "registers", "num_warps": 4}
    return usual | {"num_stages": 2, "variant": "D=64", "choices": 1, "faults": [], **changes}


@pytest.mark.parametrize(
    ("programs", "held", "waves"),
    [
        (264, 2, Waves(2, 1, 1.0)),
        (265, 2, Waves(2, 2, 1 / 264)),
        (1, 1, Waves(1, 1, 1 / 132)),
        (10**9, 2, Waves(2, 3787879, (10**9 - 3787878 * 264) / 264)),
        (0, 2, None),
        (264, 0, None),
    ],
)
def test_programs_go_over_the_multiprocessors_in_waves(programs: int, held: int, waves: Waves | None) -> None:
    assert waves_of(programs, held, 132) == waves


def test_as_many_programs_are_there_at_once_as_their_warps_fill() -> None:
    assert per_multiprocessor("sm_90", 0.25, 4) == 4
    assert per_multiprocessor("sm_80", 12 * 4 / 64, 12) == 4
    assert per_multiprocessor("sm_90", None, 4) is None
    assert per_multiprocessor("sm_90", 0.0, 4) == 0, "its shared memory does not fit"


def test_a_grid_that_cuda_does_not_take_is_named() -> None:
    assert too_many([2**31 - 1, 65535]) is None
    assert "65,536 along axis 1" in str(too_many([1, 65536]))
    told = {"status": "wrong", "reason": "attend: a grid of", "launches": [launch(faults=["attend: a grid of"])]}
    row = grid_row("torch/x", "suite gpu on H100", STAGE, [Reply(1, OK, None, told)] * 3)
    assert (row.status, row.reason) == ("wrong", "first: attend: a grid of")


def test_a_row_says_every_case_and_why_some_are_not_taken() -> None:
    good = {"status": "ok", "reason": None, "launches": [launch()]}
    refused = {"status": "unsupported", "reason": "does not support sinks", "launches": []}
    row = grid_row("torch/x", "suite gpu on H100", STAGE, [Reply(1, OK, None, each) for each in (good, refused, good)])
    assert (row.status, row.reason) == ("ok", "2 launches in 2 cases; 1 case is not taken")
    assert row.detail["not_taken"] == {"does not support sinks": 1}
    (first, _) = row.detail["cases"]
    (seen,) = first["launches"]
    assert (first["label"], seen["per_multiprocessor"], seen["waves"]) == ("first", 2, 2)
    assert seen["last_wave"] == pytest.approx((512 - 264) / 264)
    printed = text(Prechecked.of([row]))
    assert "256 × 2  512" in printed
    assert "94% full" in printed
    hung = Reply(1, CRASHED, "it hung")
    lost = grid_row("torch/x", "s", STAGE, [Reply(1, OK, None, good), hung, hung])
    assert (lost.status, lost.reason) == ("lost", "second: it hung")
    none = grid_row("torch/x", "s", STAGE, [Reply(1, OK, None, refused)] * 3)
    assert (none.status, none.reason) == ("ok", "none of its 3 cases is taken: does not support sinks")


@pytest.fixture(scope="module")
def compiler() -> Iterator[Session]:
    """A worker whose kernels are compiled."""
    with Session("torch", 120.0, Setting(environment={"TRITON_INTERPRET": "0"})) as session:
        yield session


def launched(session: Session, folder: Path, case: str, kernel: str = GOOD) -> dict[str, Any]:
    """What the planted kernel launches in a case."""
    files, asked_case = [write(folder, kernel)], case_from_text(case).to_dict()
    reply = session.ask("precheck_grids", impl=NAME, files=files, case=asked_case, triton=True, arch="sm_90")
    assert reply.ok, reply.reason
    value: dict[str, Any] = reply.value
    return value


def test_launches_are_recorded_on_arrays_that_take_no_memory(compiler: Session, tmp_path: Path) -> None:
    seen = launched(compiler, tmp_path, LONG)
    (launch_seen,) = seen["launches"]
    assert seen["status"] == "ok", seen["reason"]
    assert (launch_seen["kernel"], launch_seen["grid"], launch_seen["programs"]) == ("forward", [16, 32], 512)
    assert launch_seen["registers"] > 0 < launch_seen["occupancy"]
    assert "D=64" in launch_seen["variant"]


def test_what_a_kernel_does_not_take_and_what_it_raises_is_said(compiler: Session, tmp_path: Path) -> None:
    seen = launched(compiler, tmp_path, "softcap=2.0 Tq=8 D=8 dtype=float16 phase=forward")
    assert seen["status"] == "unsupported"
    assert "softcap" in seen["reason"]
    reading = GOOD.replace("    M, N, num_stages", "    print(q.sum().item())\n    M, N, num_stages")
    seen = launched(compiler, tmp_path, "Tq=8 D=8 dtype=float16 phase=forward", reading)
    assert (seen["status"], seen["launches"]) == ("unknown", [])
    assert "called on arrays without values it raised" in seen["reason"]
    wide = GOOD.replace("(triton.cdiv(T, M), B * Hq)", "(1, 65536 * triton.cdiv(T, M))")
    seen = launched(compiler, tmp_path, "Tq=100 D=64 dtype=float16 phase=forward", wide)
    assert seen["status"] == "wrong"
    assert "forward: a grid of 131,072 along axis 1" in seen["reason"]


@pytest.mark.parametrize(
    ("impl", "grid", "warps"),
    [("jax/pallas", [2, 4, 16], 4), ("jax/pallas-hopper", [4, 8, 2], 12), ("jax/nn-xla", None, None)],
)
def test_jax_tells_the_grids_of_its_kernels(impl: str, grid: list[int] | None, warps: int | None) -> None:
    backend = discover.backend("jax").load()
    case = case_from_text("causal align=bottom_right B=2 Hq=4 Hkv=1 Tq=1000 S=2000 D=64 dtype=bfloat16 phase=forward")
    seen = launches_of(backend, impl, [], case.to_dict(), triton=False, arch="sm_90")
    assert seen["status"] == "ok", seen["reason"]
    assert [each["grid"] for each in seen["launches"]] == ([] if grid is None else [grid])
    assert [each["num_warps"] for each in seen["launches"]] == ([] if grid is None else [warps])
    assert [each["registers"] for each in seen["launches"]] == ([] if grid is None else [None])


def test_triton_says_of_a_kernel_that_it_launches_what_was_predicted() -> None:
    """By Triton's own way to a launch, with a driver that stands in: the same variant, grid and shared memory."""
    words = [sys.executable, "-m", "tests.precheck.loaded"]
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_DEFAULT_FP_FUSION": "1"}
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (predicted,), (seen,) = json.loads(done.stdout)
    alike = ("kernel", "variant", "grid", "shared_bytes", "num_warps", "num_stages")
    assert {name: seen[name] for name in alike} == {name: predicted[name] for name in alike}
    assert seen["shared_bytes"] > 0
    assert (seen["registers"], seen["spill_bytes"]) == (REGISTERS, 4 * WORDS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["triton/flash", "--launches"], "--roofline H100"),
        (["triton/flash", "--launches", "--roofline", "H1"], "A100, H100, H200, B200"),
        (["triton/flash", "--launches", "--roofline", "H100", "--arch", "sm_80"], "for no other --arch"),
        (["--roofline", "H100", "--out", "page.html"], "--out writes a page of what a precheck finds, and --roofline"),
        (["--roofline", "H100", "--arch", "sm_90"], "--arch says for what a precheck compiles, and --roofline alone"),
        (["numpy/nothing", "--launches", "--roofline", "H100"], "no implementation matches"),
    ],
)
def test_launches_that_cannot_be_asked_for_are_refused(words: list[str], said: str, cli: Cli) -> None:
    seen = cli("precheck", *words)
    assert seen.code == 2 or "matches" in said
    assert said in seen.err


def test_what_takes_no_case_has_a_row_and_what_launches_nothing_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    none = {"status": "unsupported", "reason": "does not support score dot", "launches": []}
    monkeypatch.setattr(suite_grids, "_replies", lambda *_, **__: [Reply(1, OK, None, none)] * 3)

    def rows(impl: str) -> list[str | None]:
        return [row.reason for row in suite_grids.suite_grids(impl, PrecheckQuestion([impl]), STAGE)]

    assert rows("triton/additive") == ["none of its 3 cases is taken: does not support score dot"]
    assert rows("jax/naive") == rows("numpy/naive") == rows("torch/sdpa") == []
