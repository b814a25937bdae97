"""Temporary folders of comparisons: kept while their owner lives, swept once it does not."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from attnbench.workers.scratch import ABOUT, YOUNG_S, Scratch, sweep

PREFIX = "attnbench-test-"
KILLED = """
import os, signal, sys
from pathlib import Path
from attnbench.workers.scratch import Scratch
print(Scratch(sys.argv[1], Path(sys.argv[2])).path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def aged(folder: Path) -> Path:
    then = folder.stat().st_mtime - 2 * YOUNG_S
    os.utime(folder, (then, then))
    return folder


def test_what_a_killed_owner_left_is_swept_and_said(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, PREFIX, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -9
    left = Path(done.stdout.strip())
    (left / "tree0").mkdir()
    assert sweep(PREFIX) == []
    assert left.is_dir(), "it may be being made"
    assert sweep(PREFIX.replace("test", "other")) == []
    aged(left)
    assert sweep(PREFIX) == [tmp_path]
    assert not left.exists()


def test_what_somebody_holds_stays(tmp_path: Path) -> None:
    held = Scratch(PREFIX, tmp_path)
    aged(held.path)
    assert sweep(PREFIX) == []
    assert (held.path / ABOUT).read_text() == str(tmp_path)
    held.remove()
    assert not held.path.exists()


def test_links_are_not_followed_and_what_is_gone_is_not_named(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(precious)
    gone = tmp_path / f"{PREFIX}gone"
    gone.mkdir()
    (gone / ABOUT).write_text(str(tmp_path / "removed"))
    aged(gone)
    aged(precious)
    assert sweep(PREFIX) == []
    assert precious.is_dir()
    assert not gone.exists()
