"""``attnbench ab A B``: two versions against each other, live; the tables, the sentences, the exit status."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from attnbench.commands import options
from attnbench.commands.given import check_threads, drop_ins, seconds, smallest_change, split
from attnbench.commands.interrupt import end_as_interrupted
from attnbench.errors import UsageError
from attnbench.interface.places import check_runs_folder
from attnbench.interface.suite_files import suites_named
from attnbench.show.console import document, say, set_quiet, show
from attnbench.show.progress import ProgressLine

if TYPE_CHECKING:
    from attnbench.live.comparison import Compared, Terms
    from attnbench.live.sides import WantedComparison
    from attnbench.results.calibrations import Calibration

INCONCLUSIVE = ("fail", "pass")


def ab(
    a: Annotated[str, typer.Argument(metavar="A", help="An implementation, or a git revision (git:NAME forces one).")],
    b: Annotated[
        str | None, typer.Argument(metavar="B", help="What is judged: one of the same kind; WORKTREE: as it stands.")
    ] = None,
    *,
    suite: options.TimedSuites = None,
    impl: options.ImplsOfRevisions = None,
    axis: options.Axes = None,
    files: options.Files = None,
    suite_files: options.SuiteFiles = None,
    margin: options.Margin = "3%",
    budget: options.Budget = "10m",
    python_a: options.PythonA = None,
    python_b: options.PythonB = None,
    device: options.DeviceOfBoth = None,
    threads: options.ThreadsOfBoth = None,
    out: options.ComparisonOut = Path("results"),
    inconclusive: options.Inconclusive = "fail",
    seed: options.OrderSeed = None,
    wait: options.Wait = None,
    github: options.Github = False,
    junit: options.VerdictsJunit = None,
    markdown: options.VerdictsMarkdown = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare two versions live, in pairs of fresh processes: slower, same, faster, inconclusive, not comparable."""
    set_quiet(quiet)
    _check(inconclusive, threads)
    from attnbench.commands.live import files as ab_files
    from attnbench.live.sides import WantedComparison
    from attnbench.measure.run.plan import within
    from attnbench.results.calibrations import for_machine

    ab_files.check_writable(junit, markdown, drop_ins(files, suite_files), github=github)
    check_runs_folder("--out", out)
    sides = WantedComparison(
        a,
        b,
        suites=suites_named(split(suite), suite_files, timed=True) or ("smoke",),
        patterns=impl or [],
        axes=axis or [],
        files=files or [],
        python_a=python_a,
        python_b=python_b,
        device=device,
        threads=threads,
        describing_s=within(seconds(budget)),
    )
    passes = inconclusive == "pass"
    with ProgressLine(seconds(budget), paced=False) as progress:
        chosen = {"out": out, "seed": seed, "inconclusive_passes": passes, "progress": progress}
        compared = _compared(sides, _terms(margin, budget, wait, **chosen))
    calibration = for_machine(compared.fingerprint.machine_id)
    ab_files.write(compared, calibration, junit=junit, markdown=markdown, github=github)
    _tell(compared, calibration, as_json=as_json)
    raise typer.Exit(compared.exit_code)


def _check(inconclusive: str, threads: int | None) -> None:
    from attnbench.results.extra import check_report_extra

    check_report_extra("attnbench ab")
    if inconclusive not in INCONCLUSIVE:
        msg = f"--inconclusive is fail or pass; got {inconclusive!r}"
        raise UsageError(msg)
    check_threads([] if threads is None else [threads])


def _terms(margin: str, budget: str, wait: str | None, **more: Any) -> Terms:
    from attnbench.live.comparison import Terms

    return Terms(
        margin=smallest_change(margin),
        budget_s=seconds(budget),
        wait_s=seconds(wait) or 0.0,
        **more,
    )


def _compared(sides: WantedComparison, terms: Terms) -> Compared:
    from attnbench.live.comparison import compare_held
    from attnbench.live.sides import resolve
    from attnbench.measure.run.choice import sentences
    from attnbench.workers.lock import only_run

    end_as_interrupted()
    began, waited = time.monotonic(), list[float]()
    with ExitStack() as stack:

        def lock() -> object:
            waits = time.monotonic()
            try:
                return stack.enter_context(only_run(wait_s=terms.wait_s))
            finally:  # waiting for somebody else is not of the budget
                waited.append(time.monotonic() - waits)

        say("preparing both sides")
        # Revisions are installed under the lock too: that is work beside whoever measures.
        resolved = resolve(sides, stack, lock)
        for line in sentences(resolved.left_out):
            say(line)
        return compare_held(resolved, replace(terms, began=began + sum(waited)))


def _tell(compared: Compared, calibration: Calibration | None, *, as_json: bool) -> None:
    from attnbench.commands.live.output import closing, tables

    if as_json:
        document(_json(compared, None if calibration is None else calibration.describe()))
        return
    show(tables(compared))
    show("\n".join(closing(compared, calibration)))


def _json(compared: Compared, calibration: Any) -> dict[str, Any]:
    outcome, sides = compared.outcome, compared.resolved.sides
    return {
        "run_id": compared.run_id,
        "folder": str(compared.folder),
        "exit_code": compared.exit_code,
        "kind": compared.resolved.kind,
        "sides": {name: {"label": side.label, "code": side.code} for name, side in sides.items()},
        "margin": compared.margin,
        "pairs": outcome.pairs,
        "seconds": outcome.seconds,
        "note": outcome.note,
        "left_out": [group.to_dict() for group in compared.resolved.left_out],
        "machine_id": compared.fingerprint.machine_id,
        "calibration": calibration,
        "verdicts": [{**asdict(verdict), "label": verdict.label} for verdict in compared.verdicts],
    }
