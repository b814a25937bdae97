"""``attnbench dispatch``: a run laid out as files, its blocks measured on many machines, runs made of the results."""

from __future__ import annotations

import shlex
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnbench.commands import options
from attnbench.commands.interrupt import end_as_interrupted
from attnbench.errors import EXIT_OK, UsageError
from attnbench.interface.places import check_runs_folder
from attnbench.show.console import complain, document, say, set_quiet, show
from attnbench.show.progress import ProgressLine

if TYPE_CHECKING:
    from attnbench.dispatch.layout import LaidOutPlan, PlannedKind
    from attnbench.dispatch.listing import ListedBlock, Listing
    from attnbench.dispatch.merge import Merged
    from attnbench.dispatch.work import Worked

dispatch = typer.Typer(help="One run on many machines: its blocks as files, measured anywhere, and put together.")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a plan.")]


@dispatch.command()
def plan(
    suites: Annotated[list[str] | None, typer.Argument(metavar="SUITE...", help="See: attnbench list suites.")] = None,
    *,
    out: options.PlanOut,
    workload: options.Workload = None,
    impl: options.Impls = None,
    axis: options.Axes = None,
    shape: options.Shapes = None,
    tokens: options.Tokens = None,
    batch: options.Batch = None,
    phase: options.Phases = None,
    dtype: options.Dtypes = None,
    device: options.Devices = None,
    threads: options.ThreadsOfAll = None,
    budget: options.PlanBudget = None,
    timeout: options.CellTimeout = 120.0,
    files: options.Files = None,
    suite_files: options.SuiteFiles = None,
    send_files: options.SendFiles = False,
    label: options.NeededLabels = None,
    hold: options.Hold = None,
    seed: options.PlanSeed = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Lay out the blocks of a run in a folder; nothing is measured."""
    from attnbench.dispatch.layout import WantedPlan, lay_out
    from attnbench.interface.running import LEVELS, RunWords

    set_quiet(quiet)
    words = RunWords(
        suites=suites or [],
        workload=workload,
        impl=impl or [],
        axes=axis or [],
        levels=dict(zip(LEVELS, (shape or [], tokens or [], batch or [], phase or [], dtype or []), strict=True)),
        device=device or [],
        threads=threads or [],
        budget=budget,
        timeout_s=timeout,
        impls=files or [],
        suite_files=suite_files or [],
    )
    planned = lay_out(WantedPlan(words, out, label or [], hold or [], send_files, seed), say)
    if as_json:
        kinds = [asdict(kind) for kind in planned.kinds]
        about = {
            "folder": str(out),
            "plan": planned.plan.id,
            "blocks": planned.plan.blocks,
            "cells": planned.plan.cells,
        }
        document(about | {"kinds": kinds, "exit_code": EXIT_OK})
    else:
        show("\n".join(_planned(planned, out)))


def _planned(planned: LaidOutPlan, out: Path) -> list[str]:
    """What was laid out, what is to be brought to every machine, and what to type next."""
    blocks = "1 block is" if planned.plan.blocks == 1 else f"{planned.plan.blocks} blocks are"
    cells = "1 cell" if planned.plan.cells == 1 else f"{planned.plan.cells} cells"
    lines = [
        f"{blocks} laid out in {out}, {cells} in all.",
        *(_kind(kind) for kind in planned.kinds),
    ]
    if planned.plan.asked.budget_s is not None:
        each = planned.plan.asked.budget_s / planned.plan.cells
        lines.append(f"The budget gives each cell {each:.3g} s of a machine's time, and a block that of its cells.")
    if names := ", ".join(file.path for file in planned.plan.files if file.sent is None):
        lines.append(
            f"Not in the folder, and to be at the same place on every machine: {names}. --send-files copies them."
        )
    place = shlex.quote(str(out))
    return [
        *lines,
        f"measure one: attnbench dispatch work {place} --block 0",
        f"see them:    attnbench dispatch list {place}",
        f"at the end:  attnbench dispatch merge {place}",
    ]


def _kind(kind: PlannedKind) -> str:
    from attnbench.show.units import size

    numbers = f"{kind.first}-{kind.last}" if kind.last > kind.first else str(kind.first)
    memory = "" if kind.memory_bytes is None else f"; arrays of up to {size(kind.memory_bytes)}"
    return f"  {numbers}: {kind.needs}{memory}"


@dispatch.command()
def work(
    folder: Folder,
    *,
    block: options.Block,
    label: options.WorkerLabels = None,
    again: options.MeasureAgain = False,
    each_machine: options.EachMachine = False,
    budget: options.BlockBudget = None,
    wait: options.WaitOnMachine = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure one block here, as run would, and leave its result in the folder."""
    set_quiet(quiet)
    from attnbench.dispatch.needs import labels
    from attnbench.dispatch.work import WorkWords
    from attnbench.dispatch.work import work as worked

    mine = labels(label or []).get("", {})
    end_as_interrupted()
    with ProgressLine(None, first="planning") as progress:
        words = WorkWords(mine, again, each_machine, budget, wait, progress, progress.at_work)
        outcome = worked(folder, block, words, say)
    if as_json:
        document(
            {
                "block": outcome.block.id,
                "number": outcome.block.number,
                "file": str(outcome.file) if outcome.file else None,
                "was_there": outcome.was_there,
                "counts": dict(outcome.counts),
                "note": outcome.note,
                "exit_code": outcome.exit_code,
            }
        )
    else:
        show(_worked(outcome))
    raise typer.Exit(outcome.exit_code)


def _worked(outcome: Worked) -> str:
    name = f"block {outcome.block.number} ({outcome.block.id})"
    if outcome.was_there:
        return f"{name} has a result already: {outcome.file}. --again measures it anew."
    if outcome.file is None:
        return f"{name}: {outcome.note}. Nothing of it is kept; type the same again."
    return f"{name}: {_counts(outcome.counts)}.\nkept: {outcome.file}"


def _counts(counts: Any) -> str:
    total = sum(counts.values())
    cells = "1 cell" if total == 1 else f"{total} cells"
    return f"{cells}: " + ", ".join(f"{count} {status}" for status, count in counts.items())


@dispatch.command()
def merge(
    folder: Folder,
    *,
    out: options.RunsOut = Path("results"),
    partial: options.Partial = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make an ordinary run of the results of each machine."""
    set_quiet(quiet)
    from attnbench.dispatch.merge import merge as merged
    from attnbench.interface.running import judged
    from attnbench.results.extra import check_report_extra

    check_report_extra("attnbench dispatch merge")
    check_runs_folder("--out", out)
    outcome = merged(folder, out, partial=partial)
    for run in outcome.runs:
        judged(run.folder, say)
    for line in outcome.damaged:
        complain(line)
    if as_json:
        runs = [asdict(run) | {"folder": str(run.folder)} for run in outcome.runs]
        about = {"missing": list(outcome.missing), "damaged": list(outcome.damaged)}
        document({"runs": runs, **about, "exit_code": outcome.exit_code})
    else:
        show("\n".join(_merged(folder, outcome)))
    raise typer.Exit(outcome.exit_code)


def _merged(folder: Path, outcome: Merged) -> list[str]:
    from attnbench.dispatch.listing import in_ranges

    lines = []
    for run in outcome.runs:
        what = ", ".join([run.cpu or "a machine that does not say what it is", *run.gpus])
        blocks = "1 block" if run.blocks == 1 else f"{run.blocks} blocks"
        lines += [f"{run.machine} ({what}): {blocks}, {_counts(run.counts)}.", f"run: {run.folder}"]
    place = shlex.quote(str(folder))
    if outcome.damaged:
        number = len(outcome.damaged)
        those = "1 file is damaged" if number == 1 else f"{number} files are damaged"
        lines.append(f"{those}, as said above. Measured again on the same machine it is replaced; else remove it.")
    if outcome.missing:
        count = "1 block has" if len(outcome.missing) == 1 else f"{len(outcome.missing)} blocks have"
        lines.append(f"{count} no result: {in_ranges(outcome.missing)}.")
    if (outcome.missing or outcome.damaged) and not outcome.runs:
        lines.append(f"Nothing was written. To take what is there: attnbench dispatch merge {place} --partial")
    if outcome.runs:
        runs = " ".join(shlex.quote(str(run.folder)) for run in outcome.runs)
        name = "" if len(outcome.runs) == 1 else " -o reports/machines"
        what = "page" if len(outcome.runs) == 1 else "a run for each machine, and a page with all of them side by side"
        lines.append(f"{what}: attnbench report {runs}{name}")
    return lines


@dispatch.command("list")
def list_(
    folder: Folder,
    *,
    missing: options.Missing = False,
    each: options.MissingEach = False,
    array_size: options.ArraySize = None,
    as_json: options.Json = False,
) -> None:
    """Show the blocks, what each asks of a machine, and which machines have measured it."""
    from attnbench.dispatch.listing import in_arrays, in_ranges, listed

    _check_listed(missing=missing, each=each, array_size=array_size)
    listing = listed(folder)
    arrays = [] if array_size is None else in_arrays(listing.missing, array_size)
    for path in listing.damaged:
        complain(f"{path} is damaged, or of another plan, and counts as no result; work measures its block again")
    if as_json:
        blocks = [] if missing else [_block(block) for block in listing.blocks()]
        about = {"blocks": blocks, "missing": list(listing.missing), "ranges": in_ranges(listing.missing)}
        about |= {} if array_size is None else {"arrays": [{"first": first, "tasks": tasks} for first, tasks in arrays]}
        about["damaged"] = [str(path) for path in listing.damaged]
        document({"plan": listing.plan.id, **about, "exit_code": EXIT_OK})
    elif each or array_size is not None:
        if listing.missing:  # no line at all, rather than an empty one
            show("\n".join(map(str, listing.missing) if each else (f"{first} {tasks}" for first, tasks in arrays)))
    elif missing:
        show(in_ranges(listing.missing))
    else:
        show(_listing(listing))


def _check_listed(*, missing: bool, each: bool, array_size: int | None) -> None:
    if each and array_size is not None:
        msg = "--each and --array-size are two ways to write the same; give one of them"
        raise UsageError(msg)
    if array_size is not None and array_size < 1:
        msg = f"--array-size is 1 or more, such as 1000; got {array_size}"
        raise UsageError(msg)
    if (each or array_size is not None) and not missing:
        option = "--each" if each else f"--array-size {array_size}"
        msg = f"{option} is a way to write what has no result; type: --missing {option}"
        raise UsageError(msg)


def _block(block: ListedBlock) -> dict[str, Any]:
    return {field.name: getattr(block, field.name) for field in fields(block)} | {"needs": block.needs.model_dump()}


def _listing(listing: Listing) -> str:
    from attnbench.show.console import table
    from attnbench.show.units import size

    rows = [
        [
            str(block.number),
            block.id,
            block.suite,
            block.kind,
            "" if block.needs.memory_bytes is None else size(block.needs.memory_bytes),
            str(block.cells),
            ", ".join(block.machines) or "nobody yet",
        ]
        for block in listing.blocks()
    ]
    total = len(listing.planned)
    done = total - len(listing.missing)
    heads = ["block", "id", "suite", "needs", "arrays", "cells", "measured by"]
    return f"{table(heads, rows)}\n\nBlocks with a result: {done} of {total}."
