"""Every planned cell of a run as a row of numbers, with its ratio to the fastest of its case and its standing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attnbench.analysis.leading import OverFastest, all_standings
from attnbench.analysis.sampled import without_rounds
from attnbench.report.glance.cases import case_names, command
from attnbench.report.glance.grid import standing
from attnbench.report.tables import reason, shown_metrics
from attnbench.results.frames import METRIC, POINT, column_names, records
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.analysis.judged import JudgedRun, JudgedSuite

STANDING = ("ratio", "ratio_low", "ratio_high", "standing")
# Column of the frame, and its head with its unit.
NUMBERS = (
    ("time_median_s", "median time (s)"),
    ("time_low_s", "time, low (s)"),
    ("time_high_s", "time, high (s)"),
    ("ratio", "time over the fastest"),
    ("ratio_low", "ratio, low"),
    ("ratio_high", "ratio, high"),
    ("peak_bytes", "peak memory (bytes)"),
    ("error_ratio", "error over its bound"),
    ("time_hot_median_s", "hot time (s)"),
    ("first_call_s", "first call (s)"),
    ("n_bursts", "bursts"),
    ("n_replicates", "processes"),
    ("disturbed_bursts", "disturbed bursts"),
    ("threads", "threads"),
)

LAST = ("reason", "case in full", "run it again")
OURS = {"suite", "case", "implementation", "status", "standing", "device", *dict(NUMBERS).values(), *LAST}


def with_standing(judged: JudgedRun) -> pd.DataFrame:
    """The rows as ``ab.load`` gives them, in planned order, with the columns ``STANDING`` at the end.

    ``standing`` is ``fastest``, ``tied`` (not told from the fastest; the first of a tie is tied, too) or ``behind``.
    """
    rated: dict[str, tuple[float, float, float, str]] = {}
    for suite in judged.suites:
        rated |= _standings(suite.frame)
    frame = without_rounds(judged.frame)
    none = (math.nan, math.nan, math.nan, None)
    columns = list(zip(*(rated.get(cell, none) for cell in frame["cell_id"]), strict=True)) or [()] * len(STANDING)
    return frame.assign(**{name: list(values) for name, values in zip(STANDING, columns, strict=True)})


def _standings(frame: pd.DataFrame) -> dict[str, tuple[float, float, float, str]]:
    over = all_standings(frame)
    timed = frame[frame["kind"] == "timed"]
    rated: dict[str, tuple[float, float, float, str]] = {}
    for _, block in timed.groupby(["block_id", "case_id"], sort=False):
        known = {cell: over[cell] for cell in block["cell_id"] if cell in over}
        tied = sum(not each.told for each in known.values()) > 1
        rated |= {cell: (*_ends(each), standing(each, tied=tied)) for cell, each in known.items()}
    return rated


def _ends(over: OverFastest) -> tuple[float, float, float]:
    return (1.0, 1.0, 1.0) if over.ratio is None else (over.ratio.value, over.ratio.low, over.ratio.high)


def cell_table(judged: JudgedRun) -> pd.DataFrame:
    """The cells for people: numbers in full with their units in the heads, only columns in which something stands.

    Of what was observed it has the numbers that the page has; single seeds and learning curves are in the CSV.
    """
    import pandas as pd

    rated = {row["cell_id"]: row for row in records(with_standing(judged))}
    rows = [row for suite in judged.suites for row in _suite_rows(judged, suite, rated)]
    heads = dict.fromkeys(head for row in rows for head in row)
    ordered = [*(head for head in heads if head not in LAST), *LAST]
    table = pd.DataFrame(rows, columns=ordered)
    always = ("suite", "case", "implementation", "status", "reason")
    return table[[name for name in ordered if name in always or table[name].notna().any()]]


def _suite_rows(judged: JudgedRun, suite: JudgedSuite, rated: dict[str, dict[str, Any]]) -> Iterable[dict[str, Any]]:
    frame = suite.frame
    names = case_names(frame)
    axes = [name for name in column_names(frame) if name.startswith(POINT)]
    metrics = shown_metrics(frame) if (frame["kind"] == "observed").any() else []
    for row in records(without_rounds(frame)):
        known = rated[row["cell_id"]]
        yield {
            "suite": suite.name,
            "case": names[row["block_id"], row["case_id"]],
            "implementation": row["impl"],
            "status": row["status"],
            "standing": known["standing"],
            **{head: _value(known.get(column)) for column, head in NUMBERS},
            "device": row["device"],
            **{_axis(name): _value(row[name]) for name in axes},
            **{_metric(name): _value(row[name]) for name in metrics},
            "reason": reason(row) or None,
            "case in full": row["case_label"],
            "run it again": command(judged.info, row) or None,
        }


def _axis(name: str) -> str:
    return f"axis {name.removeprefix(POINT)}"


def _metric(name: str) -> str:
    """The head of a metric; one that is called like a column of ours is told from it."""
    head = name.removeprefix(METRIC)
    return f"metric {head}" if head in OURS or head.startswith("axis ") else head


def _value(value: Any) -> Any:
    """A number as it is, nothing where nothing is known, and the rest as text."""
    if value is None or isinstance(value, bool | int | float):
        return value if units.known(value) else None
    return value.item() if hasattr(value, "item") else str(value)
