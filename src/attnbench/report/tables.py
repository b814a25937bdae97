"""From frames to tables: what every rendering (console, HTML, Markdown) shows, and in which words.

A table is data: columns with an alignment and a rank (the first to go where space is short has the highest), rows of
text, and for every row a mark: ``best``, ``failed``, ``absent`` (nothing was tried) or none.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.analysis.leading import OverFastest, all_standings
from attnbench.comparing.together import SharedReason
from attnbench.comparing.verdicts import CLAIM, Verdict, percent
from attnbench.results.frames import METRIC, POINT, column_names, records
from attnbench.results.schema import FAILURES
from attnbench.show import units
from attnbench.show.table import Column

if TYPE_CHECKING:
    import pandas as pd

ABSENT = "absent"
NAMED = 2  # implementations that are named in full
# A reason needs the width of so many missing numbers.
FOLD = 3
# Single seeds, learning curves and what figures alone are drawn from: in the frame and the CSV, not in the tables.
DETAILS = re.compile(r"\.seed\d|^metric\..*\.step\d+$|^metric\.align\.|^metric\.round\.")


@dataclass(frozen=True)
class Table:
    """A table of text; ``marks`` has one word for each row, ``kind`` is its class on a page."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: tuple[str, ...]
    kind: str = ""

    @property
    def folded(self) -> bool:
        """Whether a wide rendering can put each reason where its row has no numbers, instead of in a column."""
        if self.columns[-1].name != "reason":
            return False
        return all(self._gap(row)[1] >= FOLD for row in self.rows if row[-1])

    def heads(self) -> tuple[Column, ...]:
        """The columns of a wide rendering."""
        return self.columns[:-1] if self.folded else self.columns

    def cells(self, number: int) -> tuple[tuple[str, int, bool], ...]:
        """Row ``number`` of a wide rendering: the text, how many columns it spans, whether it is a number."""
        row = self.rows[number]
        plain = tuple((text, 1, column.right) for text, column in zip(row, self.columns, strict=True))
        if not self.folded:
            return plain
        if not row[-1]:
            return plain[:-1]
        start, length = self._gap(row)
        return (*plain[:start], (row[-1], length, False), *plain[start + length : -1])

    def _gap(self, row: tuple[str, ...]) -> tuple[int, int]:
        """Where the first number of a row would be, and how many of its numbers are missing from there on."""
        numbers = [i for i, column in enumerate(self.columns) if column.right]
        missing = itertools.takewhile(lambda i: row[i] == units.NOTHING, numbers)
        return (numbers[0] if numbers else 0), len(list(missing))


def timing_tables(frame: pd.DataFrame, over: Mapping[str, OverFastest] | None = None) -> Iterator[Table]:
    """One table for each case in a block of timed cells, fastest first and failures last; in planned order.

    Cases in which nothing was tried come last, in one table by their reasons. ``over`` has each cell over the fastest,
    where that was worked out before.
    """
    timed = frame[frame["kind"] == "timed"]
    ratios = all_standings(timed) if over is None else over
    untried = []
    for _, block in timed.groupby(["block_id", "case_id"], sort=False):
        if all(mark_of(status) == ABSENT for status in block["status"]):
            untried.append(block)
        else:
            yield _block_table(block, ratios)
    if untried:
        yield _untried_table([row for block in untried for row in records(block)], len(untried))


def _untried_table(rows: Sequence[dict[str, Any]], cases: int) -> Table:
    plural = "s" if cases > 1 else ""
    return _by_reason(rows, f"Nothing was tried in {cases} case{plural}")


def _by_reason(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """What was not tried, by backend, status and reason."""
    columns = (Column("implementations"), Column("cells", right=True), Column("status"), Column("reason", rank=5))
    alike: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        alike.setdefault((row["backend"], row["status"], reason(row)), []).append(row["impl"])
    texts = tuple(
        (_named(backend, list(dict.fromkeys(impls))), str(len(impls)), status, why)
        for (backend, status, why), impls in alike.items()
    )
    return Table(title, columns, texts, (ABSENT,) * len(texts))


def _named(backend: str, impls: Sequence[str]) -> str:
    return ", ".join(impls) if len(impls) <= NAMED else f"{len(impls)} of {backend}"


def _block_table(block: pd.DataFrame, ratios: Mapping[str, OverFastest]) -> Table:
    rows = in_order(records(block), ratios)
    hot = any(units.known(row["time_hot_median_s"]) for row in rows)
    # A suite that is not about memory, and another tool's file, have none and no word on it.
    weighed = not any(row["status"] == "ok" for row in rows) or any(map(_speaks_of_memory, rows))
    columns = (
        Column("implementation"),
        Column("status"),
        Column("median time", right=True),
        Column("interval", right=True, rank=1),
        *([Column("hot", right=True, rank=4)] if hot else []),
        Column("vs fastest", right=True, rank=0),
        *([Column("peak memory", right=True, rank=2)] if weighed else []),
        Column("error ratio", right=True, rank=3),
        Column("reason", rank=5),
    )
    texts = tuple(_timing_row(row, ratios.get(row["cell_id"]), hot=hot, weighed=weighed) for row in rows)
    return Table(block_title(rows[0]), columns, texts, tuple(_mark(row, ratios.get(row["cell_id"])) for row in rows))


def in_order(rows: Sequence[dict[str, Any]], ratios: Mapping[str, OverFastest]) -> list[dict[str, Any]]:
    """The rows of a case as the page has them: the fastest, the others by their ratios to it, then what has no time.

    Times do not say who is the fastest (``analysis.leading``), and so they do not say the order.
    """

    def place(row: dict[str, Any]) -> tuple[bool, bool, float, str]:
        over = ratios.get(row["cell_id"])
        if over is None:
            return row["status"] != "ok", True, 0.0, str(row["impl"])
        return False, over.ratio is not None, 0.0 if over.ratio is None else over.ratio.value, str(row["impl"])

    return sorted(rows, key=place)


def block_title(row: dict[str, Any]) -> str:
    """The case of a block, with the name of its shape where it has one, and with its device and threads."""
    threads = f"{row['threads']} thread" + ("s" if row["threads"] > 1 else "")
    shape = row.get(f"{POINT}shape")
    named = f"{shape}: " if isinstance(shape, str) else ""
    return f"{named}{row['case_label']} · {row['device']}, {threads}"


def _timing_row(row: dict[str, Any], over: OverFastest | None, *, hot: bool, weighed: bool) -> tuple[str, ...]:
    median = row["time_median_s"]
    return (
        row["impl"],
        row["status"],
        units.seconds(median),
        units.interval(median, row["time_low_s"], row["time_high_s"]),
        *([units.seconds(row["time_hot_median_s"])] if hot else []),
        _times(over),
        *([units.size(row["peak_bytes"])] if weighed else []),
        _error(row["error_ratio"]),
        reason(row) or _unweighed(row),
    )


def _speaks_of_memory(row: dict[str, Any]) -> bool:
    return units.known(row["peak_bytes"]) or bool(_unweighed(row))


def _unweighed(row: dict[str, Any]) -> str:
    """Why a cell that was timed has no peak memory, where its row says it; else empty."""
    if row["status"] != "ok" or units.known(row["peak_bytes"]):
        return ""
    source = json.loads(row.get("memory") or "{}").get("source")
    return f"peak memory {source}" if source else ""


def _times(over: OverFastest | None) -> str:
    """The ratio to the fastest with its interval, by paired rounds; ``?`` where the two are not told apart."""
    if over is None:
        return units.NOTHING
    if over.ratio is None:
        return units.times(1.0)
    low, high = (units.significant(end) for end in (over.ratio.low, over.ratio.high))
    value = units.times(over.ratio.value) if over.told else f"{units.significant(over.ratio.value)}?"
    return f"{value} [{low}, {high}]"


def _mark(row: dict[str, Any], over: OverFastest | None) -> str:
    """``best`` for the fastest and for all that are not told from it."""
    return mark_of(row["status"]) or ("best" if over is not None and not over.told else "")


def mark_of(status: str) -> str:
    """The mark of a row by its status: ``failed``, ``absent`` where nothing was tried, empty where all is well."""
    return "" if status == "ok" else "failed" if status in FAILURES else ABSENT


def _error(value: Any) -> str:
    return units.significant(value, 2) if units.known(value) else units.NOTHING


def reason(row: dict[str, Any]) -> str:
    """The reason of a row that is not ok, in one line; empty for one that is."""
    return " ".join(str(row["reason"]).split()) if units.known(row["reason"]) else ""


def metrics_tables(frame: pd.DataFrame) -> tuple[Table, ...]:
    """The observed cells of each suite; see ``metrics_table``."""
    observed = frame[frame["kind"] == "observed"]
    several = len(observed["suite"].unique()) > 1
    return tuple(
        metrics_table(rows, f"What was observed: {suite}" if several else "What was observed")
        for suite, rows in observed.groupby("suite", sort=False)
    )


def metrics_table(observed: pd.DataFrame, title: str) -> Table:
    """Observed cells: the levels of their axes, the implementation, its numbers, the status; planned order.

    The numbers of single seeds and of learning curves are in the frame and the CSV (``DETAILS``).
    """
    axes = [name for name in column_names(observed.dropna(axis="columns", how="all")) if name.startswith(POINT)]
    metrics = shown_metrics(observed)
    columns = (
        *(Column(name.removeprefix(POINT)) for name in axes),
        Column("implementation"),
        Column("status"),
        *(Column(name.removeprefix(METRIC), right=True) for name in metrics),
        Column("reason", rank=5),
    )
    rows = records(observed.reindex(columns=[*axes, "impl", "status", *metrics, "reason"]))
    texts = tuple(
        (*(units.number(row[name]) for name in (*axes, "impl", "status", *metrics)), reason(row)) for row in rows
    )
    return Table(title, columns, texts, tuple(mark_of(row["status"]) for row in rows))


def shown_metrics(observed: pd.DataFrame) -> list[str]:
    """The numbers that tables show: all but the details; where these are the only ones, the last of them."""
    names = [name for name in column_names(observed.dropna(axis="columns", how="all")) if name.startswith(METRIC)]
    return [name for name in names if not DETAILS.search(name)] or names[-1:]


def failures_table(frame: pd.DataFrame) -> Table:
    """Every cell that was tried and failed, with its reason."""
    rows = records(frame[frame["status"].isin(FAILURES)])
    columns = (Column("suite"), Column("case"), Column("implementation"), Column("status"), Column("reason"))
    texts = tuple((row["suite"], block_title(row), row["impl"], row["status"], reason(row)) for row in rows)
    return Table("Failed cells", columns, texts, tuple(mark_of(row["status"]) for row in rows))


def absent_table(frame: pd.DataFrame) -> Table:
    """The cells that were not tried, unsupported or not reached, by their reason."""
    return _by_reason(
        records(frame[[mark_of(status) == ABSENT for status in frame["status"]]]), "Cells that were not tried"
    )


def left_out_table(groups: Sequence[Mapping[str, Any]]) -> Table:
    """Which implementations the suites of a run did not measure because nobody named them, and why."""
    columns = (Column("suite"), Column("implementations"), Column("why they were not measured"))
    texts = tuple((group["suite"], ", ".join(group["implementations"]), group["reason"]) for group in groups)
    return Table("Implementations that were left out", columns, texts, (ABSENT,) * len(texts))


def minutes_table(seconds: Mapping[str, float], frame: pd.DataFrame) -> Table:
    """The wall time of each suite of a run in minutes, longest first, and its share; of all together last."""
    columns = (Column("suite"), *(Column(name, right=True) for name in ("cells", "minutes", "share of the run")))
    cells, total = frame["suite"].value_counts(), sum(seconds.values())
    order = sorted(seconds.items(), key=lambda pair: -pair[1])
    rows = [(name, str(cells.get(name, 0)), f"{took / 60:.1f}", f"{took / total:.0%}") for name, took in order]
    if rows:
        rows.append(("together", str(len(frame)), f"{total / 60:.1f}", "100%"))
    return Table("Minutes of each suite", columns, tuple(rows), ("",) * len(rows))


def disturbed_table(frame: pd.DataFrame) -> Table:
    """The cells some of whose bursts were disturbed and measured again."""
    rows = records(frame[frame["disturbed_bursts"] > 0])
    columns = (Column("case"), Column("implementation"), Column("disturbed", right=True), Column("kept", right=True))
    texts = tuple(
        (block_title(row), row["impl"], str(row["disturbed_bursts"]), units.number(row["n_bursts"])) for row in rows
    )
    return Table("Disturbed bursts", columns, texts, ("",) * len(rows))


def verdict_table(verdicts: Sequence[Verdict], shared: Sequence[SharedReason] = ()) -> Table:
    """The verdicts of a comparison of saved runs, in their order; the title says what kind of claim they are.

    Those of a ``shared`` reason, which stands elsewhere, are one row; an interval is its own reason.
    """
    columns = (
        Column("verdict"),
        Column("metric"),
        Column("case"),
        Column("implementation"),
        Column("change", right=True),
        Column("interval", right=True, rank=1),
        Column("evidence", rank=2),
        Column("reason", rank=3),
    )
    marks = {"slower": "failed", "larger": "failed", "faster": "best", "smaller": "best"}
    alike: dict[SharedReason | None, list[Verdict]] = {}
    for verdict in verdicts:
        alike.setdefault(next((reason for reason in shared if reason.holds(verdict)), None), []).append(verdict)
    single = alike.pop(None, [])
    rows = (*map(_verdict_row, single), *(_shared_row(group) for group in alike.values()))
    return Table(CLAIM, columns, rows, tuple(marks.get(row[0], "") for row in rows))


def _verdict_row(verdict: Verdict) -> tuple[str, ...]:
    ends = (
        f"{percent(verdict.low)} … {percent(verdict.high)}"
        if verdict.low is not None and verdict.high is not None
        else ""
    )
    return (
        verdict.verdict,
        verdict.metric,
        f"{verdict.case_label} · {verdict.device}, threads {verdict.threads}",
        verdict.impl,
        percent(verdict.ratio) if verdict.ratio is not None else units.NOTHING,
        ends,
        verdict.evidence,
        "" if ends else verdict.reason or "",
    )


def _shared_row(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """The row of verdicts that have their reason in common."""
    cases = list(dict.fromkeys(verdict.case_label for verdict in verdicts))
    impls = list(dict.fromkeys(verdict.impl for verdict in verdicts))
    metrics = dict.fromkeys(verdict.metric for verdict in verdicts)
    cells = f"{len({verdict.key for verdict in verdicts})} cells"
    case = cells + (f" of {cases[0]}" if len(cases) == 1 else f" in {len(cases)} cases")
    names = ", ".join(impls) if len(impls) <= NAMED else f"{len(impls)} implementations"
    return verdicts[0].verdict, ", ".join(metrics), f"{case} (why: above)", names, units.NOTHING, "", "", ""
