"""Of parametrised tests the suite takes a part; the rest are proofs (``tox -e proofs``), which take long to show."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, TypeVar

import pytest

Value = TypeVar("Value")
PROOF = (pytest.mark.slow, pytest.mark.proof)


def part(values: Iterable[Value], kept: Collection[Value]) -> list[Any]:
    """The values as parameters, of which all but ``kept`` are proofs."""
    every = list(values)
    assert set(kept) <= set(every), f"{set(kept) - set(every)} is none of the values"
    return [value if value in kept else pytest.param(value, marks=PROOF) for value in every]
