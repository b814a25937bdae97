"""Any suite under pytest-benchmark's fixture: checked before and after the clock, and nothing left out of the file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from attnbench.exchange import inprocess
from attnbench.exchange.readers.importing import import_file
from attnbench.results.read import read_cells, read_info, read_samples
from tests.exchange import without_pytest

DROP_IN = """
import numpy as np
from attnbench.api import Capabilities, implementation

@implementation("numpy/off", Capabilities())
def off(q, k, v, call):
    return np.ones((*q.shape[:3], v.shape[3]), q.dtype)

@implementation("numpy/raises", Capabilities())
def raises(q, k, v, call):
    raise RuntimeError("a kernel's own error")

kept = {}

@implementation("numpy/keeps", Capabilities())
def keeps(q, k, v, call):
    # Right for arrays that it has not seen; an array seen before is answered from memory.
    if id(q) not in kept:
        logits = call.scale * q @ k.swapaxes(2, 3)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        kept[id(q)] = q, (weights / weights.sum(-1, keepdims=True)) @ v
    return kept[id(q)][1].copy()
"""
PLUGIN = ["-p", "attnbench.suites.bench_pytest", "--pyargs", "attnbench.suites.bench_pytest"]
QUICK = ["--benchmark-max-time=0.02", "--benchmark-min-rounds=6", "--benchmark-columns=median,rounds"]
SMALL = ["--attnbench-axis", "T=128", "--attnbench-axis", "setting=forward"]


def bench(cwd: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the module as a person does, in a process of its own: it sets the threads of the frameworks."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "-W", "error", *PLUGIN, *options]
    own = without_pytest()
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=200, check=False, env=own)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Two frameworks and three bad kernels in one session, and the file that it wrote."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "mine.py").write_text(DROP_IN)
    chosen = ["numpy/naive", "numpy/loops", "torch/sdpa", "numpy/off", "numpy/raises", "numpy/keeps"]
    impls = [word for name in chosen for word in ("--attnbench-impl", name)]
    done = bench(folder, *SMALL, *QUICK, *impls, "--attnbench-impls", "mine.py", "--benchmark-json", "own.json")
    return done, folder / "own.json"


def test_good_cells_are_timed_wrong_ones_fail_and_unsupported_ones_are_skipped(
    seen: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, _ = seen
    assert done.returncode == 1, done.stdout + done.stderr
    assert "3 failed, 2 passed, 1 skipped" in done.stdout
    assert "numpy/off wrong: output:" in done.stdout
    assert "numpy/raises crashed: RuntimeError: a kernel's own error" in done.stdout
    assert "numpy/keeps wrong: " in done.stdout
    assert "numpy/loops unsupported: Tq*S = 16384 is above 4096" in done.stdout
    assert "benchmark 'smoke: forward B1 H8 T128 D64 float32 · cpu, 1 thread'" in done.stdout


def test_the_file_has_what_was_measured_with_its_facts(seen: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    data = json.loads(seen[1].read_text())
    assert {one["params"]["impl"] for one in data["benchmarks"]} == {"numpy/naive", "torch/sdpa"}
    for one in data["benchmarks"]:
        info = one["extra_info"]
        assert 0 <= info["error_ratio"] <= 1
        assert info["flops"] == 4 * 8 * 128 * 128 * 64
        assert info["min_bytes"] == 4 * 8 * 128 * 64 * 4
        assert (info["dtype"], info["threads"], info["suite"]) == ("float32", 1, "smoke")
        assert info["impl"].partition("/")[0] in info["versions"]
        assert one["fullname"].startswith("attnbench.suites.bench_pytest::test_cell[smoke-")
    assert data["machine_info"]["attnbench"]["thread_pools"]["torch"]["intra_op"] == 1


def test_the_file_comes_back_as_a_run_with_every_cell(
    seen: tuple[subprocess.CompletedProcess[str], Path], tmp_path: Path
) -> None:
    folder = import_file(seen[1], tmp_path / "results")
    found = {row.impl: row.status for row in read_cells(folder)}
    assert found == {
        "numpy/naive": "ok",
        "torch/sdpa": "ok",
        "numpy/loops": "unsupported",
        "numpy/off": "wrong",
        "numpy/raises": "crashed",
        "numpy/keeps": "wrong",
    }
    assert all(row.error_ratio is not None for row in read_cells(folder) if row.status == "ok")
    assert len(read_samples(folder)) >= 12
    assert read_info(folder).axes == {"smoke": {"setting": ["forward"], "T": [128]}}


def test_bad_options_are_one_line(tmp_path: Path) -> None:
    for options, said in (
        (["--attnbench-suite", "smoek"], "did you mean 'smoke'?"),
        (["--attnbench-threads", "0"], "1 or more"),
    ):
        done = bench(tmp_path, *options)
        assert done.returncode == 4
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_the_timed_call_waits_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    session = inprocess.open_session(["smoke"], ["numpy/naive"], ["T=128", "setting=forward"], environment={})
    (cell,) = session.cells
    ready = session.prepare(cell)
    assert ready.run is not None
    waited: list[object] = []
    bench_of = session.benches["numpy", 1]
    backend = bench_of.backend
    monkeypatch.setattr(type(backend), "wait", lambda _, result: waited.append(result))
    again = session.prepare(cell)
    assert again.run is not None
    before = len(waited)
    again.run()
    assert len(waited) == before + 1
    assert waited[-1] is not None


def test_threads_are_asked_of_the_environment_before_a_framework_is_imported() -> None:
    environment: dict[str, str] = {}
    inprocess.open_session(["smoke"], ["*/naive"], ["T=128"], threads=[2], environment=environment)
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["PJRT_NPROC"] == "2"


def test_an_observed_suite_is_left_to_attnbench_run() -> None:
    session = inprocess.open_session(["score-variance"], ["numpy/naive"], [], environment={})
    ready = session.prepare(session.cells[0])
    assert (ready.status, ready.run) == ("unsupported", None)
    assert "attnbench run measures it" in (ready.reason or "")
