"""What all tests share: the program; what needs PyTorch is skipped without it (``tox -e newest``); SIGINT interrupts.

A shell starts what runs in its background with SIGINT ignored, and every process below inherits that. The tests send
it to commands that they start, and these have to hear it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent

import pytest

from attnbench.workers.gpus import gpu_in_sight
from tests.dropins import GOOD
from tests.program import Cli, Done

REASON = "the torch extra is not installed"
# Tests that compare frameworks, or take PyTorch's kernels as their example; those with a parameter "torch…" do too.
NEED_TORCH = (
    "tests/agree/test_memory.py::test_a_torch_",
    "tests/agree/test_memory.py::test_right_torch_",
    "tests/cli/test_ab.py::test_two_frameworks_stand_in_one_pair",
    "tests/cli/test_real_kernels.py::test_a_device_that_",
    "tests/differential/test_opinfo.py::",
    "tests/docs/test_docs.py::test_every_block_works[own-kernel.md]",
    "tests/docs/test_docs.py::test_every_block_works[testing.md]",
    "tests/exchange/test_bench_pytest.py::test_good_cells_are_timed_",
    "tests/exchange/test_bench_pytest.py::test_the_file_",
    "tests/measure/test_run.py::test_all_of_a_round_compute_on_the_same_processors",
    "tests/suites/test_questions.py::test_gpu_",
    "tests/suites/test_questions.py::test_memory_",
    "tests/suites/test_questions.py::test_speed_finds_what_was_put_in",
    "tests/suites/test_questions.py::test_the_gpu_suite_",
    "tests/suites/test_questions.py::test_threads_find_",
    "tests/suites/test_timed.py::test_scoring_cost_finds_the_ratio_at_the_point_chosen_beforehand",
)


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# PyTorch's compiler imports Triton, which then compiles for good: the kernels of the backend are to be interpreted here.
if not gpu_in_sight():
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs PyTorch where it is not there."""
    if find_spec("torch") is not None:
        return
    for item in items:
        parameters = (
            item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
        )
        if item.nodeid.startswith(NEED_TORCH) or any(str(one).startswith("torch") for one in parameters):
            item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run ``attnbench`` with arguments in an empty folder, with a lock of its own."""
    from attnbench.commands.app import main

    monkeypatch.setattr("attnbench.show.console._quiet", False)  # a --quiet ends with the test that asks for it
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATTNBENCH_LOCK", str(tmp_path / "lock"))
    monkeypatch.setenv("ATTNBENCH_DATA", str(tmp_path / ".data"))

    def run(*arguments: str | Path) -> Done:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture
def dropin(tmp_path: Path) -> Callable[[str], str]:
    """Write a drop-in file that begins with a good kernel; return its path."""

    def write(text: str = "", name: str = "mine.py") -> str:
        path = tmp_path / name
        path.write_text(dedent(GOOD) + dedent(text), encoding="utf-8")
        return str(path)

    return write
