"""What the tests of measuring share: quick rules, a lock and a folder of their own, small suites."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attnbench.api.suites import Story, Suite, TimedSuite
from attnbench.measure.blocks.effort import Effort
from attnbench.measure.clock.receipts import Limits
from attnbench.measure.run import rates
from attnbench.measure.run.options import RunOptions
from tests.dropins import tiny

# Nothing is repeated for a disturbance here, so that a busy machine does not make the tests long.
QUICK = Effort(replicates=1, min_bursts=2, max_bursts=2, timeout_s=30.0, limits=Limits(steal=9.0, delay=9.0))


@pytest.fixture(autouse=True)
def quick_ceilings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "CEILINGS_S", 0.02)
    monkeypatch.setattr(rates, "AGAIN_S", 0.1)


@pytest.fixture
def suite() -> Suite:
    return TimedSuite(name="tiny", story=Story(question="Does it run?"), axes={"T": (16,)}, case=tiny)


@pytest.fixture
def options(tmp_path: Path, suite: Suite) -> Callable[..., RunOptions]:
    """Options of a quick run of the tiny suite, with changes."""

    def make(**changes: Any) -> RunOptions:
        usual: dict[str, Any] = {
            "suites": [suite],
            "effort": QUICK,
            "lock": tmp_path / "lock",
            "out": tmp_path / "results",
            "seed": 1,
        }
        return RunOptions(**(usual | changes))

    return make
