"""Whatever differs between two runs is found, if it is one bit."""

import numpy as np
import pandas as pd
import pytest

from tests.ablate import twice
from tests.wording import says


def frame(**values: float) -> pd.DataFrame:
    metrics = {f"metric.{name}": value for name, value in values.items()}
    return pd.DataFrame([{"suite": "scaling", "cell_id": "a", "status": "ok", "metric.train_s": np.pi, **metrics}])


def test_the_last_bit_counts_and_seconds_do_not() -> None:
    first, second = frame(loss=0.1, accuracy=0.5), frame(loss=np.nextafter(0.1, 1), accuracy=0.5)
    assert twice.differences(first, first.assign(**{"metric.train_s": 9.0})) == []
    assert twice.differences(first, second) == ["scaling a loss: 0.1 and 0.10000000000000002"]
    (same,), (different,) = twice.summary(first, first), twice.summary(first, second)
    assert says(same, "scaling", "1 of 1 cells", "2 numbers", "all the same")
    assert says(different, "scaling", "1 of 1 cells", "2 numbers", "1 DIFFERENT")


def test_a_number_that_only_one_has_is_a_difference() -> None:
    assert twice.differences(frame(loss=0.1), frame(accuracy=0.1)) == [
        "scaling a loss: 0.1 and None",
        "scaling a accuracy: None and 0.1",
    ]
    assert "DIFFERENT" in twice.summary(frame(), frame())[0]


def test_every_suite_that_trains_is_run_at_its_smoke_levels() -> None:
    suites = {suite.name: suite for suite in twice.training_suites()}
    assert set(suites) >= {
        "scaling",
        "context-length",
        "gradient-reach",
        "attention-size",
        "heads",
        "backend-invariance",
    }
    assert all(len(suite.axes["seed"]) <= 2 for suite in suites.values())
    assert [suite.name for suite in twice.training_suites(["heads"])] == ["heads"]
    with pytest.raises(SystemExit, match="smoke is no suite that trains; there are"):
        twice.training_suites(["smoke"])
