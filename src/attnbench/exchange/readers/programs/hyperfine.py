"""Reading hyperfine's exports: ``--export-json``, with every run's time, and ``--export-csv``, with statistics only.

Source: hyperfine's README and its ``BenchmarkResult``. Times are seconds in both, whatever ``--time-unit`` says. The
median of an export without times stands for them. ``user`` and ``system`` are means of a run, memory is the process's.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from attnbench.exchange.readers.entries import Entries, level, number_of, single, time_of
from attnbench.exchange.readers.foreign import Benchmark, Foreign
from attnbench.exchange.readers.values import UNKNOWN, no_benchmark, utc
from attnbench.exchange.writers.hyperfine import REASON, STATUS
from attnbench.results.schema import Fingerprint, Hardware

TOOL = "hyperfine"
HEADER = ("command", "mean", "stddev")
PARAMETER = "parameter_"
OLD_PARAMETER = "parameter"  # before hyperfine 1.10 the only one, and without its name
SINGLE = "single runs (export them with hyperfine --export-json)"
TOO_SHORT = "its runs cannot be told from the shell's own time (0 s); measure it with hyperfine --shell=none"
NOT_SAID = ("the machine", "when it was measured", "threads", "which process a sample is of")


def recognises(data: Any) -> bool:
    """Whether a JSON document, or a text, is an export of hyperfine's."""
    if isinstance(data, str):
        return tuple(data.lstrip().partition("\n")[0].strip().split(",")[:3]) == HEADER
    if not isinstance(data, Mapping) or not isinstance(data.get("results"), list):
        return False
    entries = [entry for entry in data["results"] if isinstance(entry, Mapping)]
    # An export that was broken off has no result; then there is nothing else in it either.
    if not data["results"]:
        return set(data) == {"results"}
    kinds = ({"command", "times"}, {"command", "mean"}, {"command", "median"}, {"mean", "times"})
    return any(kind <= set(entry) for entry in entries for kind in kinds)


def read(data: Any, file: Path) -> Foreign:
    """The file, understood. Raises ``ResultsError`` that names what is wrong with it."""
    rows = _of_csv(data) if isinstance(data, str) else data["results"]
    entries = Entries()
    for place, row in enumerate(rows, 1):
        said = row.get("command") if isinstance(row, Mapping) else None
        # A command over several lines is named in one.
        name = " ".join(str(said or f"result {place}").split())
        entries.add(name, _benchmark, name, row, entries)
    benchmarks = entries.benchmarks
    if not benchmarks:
        no_benchmark(file, entries.warnings)
    unknown = (*UNKNOWN, *NOT_SAID, *((SINGLE,) if any(benchmark.summary for benchmark in benchmarks) else ()))
    return Foreign(TOOL, None, utc(None), _fingerprint(), benchmarks, unknown=unknown, warnings=tuple(entries.warnings))


def _of_csv(text: str) -> list[dict[str, Any]]:
    rows = []
    for line in csv.DictReader(io.StringIO(text.lstrip())):
        parameters = {key.removeprefix(PARAMETER): line[key] for key in line if key and key.startswith(PARAMETER)}
        rows.append(dict(line) | {"parameters": {key: value for key, value in parameters.items() if value}})
    return rows


def _benchmark(name: str, row: Mapping[str, Any], entries: Entries) -> Benchmark:
    given = dict(row.get("parameters") or {})
    if not given and row.get(OLD_PARAMETER) is not None:
        given = {OLD_PARAMETER: row[OLD_PARAMETER]}
    params = {str(key): level(value) for key, value in given.items()}
    # With -n every command has the name that it was given; two that differ in their parameters only are two.
    marks = ", ".join(f"{key}={value}" for key, value in params.items() if str(value) not in name)
    name = f"{name} ({marks})" if marks else name
    known: dict[str, Any] = {"name": name, "fullname": name, "group": "commands", "params": params}
    if row.get(STATUS):
        return Benchmark(**known, failure=(str(row[STATUS]), str(row.get(REASON) or "no reason is given")))
    _exits(name, row.get("exit_codes"), entries)
    metrics = _numbers(row)
    times = row.get("times") or ()
    zeros = sum(number_of(value) == 0 for value in times)
    if times and not zeros and not (sifted := entries.sift(name, times)).reason:
        return Benchmark(**known, seconds=sifted.seconds, metrics=metrics)
    has_median = row.get("median") not in (None, "")
    kept = time_of(row.get("median") if has_median else row.get("mean"))
    if kept is None:
        return Benchmark(**known, failure=("not-run", TOO_SHORT if zeros else "its entry has no time above 0"))
    if zeros:
        # A time of 0 is one that the shell's own hides: left out, the median would be another than hyperfine's.
        entries.warn(f"{name}: {zeros} of its {len(times)} times are 0; its median is kept, its runs are not")
    if not has_median:
        entries.warn(f"{name}: the file has its mean only, which stands where a median should")
    return Benchmark(**known, summary=single(kept), metrics=metrics)


def _exits(name: str, codes: Any, entries: Entries) -> None:
    """A run that failed was timed like any other where hyperfine was told to go on (``-i``)."""
    listed = codes if isinstance(codes, list) else []
    bad = [code for code in listed if code != 0]
    if bad:
        kinds = ", ".join("a signal" if code is None else f"status {code}" for code in dict.fromkeys(bad))
        entries.warn(f"{name}: {len(bad)} of its {len(listed)} runs failed ({kinds}); their times count all the same")


def _numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """What else an entry has: the mean CPU times of a run in seconds, and the largest memory of its process."""
    numbers = {f"{key}_s": number_of(row.get(key)) for key in ("user", "system")}
    memory = row.get("memory_usage_byte")
    listed = [number_of(value) for value in (memory if isinstance(memory, list) else [memory])]
    sizes = [value for value in listed if value]
    numbers["process_peak_bytes"] = float(median(sizes)) if sizes else None
    return {name: value for name, value in numbers.items() if value is not None}


def _fingerprint() -> Fingerprint:
    """Nothing: an export of hyperfine says neither where nor when it was measured."""
    hardware = Hardware(architecture="unknown")
    return Fingerprint(hardware=hardware, kernel="unknown", python="none", frameworks={TOOL: {}})
