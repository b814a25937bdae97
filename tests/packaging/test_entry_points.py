"""What pyproject.toml names is what the tree holds: packages, backends, suites, versions."""

import importlib.metadata
import re
from pathlib import Path
from typing import Any

import pytest

from tests.packaging.assembled import ROOTS
from tests.repository import REPOSITORY

NO_SUITES = {"__init__", "left_out"}


def _entry_points(project: dict[str, Any], group: str) -> dict[str, str]:
    declared: dict[str, str] = project["project"]["entry-points"][group]
    return declared


def _below(files: list[Path], root: str) -> list[Path]:
    return [file.relative_to(root) for file in files if file.is_relative_to(root)]


def packages_in(files: list[Path]) -> set[str]:
    """Return the dotted name of every folder with code under the three roots."""
    source_roots = {"src": "", "impls": "attnbench.impls.", "suites": "attnbench.suites."}
    return {
        (prefix + ".".join(file.parts[:-1])).rstrip(".")
        for root, prefix in source_roots.items()
        for file in _below(files, root)
        if file.suffix == ".py"
    }


# A framework with several sides, of which a process has one, makes a backend of each in one folder.
SIDES = {"keras_backend": ("torch", "jax", "numpy")}


def backends_in(files: list[Path]) -> dict[str, str]:
    """Return the entry points that the folders of `impls/` must have."""
    folders = {file.parts[0] for file in _below(files, "impls") if len(file.parts) > 1}
    single = {name.removesuffix("_backend"): f"attnbench.impls.{name}:BACKEND" for name in folders - set(SIDES)}
    several = {
        f"{name.removesuffix('_backend')}_{side}": f"attnbench.impls.{name}:{side.upper()}"
        for name in folders & set(SIDES)
        for side in SIDES[name]
    }
    return single | several


def suites_in(files: list[Path]) -> dict[str, str]:
    """Return the entry point that each public module of `suites/` must have."""
    modules = {file.stem for file in _below(files, "suites") if len(file.parts) == 1 and file.suffix == ".py"}
    public = {name for name in modules - NO_SUITES if not name.startswith(("_", "test_", "bench_"))}
    return {name.replace("_", "-"): f"attnbench.suites.{name}:SUITE" for name in public}


def test_the_package_list_names_every_folder_with_code(project: dict[str, Any], committed: list[Path]) -> None:
    listed = project["tool"]["setuptools"]["packages"]
    assert set(listed) == packages_in(committed)
    assert len(listed) == len(set(listed))


def test_every_backend_has_its_entry_point(project: dict[str, Any], committed: list[Path]) -> None:
    assert _entry_points(project, "attnbench.backends") == backends_in(committed)


def test_every_suite_has_its_entry_point(project: dict[str, Any], committed: list[Path]) -> None:
    assert _entry_points(project, "attnbench.suites") == suites_in(committed)


def test_a_forgotten_folder_would_be_seen(committed: list[Path]) -> None:
    more = [*committed, Path("src/attnbench/forgotten/__init__.py"), Path("impls/tpu_backend/__init__.py")]
    more.append(Path("suites/long_name.py"))
    assert packages_in(more) - packages_in(committed) == {"attnbench.forgotten", "attnbench.impls.tpu_backend"}
    assert backends_in(more)["tpu"] == "attnbench.impls.tpu_backend:BACKEND"
    assert suites_in(more)["long-name"] == "attnbench.suites.long_name:SUITE"


def test_every_folder_with_code_is_a_package(committed: list[Path]) -> None:
    code = [file for file in committed if file.suffix == ".py" and any(file.is_relative_to(root) for root in ROOTS)]
    assert {file.parent / "__init__.py" for file in code} <= set(committed)


@pytest.mark.parametrize("group", ["attnbench.suites", "attnbench.backends"])
def test_the_installed_entry_points_load(group: str, project: dict[str, Any]) -> None:
    installed = {point.name: point for point in importlib.metadata.entry_points(group=group)}
    assert set(_entry_points(project, group)) <= set(installed)
    for name in _entry_points(project, group):
        assert installed[name].load() is not None


def test_the_core_dependencies_are_few(project: dict[str, Any]) -> None:
    names = {re.split(r"[<>=!~\[ ]", line)[0] for line in project["project"]["dependencies"]}
    few = {"numpy", "ml_dtypes", "jaxtyping", "pydantic", "typer", "rich", "psutil", "threadpoolctl", "filelock"}
    assert names == few | {"platformdirs", "junitparser"}


def test_constraints_fix_a_version_for_everything_that_the_tests_install(project: dict[str, Any]) -> None:
    lines = (REPOSITORY / "constraints.txt").read_text("utf-8").splitlines()
    fixed = {line.partition("==")[0] for line in lines if "==" in line}
    extras = project["project"]["optional-dependencies"]
    optional = [line for name in ("torch", "jax", "keras", "report", "test") for line in extras[name]]
    wanted = project["project"]["dependencies"] + optional
    assert {re.split(r"[<>=!~\[ ]", line)[0] for line in wanted} <= fixed
