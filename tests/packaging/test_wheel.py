"""The wheel holds what git holds, from the tree or by way of the sdist, and works wherever it is run."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.packaging.assembled import ROOTS
from tests.packaging.conftest import Run
from tests.repository import REPOSITORY

pytestmark = pytest.mark.slow


def installed_names(files: list[Path]) -> set[str]:
    """Return the name inside the wheel of every file of the three roots."""
    return {
        (Path(destination) / file.relative_to(root)).as_posix()
        for root, destination in ROOTS.items()
        for file in files
        if file.is_relative_to(root)
    }


def names_in(wheel: Path) -> set[str]:
    """Return the files of a wheel, its own metadata left out."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def _copy(files: list[Path], target: Path) -> Path:
    for file in files:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / file, target / file)
    return target


def _build(source: Path, target: Path, *options: str) -> Path:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def clone(committed: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what a clone would hold, so that the build leaves nothing in the tree."""
    return _copy(committed, tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="module")
def wheel(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel built by way of the sdist, as an index would get it."""
    return _build(clone, tmp_path_factory.mktemp("by-sdist"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which the wheel, and nothing else, is installed."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    done = subprocess.run([*pip, "--target", str(target), str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_the_wheel_by_way_of_the_sdist_holds_what_git_holds(wheel: Path, committed: list[Path]) -> None:
    assert names_in(wheel) == installed_names(committed)


def test_the_wheel_from_the_tree_is_the_same(clone: Path, wheel: Path, tmp_path: Path) -> None:
    assert names_in(_build(clone, tmp_path, "--wheel")) == names_in(wheel)


def test_a_forgotten_file_would_be_seen(committed: list[Path], wheel: Path) -> None:
    forgotten = Path("impls/numpy_backend/forgotten.txt")
    assert installed_names([*committed, forgotten]) - names_in(wheel) == {"attnbench/impls/numpy_backend/forgotten.txt"}


def test_a_forgotten_package_would_be_seen(committed: list[Path], tmp_path: Path) -> None:
    clone = _copy(committed, tmp_path / "clone")
    (clone / "src/attnbench/forgotten").mkdir()
    (clone / "src/attnbench/forgotten/__init__.py").write_text('"""Not in the list of packages."""\n')
    wheel = _build(clone, tmp_path / "dist", "--wheel")
    files = [*committed, Path("src/attnbench/forgotten/__init__.py")]
    assert installed_names(files) - names_in(wheel) == {"attnbench/forgotten/__init__.py"}


@pytest.mark.parametrize("where", ["elsewhere", "repository"])
def test_the_installed_wheel_lists_its_implementations(where: str, site: Path, python: Run, tmp_path: Path) -> None:
    cwd = REPOSITORY if where == "repository" else tmp_path
    done = python("-m", "attnbench", "list", "--json", cwd=cwd, path=(site,))
    assert done.returncode == 0, done.stderr
    assert "numpy/naive" in done.stdout


@pytest.mark.parametrize("where", ["elsewhere", "repository"])
def test_the_installed_wheel_is_what_was_run(where: str, site: Path, python: Run, tmp_path: Path) -> None:
    cwd = REPOSITORY if where == "repository" else tmp_path
    code = (
        "import attnbench as a, attnbench.impls as i, attnbench.suites as s; print(a.__file__, i.__file__, s.__file__)"
    )
    done = python("-c", code, cwd=cwd, path=(site,))
    assert done.returncode == 0, done.stderr
    assert all(Path(file).is_relative_to(site) for file in done.stdout.split())
