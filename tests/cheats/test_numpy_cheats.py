"""Every cheat in NumPy is wrong, or has paid in full; honest kernels are not accused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cheats import running
from tests.cheats.cheat import Cheat
from tests.cheats.table import CHEATS, HONEST

pytest.importorskip("numpy", reason="the numpy extra is not installed")


@pytest.mark.parametrize("cheat", [one for one in CHEATS if one.backend == "numpy"], ids=lambda one: one.name)
def test_it_gains_nothing(cheat: Cheat, tmp_path: Path) -> None:
    assert running.gains_nothing(cheat, tmp_path)


@pytest.mark.parametrize("kernel", [one for one in HONEST if one.backend == "numpy"], ids=lambda one: one.name)
def test_what_may_be_kept_is_kept(kernel: Cheat, tmp_path: Path) -> None:
    outcome = running.run(kernel.impl, kernel.write(tmp_path), kernel.phase)
    assert (outcome.status, outcome.reason) == ("ok", None)
