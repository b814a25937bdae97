"""``attnbench dispatch``: a run laid out as files, its blocks measured on many machines, runs made of the results."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnbench.commands import options
from attnbench.commands.interrupt import end_as_interrupted
from attnbench.errors import EXIT_OK
from attnbench.interface.places import check_runs_folder
from attnbench.show.console import complain, document, say, set_quiet, show
from attnbench.show.progress import ProgressLine

if TYPE_CHECKING:
    from attnbench.dispatch.cluster.start import Dispatched, DispatchWords
    from attnbench.dispatch.layout import LaidOutPlan, PlannedKind
    from attnbench.dispatch.listing import Listing
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
        words = WorkWords(mine, again, each_machine, wait, progress, progress.at_work)
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
def run(
    suites: Annotated[list[str] | None, typer.Argument(metavar="SUITE...", help="See: attnbench list suites.")] = None,
    *,
    scheduler: options.Scheduler = None,
    workers: options.LocalWorkers = None,
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
    timeout: options.CellTimeout = 120.0,
    files: options.Files = None,
    suite_files: options.SuiteFiles = None,
    send_files: options.SendFiles = False,
    label: options.NeededLabels = None,
    hold: options.Hold = None,
    seed: options.PlanSeed = None,
    plan_folder: options.DispatchedPlan = None,
    resume: options.ResumePlan = None,
    out: options.RunsOut = Path("results"),
    partial: options.Partial = False,
    most: options.Most = None,
    resource: options.Token = "node",
    wait: options.WorkersWait = None,
    tls_ca: options.TlsCa = None,
    tls_cert: options.TlsCert = None,
    tls_key: options.TlsKey = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Lay out a run, measure its blocks on the workers of a Dask cluster, and make a run for each machine."""
    from attnbench.dispatch.cluster.connection import Certificates, ClusterWords
    from attnbench.dispatch.cluster.start import DispatchWords
    from attnbench.dispatch.layout import WantedPlan
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
        timeout_s=timeout,
        impls=files or [],
        suite_files=suite_files or [],
    )
    wanted = WantedPlan(words, Path(), label or [], hold or [], send_files, seed)
    cluster = ClusterWords(scheduler, workers, Certificates(tls_ca, tls_cert, tls_key), resource)
    _dispatch(DispatchWords(cluster, wanted, plan_folder, resume, out, most, partial, wait), as_json=as_json)


def _dispatch(words: DispatchWords, *, as_json: bool) -> None:
    """Measure, make the runs with their verdicts, and say what came of it."""
    from attnbench.dispatch.cluster.start import dispatch as dispatched
    from attnbench.dispatch.cluster.start import going_on, reasons
    from attnbench.interface.running import judged

    end_as_interrupted()
    with ProgressLine(None, first="planning") as progress:
        outcome = dispatched(words, progress, say)
    runs = outcome.merged.runs if outcome.merged is not None else ()
    for run_of_machine in runs:
        judged(run_of_machine.folder, say)
    if as_json:
        made = [asdict(run_of_machine) | {"folder": str(run_of_machine.folder)} for run_of_machine in runs]
        about = {"plan": str(outcome.folder), "blocks": outcome.blocks, "runs": made}
        left = {str(number): why for number, why in outcome.left.items()}
        document(about | {"left": left, "beside": outcome.beside, "exit_code": outcome.exit_code})
    else:
        show("\n".join(_dispatched(outcome, reasons(outcome.left), going_on(words, outcome.folder))))
    raise typer.Exit(outcome.exit_code)


def _dispatched(outcome: Dispatched, reasons: Sequence[str], go_on: str) -> list[str]:
    lines = [f"plan: {outcome.folder}, {outcome.blocks - len(outcome.left)} of {outcome.blocks} blocks have a result."]
    lines += [f"Not measured: block {reason}." for reason in reasons]
    if outcome.beside:
        number = "1 block was" if outcome.beside == 1 else f"{outcome.beside} blocks were"
        lines.append(f"{number} measured beside others on the same machine: do not rely on those times.")
    if outcome.merged is not None:
        lines += _merged(outcome.folder, outcome.merged)
    if outcome.left:
        lines.append(f"Go on with: {go_on}")
        if outcome.merged is None:
            lines.append(
                f"Or take what is there: attnbench dispatch merge {shlex.quote(str(outcome.folder))} --partial"
            )
    return lines


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
        lines.append(f"{those}, as said above. Remove what is damaged, and measure its block again.")
    if outcome.missing:
        count = "1 block has" if len(outcome.missing) == 1 else f"{len(outcome.missing)} blocks have"
        lines.append(f"{count} no result: {in_ranges(outcome.missing)}.")
    if (outcome.missing or outcome.damaged) and not outcome.runs:
        lines.append(f"Nothing was written. To take what is there: attnbench dispatch merge {place} --partial")
    if outcome.runs:
        runs = " ".join(shlex.quote(str(run.folder)) for run in outcome.runs)
        lines.append(f"pages: attnbench report {runs}" if len(outcome.runs) == 1 else _each(outcome))
    return lines


def _each(outcome: Merged) -> str:
    typed = "; ".join(f"attnbench report {shlex.quote(str(run.folder))}" for run in outcome.runs)
    return f"A run for each machine, a page for each: {typed}"


@dispatch.command("list")
def list_(
    folder: Folder,
    *,
    missing: options.Missing = False,
    as_json: options.Json = False,
) -> None:
    """Show the blocks, what each asks of a machine, and which machines have measured it."""
    from attnbench.dispatch.listing import in_ranges, listed

    listing = listed(folder)
    if as_json:
        blocks = [] if missing else [asdict(block) | {"needs": block.needs.model_dump()} for block in listing.blocks()]
        about = {"blocks": blocks, "missing": list(listing.missing), "ranges": in_ranges(listing.missing)}
        document({"plan": listing.plan.id, **about, "exit_code": EXIT_OK})
    elif missing:
        show(in_ranges(listing.missing))
    else:
        show(_listing(listing))


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
    done = len(listing.ids) - len(listing.missing)
    heads = ["block", "id", "suite", "needs", "arrays", "cells", "measured by"]
    return f"{table(heads, rows)}\n\nBlocks with a result: {done} of {len(listing.ids)}."
