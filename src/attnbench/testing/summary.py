"""The end of a run of pytest: the smallest failing case over all tests, and that a short set was tried."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

TITLE = "attnbench"


def smallest(failures: Iterable[tuple[str, dict[str, Any]]]) -> list[str]:
    """Lines on the failure with the smallest case; none where nothing failed. Each is a test and what it says."""
    known = [(test, said) for test, said in failures if said.get("case")]
    if not known:
        return []
    test, said = min(known, key=lambda failure: failure[1]["size"])
    lines = [f"smallest failing case of {len(known)} failing test{'s' * (len(known) != 1)}: {said['case']}"]
    lines += [f"  in {test}: {said['what']}"]
    lines += [f"  again: {said['again']}"] if said["again"] else []
    return lines


def short(tests: Sequence[str]) -> list[str]:
    """A line that says that these tests tried the short set."""
    if not tests:
        return []
    many = f"{len(tests)} test{'s' * (len(tests) != 1)}"
    return [f"{many} tried the short set, which is no proof; pytest --attnbench tries each feature in each dtype"]
