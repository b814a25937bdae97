"""Observing a suite in this process, at sizes of the test's choice, into a frame like that of a run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from attnbench.ablate.probe import LocalProbe
from attnbench.backends import discover
from attnbench.backends.attend import resolve
from attnbench.backends.implementation import Implementation
from attnbench.suite import Suite


def suite(name: str) -> Suite:
    return discover.suite(name)


def observed(
    name: str,
    impls: Sequence[str | Implementation] = ("numpy/naive",),
    levels: Mapping[str, Sequence[Any]] | None = None,
    **more: Sequence[Any],
) -> pd.DataFrame:
    """The frame of an observed suite with these levels on its axes."""
    asked = suite(name).with_axes({**(levels or {}), **more})
    assert asked.observe is not None
    rows = []
    for impl in impls:
        backend, implementation = resolve(impl)
        probe = LocalProbe(backend, implementation)
        rows += [row(implementation.name, point, asked.observe(probe, **point)) for point in asked.points()]
    return pd.DataFrame(rows)


def row(impl: str, point: Mapping[str, Any], metrics: Mapping[str, float]) -> dict[str, Any]:
    """One row that is ``ok``."""
    fixed = {"impl": impl, "backend": impl.partition("/")[0], "status": "ok", "reason": None, "kind": "observed"}
    expanded = {f"point.{axis}": level for axis, level in point.items()}
    return fixed | expanded | {f"metric.{key}": value for key, value in metrics.items()}


def verdicts(asked: Suite, frame: pd.DataFrame) -> dict[tuple[str, tuple[str, ...]], str]:
    """The verdicts of a suite by claim and implementations."""
    assert asked.claims is not None
    return {(one.claim.id, one.implementations): one.verdict for one in asked.claims(frame)}


def p_values(asked: Suite, frame: pd.DataFrame) -> set[float | None]:
    """What the tests behind a suite's verdicts gave; ``None`` where none was made."""
    assert asked.claims is not None
    return {one.p for one in asked.claims(frame)}


def sentences(asked: Suite, frame: pd.DataFrame) -> list[str]:
    """What a suite finds; every sentence ends as one and holds no number that is none."""
    assert asked.findings is not None
    found = asked.findings(frame)
    assert all(one.endswith(".") and "nan" not in one for one in found)
    return found


def one(values: Iterable[Any]) -> Any:
    """The only one of some values."""
    (only,) = values
    return only
