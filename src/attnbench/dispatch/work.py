"""One block, measured here: as ``attnbench run`` measures it, and then one file, whole or not at all."""

from __future__ import annotations

import os
import platform
import shlex
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import ValidationError

from attnbench.attention.spec import stable_id
from attnbench.dispatch.blocks import BLOCKS, block_named
from attnbench.dispatch.folder import (
    RESULTS,
    as_text,
    damaged,
    read_plan,
    read_result,
    result_path,
    results_of,
    write_synced,
)
from attnbench.dispatch.held import code_digest, differences, versions_here
from attnbench.dispatch.records import BlockResult, DispatchBlock, DispatchPlan, Labels
from attnbench.dispatch.sending import cell_here, check_there, typed_here
from attnbench.errors import (
    EXIT_INCONCLUSIVE,
    EXIT_OK,
    AttnbenchError,
    NothingSelectedError,
    ResultsError,
    UsageError,
)
from attnbench.interface.given import Duration, seconds
from attnbench.interface.running import RunWords, run_options
from attnbench.measure.run.choice import unmet
from attnbench.measure.run.options import Progress, RunOptions, RunOutcome
from attnbench.measure.run.plan import Plan, refusals
from attnbench.measure.run.run import run
from attnbench.results.fingerprint import collect_fingerprint, machine_of
from attnbench.results.journal import fail_writing
from attnbench.results.read import read_contents
from attnbench.suite import Cell
from attnbench.workers.scratch import Scratch, sweep

SCRATCH = "attnbench-block-"
# What schedulers tell a job of itself, and what is kept of it.
OF_SCHEDULERS = (
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_CPUS_PER_TASK",
    "PBS_JOBID",
    "LSB_JOBID",
    "GITHUB_RUN_ID",
    "CI_JOB_ID",
)


@dataclass(frozen=True)
class WorkWords:
    """What ``attnbench dispatch work`` is asked besides its block.

    ``labels`` is what this worker says of itself. ``again`` measures what has a result already, and
    ``each_machine`` what has none of this machine. ``budget`` is the most time that the block may take here.
    """

    labels: Labels = field(default_factory=dict)
    again: bool = False
    each_machine: bool = False
    budget: Duration = None
    wait: Duration = None
    progress: Progress | None = None
    at_work: Callable[[str], None] | None = None


@dataclass(frozen=True)
class Worked:
    """What became of a block: its result's file and exit status; ``was_there`` where nothing had to be measured.

    ``file`` is ``None`` where the work was broken off, and then nothing is left of it.
    """

    block: DispatchBlock
    exit_code: int
    file: Path | None
    was_there: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


class _ThereAlreadyError(AttnbenchError):
    """A result came while this worker waited for the machine."""


def work(folder: Path, typed: str, words: WorkWords, note: Callable[[str], None]) -> Worked:
    """Measure a block of the plan in a folder and leave its result there. Raises ``UsageError`` and its kin."""
    seconds(words.budget)  # what is no time is said first
    plan = read_plan(folder)
    block = block_named(folder, plan, typed)
    machine = machine_of(collect_fingerprint())
    spoilt: dict[Path, str] = {}
    there = _there(folder, plan, block, machine, words, spoilt)
    for why in spoilt.values():
        note(f"{why}; it counts as no result" + ("" if there else ", and the block is measured again"))
    if there is not None:
        return Worked(block, EXIT_OK, there, was_there=True)
    check_fits(plan, block, words.labels)
    check_there(folder, plan)
    _check_writable(folder)

    def check_again() -> None:
        if _there(folder, plan, block, machine, words) is not None:
            raise _ThereAlreadyError
        check_there(folder, plan)  # it may have waited for hours

    try:
        result, note_of_run = measured(folder, plan, block, words, note, check_again)
    except _ThereAlreadyError:
        return Worked(block, EXIT_OK, _there(folder, plan, block, machine, words), was_there=True)
    if result is None:
        return Worked(block, EXIT_INCONCLUSIVE, None, note=note_of_run)
    if note_of_run:
        note(f"{note_of_run}; --again with more time measures the block anew")
    place = result_path(folder, block.id, result.machine)
    return publish(folder, block, result, replace_it=words.again or place in spoilt)


def _there(
    folder: Path,
    plan: DispatchPlan,
    block: DispatchBlock,
    machine: str,
    words: WorkWords,
    spoilt: dict[Path, str] | None = None,
) -> Path | None:
    """The result that makes measuring needless: of this machine first, else of any.

    A damaged file is none; it goes into ``spoilt``, with what is wrong with it.
    """
    if words.again:
        return None
    there, seen = [], {} if spoilt is None else spoilt
    for file in results_of(folder, block.id):
        try:
            read_result(file, plan, block)
            there.append(file)
        except ResultsError as error:
            seen[file.path] = str(error)
    mine = [file.path for file in there if file.machine == machine]
    others = [] if words.each_machine else [file.path for file in there]
    return next(iter([*mine, *others]), None)


def check_fits(plan: DispatchPlan, block: DispatchBlock, labels: Labels) -> None:
    """Raise ``UsageError`` unless this worker has the plan's code and versions, and says what the block asks for."""
    if unlike := differences(plan.held, versions_here()):
        msg = (
            f"this worker is not as the plan: {'; '.join(unlike)}. Install what the plan has, or plan again with "
            "--hold NAME=VERSION; nothing was measured"
        )
        raise UsageError(msg)
    for name, value in block.needs.labels.items():
        if labels.get(name) != value:
            says = f"says {name}={labels[name]}" if name in labels else f"says nothing of {name}"
            msg = (
                f"this block asks for {name}={value}, and this worker {says}; where it is one, type: "
                f"--label {shlex.quote(f'{name}={value}')}"
            )
            raise UsageError(msg)


def _check_writable(folder: Path) -> None:
    """Raise ``UsageError`` before hours of work that could not be kept."""
    try:
        with tempfile.TemporaryDirectory(prefix=".attnbench-", dir=folder / RESULTS):
            pass
    except OSError as error:
        msg = f"{folder / RESULTS} cannot be written ({error.strerror}), so that a result could not be kept"
        raise UsageError(msg) from error


def cells_of(folder: Path, plan: DispatchPlan, block: DispatchBlock) -> tuple[Cell, ...]:
    """The cells of a block with the files of this machine. Raises ``ResultsError`` where they are not those planned."""
    try:
        cells = tuple(cell_here(folder, plan, data) for data in block.cells)
        same = tuple(cell.id for cell in cells) == block.cell_ids and {cell.block_id for cell in cells} == {block.id}
    except (AttnbenchError, ValidationError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        damaged(folder / BLOCKS, f"a cell of block {block.id} cannot be read ({type(error).__name__}: {error})")
    if not same:
        damaged(folder / BLOCKS, f"the cells of block {block.id} are not those that its ids name")
    return cells


def measured(
    folder: Path,
    plan: DispatchPlan,
    block: DispatchBlock,
    words: WorkWords,
    note: Callable[[str], None],
    begins: Callable[[], None] = lambda: None,
) -> tuple[BlockResult | None, str]:
    """Measure a block by ``measure.run``; its result and what is missing in it, or ``None`` and why it was broken off.

    ``begins`` is called once the machine is this worker's alone. The run's own folder is gone afterwards.
    """
    cells = cells_of(folder, plan, block)
    sweep(SCRATCH)  # of workers that were killed
    scratch = Scratch(SCRATCH, folder.resolve())
    try:
        budget_s = budget_of(block, words)
        options = replace(_options(folder, plan, words, scratch.path / "runs", note), budget_s=budget_s)

        def on_plan(planned: Plan) -> None:
            begins()
            _check_possible(planned)

        outcome = run(
            replace(
                options,
                cells=cells,
                seed=plan.seed,
                on_plan=on_plan,
                progress=words.progress,
                at_work=words.at_work,
            )
        )
        if outcome.interrupted:
            return None, outcome.note or ""
        return _result(plan, block, words, outcome), outcome.note or ""
    finally:
        scratch.remove()


def budget_of(block: DispatchBlock, words: WorkWords) -> float | None:
    """Seconds that a block may take: its share of the plan's budget, or what was asked here where that is less."""
    given = [budget for budget in (block.budget_s, seconds(words.budget)) if budget is not None]
    return min(given, default=None)


def _options(folder: Path, plan: DispatchPlan, words: WorkWords, out: Path, note: Callable[[str], None]) -> RunOptions:
    """What a run of the plan's words is asked on this machine."""
    typed = plan.asked
    workload = typed_here(folder, plan, "workload")
    options = run_options(
        RunWords(
            suites=typed.suites,
            workload=str(workload[0]) if workload else typed.workload,
            impl=typed.impl,
            axes=typed.axes,
            levels=typed.levels,
            device=typed.device,
            threads=typed.threads,
            out=out,
            timeout_s=typed.timeout_s,
            wait=words.wait,
            impls=typed_here(folder, plan, "impls"),
            suite_files=typed_here(folder, plan, "suites"),
        ),
        note,
    )
    return replace(options, command=typed.typed)


def _check_possible(planned: Plan) -> None:
    """Raise ``NothingSelectedError`` where this machine can measure nothing of a block that another one may."""
    reasons = unmet(planned.suites, planned.cells) | refusals(planned.cells)
    if len(reasons) == len(planned.cells):
        why = "; ".join(dict.fromkeys(reasons.values()))
        msg = f"nothing of this block can be measured here, and no result is left: {why}"
        raise NothingSelectedError(msg)


def _result(plan: DispatchPlan, block: DispatchBlock, words: WorkWords, outcome: RunOutcome) -> BlockResult:
    contents = read_contents(outcome.folder)
    return BlockResult(
        plan=plan.id,
        block=block.id,
        machine=machine_of(contents.info.fingerprint),
        node=stable_id(["node", platform.node()]),
        labels=dict(words.labels),
        scheduler={name: os.environ[name] for name in OF_SCHEDULERS if os.environ.get(name)},
        code=code_digest(),
        exit_code=outcome.exit_code,
        run=contents.info,
        cells=contents.cells,
        samples=contents.samples,
        events=tuple(dict(event) for event in contents.events),
    )


def publish(folder: Path, block: DispatchBlock, result: BlockResult, *, replace_it: bool = False) -> Worked:
    """Put a result into the folder; where another worker was faster, its result stays and this one is gone."""
    path = result_path(folder, block.id, result.machine)
    text = as_text(result)
    try:
        _make_folder(path.parent)
        mine = write_synced(path, text, replace=replace_it)
    except AttnbenchError as error:
        kept = _kept_elsewhere(path.name, text)
        msg = f"{error}. The result is kept in {kept}; copy it to {folder / RESULTS}"
        raise UsageError(msg) from error
    if not mine:
        return Worked(block, EXIT_OK, path, was_there=True)
    return Worked(block, result.exit_code, path, counts=Counter(row.status for row in result.cells))


def _make_folder(place: Path) -> None:
    try:
        place.mkdir(exist_ok=True)
    except OSError as error:
        fail_writing(place, error)


def _kept_elsewhere(name: str, text: str) -> Path:
    place = Path(tempfile.mkdtemp(prefix="attnbench-result-")) / name
    place.write_text(text, encoding="utf-8")
    return place
