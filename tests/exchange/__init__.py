"""Tests of attnbench.exchange."""

import os


def without_pytest() -> dict[str, str]:
    """The environment of a pytest of its own: in that of a worker of pytest-xdist, pytest-benchmark is off."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
