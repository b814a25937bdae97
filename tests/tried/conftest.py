"""What these tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnbench.workers import gpus
from tests.tried.planted import Planted, plant


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    """A backend in a checkout, on a machine without a GPU."""
    monkeypatch.setattr(gpus, "gpu_in_sight", lambda: False)
    return plant(tmp_path, monkeypatch)
