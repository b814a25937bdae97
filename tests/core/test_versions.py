"""Ranges of versions, and what is declared of the arithmetic with each."""

from __future__ import annotations

import pytest

from attnbench import versions
from attnbench.attention.precision import Precision, default_precision
from attnbench.backends.implementation import Capabilities
from attnbench.errors import SpecError
from attnbench.versions import installed, is_here, parse, release_of

OLD = Precision(p_cast="bfloat16", seen="jax>=0.8,<0.11")
NEW = Precision(logits="bfloat16", seen="jax >= 0.11, < 0.13")


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("jax>=0.8,<0.13", ["0.8", "0.8.0", "0.12.0.1", "0.12.9+cpu"], ["0.7.2", "0.13", "0.13.0.dev1", "1.0"]),
        ("torch==2.13", ["2.13", "2.13.0+cpu"], ["2.13.1", "2.12"]),
        ("a_b.c-d>1,<=1.2", ["1.0.1", "1.2.0"], ["1", "1.0", "1.2.1"]),
    ],
)
def test_a_range_compares_the_numbers_of_a_release(text: str, inside: list[str], outside: list[str]) -> None:
    wanted = parse(text)
    assert [wanted.holds(release_of(number)) for number in inside + outside] == [True] * len(inside) + [False] * len(
        outside
    )


@pytest.mark.parametrize("text", ["jax", ">=0.8", "jax>=", "jax~=0.8", "jax>=0.8,", "jax>=0.8;x", "jax>=0.8rc1"])
def test_what_is_no_range_is_refused_where_it_is_declared(text: str) -> None:
    with pytest.raises(SpecError, match=r"is no range of versions; write a package and its bounds, such as"):
        Precision(seen=text)


def test_a_range_is_about_what_is_installed() -> None:
    number = installed("numpy")
    assert number is not None
    assert installed("no-such-package-of-anybody") is None
    assert is_here("")
    assert is_here(f"numpy=={'.'.join(map(str, release_of(number)))}")
    assert not is_here("numpy<1")
    assert not is_here("no-such-package-of-anybody>=0")


def test_ranges_of_several_packages_hold_together() -> None:
    assert is_here("numpy>=1; pydantic>=1")
    assert not is_here("numpy>=1; pydantic<1")
    assert not is_here("numpy<1; pydantic>=1")
    with pytest.raises(SpecError, match="is no range of versions"):
        Precision(seen="numpy>=1; pydantic")


@pytest.mark.parametrize(("number", "expected"), [("0.10.2", OLD), ("0.12.0.1", NEW), ("0.13.0", None), (None, None)])
def test_a_declaration_holds_for_the_versions_that_it_was_seen_with(
    number: str | None, expected: Precision | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions, "installed", lambda _: number)
    can = Capabilities(dtypes=("bfloat16",), precision={"bfloat16": (NEW, OLD)})
    assert can.seen_precision_of("bfloat16") == expected
    assert can.precision_of("bfloat16") == (expected or default_precision("bfloat16"))
    assert can.seen_precision_of("float32") == default_precision("float32")


def test_versions_are_no_arithmetic() -> None:
    assert Precision(seen="jax>=0.8").beyond_default("float32") == {}
