"""A backend of three implementations in a checkout of git, with no code in them that computes anything."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from attnbench.backends import discover
from attnbench.backends.card import BackendInfo
from attnbench.tried.record import FILE, GpuRecord, records_in

PACKAGE = "planted_backend"
MINE = '''"""A kernel."""

import math


def attend(q):
    from planted_backend.inner.steps import (
        first,  # the one that counts
    )

    return math.exp(first(q))  # of one number
'''
FILES = {
    "__init__.py": '"""A card."""\n',
    "mine.py": MINE,
    "inner/__init__.py": "",
    "inner/steps.py": "from .. import shared\n\n\ndef first(q):\n    return q + shared.ONE\n",
    "shared.py": "ONE = 1\n",
    "other.py": "TWO = 2\n",
    "adapter.py": "class Adapter: ...\n",
}


@dataclass(frozen=True)
class Planted:
    """Where it lies."""

    folder: Path

    @property
    def file(self) -> Path:
        """Its record."""
        return self.folder / FILE

    def record(self, impl: str = "planted/mine") -> GpuRecord:
        """What the file holds of an implementation."""
        return records_in(self.file).get(impl, GpuRecord())

    def change(self, name: str, before: str, after: str) -> None:
        """Edit one of its files."""
        file = self.folder / name
        text = file.read_text("utf-8")
        assert before in text
        file.write_text(text.replace(before, after), "utf-8")


def plant(root: Path, monkeypatch: pytest.MonkeyPatch) -> Planted:
    """Write it, and announce it alone."""
    folder = root / "checkout" / PACKAGE
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    for words in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", "-C", str(folder.parent), *words], check=True, capture_output=True)
    card = BackendInfo(
        name="planted",
        package=PACKAGE,
        requires="json",
        extra=None,
        implementations=(("mine", "mine"), ("other", "other"), ("plain", "other"), ("gone", "gone")),
        about={"mine": "a kernel", "other": "another", "plain": "one for a CPU", "gone": "one whose file is not there"},
        devices={"mine": ("cpu", "cuda"), "other": ("cuda",), "plain": ("cpu",), "gone": ("cuda",)},
    )
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)  # that of another test
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.setattr(discover, "backends", lambda: {"planted": card})
    return Planted(folder)
