"""Results become runs: an ordinary run folder for each machine, which everything that reads runs can read.

Numbers of different machines never stand in one folder. Runs are made one after the other, each of its blocks read one
by one in planned order, so that neither many blocks nor many machines need much memory. The folders get their names
when all of it is written: what goes wrong leaves nothing behind. Merging once more makes the same runs in the place of
the earlier ones.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from attnbench.dispatch.blocks import Blocks
from attnbench.dispatch.folder import ResultFile, as_text, damaged, read_plan, read_result, result_files
from attnbench.dispatch.held import differences, versions_in
from attnbench.dispatch.making import RunInMaking
from attnbench.dispatch.placing import put_in_place
from attnbench.dispatch.records import BlockResult, DispatchBlock, DispatchPlan
from attnbench.errors import EXIT_INCONCLUSIVE, NothingSelectedError, ResultsError, worst_exit
from attnbench.measure.run.options import exit_of
from attnbench.results.journal import fail_writing
from attnbench.results.store import refuse_foreign

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class MergedRun:
    """A run that was made of the results of one machine; ``beside`` counts blocks that others were measured beside."""

    machine: str
    machine_id: str
    cpu: str | None
    gpus: tuple[str, ...]
    folder: Path
    blocks: int
    counts: Mapping[str, int]
    exit_code: int
    beside: int = 0


@dataclass(frozen=True)
class Merged:
    """The runs, and what is not in them: blocks without a result, by number, and files that cannot be read, with why.

    Where there are any and ``partial`` was not asked for, nothing was written.
    """

    runs: tuple[MergedRun, ...]
    missing: tuple[int, ...]
    damaged: tuple[str, ...]
    exit_code: int


def merge(folder: Path, out: Path, *, partial: bool = False, progress: Progress | None = None) -> Merged:
    """Make the runs. Raises ``UsageError`` and its kin; then nothing was written.

    ``progress`` is told how many result files were read, and how many there are.
    """
    plan = read_plan(folder)
    blocks = Blocks(folder, plan)
    refuse_foreign(out)
    results = _Results(blocks, progress)
    if not results.any:
        msg = (
            f"no block of {folder} has been measured; type on each machine: attnbench dispatch work {folder} --block 0"
        )
        raise NothingSelectedError(msg)
    if (missing := results.missing()) and not partial and not results.damaged:
        return Merged((), missing, (), EXIT_INCONCLUSIVE)
    staging = _staging(out)
    try:
        runs = _Maker(folder, results, staging, strict=not partial).runs()
        if results.damaged and not partial:
            return Merged((), missing, tuple(results.damaged.values()), ResultsError.exit_code)
        places = put_in_place([run.folder for run in runs], out, folder)
        runs = [replace(run, folder=place) for run, place in zip(runs, places, strict=True)]
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    absent, spoilt = results.missing(), tuple(results.damaged.values())
    if not runs:
        msg = f"no result of {folder} can be read: {spoilt[0]}"
        raise ResultsError(msg)
    codes = {run.exit_code for run in runs} | ({EXIT_INCONCLUSIVE} if absent or spoilt else set())
    return Merged(tuple(runs), absent, spoilt, worst_exit(codes))


def _staging(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".attnbench-merge-", dir=out))
    except OSError as error:
        fail_writing(out, error)


class _Results:
    """The result files of a plan by machine and number; what is found damaged is taken out, and kept with why.

    A block may have several of a machine, as after copying: the first that can be read counts. Copies of it are the
    same; what can be read and is another measurement is one too many.
    """

    def __init__(self, blocks: Blocks, progress: Progress | None) -> None:
        self.blocks, self._progress, self._read = blocks, progress, 0
        self.damaged: dict[Path, str] = {}
        self.of_machine: dict[str, dict[int, list[ResultFile]]] = {}
        self._files = [0] * len(blocks)
        for file in sorted(result_files(blocks.folder), key=lambda file: (file.path.name, -len(file.path.parts))):
            self._place(file)
        self._all = sum(self._files)

    def _place(self, file: ResultFile) -> None:
        if file.block not in self.blocks:
            self.damaged[file.path] = f"{file.path} is damaged: the plan has no such block"
            return
        number, mine = self.blocks.number_of(file.block), self.of_machine.setdefault(file.machine, {})
        self._files[number] += number not in mine
        mine.setdefault(number, []).append(file)

    @property
    def any(self) -> bool:
        """Whether there is any file that looks like a result."""
        return bool(self.of_machine or self.damaged)

    def missing(self) -> tuple[int, ...]:
        """The numbers of the blocks that have no result."""
        return tuple(number for number, files in enumerate(self._files) if not files)

    def tell(self) -> None:
        """Say that one more was read."""
        self._read += 1
        if self._progress is not None:
            self._progress(min(self._read, self._all), self._all)

    def read(self, machine: str, number: int, block: DispatchBlock) -> BlockResult | None:
        """What a machine measured of a block; where none of its files can be read, they are taken out."""
        kept: tuple[Path, BlockResult] | None = None
        faults: dict[Path, str] = {}
        for file in self.of_machine[machine][number]:
            try:
                result = read_result(file, self.blocks.plan, block)
                _check_versions(file, self.blocks.plan, result)
            except ResultsError as error:
                faults[file.path] = str(error)
                continue
            if kept is None:
                kept = file.path, result
            elif as_text(result) != as_text(kept[1]):
                msg = f"{file.path} is one too many: {kept[0]} is of the same block and machine, and is another result"
                self.damaged[file.path] = msg
        if kept is None:
            self.spoilt(machine, number, faults)
            return None
        return kept[1]

    def spoilt(self, machine: str, number: int, faults: Mapping[Path, str]) -> None:
        """Take out the files of a block, with what is wrong with them."""
        del self.of_machine[machine][number]
        self._files[number] -= 1
        self.damaged |= faults


class _Maker:
    """Makes the run of one machine after the other, in ``staging``.

    If ``strict``, nothing is made any more once a file is damaged: the others are only looked at.
    """

    def __init__(self, folder: Path, results: _Results, staging: Path, *, strict: bool) -> None:
        self._folder, self._results, self._staging, self._strict = folder, results, staging, strict
        self._blocks = results.blocks
        self._place = {number: place for place, number in enumerate(self._blocks.order.planned)}

    def runs(self) -> list[MergedRun]:
        """A run for each machine.

        A block whose last result is found to be damaged is unmeasured in all of them: those that were made before are
        made once more.
        """
        while True:
            for made_before in self._staging.iterdir():
                shutil.rmtree(made_before)
            absent = self._results.missing()
            made = [run for machine in self._results.of_machine if (run := self._run(machine, absent)) is not None]
            if self._only_looks or self._results.missing() == absent:
                return made

    @property
    def _only_looks(self) -> bool:
        return self._strict and bool(self._results.damaged)

    def _run(self, machine: str, absent: Sequence[int]) -> MergedRun | None:
        """The run of a machine; none where nothing can be made of its results."""
        making: RunInMaking | None = None
        unmeasured = set(absent)
        waiting: list[int] = []
        try:
            for number in sorted([*self._results.of_machine[machine], *absent], key=self._place.__getitem__):
                if number not in unmeasured:
                    making = self._added(machine, number, making)
                elif not self._only_looks:
                    waiting.append(number)
                while making is not None and waiting:
                    making.add_unmeasured(self._blocks.numbered(waiting.pop(0)))
            if making is None or not making.blocks or self._only_looks:
                return None
            making.finish(len(absent))
            return _merged(machine, making)
        finally:
            if making is not None:
                making.discard()

    def _added(self, machine: str, number: int, making: RunInMaking | None) -> RunInMaking | None:
        """The run with one more result in it, if that is one."""
        self._results.tell()
        block = self._blocks.numbered(number)
        files = self._results.of_machine[machine][number]
        result = self._results.read(machine, number, block)
        if result is None or self._only_looks:
            return making
        try:
            if making is None:
                making = RunInMaking(self._folder, self._blocks, self._staging, result)
            making.add(block, result)
        except ResultsError as error:
            self._results.spoilt(machine, number, {file.path: str(error) for file in files})
        return making


def _merged(machine: str, making: RunInMaking) -> MergedRun:
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
        beside=making.beside,
    )


def _check_versions(file: ResultFile, plan: DispatchPlan, result: BlockResult) -> None:
    """Raise ``ResultsError`` for a worker that the plan would have refused: its file came by another way."""
    if unlike := differences(plan.held, versions_in(result.run.fingerprint, result.code)):
        damaged(file.path, f"its worker is not as the plan: {'; '.join(unlike).replace(', here ', ', there ')}")
