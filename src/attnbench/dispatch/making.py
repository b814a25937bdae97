"""A run while it is made of the results of one machine: its journal and its tables are written as the blocks come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from attnbench.attention.spec import stable_id
from attnbench.dispatch.blocks import Blocks
from attnbench.dispatch.records import BlockResult, DispatchBlock
from attnbench.dispatch.sending import local_path
from attnbench.dispatch.work import cells_of
from attnbench.errors import ResultsError
from attnbench.measure.run import rows
from attnbench.results.fingerprint import machine_of
from attnbench.results.journal import LEFT_OUT, WITHDRAWN, JsonText, replicates_of
from attnbench.results.parquet import TableFile
from attnbench.results.read import CELLS, SAMPLES
from attnbench.results.schema import CellResult, Fingerprint, RunInfo, Sample
from attnbench.results.store import RunWriter, new_run_id

# Rows, samples and events that are written at once.
AT_ONCE = 5000
NOT_MEASURED = "planned, and no machine has measured it"


class RunInMaking:
    """Takes blocks in planned order. Whoever is done with it calls ``finish`` or ``discard``."""

    def __init__(self, folder: Path, blocks: Blocks, staging: Path, first: BlockResult) -> None:
        """Begin the run of the machine that the first result is of, in a folder of ``staging``."""
        self._folder, self._plan = folder, blocks.plan
        self.info = _begun(folder, blocks, first.run)
        self.blocks = self.beside = 0
        self.counts: dict[str, int] = {}
        self._finished = ""
        self._base = datetime.fromisoformat(self._plan.made).timestamp()
        self._rows: list[CellResult] = []
        self._samples: list[Sample] = []
        self._events: list[Mapping[str, object]] = []
        self.writer = RunWriter.create(staging, self.info)
        self._cells_file = TableFile(self.writer.folder / CELLS, CellResult)
        self._samples_file = TableFile(self.writer.folder / SAMPLES, Sample)
        self.writer.event(LEFT_OUT, groups=list(self._plan.left_out))
        self.writer.event("start", seed=self._plan.seed, plan=self._plan.id, merged=True)

    def add(self, block: DispatchBlock, result: BlockResult) -> None:
        """The rows, samples and events of a block. Raises ``ResultsError`` where a framework is another one by now."""
        run_id = self.info.run_id
        self.info = _with(self.info, result)
        later = datetime.fromisoformat(result.run.started).timestamp() - self._base
        self.blocks += 1
        self.beside += any(event.get("beside") for event in result.events)
        self._finished = max(self._finished, result.run.finished or result.run.started)
        self._events.append(
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
        self._events += [{"block": block.id, **event} for event in result.events if event.get("name") != LEFT_OUT]
        gone = replicates_of(result.events, WITHDRAWN)
        self._samples += [
            sample.model_copy(update={"run_id": run_id, "t_start": sample.t_start + later})
            for sample in result.samples
            if (sample.cell_id, sample.replicate) not in gone
        ]
        self._add_rows(row.model_copy(update={"run_id": run_id}) for row in result.cells)

    def add_unmeasured(self, block: DispatchBlock) -> None:
        """The rows of a block that nobody has measured."""
        self._add_rows(self._unmeasured(block))

    def _unmeasured(self, block: DispatchBlock) -> Iterator[CellResult]:
        fingerprint = self.info.fingerprint
        code = fingerprint.git or self._plan.held.attnbench
        for cell in cells_of(self._folder, self._plan, block):
            row = rows.planned(cell, self.info.run_id, fingerprint.machine_id, code)
            yield rows.changed(row, reason=NOT_MEASURED)

    def _add_rows(self, more: Iterable[CellResult]) -> None:
        for row in more:
            self._rows.append(row)
            self.counts[row.status] = self.counts.get(row.status, 0) + 1
        if len(self._rows) + len(self._samples) + len(self._events) >= AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        self.writer.texts("cell", (JsonText(row.model_dump_json(exclude_none=True)) for row in self._rows))
        if self._samples:
            samples = ",".join(sample.model_dump_json(exclude_defaults=True) for sample in self._samples)
            self.writer.texts("samples", [JsonText(f"[{samples}]")])
        self.writer.events(self._events)
        self._cells_file.add(self._rows)
        self._samples_file.add(self._samples)
        self._rows, self._samples, self._events = [], [], []

    def finish(self, unmeasured: int) -> None:
        """Write what waits, and say whether the run is complete; one that is not has no tables, as any such run."""
        self._flush()
        whole = not self.counts.get("not-run")
        if whole:
            self._cells_file.close()
            self._samples_file.close()
        else:
            self._discard_tables()
            self.writer.event("partial", note=self._note(unmeasured))
        finished = {"finished": self._finished, "status": "complete"} if whole else {}
        self.writer.update(self.info.model_copy(update=finished))
        self.writer.close()

    def _note(self, unmeasured: int) -> str:
        nobody = f"merged without {unmeasured} blocks that nobody has measured"
        return (
            nobody if unmeasured else f"{self.counts['not-run']} cells were not run by those who measured their blocks"
        )

    def discard(self) -> None:
        """Leave off; what was written lies in ``staging`` and goes with it."""
        self._discard_tables()
        self.writer.close()

    def _discard_tables(self) -> None:
        self._cells_file.discard()
        self._samples_file.discard()


def _begun(folder: Path, blocks: Blocks, first: RunInfo) -> RunInfo:
    """What is known of the run of a machine before any block is in it.

    Its name is of the plan and the machine, so that merging once more makes the same run, and no second one.
    """
    plan = blocks.plan
    places = {file.sha256: local_path(folder, file) for file in plan.files}
    digits = stable_id([plan.id, machine_of(first.fingerprint)])[:6]
    return first.model_copy(
        update={
            "run_id": new_run_id(plan.suites, plan.made, digits),
            "started": plan.made,
            "finished": None,
            "status": "partial",
            "command": plan.asked.typed,
            "suites": plan.suites,
            "implementations": plan.implementations,
            "axes": plan.axes,
            "budget_s": plan.asked.budget_s,
            "ceilings": {},
            "suite_files": {
                name: filed.model_copy(update={"path": str(places[filed.sha256])})
                for name, filed in first.suite_files.items()
            },
            "fingerprint": first.fingerprint.model_copy(update={"frameworks": {}, "thread_pools": {}}),
        }
    )


def _with(info: RunInfo, result: BlockResult) -> RunInfo:
    """What is known of a run with what a block's run saw: the best rates, its frameworks, the devices and threads."""
    more, fingerprint = result.run, info.fingerprint
    for backend, versions in more.fingerprint.frameworks.items():
        fingerprint = _framework(fingerprint, more.fingerprint, backend, versions)
    ceilings = info.ceilings | {name: max(rate, info.ceilings.get(name, rate)) for name, rate in more.ceilings.items()}
    changes = {
        "ceilings": ceilings,
        "fingerprint": fingerprint,
        "devices": tuple(dict.fromkeys([*info.devices, *more.devices])),
        "threads": tuple(dict.fromkeys([*info.threads, *more.threads])),
    }
    return info.model_copy(update=changes) if any(getattr(info, name) != now for name, now in changes.items()) else info


def _framework(fingerprint: Fingerprint, more: Fingerprint, backend: str, versions: Mapping[str, str]) -> Fingerprint:
    before = fingerprint.frameworks.get(backend)
    pools = more.thread_pools.get(backend, {})
    if before == versions and fingerprint.thread_pools.get(backend) == pools:
        return fingerprint
    if before is not None and before != versions:
        unlike = [
            f"{name} {before.get(name)} and {versions.get(name)}"
            for name in versions
            if versions[name] != before.get(name)
        ]
        msg = f"{backend} reports other versions in other blocks of the same machine: {'; '.join(unlike)}"
        raise ResultsError(msg)
    return fingerprint.with_framework(backend, dict(versions), pools)
