"""`impls/` and `suites/` have one importable name each, and say so under any other."""

import shutil
from pathlib import Path

import pytest

from tests.packaging.conftest import Run
from tests.repository import REPOSITORY

FOLDERS = ["impls", "suites"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_under_its_own_name_from_any_directory(folder: str, python: Run, tmp_path: Path) -> None:
    done = python("-c", f"import attnbench.{folder}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_under_its_own_name_from_the_repository(folder: str, python: Run) -> None:
    done = python("-c", f"import attnbench.{folder}", cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("folder", FOLDERS)
def test_refuses_the_name_of_its_folder(folder: str, python: Run) -> None:
    done = python("-c", f"import {folder}", cwd=REPOSITORY)
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message == (
        f"ImportError: the folder {folder}/ was imported as '{folder}'; its only importable name is "
        f"'attnbench.{folder}'. Type: python -m pip install -e . (once, in the repository root), "
        f"then import attnbench.{folder}"
    )


@pytest.mark.parametrize("folder", FOLDERS)
def test_refuses_any_other_name(folder: str, python: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    shutil.copyfile(REPOSITORY / folder / "__init__.py", tmp_path / "mine" / "__init__.py")
    done = python("-c", "import mine", cwd=tmp_path)
    assert done.returncode == 1
    assert f"the folder {folder}/ was imported as 'mine'" in done.stderr


def test_no_folder_of_a_framework_can_shadow_the_framework(committed: list[Path]) -> None:
    folders = {part for file in committed for part in file.parts[:-1]}
    assert not folders & {"torch", "jax", "numpy", "keras"}
