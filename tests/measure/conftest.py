"""What the tests of measuring share: quick rules, a lock and a folder of their own, small suites, drop-in files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from attnbench.api.suites import AttentionSpec, Case, Problem, Suite
from attnbench.measure.clock.receipts import Limits
from attnbench.measure.run import run as measured_run
from attnbench.measure.run.effort import Effort
from attnbench.measure.run.run import RunOptions

# Nothing is repeated for a disturbance here, so that a busy machine does not make the tests long.
QUICK = Effort(replicates=1, min_bursts=2, max_bursts=2, timeout_s=30.0, limits=Limits(steal=9.0, delay=9.0))

GOOD = """
    import numpy as np
    from attnbench.api import Capabilities, implementation

    def softmax_attention(q, k, v, call):
        s = q @ np.swapaxes(k, -1, -2) * call.scale
        e = np.exp(s - s.max(-1, keepdims=True))
        return (e / e.sum(-1, keepdims=True)) @ v

    @implementation("numpy/good", Capabilities())
    def good(q, k, v, call):
        return softmax_attention(q, k, v, call)
"""


def tiny(T: int = 16) -> Case:
    return Case(AttentionSpec(), Problem(Hq=2, Tq=T, D=8))


@pytest.fixture(autouse=True)
def quick_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured_run, "CEILINGS_S", 0.02)
    monkeypatch.setattr(measured_run, "AGAIN_S", 0.1)


@pytest.fixture
def suite() -> Suite:
    return Suite("tiny", "Does it run?", {"T": (16,)}, case=tiny)


@pytest.fixture
def options(tmp_path: Path, suite: Suite) -> Callable[..., RunOptions]:
    """Options of a quick run of the tiny suite, with changes."""

    def make(**changes: Any) -> RunOptions:
        own: dict[str, Any] = {
            "suites": [suite],
            "effort": QUICK,
            "lock": tmp_path / "lock",
            "out": tmp_path / "results",
            "seed": 1,
        }
        return RunOptions(**(own | changes))

    return make


@pytest.fixture
def dropin(tmp_path: Path) -> Callable[[str], str]:
    """Write a drop-in file that begins with a good kernel; return its path."""

    def write(text: str = "", name: str = "mine.py") -> str:
        path = tmp_path / name
        path.write_text(dedent(GOOD) + dedent(text), encoding="utf-8")
        return str(path)

    return write
