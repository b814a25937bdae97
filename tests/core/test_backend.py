"""The card of a backend says what is missing and what to type, with an extra of ours and without."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from attnbench.backends import discover
from attnbench.backends.card import BackendInfo, Program
from attnbench.backends.kept import verify_threads
from attnbench.errors import MissingExtraError, UnsupportedError, UsageError

ABSENT = "absent_framework"
INSTALLS = [("torch", "pip install 'attnbench[torch]'"), (None, f"pip install {ABSENT}")]


@pytest.mark.parametrize(("extra", "install"), INSTALLS)
def test_what_is_missing_and_what_to_type(extra: str | None, install: str) -> None:
    card = BackendInfo("other", "x", ABSENT, extra, ())
    assert card.why_missing() == f"{ABSENT} is not installed: {install}"
    for use in (card.check_available, card.load):
        with pytest.raises(MissingExtraError) as raised:
            use()
        assert str(raised.value) == f"backend 'other' needs {ABSENT}, which is not installed. Type: {install}"
        assert raised.value.extra == extra


def test_what_is_installed_misses_nothing() -> None:
    card = discover.backend("numpy")
    assert card.extra is None
    assert card.why_missing() is None
    card.check_available()


def test_a_version_is_found_by_the_name_that_the_framework_is_installed_by() -> None:
    card = BackendInfo("other", "x", ABSENT, None, ())
    assert card.version() is None
    assert replace(card, packages=("absent-for-one-cuda", "numpy")).version() == version("numpy")
    assert replace(card, requires="numpy", packages=("pydantic",)).version() == version("numpy")
    assert discover.backend("cupy").packages == ("cupy-cuda13x", "cupy-cuda12x")


def test_a_program_that_is_missing_is_named_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = BackendInfo(
        "other", "x", "numpy", None, (), needs={"*": Program("its compiler", ("absent-compiler",), "install it")}
    )
    message = "its compiler is not installed (absent-compiler): install it"
    assert card.why_missing() == message
    assert not card.available()
    for use in (card.check_available, card.load, replace(card, native="x:Y").native_kernels):
        with pytest.raises(UnsupportedError) as raised:
            use()
        assert str(raised.value) == f"backend 'other' cannot run here: {message}"
    program = tmp_path / "absent-compiler"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert card.why_missing() is None
    card.check_available()


def test_a_framework_of_one_thread_says_so_and_what_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    card = BackendInfo("other", "x", "numpy", None, (), one_thread="It has one")
    monkeypatch.setattr(discover, "backend", lambda _: card)

    class Single:
        name = "other"

        def computing_threads(self) -> dict[str, int]:
            return {"stream": 1}

    single: Any = Single()
    verify_threads(single, 1)
    with pytest.raises(UsageError) as raised:
        verify_threads(single, 2)
    assert str(raised.value) == "threads=2 was asked of other. It has one. Ask for threads=1"
