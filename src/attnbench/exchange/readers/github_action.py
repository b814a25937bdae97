"""Reading github-action-benchmark: the ``data.js`` of its page, the same as JSON, or the list that it takes as input.

Source: its README and ``src/write.ts``. ``entries`` holds the suites, each a list of measured commits, the newest last.
One commit becomes the run: the newest, or that of ``--commit``. Several entries of it are its repetitions, as are equal
names within one (Go's ``-count``). A value has any unit: a time is a time, calls in a time are turned over, all others
are metrics.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from attnbench.errors import ResultsError, UsageError
from attnbench.exchange.readers.entries import Entries, number_of, single
from attnbench.exchange.readers.foreign import Benchmark, Foreign
from attnbench.exchange.readers.units import Unit, unit_of
from attnbench.exchange.readers.values import UNKNOWN, no_benchmark, utc
from attnbench.exchange.writers.github_action import FAILED, PREFIX
from attnbench.results.schema import Fingerprint, Hardware

TOOL = "github-action-benchmark"
SCRIPT = re.compile(r"^[^\S\n]*(?:window\.|var\s+|const\s+|let\s+)?BENCHMARK_DATA\s*=\s*", re.MULTILINE)
NOT_SAID = ("the machine", "peak memory", "threads", "single samples (an entry has one value of each)")
RATES = "times of rates (ops/sec and its like were turned over: 1 / value)"
MILLISECOND = 1e-3
FEWEST_DIGITS = 4
Entry = Mapping[str, Any]


def recognises(data: Any) -> bool:
    """Whether a text, or a JSON document, is of github-action-benchmark's."""
    if isinstance(data, str):
        return SCRIPT.search(data) is not None
    if isinstance(data, Mapping):
        return isinstance(data.get("entries"), Mapping) and bool({"lastUpdate", "repoUrl"} & set(data))
    listed = isinstance(data, list) and data and all(isinstance(bench, Mapping) for bench in data)
    return bool(listed) and any({"name", "value", "unit"} <= set(bench) for bench in data)


def read(data: Any, file: Path, commit: str | None = None) -> Foreign:
    """One commit of the file, understood. Raises ``ResultsError``, or ``UsageError`` for a commit that it lacks."""
    suites = _suites(data, file)
    entries = Entries()
    chosen = _chosen(suites, commit, file, entries)
    rates = False
    for suite, measured in chosen.items():
        for name, benches in _by_name(measured):
            units = {str(bench.get("unit") or "") for bench in benches}
            rates = rates or any((unit := unit_of(_first(text))) is not None and unit.is_rate for text in units)
            entries.add(name, _benchmark, suite, name, benches, entries)
    benchmarks = entries.benchmarks
    if not benchmarks:
        no_benchmark(file, entries.warnings)
    newest = [entry for measured in chosen.values() for entry in measured][-1]
    tools = ", ".join(dict.fromkeys(str(e["tool"]) for m in chosen.values() for e in m if e.get("tool")))
    hardware = Hardware(architecture="unknown")
    fingerprint = Fingerprint(
        hardware=hardware,
        kernel="unknown",
        python="unknown",
        frameworks={TOOL: {"tool": tools} if tools else {}},
        git=_commit(newest)[:12] or None,
    )
    unknown = (*UNKNOWN, *NOT_SAID, *((RATES,) if rates else ()))
    return Foreign(
        TOOL, None, utc(_date(newest)), fingerprint, benchmarks, unknown=unknown, warnings=tuple(entries.warnings)
    )


def _suites(data: Any, file: Path) -> dict[str, list[Entry]]:
    if isinstance(data, list):
        return {"Benchmark": [{"benches": data}]}
    if isinstance(data, str):
        start = SCRIPT.search(data)
        try:
            data, _ = json.JSONDecoder().raw_decode(data, start.end() if start else 0)
        except ValueError as error:
            msg = f"{file} is a data.js of {TOOL}, but what follows {PREFIX.strip()} is not JSON, as the action writes "
            raise ResultsError(msg + f"it ({error}); nothing was imported") from error
    listed = data.get("entries") if isinstance(data, Mapping) else None
    if not isinstance(listed, Mapping):
        msg = f"{file} is a damaged file of {TOOL}: it has no 'entries'; nothing was imported"
        raise ResultsError(msg)
    kept = {
        str(suite): [e for e in measured if isinstance(e, Mapping)] for suite, measured in listed.items() if measured
    }
    return {suite: measured for suite, measured in kept.items() if measured}


def _commit(entry: Entry) -> str:
    commit = entry.get("commit")
    return str(commit.get("id") or "") if isinstance(commit, Mapping) else ""


def _date(entry: Entry) -> datetime | None:
    date = number_of(entry.get("date"))
    try:
        return None if date is None else datetime.fromtimestamp(date * MILLISECOND, UTC)
    except (OverflowError, OSError, ValueError):
        return None


def _chosen(
    suites: Mapping[str, Sequence[Entry]], wanted: str | None, file: Path, entries: Entries
) -> dict[str, list[Entry]]:
    """The entries of one commit by suite."""
    everything = [entry for measured in suites.values() for entry in measured]
    if not everything:
        no_benchmark(file, entries.warnings)
    by_age = sorted(everything, key=_age)  # those of one date in the order of the file
    known = list(dict.fromkeys(filter(None, map(_commit, reversed(by_age)))))[::-1]
    commit = _named(wanted.lower(), known, file) if wanted is not None else _commit(by_age[-1])
    chosen = {suite: [entry for entry in measured if _commit(entry) == commit] for suite, measured in suites.items()}
    if len(known) > 1 and wanted is None:
        example = known[-2][:12]
        entries.warn(
            f"{file.name} holds {len(known)} commits; the newest, {commit[:12]}, is read. Another: --commit {example}"
        )
    for suite, measured in chosen.items():
        if not measured:
            last = _commit(suites[suite][-1])[:12]
            entries.warn(f"suite {suite} has nothing of commit {commit[:12]}; its newest is --commit {last}")
    return {suite: measured for suite, measured in chosen.items() if measured}


def _age(entry: Entry) -> float:
    return number_of(entry.get("date")) or 0.0


def _named(wanted: str, known: Sequence[str], file: Path) -> str:
    matching = [commit for commit in known if commit.startswith(wanted)] if len(wanted) >= FEWEST_DIGITS else []
    if len(matching) == 1 or wanted in matching:
        return wanted if wanted in matching else matching[0]
    shown = ", ".join(commit[:12] for commit in known[-5:][::-1]) or "none is named"
    what = f"names {len(matching)} of its commits" if matching else f"names none of its {len(known)} commits"
    msg = f"--commit {wanted} {what} in {file}; the newest are {shown} (at least {FEWEST_DIGITS} digits)"
    raise UsageError(msg)


def _by_name(measured: Sequence[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    """The values of each benchmark in the order in which they were measured.

    Go's results stand there twice, as one value and as a value for each unit (``Name - ns/op``); they count once.
    """
    grouped: dict[str, list[Entry]] = {}
    for place, entry in enumerate(measured):
        for number, bench in enumerate(entry.get("benches") or (), 1):
            name = str(bench.get("name") or f"benchmark {number}") if isinstance(bench, Mapping) else f"entry {number}"
            known = {"process": place} | dict(bench) if isinstance(bench, Mapping) else {"process": place}
            grouped.setdefault(name, []).append(known)
    for name, benches in grouped.items():
        whole, dash, unit = name.rpartition(" - ")
        if dash and whole in grouped and all(bench.get("unit") == unit for bench in benches):
            continue
        yield name, benches


def _first(unit: str) -> str:
    return unit.partition("\t")[0].strip()


def _benchmark(suite: str, name: str, benches: Sequence[Entry], entries: Entries) -> Benchmark:
    known: dict[str, Any] = {"name": name, "fullname": name, "group": suite}
    if failure := _failure(benches):
        return Benchmark(**known, failure=failure)
    unit_text = _first(str(benches[0].get("unit") or "value"))
    unit = unit_of(unit_text)
    values = [number_of(bench.get("value")) for bench in benches]
    numbers = [value for value in values if value is not None]
    if not numbers:
        return Benchmark(**known, failure=("not-run", f"its value is no number: {benches[0].get('value')!r}"))
    metrics = _others(benches)
    if unit is None:
        return Benchmark(**known, metrics={unit_text: numbers[0] if len(numbers) == 1 else _median(numbers)} | metrics)
    metrics |= {unit_text: _median(numbers)} if unit.is_rate else {}
    sifted = entries.sift(name, (_time(value, unit) for value in values))
    if sifted.reason:
        why = sifted.reason if len(values) > 1 else f"its value is no time above 0: {numbers[0]:g} {unit_text}"
        return Benchmark(**known, failure=("not-run", why))
    if len(sifted.seconds) == 1:
        return Benchmark(**known, summary=single(sifted.seconds[0]), metrics=metrics)
    processes = [int(benches[place]["process"]) for place in sifted.places]
    replicates = [process - min(processes) for process in processes]
    return Benchmark(**known, seconds=sifted.seconds, replicates=replicates, metrics=metrics)


def _failure(benches: Sequence[Entry]) -> tuple[str, str] | None:
    """What attnbench's own export says of a cell without a time."""
    matches = [FAILED.match(str(bench.get("extra") or "")) for bench in benches if bench.get("value") is None]
    first = next((match for match in matches if match), None)
    return None if first is None else (first[1], first[2])


def _time(value: float | None, unit: Unit) -> float:
    """The seconds of one call; NaN where there are none, as where there were no calls at all in a time."""
    return math.nan if value is None or (unit.is_rate and value <= 0) else unit.time(value)


def _median(values: Sequence[float]) -> float:
    return float(median(values))


def _others(benches: Sequence[Entry]) -> dict[str, float]:
    """The other numbers of Go's results, which follow the unit of the first after tabs: ``ns/op  920 B/op``."""
    numbers: dict[str, list[float]] = {}
    for bench in benches:
        for part in str(bench.get("unit") or "").split("\t")[1:]:
            value, _, unit = part.strip().partition(" ")
            if unit.strip() and (number := number_of(value)) is not None:
                numbers.setdefault(unit.strip(), []).append(number)
    return {unit: _median(values) for unit, values in numbers.items()}
