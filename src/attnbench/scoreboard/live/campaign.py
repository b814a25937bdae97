"""Many comparisons by ``attnbench ab`` on this machine, with and without a slowdown: what it said, counted.

A line of ``campaign.jsonl`` for every finished run, on the disk before the next begins: it can be cut at any time, and
the next call goes on. The arms take turns, so that a campaign that was cut short is a small one, and not half of one.
A run counts for the machine and the rules that it was measured by (``terms``): those of others stay in the file, and
neither count as done nor stand in the tables.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from attnbench.comparing.rates import Rate, clustered, exact
from attnbench.comparing.signed_rank import MAD_TO_SD
from attnbench.errors import UsageError
from attnbench.live.pairs import INTERRUPTED
from attnbench.results.journal import Journal, read_journal
from attnbench.scoreboard.live.cells import EXTRAS, lengths
from attnbench.scoreboard.live.ours import Progress, compare_ours, told
from attnbench.scoreboard.live.terms import Conditions, here, own_rules
from attnbench.show import markdown

JOURNAL = "campaign.jsonl"
LOST = "not-comparable"
WORDS = ("slower", "same", "faster", "inconclusive")


@dataclass(frozen=True)
class CampaignArm:
    """So many runs with a slowdown of ``extra`` per cent, of ``budget_s`` seconds each, for so many cells."""

    extra: int
    budget_s: float
    runs: int
    cells: int = 8

    @property
    def key(self) -> tuple[int, float, int]:
        """What its runs are known by."""
        return self.extra, self.budget_s, self.cells

    def __str__(self) -> str:
        change = f"+{self.extra} %" if self.extra else "A against A"
        return f"{change}, {self.budget_s / 60:.3g} min, {self.cells} cells"


def _key(row: Mapping[str, Any]) -> tuple[int, float, int]:
    return row["extra"], row["budget_s"], len(row["cells"])


def arm(text: str, cells: int, seconds: Callable[[str], float | None]) -> CampaignArm:
    """Read ``EXTRA:TIME:RUNS`` such as 10:2m:10."""
    parts = text.split(":")
    if len(parts) != 3 or not (parts[0].isdecimal() and parts[2].isdecimal()):  # noqa: PLR2004
        msg = f"--arm is EXTRA:TIME:RUNS, such as 10:2m:10 for ten runs of 2 minutes with 10 % more work; got {text!r}"
        raise UsageError(msg)
    if int(parts[0]) not in EXTRAS:
        msg = f"--arm {text}: slowdowns are {', '.join(map(str, EXTRAS))} %"
        raise UsageError(msg)
    return CampaignArm(int(parts[0]), float(seconds(parts[1]) or 0), int(parts[2]), cells)


def finished(journal: Path) -> list[dict[str, Any]]:
    """The runs of a journal, whoever measured them."""
    return [record.data for record in read_journal(journal)] if journal.exists() else []


def counting(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The runs of this machine by the rules of now, which depend on how many cells share their error."""
    now = {cells: conditions(cells) for cells in {len(row["cells"]) for row in rows}}
    return [row for row in rows if now[len(row["cells"])].hold_for(row)]


def conditions(cells: int) -> Conditions:
    """What a run of so many cells is measured under now."""
    return here(own_rules(cells))


def following(arms: Sequence[CampaignArm], done: Sequence[Mapping[str, Any]]) -> CampaignArm | None:
    """The arm whose turn it is: the one of which the smallest share is done; ``None`` when all are."""
    counts = Counter(_key(run) for run in done)
    left = [arm for arm in arms if counts[arm.key] < arm.runs]
    return min(left, key=lambda arm: counts[arm.key] / arm.runs, default=None)


def campaign(
    arms: Sequence[CampaignArm],
    out: Path,
    *,
    runs: Path,
    limit_s: float | None = None,
    wait_s: float = 0.0,
    progress: Progress | None = None,
    said: Callable[[str], None] = print,
) -> Path:
    """Run what is left of the arms, as far as ``limit_s`` has room for whole runs; the path of the journal."""
    out.mkdir(parents=True, exist_ok=True)
    path, began = out / JOURNAL, time.monotonic()
    with Journal(path, new=not path.exists()) as journal:
        while (now := following(arms, counting(finished(path)))) is not None:
            if limit_s is not None and time.monotonic() - began + now.budget_s > limit_s:
                said(f"the limit has no room for a further run ({now})")
                break
            at, load, known = lengths(now.cells), os.getloadavg()[0], conditions(now.cells)
            compared = compare_ours(now.extra, now.budget_s, runs, at=at, wait_s=wait_s, progress=progress)
            if compared.outcome.note == INTERRUPTED:
                said("interrupted: that run does not count; the same command goes on")
                break
            about = {"extra": now.extra, "budget_s": now.budget_s, "load_before": load}
            row = {**about, **told(compared), **known.to_dict()}
            journal.append("event", row)
            words = Counter(cell["verdict"] for cell in row["cells"])
            said(f"{now}: " + ", ".join(f"{count} {word}" for word, count in words.items()))
    return path


@dataclass(frozen=True)
class Summary:
    """One arm: the rate of every verdict over cells, clustered by run; of runs with any; and what the noise was.

    ``lost`` cells are those that were not comparable: a side crashed, say. They are in no rate, and a run that has one
    counts among runs only if another of its cells is slower: what failed to be measured is no false alarm withheld.
    ``spread`` is the robust standard deviation of log-ratios about each cell's median in its run; ``coverage`` the
    share of the reported intervals (at ``sequential.REPORTED``) that hold the change that was made.
    """

    arm: CampaignArm
    runs: int
    words: Mapping[str, Rate]
    lost: int
    any_slower: Rate
    coverage: Rate
    spread: float
    pairs: float
    memory_alarms: int
    again: float


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[Summary]:
    """Every arm that has a run, by size of the slowdown."""
    keys = sorted({_key(row) for row in rows})
    arms = [CampaignArm(extra, budget_s, 0, cells) for extra, budget_s, cells in keys]
    return [_summary(arm, [row for row in rows if _key(row) == arm.key]) for arm in arms]


def _summary(arm: CampaignArm, rows: Sequence[Mapping[str, Any]]) -> Summary:
    cells = [cell for row in rows for cell in row["cells"]]
    lost = [sum(cell["verdict"] == LOST for cell in row["cells"]) for row in rows]
    sizes = [len(row["cells"]) - without for row, without in zip(rows, lost, strict=True)]
    counts = {word: [sum(cell["verdict"] == word for cell in row["cells"]) for row in rows] for word in WORDS}
    bounded = [[c for c in row["cells"] if c["low"] is not None and c["high"] is not None] for row in rows]
    true = arm.extra / 100
    covered = [sum(c["low"] <= true <= c["high"] for c in ends) for ends in bounded]
    ratios = [np.asarray(cell["log_ratios"]) for cell in cells if cell["log_ratios"]]
    deviations = np.concatenate([np.abs(values - np.median(values)) for values in ratios]) if ratios else np.zeros(1)
    quads = sum(cell["quads"] + cell["again"] for cell in cells)
    return Summary(
        arm,
        len(rows),
        {word: clustered(by_run, sizes) for word, by_run in counts.items()},
        sum(lost),
        any_of(counts["slower"], lost),
        clustered(covered, [len(ends) for ends in bounded]),
        MAD_TO_SD * float(np.median(deviations)),
        float(np.mean([row["pairs"] for row in rows])),
        sum(cell["memory"] in ("larger", "smaller") for cell in cells),
        sum(cell["again"] for cell in cells) / quads if quads else math.nan,
    )


def any_of(slower: Sequence[int], lost: Sequence[int]) -> Rate:
    """Of the runs all of whose cells were compared, or any called slower, those in which any was."""
    known = [count > 0 for count, without in zip(slower, lost, strict=True) if count or not without]
    return exact(sum(known), len(known))


def flat(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each cell of each run, for a CSV file; of all that the journal has."""
    about = ("machine_id", "rules", "run_id", "extra", "budget_s")
    of_cell = ("cell", "verdict", "memory", "change", "low", "high", "screened", "confirmed", "again", "quads")
    return [
        {"run": number} | {name: row.get(name) for name in about} | {name: cell.get(name) for name in of_cell}
        for number, row in enumerate(rows)
        for cell in row["cells"]
    ]


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The summary as a Markdown table, a row for each arm."""
    last = ("runs with any `slower`", "intervals that hold it")
    head = ("change and time", "runs", "cells compared", *WORDS, LOST, *last)
    lines = []
    for summary in summarise(rows):
        words = [_counted(summary.words[word]) for word in WORDS]
        of = next(iter(summary.words.values())).of
        ends = (f"{summary.any_slower.count} of {summary.any_slower.of}: {summary.any_slower}", str(summary.coverage))
        lines.append((str(summary.arm), str(summary.runs), str(of), *words, str(summary.lost), *ends))
    return markdown.table(head, lines).rstrip()


def recorded_by(rows: Sequence[Mapping[str, Any]], others: int) -> str:
    """The machine, rules and revisions of these runs, and how many others the file has."""
    named = {
        name: ", ".join(dict.fromkeys(row[key] for row in rows if row.get(key)))
        for name, key in (("machine", "machine_id"), ("rules", "rules"), ("code", "code"))
    }
    text = ", ".join(f"{name} {values}" for name, values in named.items() if values)
    return f"{text[:1].upper()}{text[1:]}.{uncounted(others)}"


def uncounted(others: int) -> str:
    """What is said of rows that are not in the tables."""
    if not others:
        return ""
    return f" {others} more in the file were measured on another machine or by other rules, and are not counted here."


def sentences(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the machine was like meanwhile, as a list."""
    lines = [
        f"* {summary.arm}: {summary.pairs:.0f} pairs a run; robust spread of pairs {100 * summary.spread:.1f} %; "
        f"{100 * summary.again:.0f} % of quads were measured again; {summary.memory_alarms} alarms in memory"
        for summary in summarise(rows)
    ]
    return "\n".join(lines)


def _counted(rate: Rate) -> str:
    return f"{rate.count}: {rate}"
