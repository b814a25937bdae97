"""A repository with a kernel in it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
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


@pytest.fixture
def git(place: Path) -> Git:
    """Run git there."""

    def run(*words: str) -> str:
        own = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false", "-c", "core.autocrlf=false"]
        done = subprocess.run(["git", *own, *words], cwd=place, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    return run


@pytest.fixture
def repository(place: Path, git: Git) -> Path:
    """A repository with one commit on main, which `origin` has too, and mine.py in it."""
    git("init", "-qb", "main")
    (place / "mine.py").write_text(KERNEL, "utf-8")
    git("add", ".")
    git("commit", "-qm", "a kernel")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    return place


@pytest.fixture
def init(cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run `init-ci` of mine.py there, which nobody imports: what is in a file is found by other tests."""
    monkeypatch.chdir(place)
    monkeypatch.setattr("attnbench.ci.kernel.found_in", lambda files: dict.fromkeys(["numpy/mine"], tuple(files)))

    def run(*words: str | Path) -> Done:
        return cli("init-ci", *(() if "--impls" in words else ("--impls", "mine.py")), *words)

    return run
