"""What a day says first: what ran, which kernels were the fastest, and what is wrong, in plain words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.day.archive import DayArchive, left_running, outcome
from attnbench.day.comparison import NOT_KNOWN, ComparedTable
from attnbench.day.floors import label_of
from attnbench.errors import ResultsError
from attnbench.results.read import read_cells, read_info, read_samples
from attnbench.show.units import seconds, times

if TYPE_CHECKING:
    from attnbench.results.schema import CellResult

MOST_CASES, MOST_NAMES = 40, 6
LONGEST = 160
TAIL_BYTES = 2**18
GO_ON = " Go on with:"  # a folder of that machine
WRONG = re.compile(r"^WRONG (\S+)", re.MULTILINE)
# A step's last lines that say where things are, and nothing of what became of it.
POINTERS = ("run:", "report:", "tables:", "kept:", "again:", "Under this budget:", "This machine is not calibrated")
NOT_OK = {
    "wrong": "disagree with the oracle",
    "crashed": "crashed",
    "timeout": "took too long",
    "oom": "ran out of memory",
}
# Whose cases are counted, where it was timed: an ablation compares formulas, and no kernels of one formula.
MAIN = ("gpu", "smoke")
MEDIANS = "By medians; whether one can be told from the next, the report of all runs says."


@dataclass(frozen=True)
class DayAccount:
    """What is said of a day; ``runs`` are those of its run folders that can be read."""

    lead: str
    note: str
    device: str
    of_steps: list[str]
    of_rest: list[str]
    tables: list[ComparedTable]
    runs: list[Path]
    steps: list[dict[str, Any]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For a terminal, without the steps, which the archive has said."""
        return [self.note, *(f"  {line}" for line in self.of_rest)]

    @property
    def wrong(self) -> list[str]:
        """All that went wrong, or is missing."""
        return [*self.of_steps, *self.of_rest]


def account_of(day: DayArchive, impossible: int = 0) -> DayAccount:
    """What a day says; ``impossible`` is how many of its times are faster than can be."""
    runs, cells, gpus, unread = _read(day.runs)
    steps = [
        {
            "name": step["name"],
            "status": step["status"],
            "words": outcome(step),
            "last_line": last_line(day, step["name"]),
        }
        for step in day.journal["steps"]
    ]
    rest = [*_of_cells(cells), *unread]
    if impossible:
        rest.append(f"{impossible} times are faster than can be: the clock or the floor is wrong")
    fastest = _fastest(cells)
    of_steps = [*([day.damage] if day.damage else []), *_of_steps(day, steps)]
    if left_out := day.journal.get("left_out"):
        of_steps.append(f"left out of the archive, for want of room: {', '.join(left_out)}")
    tables = [*([_table_of_fastest(fastest)] if fastest else []), _table_of_steps(day, steps)]
    said = day.sentence()
    lead = f"{said[0].upper()}{said[1:]}."
    device = ", ".join(gpus) or str(day.journal["device"])
    return DayAccount(lead, _note(fastest), device, of_steps, rest, tables, runs, steps)


def last_line(day: DayArchive, name: str) -> str:
    """The last line of a step that says something."""
    said = [line.strip() for line in _text_of(day, name).splitlines() if line.strip()]
    line = next((line for line in reversed(said) if not line.startswith(POINTERS)), "").partition(GO_ON)[0]
    line = "".join(sign if sign.isprintable() else "?" for sign in line)
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def _text_of(day: DayArchive, name: str) -> str:
    """What a step printed, or its end where that is long."""
    try:
        with (day.folder / "texts" / f"{name}.txt").open("rb") as text:
            text.seek(max(text.seek(0, 2) - TAIL_BYTES, 0))
            return text.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def _read(folders: Sequence[Path]) -> tuple[list[Path], list[CellResult], list[str], list[str]]:
    """The runs that can be read, their cells, their GPUs, and why others cannot."""
    runs: list[Path] = []
    cells: list[CellResult] = []
    wrong: list[str] = []
    gpus: dict[str, None] = {}
    for folder in folders:
        try:
            info, of_run = read_info(folder), read_cells(folder)
            read_samples(folder)
        except (ResultsError, OSError, ValueError) as error:
            wrong.append(f"the run {folder.name} cannot be read, and is left out: {' '.join(str(error).split())}")
            continue
        runs.append(folder)
        cells += of_run
        gpus |= dict.fromkeys(gpu.name for gpu in info.fingerprint.hardware.gpus)
    return runs, cells, list(gpus), wrong


def _of_steps(day: DayArchive, steps: Sequence[dict[str, Any]]) -> list[str]:
    """Each step that did not do all of what it was to do; those that were never reached in one line."""
    lines = []
    for step, said in zip(day.journal["steps"], steps, strict=True):
        if step["status"] not in ("ok", "partly", "not-run"):
            last = f" Its last line: {said['last_line']}" if said["last_line"] else " It printed nothing."
            wrong = dict.fromkeys(WRONG.findall(_text_of(day, step["name"])))
            names = f" Wrong: {', '.join(wrong)}." if wrong else ""
            lines.append(f"{said['name']} {said['words']}.{names}{last}")
        if left := left_running(step):
            lines.append(f"{said['name']}: {left}")
    if never := [said["name"] for said in steps if said["status"] == "not-run"]:
        lines.append(f"never reached: {', '.join(never)}")
    return lines


def _of_cells(cells: Sequence[CellResult]) -> list[str]:
    """How many cells of whom went wrong, and in which way."""
    lines = []
    for status, words in NOT_OK.items():
        if counted := Counter(cell.impl for cell in cells if cell.status == status):
            names = [f"{impl} ({number})" for impl, number in counted.most_common(MOST_NAMES)]
            more = f" and {len(counted) - MOST_NAMES} more" if len(counted) > MOST_NAMES else ""
            lines.append(f"{counted.total()} cells of its runs {words}: {', '.join(names)}{more}")
    return lines


def _fastest(cells: Sequence[CellResult]) -> list[tuple[str, str, list[tuple[float, str]]]]:
    """For each case of each suite its implementations by their medians; the suite with the most cases first."""
    timed: dict[tuple[str, str], dict[str, tuple[str, float]]] = defaultdict(dict)
    for cell in cells:
        if cell.status == "ok" and cell.time_median_s and cell.imported is None:
            label = label_of(cell.point)
            best = timed[cell.suite, cell.case_id].get(cell.impl, (label, cell.time_median_s))
            timed[cell.suite, cell.case_id][cell.impl] = (label, min(best[1], cell.time_median_s))
    rows = [
        (suite, next(iter(by_impl.values()))[0], sorted((time_s, impl) for impl, (_, time_s) in by_impl.items()))
        for (suite, _), by_impl in timed.items()
    ]
    of_suite = Counter(suite for suite, *_ in rows)
    return sorted(rows, key=lambda row: (row[0] not in MAIN, -of_suite[row[0]]))


def _note(fastest: Sequence[tuple[str, str, list[tuple[float, str]]]]) -> str:
    """Who is the fastest how often, among cases that several were timed in."""
    suite = next((name for name in MAIN if any(name == of for of, *_ in fastest)), None)
    compared = Counter(ranked[0][1] for of, _, ranked in fastest if len(ranked) > 1 and of == (suite or of))
    if not compared:
        return "No case was timed with several kernels, so that none is the fastest of anything."
    names = ", ".join(f"{impl} in {number}" for impl, number in compared.most_common(MOST_NAMES))
    of = f" of suite {suite}" if suite else ""
    return f"The fastest, in {compared.total()} cases{of} that several kernels were timed in: {names}. {MEDIANS}"


def _table_of_fastest(fastest: Sequence[tuple[str, str, list[tuple[float, str]]]]) -> ComparedTable:
    rows = []
    for suite, label, ranked in fastest[:MOST_CASES]:
        best, name = ranked[0]
        second = f"{ranked[1][1]} takes {times(ranked[1][0] / best)}" if len(ranked) > 1 else NOT_KNOWN
        rows.append([suite, label, name, seconds(best), second, str(len(ranked))])
    more = f" ({len(fastest) - MOST_CASES} more in the report)" if len(fastest) > MOST_CASES else ""
    heads = ("suite", "case", "fastest", "time", "the next", "timed")
    return ComparedTable(f"The fastest of each case{more}", heads, rows, [""] * len(rows))


def _table_of_steps(day: DayArchive, steps: Sequence[dict[str, Any]]) -> ComparedTable:
    rows, marks = [], []
    for step, said in zip(day.journal["steps"], steps, strict=True):
        took = f"{step['seconds']:.0f} s" if "seconds" in step else NOT_KNOWN
        limit = f"{step['limit_s']:.0f} s" if "limit_s" in step else NOT_KNOWN
        rows.append([said["name"], said["words"], took, limit, said["last_line"] or NOT_KNOWN])
        marks.append("" if said["status"] in ("ok", "partly", "not-run") else "failed")
    return ComparedTable("Its steps", ("step", "what became of it", "took", "of", "its last line"), rows, marks)
