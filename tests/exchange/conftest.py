"""One run with every status in it, timed and observed, and a second one to compare it with."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnbench.results.store import RunWriter
from attnbench.suite import Cell
from tests.results import synthetic

FAILED = {
    ("numpy/naive", 512): ("oom", "needs 9.0 GiB"),
    ("jax/nn-xla", 128): ("wrong", "differs by 3.2 times the bound, 50% | *off*\nin two lines"),
    ("torch/naive", 128): ("unsupported", "no GPU"),
    ("jax/naive", 128): ("timeout", "60 s"),
    ("jax/naive", 512): ("crashed", "SIGSEGV <\x00>"),
    ("torch/naive", 512): ("not-run", "the budget was spent"),
}
BASE, HEAD = "20260102T030405Z-smoke-aaaaaa", "20260103T030405Z-smoke-bbbbbb"


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the two runs, BASE and HEAD; in HEAD torch/sdpa takes 1.3 times as long."""
    out = tmp_path_factory.mktemp("exchange") / "results"
    run = synthetic.info(BASE, suites=("smoke", "scaling"))
    folder = synthetic.write_run(out, run, failed=FAILED, finish=False)
    writer, _ = RunWriter.resume(folder)
    with writer:
        for d, metrics in ((16, {"variance": 16.5}), (64, {})):
            cell = Cell("scaling", {"d": d}, None, "numpy/naive")
            status = {"status": "ok", "reason": None} if metrics else {"status": "crashed", "reason": "SIGABRT"}
            writer.cell(synthetic.planned(run, cell, metrics=metrics, **status))
        writer.finish()
    synthetic.write_run(out, synthetic.info(HEAD), seed=1, factors={"torch/sdpa": 1.3})
    return out


@pytest.fixture
def base(runs: Path) -> Path:
    """The run with failures."""
    return runs / BASE


@pytest.fixture
def head(runs: Path) -> Path:
    """The run without."""
    return runs / HEAD
