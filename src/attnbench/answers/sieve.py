"""Who may be an answer: what agreed, is here, can do what is needed and fits. Who may not stands with the reason."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from attnbench.answers.able import Able
from attnbench.answers.question import Wanted
from attnbench.answers.since import gone
from attnbench.backends import discover
from attnbench.measure.run.choice import devices_of
from attnbench.results.frames import records
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

Declares = Callable[[Sequence[str]], Mapping[str, Able]]

# Why somebody is no answer, in the order in which it is said.
KINDS = {
    "wrong": "wrong",
    "crashed": "crashed",
    "over-memory": "over the memory",
    "lacks": "without what is needed",
    "unknown": "not known to fit",
    "unsupported": "does not do this",
    "not-installed": "not installed here",
    "not-measured": "not measured",
}
# Kinds of those that might have been the answer: nobody has seen whether they are.
UNTRIED = ("unknown", "not-measured")
BY_STATUS = {"wrong": "wrong", "crashed": "crashed", "oom": "crashed", "timeout": "crashed", "not-run": "not-measured"}


@dataclass(frozen=True)
class NotChosen:
    """An implementation that is no answer: which kind of reason (``KINDS``), and the reason."""

    impl: str
    kind: str
    reason: str
    time_s: float | None = None
    peak_bytes: int | None = None

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def sieved(
    rows: pd.DataFrame, wanted: Wanted, declares: Declares, *, is_here: bool = True
) -> tuple[pd.DataFrame, tuple[NotChosen, ...]]:
    """The rows of those that may be the answer, and all others with their reasons.

    What is not installed here is left out where ``is_here`` says that this machine made the rows. ``declares`` is asked
    only where capabilities are needed, of those that are no answer for no other reason.
    """
    out = [left for row in records(rows) if (left := _by_its_row(row, wanted, is_here=is_here)) is not None]
    names = {left.impl for left in out}
    kept = rows[~rows["impl"].isin(names)]
    if wanted.needs and len(kept):
        able = declares([str(name) for name in kept["impl"]])
        times = dict(zip(kept["impl"], kept["time_median_s"], strict=True))
        out += [
            NotChosen(impl, "lacks" if can.why_unknown is None else "unknown", why, float(times[impl]))
            for impl, can in able.items()
            if (why := can.lacks(wanted.needs)) is not None
        ]
    names = {left.impl for left in out}
    return kept[~kept["impl"].isin(names)], tuple(sorted((*out, *_not_in(rows, wanted, is_here=is_here)), key=_place))


def _place(left: NotChosen) -> tuple[int, float]:
    """By the kind of reason, the faster first."""
    return list(KINDS).index(left.kind), math.inf if left.time_s is None else left.time_s


def _by_its_row(row: Mapping[str, Any], wanted: Wanted, *, is_here: bool) -> NotChosen | None:
    impl, status = str(row["impl"]), str(row["status"])
    missing = gone(impl) if is_here else None
    if status != "ok":
        kind = BY_STATUS.get(status, "unsupported" if missing is None else "not-installed")
        reason = str(row["reason"]) if kind != "not-installed" else str(missing)
        named = "" if status == kind or kind in ("unsupported", "not-installed", "not-measured") else f"{status}: "
        return NotChosen(impl, kind, named + reason)
    time_s = float(row["time_median_s"])
    if missing is not None:
        return NotChosen(impl, "not-installed", missing, time_s)
    if wanted.memory_bytes is None:
        return None
    peak = row["peak_bytes"]
    if peak is None or math.isnan(peak):
        return NotChosen(impl, "unknown", "its peak memory was not measured, so that nobody knows if it fits", time_s)
    if peak > wanted.memory_bytes:
        return NotChosen(impl, "over-memory", f"needs more than {units.size(wanted.memory_bytes)}", time_s, int(peak))
    return None


def _not_in(rows: pd.DataFrame, wanted: Wanted, *, is_here: bool) -> list[NotChosen]:
    """What is announced for this device and was not in the block at all."""
    inside = {str(name) for name in rows["impl"]}
    out = []
    for impl in discover.implementation_names():
        if impl in inside or (devices_of(impl) and wanted.device not in devices_of(impl)):
            continue
        missing = gone(impl) if is_here else None
        kind, reason = ("not-measured", "its run did not measure it") if missing is None else ("not-installed", missing)
        out.append(NotChosen(impl, kind, reason))
    return out
