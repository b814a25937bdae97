"""What tests of showing share."""

import pytest

from attnbench.show import console


@pytest.fixture(autouse=True)
def heard() -> None:
    """Nobody is quiet because a test of another file, in the same process, asked for --quiet."""
    console.set_quiet(False)
