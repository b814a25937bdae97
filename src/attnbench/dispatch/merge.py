"""Results become runs: an ordinary run folder for each machine, which everything that reads runs can read.

Numbers of different machines never stand in one folder. Blocks are read one by one in planned order, and the folders
get their names when all of it is written: what goes wrong leaves nothing behind.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from attnbench.dispatch.blocks import Blocks
from attnbench.dispatch.folder import ResultFile, damaged, read_plan, read_result, result_files
from attnbench.dispatch.held import differences, versions_in
from attnbench.dispatch.records import BlockResult, DispatchBlock, DispatchPlan
from attnbench.dispatch.sending import local_path
from attnbench.dispatch.work import cells_of
from attnbench.errors import EXIT_INCONCLUSIVE, NothingSelectedError, ResultsError, worst_exit
from attnbench.measure.run import rows
from attnbench.measure.run.options import exit_of
from attnbench.results.journal import LEFT_OUT, fail_writing
from attnbench.results.schema import CellResult, Fingerprint, RunInfo, Sample
from attnbench.results.store import RunWriter, compact, new_run_id, refuse_foreign

# Rows and samples that are written at once.
AT_ONCE = 2000
NOT_MEASURED = "planned, and no machine has measured it"


@dataclass(frozen=True)
class MergedRun:
    """A run that was made of the results of one machine."""

    machine: str
    machine_id: str
    cpu: str | None
    gpus: tuple[str, ...]
    folder: Path
    blocks: int
    counts: Mapping[str, int]
    exit_code: int


@dataclass(frozen=True)
class Merged:
    """The runs, and what is not in them: blocks without a result, by number, and files that cannot be read, with why.

    Where there are any and ``partial`` was not asked for, nothing was written.
    """

    runs: tuple[MergedRun, ...]
    missing: tuple[int, ...]
    damaged: tuple[str, ...]
    exit_code: int


@dataclass
class _Making:
    """A run while it is made: its writer, what waits to be written, and what is known of it."""

    writer: RunWriter
    info: RunInfo
    base: float
    blocks: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    finished: str = ""
    rows: list[CellResult] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    events: list[dict[str, object]] = field(default_factory=list)

    def add_rows(self, more: Iterator[CellResult]) -> None:
        for row in more:
            self.rows.append(row)
            self.counts[row.status] = self.counts.get(row.status, 0) + 1
        self.flush(AT_ONCE)

    def add(self, block: DispatchBlock, result: BlockResult) -> None:
        """The rows, samples and events of a block. Raises ``ResultsError`` where a framework is another one by now."""
        run_id = self.info.run_id
        self.info = _with(self.info, result)
        later = datetime.fromisoformat(result.run.started).timestamp() - self.base
        self.blocks += 1
        self.finished = max(self.finished, result.run.finished or result.run.started)
        self.events.append(
            {
                "name": "block",
                "at": result.run.finished or result.run.started,
                "block": block.id,
                "number": block.number,
                "node": result.node,
                "labels": result.labels,
                "scheduler": result.scheduler,
                "began": result.run.started,
            }
        )
        self.events += [{"block": block.id, **event} for event in result.events if event.get("name") != LEFT_OUT]
        self.samples += [
            sample.model_copy(update={"run_id": run_id, "t_start": sample.t_start + later}) for sample in result.samples
        ]
        self.add_rows(row.model_copy(update={"run_id": run_id}) for row in result.cells)

    def flush(self, least: int = 0) -> None:
        """Write what waits, if there is so much of it."""
        if len(self.rows) + len(self.samples) + len(self.events) < max(least, 1):
            return
        self.writer.cells(self.rows)
        if self.samples:
            self.writer.samples(self.samples)
        self.writer.events(self.events)
        self.rows, self.samples, self.events = [], [], []


def merge(
    folder: Path, out: Path, *, partial: bool = False, progress: Callable[[int, int], None] | None = None
) -> Merged:
    """Make the runs. Raises ``UsageError`` and its kin; then nothing was written."""
    plan = read_plan(folder)
    blocks = Blocks(folder, plan)
    ids = blocks.order.ids
    refuse_foreign(out)
    files: dict[str, list[ResultFile]] = {}
    for file in sorted(result_files(folder), key=lambda file: file.path.name):
        files.setdefault(file.block, []).append(file)
    strangers = [
        f"{file.path} is damaged: the plan has no such block"
        for block in set(files) - set(ids)
        for file in files[block]
    ]
    missing = [number for number, block in enumerate(ids) if block not in files]
    if not files:
        msg = (
            f"no block of {folder} has been measured; type on each machine: attnbench dispatch work {folder} --block 0"
        )
        raise NothingSelectedError(msg)
    if missing and not partial and not strangers:
        return Merged((), tuple(missing), (), EXIT_INCONCLUSIVE)
    staging = _staging(out)
    try:
        merger = _Merger(folder, blocks, staging, partial=partial)
        for done, number in enumerate(blocks.order.planned):
            merger.take(number, files.get(ids[number], []))
            if progress is not None:
                progress(done + 1, plan.blocks)
        damaged = (*strangers, *merger.damaged)
        absent = tuple(sorted(merger.missing))
        if (damaged or absent) and not partial:
            return Merged((), tuple(missing), damaged, ResultsError.exit_code if damaged else EXIT_INCONCLUSIVE)
        runs = tuple(merger.finish(out))
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    codes = {run.exit_code for run in runs}
    if absent or damaged:
        codes.add(EXIT_INCONCLUSIVE)
    if not runs:
        msg = f"no result of {folder} can be read: {damaged[0]}"
        raise ResultsError(msg)
    return Merged(runs, absent, damaged, worst_exit(codes))


def _staging(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".attnbench-merge-", dir=out))
    except OSError as error:
        fail_writing(out, error)


class _Merger:
    """Takes blocks in planned order and keeps a run for each machine that has measured any."""

    def __init__(self, folder: Path, blocks: Blocks, staging: Path, *, partial: bool) -> None:
        self._folder, self._blocks, self._staging, self._partial = folder, blocks, staging, partial
        self._plan = blocks.plan
        self._making: dict[str, _Making] = {}
        self.missing: list[int] = []
        self.damaged: list[str] = []

    def take(self, number: int, files: list[ResultFile]) -> None:
        """The results of a block; one without any is planned in every run, so that nothing is lost."""
        block = self._blocks.numbered(number)
        taken = sum(self._took(block, file) for file in files)
        if taken:
            return
        self.missing.append(number)
        for making in self._making.values():
            making.add_rows(self._unmeasured(making, block))

    def _took(self, block: DispatchBlock, file: ResultFile) -> bool:
        try:
            result = read_result(file, self._plan, block)
            _check_versions(file, self._plan, result)
            if self.damaged and not self._partial:
                return True  # nothing will be written; the other files are only looked at
            if file.machine not in self._making:
                self._making[file.machine] = self._new(result)
            self._making[file.machine].add(block, result)
        except ResultsError as error:
            self.damaged.append(str(error))
            return False
        return True

    def _new(self, result: BlockResult) -> _Making:
        """The run of a machine, with the blocks before that nobody has measured."""
        plan, first = self._plan, result.run
        places = {file.sha256: local_path(self._folder, file) for file in plan.files}
        info = first.model_copy(
            update={
                "run_id": new_run_id(plan.suites, plan.made),
                "started": plan.made,
                "finished": None,
                "status": "partial",
                "command": plan.asked.typed,
                "suites": plan.suites,
                "implementations": plan.implementations,
                "axes": plan.axes,
                "ceilings": {},
                "suite_files": {
                    name: filed.model_copy(update={"path": str(places[filed.sha256])})
                    for name, filed in first.suite_files.items()
                },
                "fingerprint": first.fingerprint.model_copy(update={"frameworks": {}, "thread_pools": {}}),
            }
        )
        writer = RunWriter.create(self._staging, info)
        writer.event(LEFT_OUT, groups=list(plan.left_out))
        writer.event("start", seed=plan.seed, plan=plan.id, merged=True)
        making = _Making(writer, info, datetime.fromisoformat(plan.made).timestamp())
        for number in self.missing:
            making.add_rows(self._unmeasured(making, self._blocks.numbered(number)))
        return making

    def _unmeasured(self, making: _Making, block: DispatchBlock) -> Iterator[CellResult]:
        fingerprint = making.info.fingerprint
        code = fingerprint.git or self._plan.held.attnbench
        for cell in cells_of(self._folder, self._plan, block):
            row = rows.planned(cell, making.info.run_id, fingerprint.machine_id, code)
            yield rows.changed(row, reason=NOT_MEASURED)

    def finish(self, out: Path) -> Iterator[MergedRun]:
        """Compact all runs, and only then give the folders their names."""
        done = [run for machine, making in self._making.items() if (run := self._finished(machine, making))]
        for run in done:
            yield replace(run, folder=run.folder.rename(out / run.folder.name))

    def _finished(self, machine: str, making: _Making) -> MergedRun | None:
        """A run, whole but for the place of its folder; none where its only results are damaged."""
        making.flush()
        if not making.blocks:
            making.writer.close()
            return None
        whole = not making.counts.get("not-run")
        if whole:
            compact(making.writer.folder)
        else:
            note = f"merged without {len(self.missing)} blocks that nobody has measured"
            making.writer.event("partial", note=note)
        finished = {"finished": making.finished, "status": "complete"} if whole else {}
        making.writer.update(making.info.model_copy(update=finished))
        making.writer.close()
        hardware = making.info.fingerprint.hardware
        return MergedRun(
            machine=machine,
            machine_id=making.info.fingerprint.machine_id,
            cpu=hardware.cpu_model,
            gpus=tuple(gpu.name for gpu in hardware.gpus),
            folder=making.writer.folder,
            blocks=making.blocks,
            counts=dict(making.counts),
            exit_code=exit_of(list(making.counts)),
        )


def _check_versions(file: ResultFile, plan: DispatchPlan, result: BlockResult) -> None:
    """Raise ``ResultsError`` for a worker that the plan would have refused: its file came by another way."""
    if unlike := differences(plan.held, versions_in(result.run.fingerprint, result.code)):
        damaged(file.path, f"its worker is not as the plan: {'; '.join(unlike).replace(', here ', ', there ')}")


def _with(info: RunInfo, result: BlockResult) -> RunInfo:
    """What is known of a run with what a block's run saw: the best rates, its frameworks, the devices and threads."""
    more, fingerprint = result.run, info.fingerprint
    for backend, versions in more.fingerprint.frameworks.items():
        fingerprint = _framework(fingerprint, more.fingerprint, backend, versions)
    rates = {name: max(rate, info.ceilings.get(name, rate)) for name, rate in more.ceilings.items()}
    return info.model_copy(
        update={
            "ceilings": info.ceilings | rates,
            "fingerprint": fingerprint,
            "devices": tuple(dict.fromkeys([*info.devices, *more.devices])),
            "threads": tuple(dict.fromkeys([*info.threads, *more.threads])),
        }
    )


def _framework(fingerprint: Fingerprint, more: Fingerprint, backend: str, versions: Mapping[str, str]) -> Fingerprint:
    before = fingerprint.frameworks.get(backend)
    if before is not None and before != versions:
        unlike = [
            f"{name} {before.get(name)} and {versions.get(name)}"
            for name in versions
            if versions[name] != before.get(name)
        ]
        msg = f"{backend} reports other versions in other blocks of the same machine: {'; '.join(unlike)}"
        raise ResultsError(msg)
    return fingerprint.with_framework(backend, dict(versions), more.thread_pools.get(backend, {}))
