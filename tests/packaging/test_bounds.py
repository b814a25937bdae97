"""Every dependency has a lower bound, and the constraints of `tox -e oldest` are these bounds."""

from __future__ import annotations

import re
import tomllib

from attnbench.versions import release_of
from tests.repository import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
BOUND = re.compile(r"([A-Za-z0-9_-]+)(?:\[\w+\])?>=([\d.]+)")
# What a machine without a GPU cannot try, and the tool that builds the package.
ELSEWHERE = {"nvidia-ml-py", "cupy-cuda13x", "setuptools"}
OURS = re.compile(r"attnbench\[")


def requirements() -> list[str]:
    """All that pyproject.toml names, in whatever extra; what is for CUDA alone is tried elsewhere."""
    extras = PROJECT["optional-dependencies"]
    others = [one for name, given in extras.items() if name != "cuda" for one in given]
    return [one for one in [*PROJECT["dependencies"], *others] if not OURS.match(one)]


def test_every_dependency_has_a_lower_bound() -> None:
    assert [one for one in requirements() if not BOUND.fullmatch(one)] == []


def test_the_oldest_constraints_are_the_lower_bounds() -> None:
    lines = (REPOSITORY / "constraints-oldest.txt").read_text("utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    bounds = {name: number for one in requirements() for name, number in BOUND.findall(one)}
    bounds["jaxlib"] = bounds["jax"]
    assert set(pinned) == set(bounds) - ELSEWHERE
    for name, number in pinned.items():
        assert _short(release_of(number)) == _short(release_of(bounds[name])), name


def _short(release: tuple[int, ...]) -> tuple[int, ...]:
    """Without zeros at the end: 2.0 and 2.0.0 are one release."""
    while release and release[-1] == 0:
        release = release[:-1]
    return release
