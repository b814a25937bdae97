"""Live trials: each tool and ours on the same cells, at the same wall time, with and without a slowdown.

The tools and slowdowns of a round come in random order, so that the machine's hour hits all alike. A line of
``trials.jsonl`` for every finished trial, on the disk before the next begins: what was cut goes on where it was. A
trial counts for the machine, the rules and the version of its tool (``terms``); others stay in the file, uncounted.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench.comparing.rates import Rate, clustered, number
from attnbench.errors import ResultsError, UsageError
from attnbench.live.pairs import INTERRUPTED
from attnbench.results.journal import Journal, read_journal
from attnbench.results.store import utc_now
from attnbench.scoreboard.live import benches, tools
from attnbench.scoreboard.live.campaign import LOST, any_of, uncounted
from attnbench.scoreboard.live.cells import EXTRAS, lengths
from attnbench.scoreboard.live.ours import Progress, compare_ours, told
from attnbench.scoreboard.live.terms import Conditions, hashed, here, own_rules, work
from attnbench.scoreboard.recorded.replay import ASV, OURS, PYPERF, PYTEST_BENCHMARK
from attnbench.show import markdown
from attnbench.workers import scratch
from attnbench.workers.lock import only_run

JOURNAL = "trials.jsonl"
OWN = "attnbench"
ALL = (OWN, *tools.TOOLS)
RULES: Mapping[str, tuple[str, ...]] = {
    OWN: (OURS,),
    "pytest-benchmark": tuple(name for name, *_ in PYTEST_BENCHMARK),
    "asv": tuple(name for name, _ in ASV),
    "pyperf": (PYPERF,),
}
SEED = 20_261
FOLDER = "attnbench-scoreboard-"


@dataclass(frozen=True)
class TrialPlan:
    """What is to be tried: rounds of every tool and slowdown, cells, wall seconds of one trial."""

    rounds: int
    extras: Sequence[int]
    cells: int
    seconds: float
    tools: Sequence[str]

    def __post_init__(self) -> None:
        unknown = [extra for extra in self.extras if extra not in EXTRAS]
        if unknown or not self.extras:
            msg = f"--effects are some of {', '.join(map(str, EXTRAS))} (per cent of extra work); got {unknown}"
            raise UsageError(msg)
        foreign = [tool for tool in self.tools if tool not in ALL]
        if foreign or not self.tools:
            msg = f"--tools are some of {', '.join(ALL)}; got {', '.join(foreign)}"
            raise UsageError(msg)
        if self.rounds < 1 or self.seconds <= 0:
            msg = f"--trials is 1 or more and --seconds above 0; got {self.rounds} and {self.seconds:g}"
            raise UsageError(msg)

    def turns(self) -> Iterator[dict[str, Any]]:
        """Every trial in its order, which is the same in every call."""
        rng = random.Random(SEED)  # noqa: S311  (an order)
        for number_ in range(self.rounds):
            each = [(tool, extra) for tool in self.tools for extra in self.extras]
            for tool, extra in rng.sample(each, len(each)):
                yield {"round": number_, "tool": tool, "extra": extra, "cells": self.cells, "seconds": self.seconds}


def trials(
    plan: TrialPlan,
    out: Path,
    *,
    runs: Path,
    limit_s: float | None = None,
    wait_s: float = 0.0,
    progress: Progress | None = None,
    said: Callable[[str], None] = print,
) -> Path:
    """Make what is left, as far as ``limit_s`` has room; the path of the journal."""
    tools.check_extra()
    out.mkdir(parents=True, exist_ok=True)
    scratch.sweep(FOLDER)
    path, began = out / JOURNAL, time.monotonic()
    done = counting(read(path))
    known = {_key(trial) for trial in done}
    with Journal(path, new=not path.exists()) as journal:
        for turn in plan.turns():
            if _key(turn) in known:
                continue
            if limit_s is not None and time.monotonic() - began + plan.seconds > limit_s:
                said("the limit has no room for a further trial")
                break
            row = _trial(turn, done, runs, wait_s, progress, said)
            if row is None:
                said("interrupted: that trial does not count; the same command goes on")
                break
            journal.append("event", row)
            done.append(row)
            said(_line(row))
    return path


def read(path: Path) -> list[dict[str, Any]]:
    """The trials of a journal, whoever made them."""
    return [record.data for record in read_journal(path)] if path.exists() else []


def counting(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The trials of this machine by the rules and versions of now."""
    now = {key: conditions(*key) for key in {(row["tool"], row["cells"]) for row in rows}}
    return [row for row in rows if now[row["tool"], row["cells"]].hold_for(row)]


def conditions(tool: str, cells: int) -> Conditions:
    """What a trial of a tool with so many cells is made under now."""
    if tool == OWN:
        return here(own_rules(cells, memory=False))
    written = (benches.PYTEST_BENCHMARK, benches.ASV, benches.PYPERF)
    return here(hashed(tool, tools.versions().get(tool), RULES[tool], written, work()))


def left(plan: TrialPlan, done: Sequence[Mapping[str, Any]]) -> int:
    """How many trials are not made."""
    known = {_key(trial) for trial in done}
    return sum(_key(turn) not in known for turn in plan.turns())


def _key(trial: Mapping[str, Any]) -> tuple[Any, ...]:
    return trial["round"], trial["tool"], trial["extra"], trial["cells"], trial["seconds"]


def _trial(
    turn: dict[str, Any],
    done: Sequence[Mapping[str, Any]],
    runs: Path,
    wait_s: float,
    progress: Progress | None,
    said: Callable[[str], None],
) -> dict[str, Any] | None:
    now = conditions(turn["tool"], turn["cells"]).to_dict()
    versions = tools.versions()
    about = {**turn, **now, "versions": versions, "started": utc_now(), "load_before": os.getloadavg()[0]}
    try:
        if turn["tool"] == OWN:
            return _ours(turn, about, runs, wait_s, progress)
        with only_run(wait_s=wait_s):
            return about | _theirs(turn, done)
    except KeyboardInterrupt:
        return None
    except ResultsError as error:  # a tool that fails has no verdict, and that is told
        said(str(error))
        return about | {"failed": str(error), "slower": {}, "took_s": None}


def _ours(
    turn: Mapping[str, Any], about: dict[str, Any], runs: Path, wait_s: float, progress: Progress | None
) -> dict[str, Any] | None:
    at, began = lengths(turn["cells"]), time.monotonic()
    # The others say nothing of memory, so its time is not taken from the budget either.
    compared = compare_ours(turn["extra"], turn["seconds"], runs, at=at, memory=False, wait_s=wait_s, progress=progress)
    if compared.outcome.note == INTERRUPTED:
        return None
    words = {T: verdict.verdict for T, verdict in zip(at, compared.verdicts, strict=True)}
    # What could not be compared is no verdict, and no false alarm withheld.
    slower = {OURS: {T: word == "slower" for T, word in words.items() if word != LOST}}
    return {**about, "slower": slower, "words": words, "took_s": time.monotonic() - began, "detail": told(compared)}


def _theirs(turn: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    tool = turn["tool"]
    before = [
        row["took_s"] - row["measured_s"]
        for row in done
        if row["tool"] == tool and row["cells"] == turn["cells"] and row.get("measured_s")
    ]
    overhead = before[-1] if before else tools.assumed_overhead(tool, turn["cells"])
    # Half of the time is for measuring at least, or a tool that is slow to start would measure nothing.
    overhead = min(overhead, turn["seconds"] / 2)
    folder = scratch.Scratch(FOLDER, Path.cwd())
    try:
        trial = tools.ToolTrial(turn["extra"], lengths(turn["cells"]), turn["seconds"], folder.path, overhead)
        called = tools.TOOLS[tool](trial)
    finally:
        folder.remove()
    measured = {"took_s": called.took_s, "measured_s": called.measured_s, "detail": dict(called.detail)}
    return {"slower": {name: dict(by_length) for name, by_length in called.slower.items()}, **measured}


def _line(row: Mapping[str, Any]) -> str:
    counts = [
        f"{name}: {sum(by_length.values())} of {len(by_length)} slower" for name, by_length in row["slower"].items()
    ]
    took = "failed" if row["took_s"] is None else f"{row['took_s']:.0f} s"
    return f"round {row['round'] + 1}, {row['tool']}, +{row['extra']} % ({took}): {'; '.join(counts)}"


def flat(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row for each rule and length of each trial, for a CSV file; a trial without a verdict has one, empty."""
    about = ("round", "tool", "extra", "cells", "seconds", "machine_id", "rules", "started", "took_s", "load_before")
    lines = []
    for row in rows:
        known = {name: row.get(name) for name in about} | {"version": row.get("versions", {}).get(row["tool"])}
        called = [(rule, T, slower) for rule, each in row["slower"].items() for T, slower in each.items()]
        called += [(OURS, T, "") for T, word in row.get("words", {}).items() if word == LOST]
        for rule, T, slower in called or [("", "", "")]:
            lines.append({**known, "rule": rule, "T": T, "slower": slower, "word": row.get("words", {}).get(T, "")})
    return lines


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: for every number of cells and wall time, a row for each rule."""
    parts = []
    for cells, seconds in sorted({(row["cells"], row["seconds"]) for row in rows}):
        now = [row for row in rows if (row["cells"], row["seconds"]) == (cells, seconds)]
        parts.append(f"### Live: {cells} cells, {seconds:g} s a trial\n\n{_rules(now)}\n\n{_words(now)}")
    return "\n\n".join(parts)


def _rules(rows: Sequence[Mapping[str, Any]]) -> str:
    extras = sorted({row["extra"] for row in rows if row["extra"]})
    head = [
        "rule",
        "false alarms of cells",
        "runs with one",
        *(f"+{extra} % found" for extra in extras),
        "trials",
        "wall time",
    ]
    lines = []
    for tool, rules in RULES.items():
        tried = [row for row in rows if row["tool"] == tool and row["took_s"] is not None]
        for rule in rules if tried else ():
            rates = {extra: _rate(tried, rule, extra) for extra in (0, *extras)}
            took = sum(row["took_s"] for row in tried) / len(tried)
            shares = [_counted(rates[extra]) for extra in extras]
            lines.append(
                [rule, _counted(rates[0]), _counted(_any(tried, rule)), *shares, str(len(tried)), f"{took:.0f} s"]
            )
    failed = [row for row in rows if row["took_s"] is None]
    more = f"\n\n{len(failed)} trials ended without a verdict of their tool." if failed else ""
    return markdown.table(head, lines).rstrip() + more


def _rate(rows: Sequence[Mapping[str, Any]], rule: str, extra: int) -> Rate:
    runs = [row["slower"][rule] for row in rows if row["extra"] == extra]
    return clustered([sum(run.values()) for run in runs], [len(run) for run in runs])


def _any(rows: Sequence[Mapping[str, Any]], rule: str) -> Rate:
    none = [row for row in rows if row["extra"] == 0]
    return any_of([sum(row["slower"][rule].values()) for row in none], [_lost(row) for row in none])


def _lost(row: Mapping[str, Any]) -> int:
    return list(row.get("words", {}).values()).count(LOST)


def recorded_by(rows: Sequence[Mapping[str, Any]], others: int) -> str:
    """The machine of these trials and the versions of their tools, as recorded; how many others the file has."""
    used = sorted({(row["tool"], row["versions"][row["tool"]]) for row in rows if row["tool"] in row["versions"]})
    named = "".join(f"; {tool} {version}" for tool, version in used)
    return f"Machine {rows[-1]['machine_id']}{named}.{uncounted(others)}"


def _words(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for extra in sorted({row["extra"] for row in rows}):
        words = [word for row in rows if row["extra"] == extra for word in row.get("words", {}).values()]
        if words:
            counts = ", ".join(f"{words.count(word)} `{word}`" for word in dict.fromkeys(words))
            lines.append(f"* `ab` {f'at +{extra} %' if extra else 'without a change'}: {counts} of {len(words)}")
    return "\n".join(lines)


def _counted(rate: Rate) -> str:
    if not rate.of:
        return "–"
    return f"{rate.count} of {rate.of}: {number(rate.share)} % [{number(rate.low)}, {number(rate.high)}]"
