"""CITATION.cff speaks of this version and licence."""

import attnbench
from tests.repository import REPOSITORY


def test_the_citation_is_of_this_version_and_licence() -> None:
    lines = (REPOSITORY / "CITATION.cff").read_text("utf-8").splitlines()
    assert f"version: {attnbench.__version__}" in lines
    assert 'license = "MIT"' in (REPOSITORY / "pyproject.toml").read_text("utf-8")
    assert "license: MIT" in lines
