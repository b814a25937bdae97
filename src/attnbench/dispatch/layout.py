"""A plan becomes a folder: the blocks that ``attnbench run`` would measure for the same words, a line for each."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from attnbench.dispatch.blocks import BLOCKS, ORDER, write_blocks
from attnbench.dispatch.folder import FILES, PLAN, RESULTS, as_text, write_synced
from attnbench.dispatch.held import held_to, versions_here
from attnbench.dispatch.needs import LaidOut, kind_of, labels, laid_out
from attnbench.dispatch.records import AskedWords, DispatchBlock, DispatchPlan, OwnFile
from attnbench.dispatch.sending import own_files, send_into
from attnbench.errors import ResultsError, UsageError
from attnbench.interface.places import check_folder
from attnbench.interface.running import RunWords, run_options
from attnbench.measure.run.choice import sentences
from attnbench.measure.run.plan import make_plan
from attnbench.results.store import utc_now

Said = Callable[[str], None]


@dataclass(frozen=True)
class WantedPlan:
    """What ``attnbench dispatch plan`` is asked besides the words of a run."""

    words: RunWords
    out: Path
    labels: Sequence[str] = ()
    hold: Sequence[str] = ()
    send_files: bool = False
    seed: int | None = None


@dataclass(frozen=True)
class PlannedKind:
    """Blocks that ask the same of a machine: what, their numbers from ``first`` to ``last``, and the most of memory."""

    needs: str
    first: int
    last: int
    device: str
    threads: int
    labels: dict[str, str] = field(default_factory=dict)
    memory_bytes: int | None = None


@dataclass(frozen=True)
class LaidOutPlan:
    """What was written: the plan, and the kinds of its blocks."""

    plan: DispatchPlan
    kinds: tuple[PlannedKind, ...]


def lay_out(wanted: WantedPlan, note: Said) -> LaidOutPlan:
    """Write the folder of a plan. Raises ``UsageError`` and its kin before anything is written.

    Where writing fails half-way, as on a full disk, what was written goes again.
    """
    by_device = labels(wanted.labels, of_devices=True)
    held = held_to(versions_here(), wanted.hold)
    if wanted.seed is not None and wanted.seed < 0:
        msg = f"--seed is a whole number from 0 on; got {wanted.seed}"
        raise UsageError(msg)
    check_new(wanted.out)
    options = run_options(wanted.words, note)
    planned = make_plan(
        options.suites,
        patterns=options.patterns,
        overrides=options.overrides,
        devices=options.devices,
        threads=options.threads,
        files=options.files,
        probe=False,
        timeout_s=options.describing_s(),
    )
    for line in sentences(planned.left_out):
        note(line)
    files = _files(wanted)
    blocks = laid_out(planned.blocks(), by_device)
    plan = DispatchPlan(
        id=secrets.token_hex(6),
        made=utc_now(),
        seed=secrets.randbits(32) if wanted.seed is None else wanted.seed,
        asked=_asked(wanted.words, options.budget_s),
        held=held,
        files=tuple(files),
        suites=tuple(suite.name for suite in planned.suites),
        implementations=planned.implementations(),
        axes=planned.axes(),
        left_out=tuple(group.to_dict() for group in planned.left_out),
        blocks=len(blocks),
        cells=len(planned.cells),
    )
    was_there = wanted.out.is_dir()
    try:
        _write(wanted.out, plan, blocks)
    except BaseException:
        unmake(wanted.out, stays=was_there)
        raise
    return LaidOutPlan(plan, _kinds(blocks))


def check_new(folder: Path) -> None:
    """Raise ``UsageError`` unless a folder is new or empty, and can be written."""
    check_folder("-o", folder)
    if folder.is_dir() and any(folder.iterdir()):
        what = "holds a plan already" if (folder / PLAN).exists() else "is not empty"
        msg = f"-o {folder} {what}; nothing is overwritten: name a new folder"
        raise UsageError(msg)


def _files(wanted: WantedPlan) -> list[OwnFile]:
    words = wanted.words
    mix = Path(words.workload) if words.workload is not None else None
    workloads = [mix] if mix is not None and _is_file(mix) else []
    return own_files({"impls": words.impls, "suites": words.suite_files, "workload": workloads}, send=wanted.send_files)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a mix that is too long for a name
        return False


def _asked(words: RunWords, budget_s: float | None) -> AskedWords:
    return AskedWords(
        suites=tuple(words.suites),
        workload=words.workload,
        impl=tuple(words.impl),
        axes=tuple(words.axes),
        levels={name: tuple(levels) for name, levels in words.levels.items() if levels},
        device=tuple(words.device),
        threads=tuple(words.threads),
        budget_s=budget_s,
        timeout_s=words.timeout_s,
        typed=tuple(replace(words, out=Path("results")).typed()),
    )


def _write(folder: Path, plan: DispatchPlan, blocks: Sequence[LaidOut]) -> None:
    """All files, ``plan.json`` last: a folder that has it is whole."""
    for name in (RESULTS, FILES):
        try:
            (folder / name).mkdir(parents=True)
        except OSError as error:
            msg = f"-o {folder} cannot be written ({error.strerror}); name another folder"
            raise ResultsError(msg) from error
    send_into(folder, plan.files)
    planned = sorted(range(len(blocks)), key=lambda number: blocks[number].place)
    write_blocks(folder, plan, (_block(plan, number, block) for number, block in enumerate(blocks)), planned)
    write_synced(folder / PLAN, as_text(plan))


def unmake(folder: Path, *, stays: bool) -> None:
    """Remove what a plan wrote; its folder ``stays`` if it was there before."""
    if not stays:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for name in (RESULTS, FILES):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (PLAN, ORDER, BLOCKS):
        (folder / name).unlink(missing_ok=True)


def _block(plan: DispatchPlan, number: int, block: LaidOut) -> DispatchBlock:
    return DispatchBlock(
        plan=plan.id,
        id=block.cells[0].block_id,
        number=number,
        suite=block.cells[0].suite,
        needs=block.needs,
        work=block.work,
        budget_s=share_of(plan, len(block.cells)),
        cell_ids=tuple(cell.id for cell in block.cells),
        cells=tuple(cell.to_dict() for cell in block.cells),
    )


def share_of(plan: DispatchPlan, cells: int) -> float | None:
    """What a block of so many cells has of the plan's budget: each cell as much as any other."""
    return None if plan.asked.budget_s is None else plan.asked.budget_s * cells / plan.cells


def _kinds(blocks: Sequence[LaidOut]) -> tuple[PlannedKind, ...]:
    """The kinds in the order of their numbers."""
    kinds: dict[str, PlannedKind] = {}
    for number, block in enumerate(blocks):
        name, needs = kind_of(block.needs), block.needs
        before = kinds.get(name)
        first = number if before is None else before.first
        earlier = None if before is None else before.memory_bytes
        sizes = [size for size in (needs.memory_bytes, earlier) if size is not None]
        most = max(sizes, default=None)
        kinds[name] = PlannedKind(name, first, number, needs.device, needs.threads, dict(needs.labels), most)
    return tuple(kinds.values())
