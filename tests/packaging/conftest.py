"""What the packaging tests share: the declared project, the files git knows, a Python run on other files."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.assembled import BYTECODE, ROOTS
from tests.repository import REPOSITORY

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def project() -> dict[str, Any]:
    """Return pyproject.toml as a dictionary."""
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="session")
def committed() -> list[Path]:
    """Return the files that git has or would take: in a clean clone, exactly `git ls-files`."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout: nothing says which files belong to the repository")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name and (REPOSITORY / name).is_file()]


@pytest.fixture(scope="session")
def assembled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the three roots lie together as the package `attnbench`."""
    target = tmp_path_factory.mktemp("assembled")
    for source, destination in ROOTS.items():
        shutil.copytree(REPOSITORY / source, target / destination, ignore=BYTECODE)
    return target


@pytest.fixture
def planted(assembled_once: Path, tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Return a function that copies the package, adds a line to each of some files, and returns the copy's folder."""

    def plant(lines: Mapping[str, str]) -> Path:
        target = tmp_path / "planted"
        shutil.copytree(assembled_once, target)
        for name, line in lines.items():
            file = target / "attnbench" / name
            file.write_text(f"{file.read_text('utf-8')}\n{line}\n", "utf-8")
        return target

    return plant


@pytest.fixture
def python() -> Run:
    """Return a function that runs Python in a folder with other folders first on its path."""

    def run(*arguments: str, cwd: Path, path: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment = {**inherited, "PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONWARNINGS": "error"}
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)

    return run
