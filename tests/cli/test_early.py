"""What was typed is checked before anything is begun that takes long: a file imported, a revision taken, a worker."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from attnbench.errors import UsageError
from attnbench.interface import places
from attnbench.live import revisions
from attnbench.results import fingerprint
from attnbench.workers.process import WorkerProcess
from tests.program import Cli

KERNEL = '@implementation("numpy/mine", Capabilities())\ndef attend(q, k, v, call): ...\n'
GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c")


@pytest.fixture
def lazy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of somebody's kernel, in which no worker is started and no tree is made."""

    def begun(*_: object, **__: object) -> NoReturn:
        pytest.fail("something was begun before all that was typed was checked")

    (tmp_path / "mine.py").write_text(f"from attnbench.api import *\n{KERNEL}")
    (tmp_path / "taken").write_text("a file")
    for command in (("init", "-q", "-b", "main"), ("add", "mine.py"), ("commit", "-qm", "x"), ("branch", "other")):
        subprocess.run([*GIT, *command], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setattr(WorkerProcess, "__init__", begun)
    monkeypatch.setattr(revisions, "Revisions", begun)
    monkeypatch.setattr("attnbench.live.sides.Revisions", begun)
    return tmp_path


MINE = "--impls mine.py"
REVISIONS = f"ab main other {MINE} --impl numpy/mine"
TYPOS = {
    f"ab main git:othr {MINE} --impl numpy/mine": "'othr' is no revision of",
    f"ab git:mian other {MINE} --impl numpy/mine": "did you mean 'main'?",
    f"ab main othr {MINE} --impl numpy/mine": "did you mean 'other'?",
    "ab main other --impl numpy/naiv": "did you mean 'numpy/naive'?",
    f"{REVISIONS} --suite smok": "did you mean 'smoke'?",
    f"{REVISIONS} --suite g2p": "suite 'g2p' is observed, not timed",
    f"{REVISIONS} -a T=long": "takes whole numbers from 1",
    f"{REVISIONS} -a lenght=1": "has no axis 'lenght'",
    f"{REVISIONS} --margin 0%": "--margin is above 0",
    f"{REVISIONS} --budget soon": "a duration is",
    f"{REVISIONS} --wait soon": "a duration is",
    f"{REVISIONS} --threads 0": "--threads is 1 or more; got 0",
    f"{REVISIONS} --inconclusive maybe": "fail or pass",
    f"{REVISIONS} --out taken": "taken is a file; name a folder",
    f"{REVISIONS} --out taken/results": "taken is a file; name a folder",
    f"{REVISIONS} --junit not/there.xml": "there is no folder not; make it first (mkdir -p not)",
    f"{REVISIONS} --markdown taken/x.md": "taken is a file and no folder; name another one",
    f"ab numpy/mine numpy/naive {MINE} --impls not.py": "--impls not.py: no such file or folder",
    f"ab numpy/mine {MINE} --python-a no-such-python": "no-such-python is no program",
    f"ab nmpy/mine numpy/naive {MINE}": "'nmpy/mine' is neither an implementation",
    "ab numpy/naiv numpy/blocked": "did you mean 'numpy/naive'?",
    f"run smok {MINE}": "did you mean 'smoke'?",
    f"run smoke {MINE} -a T=long": "takes whole numbers from 1",
    f"run smoke {MINE} --threads 0": "--threads is 1 or more; got 0",
    f"run smoke {MINE} --device gpu": "device 'gpu' is not one of",
    f"run smoke {MINE} --budget soon": "a duration is",
    f"run smoke {MINE} --wait soon": "a duration is",
    f"run smoke {MINE} --timeout 0": "--timeout is a number of seconds above 0",
    f"run smoke {MINE} --out taken": "taken is a file; name a folder",
    f"run smoke {MINE} --report taken": "taken is a file; name a folder",
    "run smoke --impls not.py": "no such file or folder",
    "run smoke --impl numpy/naiv": "did you mean 'numpy/naive'?",
    f"check {MINE} --dtype f32": "did you mean 'float32'?",
    f"check {MINE} --features casual": "did you mean 'causal'?",
    f"check {MINE} --junit not/there.xml": "there is no folder not",
    f"check {MINE} --budget soon": "a duration is",
    f"check {MINE} --device gpu": "device 'gpu' is not one of",
    "calibrate --out taken": "taken is a file; name a folder",
    "calibrate --margin 0%": "--margin is above 0",
    "calibrate --threads 0": "--threads is 1 or more; got 0",
    "calibrate --impl numpy/naiv": "did you mean 'numpy/naive'?",
    "calibrate --suite smok": "did you mean 'smoke'?",
    "semantics numpi": "did you mean 'numpy'?",
    "semantics --device gpu": "device 'gpu' is not one of",
    "semantics --timeout 0": "--timeout is a number of seconds above 0",
    "scoreboard --out taken": "taken is a file; name a folder",
    "scoreboard --tools nope": "--tools are some of",
    "scoreboard record taken": "taken is a file; name a folder",
    "scoreboard record new --out taken": "taken is a file; name a folder",
    "scoreboard campaign --out taken": "taken is a file; name a folder",
    "scoreboard replay nowhere --time soon": "a duration is",
}


@pytest.mark.parametrize("typed", TYPOS)
def test_a_typo_costs_nothing(lazy: Path, cli: Cli, typed: str) -> None:
    before = sorted(lazy.iterdir())
    done = cli(*typed.split())
    assert done.code == 2
    assert TYPOS[typed] in done.err
    assert "Traceback" not in done.err
    assert [path for path in sorted(lazy.iterdir()) if path not in before and path.name != "lock"] == []


# Files and folders.


def test_a_folder_that_has_to_be_made_is_not_made_yet(tmp_path: Path) -> None:
    places.check_folder("--out", tmp_path / "a" / "b" / "c")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="--out /proc/results cannot be written"):
        places.check_folder("--out", Path("/proc/results"))


# More threads than processors.

WARNED = "warning: --threads 64: this process may use 2 processors, so more threads than 2 take turns on them"


@pytest.mark.parametrize("command", ["run smok", "ab main othr", "calibrate --suite smok"])
def test_more_threads_than_processors_warn_once(
    lazy: Path, cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del lazy
    monkeypatch.setattr(fingerprint, "processors", lambda: 2)
    done = cli(
        *command.replace("smok", "smoke").replace("othr", "git:othr").split(), "--threads", "64", "--wait", "soon"
    )
    assert [line.startswith(WARNED) for line in done.err.splitlines()].count(True) == 1
    fitting = cli(*command.split(), "--threads", "2")
    assert "warning" not in fitting.err


def test_only_the_threads_beyond_are_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "processors", lambda: 4)
    done = cli("run", "smoke", "--wait", "soon", *(f"--threads={count}" for count in (1, 4, 8, 8, 16)))
    assert "warning: --threads 8, 16: this process may use 4 processors" in done.err


def test_the_limit_of_a_container_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "usable_cpus", lambda: 64)
    assert fingerprint.processors(tmp_path) == 64
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    for quota, count in (("150000 100000", 2), ("50000 100000", 1), ("max 100000", 64), ("9900000 100000", 64)):
        (tmp_path / "sys/fs/cgroup/cpu.max").write_text(quota)
        assert fingerprint.processors(tmp_path) == count
