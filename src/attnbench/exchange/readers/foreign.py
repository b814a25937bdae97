"""What an importer understands of another tool's file, and how that becomes a run of ours, labelled as imported.

An importer turns a file into a ``Foreign``: what is known of the machine, and the benchmarks with their rounds. The
rest is here and the same for all of them: rows, samples, the run folder. What a file does not say stays unknown.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from attnbench.attention.spec import stable_id
from attnbench.errors import ResultsError
from attnbench.exchange.readers.values import ODD, why
from attnbench.results.schema import CellResult, Fingerprint, Imported, RunInfo, Sample
from attnbench.results.store import RunWriter, new_run_id
from attnbench.results.summary import summarise

FRESH = ("run_id", "imported")
# Samples, or rows, that are written at once: the file is still there to be read again, so none is synced by itself.
PART = 5000


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of another tool.

    ``seconds`` are its rounds per call, in the order in which they were measured; ``calls`` those of one round, or of
    each; ``replicates`` the process of each round, ``warmups`` whether it was one, ``cpu_s`` its CPU time. Without
    rounds, ``summary`` has n_samples, n_bursts and time_median_s. ``beside`` are columns beside its time, such as
    peak_bytes; ``metrics`` its other numbers, and where it has no time, or ``observed`` says so, it is observed.
    ``device`` is where it ran. ``row`` is the row of ours that the file carries, where attnbench wrote it. ``failure``
    is (status, reason).
    """

    name: str
    fullname: str
    group: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    seconds: Sequence[float] = ()
    calls: int | Sequence[int] = 1
    replicates: Sequence[int] = ()
    warmups: Sequence[bool] = ()
    cpu_s: Sequence[float | None] = ()
    threads: int = 1
    device: str = "cpu"
    metrics: Mapping[str, float] = field(default_factory=dict)
    observed: bool = False
    summary: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, Any] = field(default_factory=dict)
    row: Mapping[str, Any] | None = None
    failure: tuple[str, str] | None = None


@dataclass(frozen=True)
class Foreign:
    """A file of another tool, understood. ``rows`` are rows of ours that no benchmark stands for.

    ``warnings`` name what is odd in the file and has no row: what was left out, and what was taken for what.
    """

    tool: str
    version: str | None
    started: str
    fingerprint: Fingerprint
    benchmarks: Sequence[Benchmark]
    rows: Sequence[Mapping[str, Any]] = ()
    run: Mapping[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_each(
    entries: Iterable[Any],
    read: Callable[[Any], Benchmark],
    name_of: Callable[[Any], tuple[str, str] | None],
    warnings: list[str],
) -> list[Benchmark]:
    """A benchmark for each entry of a file; one that cannot be understood is a row that says why.

    ``name_of`` gives an entry's name and full name; where it has none, a warning stands for it.
    """
    benchmarks = []
    for place, entry in enumerate(entries, 1):
        try:
            benchmarks.append(read(entry))
        except ODD as error:
            if names := name_of(entry):
                benchmarks.append(Benchmark(*names, failure=odd(error)))
            else:
                warnings.append(f"entry {place} of its benchmarks was left out: {why(error)}")
    return benchmarks


def odd(error: Exception) -> tuple[str, str]:
    """The status and the reason of an entry that cannot be understood."""
    return "not-run", f"its entry cannot be understood: {why(error)}"


def write_run(foreign: Foreign, file: Path, out: Path, warn: Callable[[str], object] = lambda _: None) -> Path:
    """Write the run folder of an imported file and return it. Raises ``ResultsError``; then no folder is left.

    Benchmarks are read and written part by part: of tens of thousands no more than a part is held as records. ``warn``
    gets every warning once the run is written; the journal keeps them, too.
    """
    run_id = new_run_id([foreign.tool], foreign.started)
    foreign = _told_apart(foreign)
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    with RunWriter.create(out, _info(foreign, file, run_id, ImportedRows())) as writer:
        try:
            written = _write(foreign, file, writer)
            writer.update(_info(foreign, file, run_id, written))
            folder = writer.finish()
        except BaseException as error:  # an interrupt too: half a file is no run
            writer.close()
            _remove(writer.folder, new)
            if not isinstance(error, (ValidationError, ValueError)) or isinstance(error, ResultsError):
                raise
            msg = f"{file} holds what cannot be a result: {_first(error)}; nothing was imported"
            raise ResultsError(msg) from error
    for warning in foreign.warnings:
        warn(warning)
    return folder


def _first(error: Exception) -> str:
    return str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else why(error)


def _told_apart(foreign: Foreign) -> Foreign:
    """Of benchmarks of one name every further one gets a number; a cell of ours has one row, the first."""
    seen: dict[Any, int] = {}
    warnings, benchmarks, rows = list(foreign.warnings), [], []
    for benchmark in foreign.benchmarks:
        if benchmark.row is not None:
            if _is_first(benchmark.row, seen, warnings):
                benchmarks.append(benchmark)
            continue
        named = benchmark
        while seen.get(key := (named.group, named.fullname)):
            seen[key] += 1
            mark = f" #{seen[key]}"
            named = replace(benchmark, name=benchmark.name + mark, fullname=benchmark.fullname + mark)
        if named is not benchmark:
            warnings.append(f"{benchmark.fullname} is there once more; the further one is called {named.name}")
        seen[key] = 1
        benchmarks.append(named)
    rows = [row for row in foreign.rows if _is_first(row, seen, warnings)]
    return replace(foreign, benchmarks=benchmarks, rows=rows, warnings=tuple(warnings))


def _is_first(row: Mapping[str, Any], seen: dict[Any, int], warnings: list[str]) -> bool:
    cell_id = row.get("cell_id")
    if seen.get(cell_id):
        warnings.append(f"cell {cell_id} ({row.get('impl')}) is there once more; only the first is kept")
        return False
    seen[cell_id] = 1
    return True


def _remove(run: Path, new: Sequence[Path]) -> None:
    """Remove a run that was begun a moment ago, and the folders that were made for it, as far as they are empty."""
    shutil.rmtree(run)
    with suppress(OSError):
        for folder in new:
            folder.rmdir()


@dataclass
class ImportedRows:
    """What a run says of all its rows, in their order."""

    suites: dict[str, None] = field(default_factory=dict)
    implementations: dict[str, None] = field(default_factory=dict)
    devices: dict[str, None] = field(default_factory=dict)
    threads: dict[int, None] = field(default_factory=dict)

    def add(self, row: CellResult) -> None:
        """One more row."""
        self.suites[row.suite] = self.implementations[row.impl] = self.devices[row.device] = None
        self.threads[row.threads] = None


def _write(foreign: Foreign, file: Path, writer: RunWriter) -> ImportedRows:
    written, rows, samples = ImportedRows(), list[CellResult](), list[Sample]()
    warned = {"warnings": foreign.warnings} if foreign.warnings else {}
    writer.event("start", imported=file.absolute().name, **warned)
    for row, of_row in _results(foreign, writer.info.run_id):
        written.add(row)
        rows.append(row)
        samples += of_row
        if len(rows) >= PART or len(samples) >= PART:
            _write_part(writer, rows, samples)
    _write_part(writer, rows, samples)
    return written


def _write_part(writer: RunWriter, rows: list[CellResult], samples: list[Sample]) -> None:
    for start in range(0, len(samples), PART):
        writer.samples(samples[start : start + PART])
    writer.cells(rows)
    rows.clear()
    samples.clear()


def _results(foreign: Foreign, run_id: str) -> Iterator[tuple[CellResult, list[Sample]]]:
    for benchmark in foreign.benchmarks:
        yield _row_of(foreign, benchmark, run_id)
    for row in foreign.rows:
        yield _restored(row, foreign.tool, run_id), []


def _info(foreign: Foreign, file: Path, run_id: str, written: ImportedRows) -> RunInfo:
    # Of a run of ours that came by way of another tool, what was asked of it is still known.
    kept = {name: value for name, value in foreign.run.items() if name in ("axes", "command", "ceilings", "budget_s")}
    return RunInfo.model_validate(
        kept
        | {
            "run_id": run_id,
            "started": foreign.started,
            "suites": tuple(written.suites) or (foreign.tool,),
            "implementations": tuple(written.implementations),
            "devices": tuple(written.devices) or ("cpu",),
            "threads": tuple(written.threads) or (1,),
            "fingerprint": foreign.fingerprint,
            "imported": Imported(
                tool=foreign.tool, version=foreign.version, file=file.absolute().name, unknown=foreign.unknown
            ),
        }
    )


def _restored(row: Mapping[str, Any], tool: str, run_id: str) -> CellResult:
    data = {name: value for name, value in row.items() if name not in FRESH}
    return CellResult.model_validate(data | {"run_id": run_id, "imported": tool})


def _row_of(foreign: Foreign, benchmark: Benchmark, run_id: str) -> tuple[CellResult, list[Sample]]:
    """The row of a benchmark; of somebody else's that cannot be a result, one that says why."""
    try:
        return _measured(foreign, benchmark, run_id)
    except (ValidationError, ValueError) as error:
        if benchmark.row is not None:  # ours: what attnbench itself would never have written was changed
            raise
        empty = Benchmark(benchmark.name, benchmark.fullname, benchmark.group)
        return _measured(foreign, replace(empty, failure=("not-run", f"no result: {_first(error)}")), run_id)


def _measured(foreign: Foreign, benchmark: Benchmark, run_id: str) -> tuple[CellResult, list[Sample]]:
    row = dict(benchmark.row) if benchmark.row is not None else _named(foreign, benchmark)
    if benchmark.failure is not None:
        status, reason = benchmark.failure
        row = {"status": status, "reason": reason} | row
        return _restored(row, foreign.tool, run_id), []
    if benchmark.metrics:
        row = row | {"metrics": dict(benchmark.metrics)}
    if row.get("kind") == "observed":
        return _restored({"status": "ok"} | row, foreign.tool, run_id), []
    samples = _samples(benchmark, row, run_id)
    timed = {"status": "ok"} | row | (summarise(samples) if samples else dict(benchmark.summary))
    timed |= benchmark.beside
    return _restored(timed, foreign.tool, run_id), samples


def _samples(benchmark: Benchmark, row: Mapping[str, Any], run_id: str) -> list[Sample]:
    n = len(benchmark.seconds)
    calls = [benchmark.calls] * n if isinstance(benchmark.calls, int) else benchmark.calls
    replicates, warmups, cpu_s = (
        given if len(given) == n else [none] * n
        for given, none in ((benchmark.replicates, 0), (benchmark.warmups, False), (benchmark.cpu_s, None))
    )
    return [
        Sample(
            run_id=run_id,
            cell_id=row["cell_id"],
            replicate=replicates[number],
            burst=number,
            index=0,
            calls=calls[number],
            wall_s=seconds,
            cpu_s=cpu_s[number],
            warmup=warmups[number],
            cache=row.get("cache") or "none",
        )
        for number, seconds in enumerate(benchmark.seconds)
    ]


def _named(foreign: Foreign, benchmark: Benchmark) -> dict[str, Any]:
    """The row of somebody else's benchmark: its group is the block, its name the variant, its parameters the axes."""
    group = benchmark.group or "no group"
    timed = not benchmark.observed and (benchmark.seconds or benchmark.summary or not benchmark.metrics)
    case_id = stable_id([foreign.tool, group, benchmark.fullname])
    return {
        "suite": foreign.tool,
        "cell_id": stable_id([foreign.tool, case_id]),
        "case_id": case_id,
        "block_id": stable_id([foreign.tool, group]),
        "case_label": group,
        "kind": "timed" if timed else "observed",
        "device": benchmark.device,
        "threads": benchmark.threads,
        "impl": f"{foreign.tool}/{benchmark.name}",
        "backend": foreign.tool,
        "variant": benchmark.name,
        "point": dict(benchmark.params),
        "machine_id": foreign.fingerprint.machine_id,
        "code_version": foreign.fingerprint.git or "",
    }
