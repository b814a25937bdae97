"""Observing a suite in this process, at sizes of the test's choice, into a frame like that of a run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from attnbench.ablate.probe import LocalProbe
from attnbench.backends import discover
from attnbench.backends.attend import resolve
from attnbench.backends.implementation import Implementation
from attnbench.suite import ObservedSuite, Suite, TimedSuite


def suite(name: str) -> Suite:
    return discover.suite(name)


def observing(name: str) -> ObservedSuite:
    """An observed suite by name."""
    named = suite(name)
    assert isinstance(named, ObservedSuite)
    return named


def timing(name: str) -> TimedSuite:
    """A timed suite by name."""
    named = suite(name)
    assert isinstance(named, TimedSuite)
    return named


def observed(
    name: str,
    impls: Sequence[str | Implementation] = ("numpy/naive",),
    levels: Mapping[str, Sequence[Any]] | None = None,
    **more: Sequence[Any],
) -> pd.DataFrame:
    """The frame of an observed suite with these levels on its axes."""
    asking = observing(name).with_axes({**(levels or {}), **more})
    rows = []
    for impl in impls:
        backend, implementation = resolve(impl)
        probe = LocalProbe(backend, implementation)
        rows += [row(implementation.name, point, asking.observe(probe, **point)) for point in asking.points()]
    return pd.DataFrame(rows)


def row(impl: str, point: Mapping[str, Any], metrics: Mapping[str, float]) -> dict[str, Any]:
    """One row that is ``ok``."""
    fixed = {"impl": impl, "backend": impl.partition("/")[0], "status": "ok", "reason": None, "kind": "observed"}
    expanded = {f"point.{axis}": level for axis, level in point.items()}
    return fixed | expanded | {f"metric.{key}": value for key, value in metrics.items()}


def verdicts(judging: Suite, frame: pd.DataFrame) -> dict[tuple[str, tuple[str, ...]], str]:
    """The verdicts of a suite by claim and implementations."""
    assert judging.story.claims is not None
    return {(verdict.claim.id, verdict.implementations): verdict.verdict for verdict in judging.story.claims(frame)}


def p_values(judging: Suite, frame: pd.DataFrame) -> set[float | None]:
    """What the tests behind a suite's verdicts gave; ``None`` where none was made."""
    assert judging.story.claims is not None
    return {verdict.p for verdict in judging.story.claims(frame)}


def sentences(speaking: Suite, frame: pd.DataFrame) -> list[str]:
    """What a suite finds; every sentence ends as one and holds no number that is none."""
    assert speaking.story.findings is not None
    said = speaking.story.findings(frame)
    assert all(sentence.endswith(".") and "nan" not in sentence for sentence in said)
    return said


def one(values: Iterable[Any]) -> Any:
    """The only one of some values."""
    (only,) = values
    return only
