"""What frames of timed suites say: ratios of cells with their intervals, growth with an axis, sentences.

Two cells of one block were measured interleaved, and are paired round by round (``attnbench.analysis.rounds``); cells
of different blocks were measured one after the other, so that a ratio of theirs has the interval between the far ends
of both.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.analysis.diagnostics import loglog_slope
from attnbench.analysis.frames import POINT, measured
from attnbench.analysis.intervals import CONFIDENCE, Interval
from attnbench.analysis.leading import Lead, lead, leaders
from attnbench.analysis.rounds import paired, rounds, with_least
from attnbench.results.frames import refuse_machines

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Lead", "lead", "leaders"]

TIME = "time_median_s"
TIMES = (TIME, "time_low_s", "time_high_s")
KEPT = ("impl", "backend", "status", "device", "threads", "Tq", "S", "B", *TIMES, "peak_bytes", "flops", "min_bytes")
NAMED = 6
HIDDEN = ("additive", "concat")  # scores with a layer of hidden units


def over_base(frame: pd.DataFrame, axis: str, base: Any) -> pd.DataFrame:
    """Every measured cell over the cell of its implementation that differs in one axis alone and stands at ``base``.

    Columns besides those of the cell: ``time_ratio`` with ``low`` and ``high``, ``pairs`` (a ``Paired``, or ``None``
    where the two were not in one block), and ``memory_ratio``; the base itself is left out. ``axis`` is a column, such
    as ``point.kind`` or ``threads``.
    """
    ok = measured(frame)
    ok = ok.assign(place=range(len(ok)))
    points = [str(name) for name in ok.columns if str(name).startswith(POINT)]
    kept = list(dict.fromkeys([*(name for name in KEPT if name in ok), *points, "place"]))
    key = [name for name in ("impl", "device", "threads", *points) if name != axis]
    under = ok[ok[axis] == base][[*key, *TIMES, "peak_bytes", "place"]]
    both = ok[ok[axis] != base][kept].merge(under, on=key, suffixes=("", "_base"))
    ratios: pd.DataFrame = both.assign(
        time_ratio=both[TIME] / both[f"{TIME}_base"],
        low=(both["time_low_s"] / both["time_high_s_base"]).fillna(0.0),
        high=(both["time_high_s"] / both["time_low_s_base"]).fillna(math.inf),
        memory_ratio=both["peak_bytes"] / both["peak_bytes_base"].where(both["peak_bytes_base"] > 0),
    )
    return _with_pairs(ratios, ok)


def _with_pairs(ratios: pd.DataFrame, ok: pd.DataFrame) -> pd.DataFrame:
    """The ratios of rounds in the place of those of medians, where two cells stood in one block."""
    import pandas as pd

    known = [rounds(row) for row in ok.to_dict("records")]
    blocks = ok["block_id"].tolist() if "block_id" in ok else list(range(len(ok)))
    places = list(zip(ratios["place"], ratios["place_base"], strict=True))
    pairs = with_least(paired(known[a], known[b]) if blocks[a] == blocks[b] else None for a, b in places)
    ratios = ratios.assign(pairs=pd.Series(pairs, ratios.index, object)).drop(columns=["place", "place_base"])
    for at, both in zip(ratios.index, pairs, strict=True):
        if both is not None:
            exact = both.interval()
            ratios.loc[at, ["time_ratio", "low", "high"]] = [exact.value, exact.low, exact.high]
    return ratios


def stacked(*parts: pd.DataFrame) -> pd.DataFrame:
    """Frames one under the other, with the columns of all."""
    import pandas as pd

    return pd.concat(parts)


def ratio(row: Any) -> Interval:
    """The ratio of times of a row of ``over_base``."""
    return Interval(float(row.time_ratio), float(row.low), float(row.high), 1)


def growth(rows: pd.DataFrame, column: str, axis: str = "point.tokens") -> float | None:
    """The exponent of a column in an axis, over the upper half of its levels (at least two); ``None`` without two.

    Small problems cost what every call costs, so that only the upper half tells how a kernel grows.
    """
    refuse_machines(rows)
    known = rows[(rows[column] > 0) & rows[column].notna()].groupby(axis)[column].median()
    upper = known.iloc[min(len(known) // 2, max(len(known) - 2, 0)) :]
    if len(upper) < 2:  # noqa: PLR2004
        return None
    return float(loglog_slope([float(level) for level in upper.index], upper.tolist()))


def exponent(rows: pd.DataFrame, column: str, axis: str) -> Interval | None:
    """The exponent of a column in an axis, by least squares of the logarithms; ``None`` with fewer than two levels.

    The interval is Student's, of the deviations from a straight line (SciPy's ``linregress``); two levels have none.
    ``n`` is the number of levels.
    """
    from scipy import stats

    refuse_machines(rows)
    known = rows[(rows[column] > 0) & rows[column].notna()].groupby(axis)[column].median()
    count = len(known)
    if count < 2:  # noqa: PLR2004
        return None
    if not np.ptp(known.to_numpy(float)):  # a line without any slope has no error that linregress could divide by
        return Interval(0.0, 0.0, 0.0, count)
    line = stats.linregress([math.log(level) for level in known.index], [math.log(value) for value in known])
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 2)) * float(line.stderr) if count > 2 else math.inf  # noqa: PLR2004
    power = float(line.slope)
    return Interval(power, power - half, power + half, count)


def grows(frame: pd.DataFrame, column: str, what: str, where: Callable[[pd.DataFrame], pd.Series[bool]]) -> list[str]:
    """A sentence with the exponent of each implementation, from the rows that ``where`` picks."""
    ok = measured(frame)
    rows = ok[where(ok)]
    parts = []
    for name, mine in rows.groupby("impl", sort=False):
        if (power := growth(mine, column)) is not None:
            parts.append(f"{name} {power:.2f}")
    return (
        [f"{what} grows as a power of the tokens, over the longer half of them: {', '.join(parts)}."] if parts else []
    )


def fastest(frame: pd.DataFrame, name: Callable[[Any], str]) -> list[str]:
    """Who was fastest where, in one sentence for each outcome: an implementation, or none that the rounds tell.

    ``name(row)`` says what a block asks; blocks with fewer than two measured cells say nothing.
    """
    won: dict[tuple[str, ...], list[str]] = {}
    for _, block in measured(frame).groupby("block_id", sort=False):
        if len(block) > 1:
            first = lead(block)
            names = tuple(sorted(first.together))
            won.setdefault(names, []).append(name(block.iloc[0]) + _lead(first))
    said = []
    for names, places in won.items():
        listed = "; ".join(places[:NAMED]) + (f"; and {len(places) - NAMED} more" if len(places) > NAMED else "")
        if len(names) == 1:
            said.append(f"Fastest is {names[0]} in {_cases(places)}: {listed}.")
        else:
            said.append(f"No clear winner among {', '.join(names)} in {_cases(places)}: {listed}.")
    return said


def _lead(first: Lead) -> str:
    if first.second is None or first.ratio is None:
        return ""
    return f" ({first.second} takes {first.ratio.text('.3g')} times as long)"


def _cases(places: Sequence[str]) -> str:
    return f"{len(places)} cases" if len(places) > 1 else "one case"


def shortfall(frame: pd.DataFrame) -> list[str]:
    """A sentence on the cells without numbers: those of the same status and reasons together."""
    rest = frame[frame["status"] != "ok"]
    if rest.empty:
        return []
    grouped: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (impl, status), rows in rest.groupby(["impl", "status"], sort=False):
        reasons = tuple(dict.fromkeys(str(reason) for reason in rows["reason"] if reason))
        grouped.setdefault((str(status), reasons), []).append(f"{impl} {len(rows)}")
    parts = []
    for (status, reasons), who in grouped.items():
        more = f", and {len(reasons) - 1} more reasons" if len(reasons) > 1 else ""
        parts.append(f"{', '.join(who)} {status} ({(reasons or ('no reason given',))[0]}{more})")
    return [f"{len(rest)} of {len(frame)} cells have no numbers: {'; '.join(parts)}."]


def label(row: Any, *axes: str) -> str:
    """The levels of a row on some axes, such as ``h4-d64, 2048 tokens, train``."""
    words = []
    for axis in axes:
        level = row[POINT + axis]
        words.append(f"{level} tokens" if axis == "tokens" else f"batch {level}" if axis == "batch" else str(level))
    return ", ".join(words)


def size(value: float) -> str:
    """Bytes in MiB or GiB."""
    return f"{value / 2**30:.3g} GiB" if value >= 2**30 else f"{value / 2**20:.3g} MiB"


def scores_bytes(case: Any) -> int:
    """The size of one float32 array of all scores of a case, B·Hq·Tq·S; what stores them holds several.

    A learned score is stored with its hidden units, Da times as large.
    """
    p = case.problem
    hidden = p.Da if case.spec.score in HIDDEN else 1
    return int(4 * p.B * p.Hq * p.Tq * p.S * hidden)


def first_level(frame: pd.DataFrame, axis: str) -> Any:
    """The first level of an axis in a frame; ``None`` in an empty one."""
    levels = frame[f"point.{axis}"].unique()
    return levels[0] if len(levels) else None


def refuse_scores_above(most: int, patterns: Sequence[str]) -> Callable[[Any, str], str | None]:
    """A suite's ``refuse``: what these patterns name stores all scores, and one array is at most ``most`` bytes."""

    def refuse(case: Any, impl: str) -> str | None:
        needed = scores_bytes(case)
        if needed <= most or not any(fnmatch.fnmatchcase(impl, pattern) for pattern in patterns):
            return None
        heads = case.problem.B * case.problem.Hq
        what = "Tq·S·Da" if case.spec.score in HIDDEN else "Tq·S"
        return (
            f"stores all scores: {what} in float32 is {size(needed / heads)} per head, {size(needed)} for each array "
            f"of them, and this suite stops at {size(most)} unless it is named with --impl"
        )

    return refuse
