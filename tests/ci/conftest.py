"""A repository with a kernel in it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.program import Cli, Done

KERNEL = """
import numpy as np
from attnbench.api import Capabilities, implementation


@implementation("numpy/mine", Capabilities(dtypes=("float32",)))
def attend(q, k, v, call):
    scores = q @ np.swapaxes(k, -1, -2) * call.scale
    terms = np.exp(scores - scores.max(-1, keepdims=True))
    return (terms / terms.sum(-1, keepdims=True)) @ v
"""
SOURCE = ("--attnbench", "git+https://github.com/OWNER/attnbench@v0.1")
Git = Callable[..., str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a path with a space, in which commands are run."""
    folder = tmp_path / "my kernel"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def git_in(folder: Path, *words: str) -> str:
    """What git says there."""
    own = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false", "-c", "core.autocrlf=false"]
    done = subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def git(place: Path) -> Git:
    """Run git there."""
    return partial(git_in, place)


@pytest.fixture(scope="session")
def first_commit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every repository begins as: copied, since git takes longer to make it."""
    folder = tmp_path_factory.mktemp("first commit")
    git_in(folder, "init", "-qb", "main", "--template=")
    (folder / "mine.py").write_text(KERNEL, "utf-8")
    git_in(folder, "add", ".")
    git_in(folder, "commit", "-qm", "a kernel")
    git_in(folder, "update-ref", "refs/remotes/origin/main", "HEAD")
    return folder


@pytest.fixture
def repository(place: Path, first_commit: Path) -> Path:
    """A repository with one commit on main, which `origin` has too, and mine.py in it."""
    shutil.copytree(first_commit, place, dirs_exist_ok=True)
    return place


@pytest.fixture
def init(cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run `init-ci` of mine.py there, which nobody imports: what is in a file is found by other tests."""
    monkeypatch.chdir(place)
    monkeypatch.setattr("attnbench.ci.kernel.found_in", lambda files: dict.fromkeys(["numpy/mine"], tuple(files)))

    def run(*words: str | Path) -> Done:
        return cli("init-ci", *(() if "--impls" in words else ("--impls", "mine.py")), *words)

    return run
