"""``attnbench dispatch``: a run laid out as files, its blocks measured on many machines, runs made of the results."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attnbench.commands import options
from attnbench.commands.blocks import options as of_blocks
from attnbench.commands.blocks.said import (
    block_record,
    check_listed,
    dispatched_lines,
    listing_text,
    merged_lines,
    planned_lines,
    worked_line,
)
from attnbench.commands.interrupt import end_as_interrupted
from attnbench.errors import EXIT_OK
from attnbench.interface.places import check_runs_folder
from attnbench.show.console import complain, document, say, set_quiet, show
from attnbench.show.progress import ProgressLine

if TYPE_CHECKING:
    from attnbench.dispatch.cluster.start import DispatchWords

dispatch = typer.Typer(help="One run on many machines: its blocks as files, measured anywhere, and put together.")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a plan.")]


@dispatch.command()
def plan(
    suites: Annotated[list[str] | None, typer.Argument(metavar="SUITE...", help="See: attnbench list suites.")] = None,
    *,
    out: of_blocks.PlanOut,
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
    budget: of_blocks.PlanBudget = None,
    timeout: options.CellTimeout = 120.0,
    files: options.Files = None,
    suite_files: options.SuiteFiles = None,
    send_files: of_blocks.SendFiles = False,
    label: of_blocks.NeededLabels = None,
    hold: of_blocks.Hold = None,
    seed: of_blocks.PlanSeed = None,
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
        show("\n".join(planned_lines(planned, out)))


@dispatch.command()
def work(
    folder: Folder,
    *,
    block: of_blocks.Block,
    label: of_blocks.WorkerLabels = None,
    again: of_blocks.MeasureAgain = False,
    each_machine: of_blocks.EachMachine = False,
    budget: of_blocks.BlockBudget = None,
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
        show(worked_line(outcome))
    raise typer.Exit(outcome.exit_code)


@dispatch.command()
def run(
    suites: Annotated[list[str] | None, typer.Argument(metavar="SUITE...", help="See: attnbench list suites.")] = None,
    *,
    scheduler: of_blocks.Scheduler = None,
    workers: of_blocks.LocalWorkers = None,
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
    budget: of_blocks.PlanBudget = None,
    timeout: options.CellTimeout = 120.0,
    files: options.Files = None,
    suite_files: options.SuiteFiles = None,
    send_files: of_blocks.SendFiles = False,
    label: of_blocks.NeededLabels = None,
    hold: of_blocks.Hold = None,
    seed: of_blocks.PlanSeed = None,
    plan_folder: of_blocks.DispatchedPlan = None,
    resume: of_blocks.ResumePlan = None,
    out: options.RunsOut = Path("results"),
    partial: of_blocks.Partial = False,
    most: of_blocks.Most = None,
    resource: of_blocks.Token = "node",
    wait: of_blocks.WorkersWait = None,
    tls_ca: of_blocks.TlsCa = None,
    tls_cert: of_blocks.TlsCert = None,
    tls_key: of_blocks.TlsKey = None,
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
        budget=budget,
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
    for line in outcome.merged.damaged if outcome.merged is not None else ():
        complain(line)
    if as_json:
        made = [asdict(run_of_machine) | {"folder": str(run_of_machine.folder)} for run_of_machine in runs]
        about = {"plan": str(outcome.folder), "blocks": outcome.blocks, "runs": made}
        left = {str(number): why for number, why in outcome.left.items()}
        about |= {"left": left, "damaged": list(outcome.merged.damaged) if outcome.merged is not None else []}
        document(about | {"beside": outcome.beside, "exit_code": outcome.exit_code})
    else:
        show("\n".join(dispatched_lines(outcome, reasons(outcome.left), going_on(words, outcome.folder))))
    raise typer.Exit(outcome.exit_code)


@dispatch.command()
def merge(
    folder: Folder,
    *,
    out: options.RunsOut = Path("results"),
    partial: of_blocks.Partial = False,
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
        show("\n".join(merged_lines(folder, outcome)))
    raise typer.Exit(outcome.exit_code)


@dispatch.command("list")
def list_(
    folder: Folder,
    *,
    missing: of_blocks.Missing = False,
    each: of_blocks.MissingEach = False,
    array_size: of_blocks.ArraySize = None,
    as_json: options.Json = False,
) -> None:
    """Show the blocks, what each asks of a machine, and which machines have measured it."""
    from attnbench.dispatch.listing import in_arrays, in_ranges, listed

    check_listed(missing=missing, each=each, array_size=array_size)
    listing = listed(folder)
    arrays = [] if array_size is None else in_arrays(listing.missing, array_size)
    for path in listing.damaged:
        complain(f"{path} is damaged, or of another plan, and counts as no result; work measures its block again")
    if as_json:
        blocks = [] if missing else [block_record(block) for block in listing.blocks()]
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
        show(listing_text(listing))
