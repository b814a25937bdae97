"""Reading frames of observed suites: values by seed, what the implementations say together, and how far they differ.

A frame has one row for each planned cell, the levels of the axes in ``point.<axis>`` and the numbers in
``metric.<name>``; ``metric.<name>.seed3`` is the value of one seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.analysis.diagnostics import loglog_slope
from attnbench.results.frames import refuse_machines

if TYPE_CHECKING:
    import pandas as pd

POINT, METRIC, SEED = "point.", "metric.", ".seed"

# Differences below this are not told apart: metrics of attention of order one, computed in float64.
DIFFERENCE_FLOOR = 1e-8


@dataclass(frozen=True)
class Difference:
    """The largest relative difference between implementations at one point: how large, of which metric, where."""

    relative: float
    metric: str
    point: str
    implementations: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sentence that says it."""
        names = ", ".join(self.implementations)
        if self.relative == 0:
            return f"{names} gave exactly the same numbers."
        where = f"{self.metric} at {self.point}"
        return f"{names} differ by at most {self.relative:.1e}, relatively ({where})."


def measured(frame: pd.DataFrame, **point: Any) -> pd.DataFrame:
    """The rows that are ``ok``, at the given levels. Raises ``UsageError`` for rows of several machines."""
    refuse_machines(frame)
    rows = frame[frame["status"] == "ok"]
    for axis, level in point.items():
        rows = rows[rows[POINT + axis] == level]
    return rows


def best_validated(frame: pd.DataFrame, *axes: str) -> pd.DataFrame:
    """For each implementation, seed and level of ``axes`` the measured row whose ``validation`` is highest."""
    order = measured(frame).sort_values(f"{METRIC}validation", ascending=False, kind="stable")
    return order.drop_duplicates(["impl", *(POINT + axis for axis in ("seed", *axes))])


def levels(frame: pd.DataFrame, axis: str) -> list[Any]:
    """The levels of an axis that were measured, in planned order."""
    return list(measured(frame)[POINT + axis].unique()) if POINT + axis in frame else []


def level_to_speak_of(frame: pd.DataFrame, axis: str, wanted: int) -> int:
    """The level of an axis that findings speak of: the wanted one, or the first where only others were measured."""
    known = [int(level) for level in levels(frame, axis)]
    return wanted if wanted in known or not known else known[0]


def spoken(frame: pd.DataFrame, **wanted: int) -> pd.DataFrame:
    """The rows at one level of each axis, the wanted one or the first there is: what findings and verdicts speak of.

    An axis that the frame does not have, as in a run from before there was one, is passed over.
    """
    for axis, level in wanted.items():
        if POINT + axis in frame:
            frame = frame[frame[POINT + axis] == level_to_speak_of(frame, axis, level)]
    return frame


def unspoken(frame: pd.DataFrame, **wanted: int) -> list[str]:
    """A sentence that says which level is spoken of, where others were measured too; none where nothing was left."""
    several = [axis for axis in wanted if len(levels(frame, axis)) > 1]
    if not several:
        return []
    at_levels = ", ".join(f"{axis} = {level_to_speak_of(frame, axis, wanted[axis]):g}" for axis in several)
    return [f"All this is said of {at_levels}; the figures and the tables have the other levels too."]


def joined(frame: pd.DataFrame, axis: str, *more: str) -> pd.DataFrame:
    """The frame with further axes named behind the levels of one, as in ``reverse, units 32``, where these vary."""
    names = frame[POINT + axis].astype(str)
    for other in more:
        if POINT + other in frame and len(frame[POINT + other].unique()) > 1:
            names = names + f", {other} " + frame[POINT + other].map("{:g}".format)
    return frame if names.equals(frame[POINT + axis].astype(str)) else frame.assign(**{POINT + axis: names})


def seed_columns(frame: pd.DataFrame, metric: str) -> list[str]:
    """The columns of the seeds of a metric, in the order of the seeds."""
    prefix = METRIC + metric + SEED
    columns = [str(name) for name in frame.columns if str(name).startswith(prefix)]
    return sorted(columns, key=lambda name: int(name.removeprefix(prefix)))


def one_row_per_seed(frame: pd.DataFrame, *metrics: str) -> pd.DataFrame:
    """The frame with each row repeated for each seed: a column ``seed``, and ``metric.<name>`` being that seed's."""
    import pandas as pd

    seeds = len(seed_columns(frame, metrics[0]))
    parts = [
        frame.assign(seed=seed, **{METRIC + name: frame[seed_columns(frame, name)[seed]] for name in metrics})
        for seed in range(seeds)
    ]
    return pd.concat(parts) if parts else frame.assign(seed=0).iloc[:0]


def at(rows: pd.DataFrame, metric: str, **point: Any) -> list[float]:
    """The values by seed of one implementation at one point; empty where it was not measured."""
    chosen = measured(rows, **point)
    if len(chosen) != 1:
        return []
    return [float(chosen[name].iloc[0]) for name in seed_columns(rows, metric)]


def slopes(rows: pd.DataFrame, metric: str, axis: str, **point: Any) -> list[float]:
    """The exponent of a metric in an axis for each seed of one implementation; empty without two levels."""
    chosen = measured(rows, **point)
    if chosen[POINT + axis].nunique() < 2:  # noqa: PLR2004
        return []
    return [loglog_slope(chosen[POINT + axis].tolist(), chosen[name].tolist()) for name in seed_columns(rows, metric)]


def ratios(rows: pd.DataFrame, metric: str, over: dict[str, Any], under: dict[str, Any]) -> list[float]:
    """The ratio of a metric at two points, paired by seed; empty where one of them was not measured."""
    return [a / b for a, b in zip(at(rows, metric, **over), at(rows, metric, **under), strict=False) if b]


def first_to_last(rows: pd.DataFrame, metric: str, axis: str, *, least: float = 0, **point: Any) -> list[float]:
    """A metric at the largest level of an axis over the same at its smallest level from ``least`` on, by seed."""
    reached = sorted(level for level in measured(rows, **point)[POINT + axis] if level >= least)
    if len(reached) < 2:  # noqa: PLR2004
        return []
    return ratios(rows, metric, {axis: reached[-1], **point}, {axis: reached[0], **point})


def together(frame: pd.DataFrame, say: Callable[[pd.DataFrame], str]) -> str:
    """What ``say`` makes of the rows of each implementation: once if all agree word for word, else by name."""
    ok = measured(frame)
    said = {str(name): say(rows) for name, rows in ok.groupby("impl", sort=False)}
    grouped: dict[str, list[str]] = {}
    for name, text in said.items():
        grouped.setdefault(text, []).append(name)
    if len(grouped) <= 1:
        return next(iter(grouped), "")
    return " ".join(f"{', '.join(names)}: {text}" for text, names in grouped.items())


def largest_difference(frame: pd.DataFrame) -> Difference | None:
    """How far implementations differ at most, over all metrics at all points; ``None`` with fewer than two of them."""
    ok = measured(frame)
    axes = [str(name) for name in ok.columns if str(name).startswith(POINT)]
    metrics = [str(name) for name in ok.columns if str(name).startswith(METRIC)]
    if ok["impl"].nunique() < 2 or not metrics:  # noqa: PLR2004
        return None
    worst: Difference | None = None
    for _, rows in ok.groupby(axes, sort=False):
        relative = _relative_spread(rows[metrics].to_numpy(float))
        column = int(np.argmax(relative))
        if worst is None or relative[column] > worst.relative:
            point = ", ".join(f"{axis.removeprefix(POINT)} = {rows[axis].iloc[0]}" for axis in axes)
            names = tuple(str(name) for name in ok["impl"].unique())
            worst = Difference(float(relative[column]), metrics[column].removeprefix(METRIC), point, names)
    return worst


def _relative_spread(values: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """(max − min) / largest magnitude of each column; infinite where one is NaN and another is not."""
    missing = np.isnan(values)
    high, low = np.where(missing, -np.inf, values).max(0), np.where(missing, np.inf, values).min(0)
    with np.errstate(invalid="ignore"):
        relative = (high - low) / np.maximum(np.maximum(np.abs(high), np.abs(low)), DIFFERENCE_FLOOR)
    relative = np.where(missing.any(0), np.inf, relative)
    return np.asarray(np.where(missing.all(0), 0.0, relative))


def agreement(frame: pd.DataFrame) -> list[str]:
    """A sentence on how far the implementations differ, or that there was only one to listen to."""
    names = list(measured(frame)["impl"].unique())
    if not names:
        return []
    worst = largest_difference(frame)
    if worst is None:
        return [f"Only {names[0]} was measured, so that nothing is said about agreement."]
    return [worst.text]


def shortfall(frame: pd.DataFrame) -> list[str]:
    """A sentence on the cells that have no numbers and why, if there are any."""
    rest = frame[frame["status"] != "ok"]
    if rest.empty:
        return []
    groups: Iterable[tuple[Any, pd.DataFrame]] = rest.groupby(["impl", "status"], sort=False)
    parts = [f"{impl} {status} ({len(rows)}: {_first(rows['reason'])})" for (impl, status), rows in groups]
    return [f"{len(rest)} of {len(frame)} cells have no numbers: " + "; ".join(parts) + "."]


def _first(reasons: Sequence[Any] | Any) -> str:
    texts = [str(reason) for reason in dict.fromkeys(reasons) if reason]
    return (texts[0] if texts else "no reason given") + (f", and {len(texts) - 1} other reasons" if texts[1:] else "")
