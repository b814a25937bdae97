"""The card of a backend says what is missing and what to type, with an extra of ours and without."""

from __future__ import annotations

import pytest

from attnbench.backends import discover
from attnbench.backends.backend import BackendInfo
from attnbench.errors import MissingExtraError

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
