"""Revisions as sides: the code that their workers import is the tree's own, and another protocol is told by name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from attnbench.errors import UsageError
from attnbench.live.duo import Side
from attnbench.live.revisions import Revisions, Tree, commit_of, unlike
from tests.repository import REPOSITORY


@pytest.fixture(scope="module")
def installed() -> Iterator[tuple[Side, Path]]:
    """This working tree as a side, and the folder that its workers import from."""
    with Revisions(REPOSITORY) as revisions:
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
    file = site / "attnbench" / "workers" / "protocol.py"
    before = file.read_text(encoding="utf-8")
    try:
        file.write_text(before.replace("    wall_ns: int\n", "    seconds: float\n"), encoding="utf-8")
        assert unlike(side) == "its worker speaks another protocol: Burst differs in seconds, wall_ns"
        file.write_text("raise RuntimeError('gone')", encoding="utf-8")
        assert "gone" in str(unlike(side))
    finally:
        file.write_text(before, encoding="utf-8")
    assert unlike(side) is None


def changed(file: Path, *pairs: tuple[str, str]) -> Callable[[], object]:
    """Change a file; the answer restores it."""
    before = now = file.read_text(encoding="utf-8")
    for old, new in pairs:
        assert old in now
        now = now.replace(old, new)
    file.write_text(now, encoding="utf-8")
    return lambda: file.write_text(before, encoding="utf-8")


def test_an_older_revision_whose_operations_are_all_in_one_class_is_understood(installed: tuple[Side, Path]) -> None:
    side, site = installed
    measure = site / "attnbench" / "measure"
    hello = "    def hello(self, backend: str, threads: int) -> None: ...\n\n    def drop("
    with ExitStack() as stack:
        stack.callback(changed(measure / "worker.py", ("operations()", "together()")))
        stack.callback(changed(measure / "bench.py", ("    def drop(", hello)))
        assert unlike(side) is None
        stack.callback(changed(measure / "bench.py", ("backend: str, threads: int)", "backend: str)")))
        assert unlike(side) == "its worker speaks another protocol: hello differs in threads"
    with ExitStack() as stack:
        stack.callback(changed(measure / "worker.py", ("operations()", "together()")))
        assert unlike(side) == "its worker speaks another protocol: hello differs in backend, threads"
    assert unlike(side) is None


@pytest.mark.parametrize(
    ("module", "old", "new", "differs"),
    [
        ("general.py", "backend: str, threads: int", "backend: str, cores: int", "hello differs in cores, threads"),
        (
            "bench.py",
            "def verify(self, cell_id: str)",
            "def verify(self, cell: str)",
            "verify differs in cell, cell_id",
        ),
    ],
)
def test_an_operation_that_is_asked_otherwise_is_told_by_name(
    installed: tuple[Side, Path], module: str, old: str, new: str, differs: str
) -> None:
    side, site = installed
    restore = changed(site / "attnbench" / "measure" / module, (old, new))
    try:
        assert unlike(side) == f"its worker speaks another protocol: {differs}"
    finally:
        restore()


def test_a_tree_that_cannot_be_installed_says_why(tmp_path: Path) -> None:
    with Revisions(REPOSITORY) as revisions:
        (tmp_path / "pyproject.toml").write_text('[project]\nname = "attnbench"\n', encoding="utf-8")
        side = revisions.side(Tree(tmp_path, "abc", "broken"))
    assert "cannot be installed" in str(side.problem)
    assert "pyproject.toml" in str(side.problem)


def test_what_is_no_revision_is_refused(tmp_path: Path) -> None:
    assert commit_of(REPOSITORY, "--help") is None
    with pytest.raises(UsageError, match="in no git repository"):
        Revisions(tmp_path)
    with Revisions(REPOSITORY) as revisions, pytest.raises(UsageError, match="is no revision"):
        revisions.tree("no-such-branch")
