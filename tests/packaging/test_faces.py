"""The faces of attnbench: what a kernel file costs to import, and what a name asked of the wrong face answers."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from attnbench import api
from attnbench.api import backends, suites
from tests.packaging.conftest import Run

KERNEL = """
import numpy as np
from attnbench.api import Capabilities, implementation

@implementation("numpy/mine", Capabilities())
def attend(q, k, v, call):
    return v
"""
DECLARED = ("api", "errors", "keywords", "lazily", "versions")
DECLARED_OF = ("attention", "attention.precision", "attention.spec", "backends", "backends.implementation")
DECLARATIONS = {"attnbench", *(f"attnbench.{name}" for name in (*DECLARED, *DECLARED_OF))}
CORE = {f"attnbench.attention.{name}" for name in ("arrays", "call", "checked", "layouts", "needs")}
ANALYSIS = {f"attnbench.{name}" for name in ("ablate", "analysis", "exchange", "results")}

# Imports a file beside NumPy, and prints the modules of attnbench and the others' packages that it loaded.
PROBE = """
import json, sys, numpy
before = {name.partition(".")[0] for name in sys.modules}
import mine
ours = {name for name in sys.modules if name.partition(".")[0] == "attnbench"}
packages = {name.partition(".")[0] for name in sys.modules} - before - sys.stdlib_module_names - {"mine"}
print(json.dumps([sorted(ours), sorted(packages - {"attnbench"})]))
"""


def imports_of(text: str, python: Run, folder: Path) -> tuple[set[str], set[str]]:
    """Return the modules of attnbench, and the packages besides NumPy, that a file loads in a process of its own."""
    (folder / "mine.py").write_text(text, "utf-8")
    done = python("-c", PROBE, cwd=folder, path=(folder,))
    assert done.returncode == 0, done.stderr
    ours, packages = json.loads(done.stdout)
    return set(ours), set(packages)


def test_a_kernel_file_costs_declarations_alone(python: Run, tmp_path: Path) -> None:
    ours, packages = imports_of(KERNEL, python, tmp_path)
    assert ours == DECLARATIONS
    assert packages == set()


def test_what_a_kernel_computes_with_costs_the_core_and_numpy(python: Run, tmp_path: Path) -> None:
    ours, packages = imports_of(f"{KERNEL}\nfrom attnbench.api import Call, Sizes, layouts", python, tmp_path)
    assert ours == DECLARATIONS | CORE
    assert packages == set()


def test_a_card_costs_three_modules_more_and_a_learner_the_core(python: Run, tmp_path: Path) -> None:
    ours, packages = imports_of(f"{KERNEL}\nfrom attnbench.api.backends import BackendInfo", python, tmp_path)
    more = {f"attnbench.{name}" for name in ("api.backends", "backends.backend", "backends.card")}
    assert ours == DECLARATIONS | more
    assert packages == set()
    ours, _ = imports_of(f"{KERNEL}\nfrom attnbench.api.backends import Learner", python, tmp_path)
    assert ours == DECLARATIONS | more | (CORE - {"attnbench.attention.layouts"}) | {"attnbench.backends.learning"}


def test_what_more_were_imported_would_be_seen(python: Run, tmp_path: Path) -> None:
    ours, packages = imports_of(f"{KERNEL}\nimport attnbench.api.suites", python, tmp_path)
    assert ours > DECLARATIONS | ANALYSIS
    assert "pydantic" in packages


@pytest.mark.parametrize("face", [api, backends, suites])
def test_a_face_holds_what_it_lists(face: ModuleType) -> None:
    assert face.__all__ == sorted(face.__all__)
    assert {name for name in face.__all__ if not hasattr(face, name)} == set()


IN_A_SUITE = "in a suite type: from attnbench.api.suites import"
IN_AN_ADAPTER = "in a backend's adapter type: from attnbench.api.backends import"


@pytest.mark.parametrize(
    ("name", "typed"),
    [
        ("Suite", f"{IN_A_SUITE} Suite"),
        ("draws", f"{IN_A_SUITE} draws"),
        ("BackendInfo", f"{IN_AN_ADAPTER} BackendInfo"),
        ("Learner", f"{IN_A_SUITE} Learner; {IN_AN_ADAPTER} Learner"),
    ],
)
def test_a_name_of_another_face_says_where_it_is(name: str, typed: str) -> None:
    message = f"attnbench.api holds what a kernel file needs, and not {name}; {typed}"
    with pytest.raises(ImportError) as caught:
        exec(f"from attnbench.api import {name}", {})  # noqa: S102  (the statement that somebody has in a file)
    assert str(caught.value) == message
    with pytest.raises(ImportError) as again:
        getattr(api, name)
    assert str(again.value) == message


def test_every_name_of_the_other_faces_is_found() -> None:
    elsewhere = {*suites.__all__, *backends.__all__} - {*api.__all__}
    assert len(elsewhere) > len(api.__all__)
    for name in elsewhere:
        with pytest.raises(ImportError, match=f"import {name}\\b"):
            getattr(api, name)


def test_a_name_that_is_nowhere_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match=r"module 'attnbench\.api' has no attribute 'nowhere'"):
        getattr(api, "nowhere")  # noqa: B009  (a type checker knows that it is not there)
    with pytest.raises(ImportError, match="cannot import name 'nowhere'"):
        exec("from attnbench.api import nowhere", {})  # noqa: S102  (the same)


def test_the_faces_are_found_as_submodules(python: Run, tmp_path: Path) -> None:
    for face in ("suites", "backends"):
        done = python("-c", f"from attnbench.api import {face}; print({face}.__name__)", cwd=tmp_path)
        assert done.stdout.strip() == f"attnbench.api.{face}", done.stderr
