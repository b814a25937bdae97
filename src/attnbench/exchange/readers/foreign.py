"""What an importer understands of another tool's file, and how that becomes a run of ours, labelled as imported.

An importer turns a file into a ``Foreign``: what is known of the machine, and the benchmarks with their rounds. The
rest is here and the same for all of them: rows, samples, the run folder. What a file does not say stays unknown.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from attnbench.attention.spec import stable_id
from attnbench.errors import ResultsError
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
    rounds, ``summary`` has n_samples, n_bursts and time_median_s. ``metrics`` are its numbers where it is no time.
    ``row`` is the row of ours that the file carries, where attnbench wrote it. ``failure`` is (status, reason).
    """

    name: str
    fullname: str
    group: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    seconds: Sequence[float] = ()
    calls: int | Sequence[int] = 1
    replicates: Sequence[int] = ()
    warmups: Sequence[bool] = ()
    cpu_s: Sequence[float] = ()
    threads: int = 1
    metrics: Mapping[str, float] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    row: Mapping[str, Any] | None = None
    failure: tuple[str, str] | None = None


@dataclass(frozen=True)
class Foreign:
    """A file of another tool, understood. ``rows`` are rows of ours that no benchmark stands for."""

    tool: str
    version: str | None
    started: str
    fingerprint: Fingerprint
    benchmarks: Sequence[Benchmark]
    rows: Sequence[Mapping[str, Any]] = ()
    run: Mapping[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


def write_run(foreign: Foreign, file: Path, out: Path) -> Path:
    """Write the run folder of an imported file and return it. Raises ``ResultsError``; then no folder is left.

    Benchmarks are read and written part by part: of tens of thousands no more than a part is held as records.
    """
    run_id = new_run_id([foreign.tool], foreign.started)
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    with RunWriter.create(out, _info(foreign, file, run_id, ImportedRows())) as writer:
        try:
            written = _write(foreign, file, writer)
            writer.update(_info(foreign, file, run_id, written))
            return writer.finish()
        except BaseException as error:  # an interrupt too: half a file is no run
            writer.close()
            _remove(writer.folder, new)
            if not isinstance(error, (ValidationError, ValueError)) or isinstance(error, ResultsError):
                raise
            first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            msg = f"{file} holds what cannot be a result: {first}; nothing was imported"
            raise ResultsError(msg) from error


def _remove(run: Path, new: Sequence[Path]) -> None:
    """Remove a run that was begun a moment ago, and the folders that were made for it, as far as they are empty."""
    shutil.rmtree(run)
    with suppress(OSError):
        for folder in new:
            folder.rmdir()


@dataclass
class ImportedRows:
    """What a run says of all its rows, in their order; and their cells, of which none may come twice."""

    suites: dict[str, None] = field(default_factory=dict)
    implementations: dict[str, None] = field(default_factory=dict)
    devices: dict[str, None] = field(default_factory=dict)
    threads: dict[int, None] = field(default_factory=dict)
    cell_ids: set[str] = field(default_factory=set)

    def add(self, row: CellResult, file: Path) -> None:
        """One more row. Raises ``ResultsError`` for a second one of the same cell."""
        if row.cell_id in self.cell_ids:
            msg = f"{file} holds two benchmarks of the same name, {row.variant} in {row.case_label}; nothing is kept"
            raise ResultsError(msg)
        self.cell_ids.add(row.cell_id)
        self.suites[row.suite] = self.implementations[row.impl] = self.devices[row.device] = None
        self.threads[row.threads] = None


def _write(foreign: Foreign, file: Path, writer: RunWriter) -> ImportedRows:
    written, rows, samples = ImportedRows(), list[CellResult](), list[Sample]()
    writer.event("start", imported=file.name)
    for row, of_row in _results(foreign, writer.info.run_id):
        written.add(row, file)
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
        yield _measured(foreign, benchmark, run_id)
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
            "imported": Imported(tool=foreign.tool, version=foreign.version, file=file.name, unknown=foreign.unknown),
        }
    )


def _restored(row: Mapping[str, Any], tool: str, run_id: str) -> CellResult:
    data = {name: value for name, value in row.items() if name not in FRESH}
    return CellResult.model_validate(data | {"run_id": run_id, "imported": tool})


def _measured(foreign: Foreign, benchmark: Benchmark, run_id: str) -> tuple[CellResult, list[Sample]]:
    row = dict(benchmark.row) if benchmark.row is not None else _named(foreign, benchmark)
    if benchmark.failure is not None:
        status, reason = benchmark.failure
        row = {"status": status, "reason": reason} | row
        return _restored(row, foreign.tool, run_id), []
    if benchmark.metrics:
        return _restored({"status": "ok"} | row | {"metrics": dict(benchmark.metrics)}, foreign.tool, run_id), []
    samples = _samples(benchmark, row, run_id)
    timed = {"status": "ok"} | row | (summarise(samples) if samples else dict(benchmark.summary))
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
    case_id = stable_id([foreign.tool, group, benchmark.fullname])
    return {
        "suite": foreign.tool,
        "cell_id": stable_id([foreign.tool, case_id]),
        "case_id": case_id,
        "block_id": stable_id([foreign.tool, group]),
        "case_label": group,
        "kind": "observed" if benchmark.metrics else "timed",
        "threads": benchmark.threads,
        "impl": f"{foreign.tool}/{benchmark.name}",
        "backend": foreign.tool,
        "variant": benchmark.name,
        "point": dict(benchmark.params),
        "machine_id": foreign.fingerprint.machine_id,
        "code_version": foreign.fingerprint.git or "",
    }
