"""Every cheat in JAX is wrong, or has paid in full."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cheats import running
from tests.cheats.cheat import Cheat
from tests.cheats.table import CHEATS

pytest.importorskip("jax", reason="the jax extra is not installed")


@pytest.mark.parametrize("cheat", [one for one in CHEATS if one.backend == "jax"], ids=lambda one: one.name)
def test_it_gains_nothing(cheat: Cheat, tmp_path: Path) -> None:
    assert running.gains_nothing(cheat, tmp_path)
