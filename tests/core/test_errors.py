"""What to type to install or upgrade attnbench, by where it came from: a command that does it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from attnbench import errors

INDEX: dict[str, Any] = {}
GIT = {
    "url": "https://example.org/attnbench.git",
    "vcs_info": {"vcs": "git", "commit_id": "1", "requested_revision": "main"},
}
WHEEL = {"url": "file:///tmp/attnbench-0.1.0-py3-none-any.whl", "archive_info": {}}


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Say where attnbench came from, as pip writes it down."""

    def came_from(origin: dict[str, Any]) -> None:
        text = json.dumps(origin) if origin else None
        distribution = SimpleNamespace(read_text=lambda name: text if name == "direct_url.json" else None)
        monkeypatch.setattr("importlib.metadata.distribution", lambda _: distribution)

    return came_from


def folder(path: Path, *, editable: bool) -> dict[str, Any]:
    return {"url": path.as_uri(), "dir_info": {"editable": True} if editable else {}}


def test_of_a_clone_the_clone_is_brought_up_to_date(origin: Any, tmp_path: Path) -> None:
    clone = tmp_path / "my clone"
    (clone / ".git").mkdir(parents=True)
    origin(folder(clone, editable=True))
    assert errors.upgrade() == f"git -C '{clone}' pull && pip install -e '{clone}'"
    origin(folder(clone, editable=False))
    assert errors.upgrade() == f"git -C '{clone}' pull && pip install '{clone}'"


def test_of_a_folder_that_is_no_clone_nothing_is_pulled(origin: Any, tmp_path: Path) -> None:
    origin(folder(tmp_path, editable=True))
    assert errors.upgrade() == f"pip install -e {tmp_path} (once the newer version is in that folder)"


@pytest.mark.parametrize(
    ("came_from", "typed"),
    [
        (INDEX, "pip install --upgrade attnbench"),
        (GIT, "pip install --upgrade git+https://example.org/attnbench.git"),
        (WHEEL, "pip install --upgrade file:///tmp/attnbench-0.1.0-py3-none-any.whl"),
    ],
)
def test_else_pip_takes_it_from_where_it_was(origin: Any, came_from: dict[str, Any], typed: str) -> None:
    origin(came_from)
    assert errors.upgrade() == typed


def test_another_python_gets_it_from_the_same_place(origin: Any, tmp_path: Path) -> None:
    origin(folder(tmp_path, editable=True))
    assert errors.install_from_origin("/old/bin/python -m pip") == f"/old/bin/python -m pip install -e {tmp_path}"


def test_an_extra_is_quoted_for_the_shell() -> None:
    assert errors.pip_install("report", "scipy") == "pip install 'attnbench[report]'"
    assert errors.pip_install(None, "ruptures") == "pip install ruptures"
