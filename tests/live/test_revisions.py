"""Revisions as sides: the code that their workers import is the tree's own, and another protocol is told by name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from attnbench.errors import UsageError
from attnbench.live.duo import Side
from attnbench.live.revisions import Revisions, Tree, commit_of, unlike

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed() -> Iterator[tuple[Side, Path]]:
    """This working tree as a side, and the folder that its workers import from."""
    with Revisions(ROOT) as revisions:
        tree = revisions.tree("WORKTREE")
        yield revisions.side(tree), tree.path.with_name(f"site{tree.path.name}")
    assert not tree.path.parent.exists()


def test_the_worker_of_a_side_imports_its_own_tree(installed: tuple[Side, Path]) -> None:
    side, site = installed
    assert side.problem is None
    ask = "import attnbench.impls.numpy_backend as n, attnbench; print(attnbench.__file__, n.__file__, sep='\\n')"
    environment = {**os.environ, **side.environment}
    done = subprocess.run([side.python, "-P", "-c", ask], env=environment, capture_output=True, text=True, check=True)
    assert all(Path(line).is_relative_to(site) for line in done.stdout.split())
    assert str(side.code).endswith("+")


def test_another_protocol_is_told_by_the_field_that_differs(installed: tuple[Side, Path]) -> None:
    side, site = installed
    file = site / "attnbench" / "measure" / "protocol.py"
    before = file.read_text(encoding="utf-8")
    try:
        file.write_text(before.replace("    wall_ns: int\n", "    seconds: float\n"), encoding="utf-8")
        assert unlike(side) == "its worker speaks another protocol: Burst differs in seconds, wall_ns"
        file.write_text("raise RuntimeError('gone')", encoding="utf-8")
        assert "gone" in str(unlike(side))
    finally:
        file.write_text(before, encoding="utf-8")
    assert unlike(side) is None


def test_a_tree_that_cannot_be_installed_says_why(tmp_path: Path) -> None:
    with Revisions(ROOT) as revisions:
        (tmp_path / "pyproject.toml").write_text('[project]\nname = "attnbench"\n', encoding="utf-8")
        side = revisions.side(Tree(tmp_path, "abc", "broken"))
    assert "cannot be installed" in str(side.problem)
    assert "pyproject.toml" in str(side.problem)


def test_what_is_no_revision_is_refused(tmp_path: Path) -> None:
    assert commit_of(ROOT, "--help") is None
    with pytest.raises(UsageError, match="in no git repository"):
        Revisions(tmp_path)
    with Revisions(ROOT) as revisions, pytest.raises(UsageError, match="is no revision"):
        revisions.tree("no-such-branch")
