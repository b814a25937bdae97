"""``attnbench calibrate``: what this machine is able to tell."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from attnbench.commands import options
from attnbench.commands.given import check_threads, seconds, smallest_change, split
from attnbench.commands.interrupt import end_as_interrupted
from attnbench.errors import EXIT_INCONCLUSIVE, EXIT_NOTHING_MEASURED, EXIT_OK
from attnbench.interface.places import check_runs_folder
from attnbench.interface.suite_files import suites_named
from attnbench.show.console import document, say, set_quiet, show
from attnbench.show.progress import ProgressLine

if TYPE_CHECKING:
    from attnbench.live.comparison import Compared


def calibrate(
    *,
    suite: options.TimedSuites = None,
    impl: options.ImplsOrNaive = None,
    axis: options.Axes = None,
    suite_files: options.SuiteFiles = None,
    margin: options.Margin = "3%",
    budget: options.Budget = "10m",
    threads: options.Threads = None,
    out: options.PairsOut = Path("results"),
    wait: options.Wait = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare a version with itself: this machine's false alarms, and the slowdowns that it is able to find."""
    from attnbench.results.extra import check_report_extra

    set_quiet(quiet)
    check_report_extra("attnbench calibrate")
    check_threads([] if threads is None else [threads])
    check_runs_folder("--out", out)
    from attnbench.live.comparison import Terms, compare_live
    from attnbench.live.pair import PairedEffort
    from attnbench.live.sides import WantedComparison, resolve_itself

    named = suites_named(split(suite), suite_files, timed=True) or ("smoke",)
    cells = WantedComparison("", suites=named, patterns=impl or [], axes=axis or [], threads=threads)
    progress = ProgressLine(seconds(budget), paced=False)
    terms = Terms(
        margin=smallest_change(margin),
        budget_s=seconds(budget),
        out=out,
        wait_s=seconds(wait) or 0.0,
        effort=PairedEffort(memory_repeats=0),
        progress=progress,
        name="calibrate",
        keep_going=True,
    )
    end_as_interrupted()
    with ExitStack() as stack, progress:
        compared = compare_live(resolve_itself(cells, stack), terms)
    raise typer.Exit(_kept(compared, as_json=as_json))


def _kept(compared: Compared, *, as_json: bool) -> int:
    """Keep what the pairs say of this machine, and show it; the exit status."""
    from attnbench.comparing.calibration import MOST
    from attnbench.live.comparison import calibrated
    from attnbench.live.pairs import INTERRUPTED
    from attnbench.results.calibrations import save

    if not any(verdict.measured for verdict in compared.verdicts):
        say("nothing was measured, so nothing is known of this machine")
        if as_json:
            document({"pairs": 0, "cells": 0, "folder": str(compared.folder), "exit_code": EXIT_NOTHING_MEASURED})
        return EXIT_NOTHING_MEASURED
    say("judging the recorded pairs again, with and without a slowdown")
    calibration = calibrated(compared)
    path = save(calibration)
    code = EXIT_INCONCLUSIVE if compared.outcome.note == INTERRUPTED else EXIT_OK
    if as_json:
        document({**calibration.describe(), "file": str(path), "folder": str(compared.folder), "exit_code": code})
        return code
    show(calibration.sentence(MOST))
    show("\n".join(_found(calibration.replayed)))
    show(f"kept: {path} and {compared.folder}")
    return code


def _found(replayed: Any) -> list[str]:
    if replayed is None:
        return []
    often = f"{100 * replayed.power:.0f} of 100"
    lines = [f"smallest slowdown found in at least {often}, margin {100 * replayed.margin:g} %:"]
    for pairs, size in replayed.found.items():
        lines.append(f"  {pairs:>3} pairs: " + ("none of those tried" if size is None else f"{100 * size:g} %"))
    return lines
