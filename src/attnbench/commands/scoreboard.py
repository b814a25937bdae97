"""``attnbench scoreboard``: recording noise, replaying rules on it, and live campaigns."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from attnbench.commands import options
from attnbench.commands.given import seconds
from attnbench.commands.interrupt import end_as_interrupted
from attnbench.errors import EXIT_INCONCLUSIVE, EXIT_NOTHING_MEASURED, EXIT_OK, UsageError
from attnbench.interface.places import check_folder
from attnbench.show.console import document, say, set_quiet, show
from attnbench.show.progress import ProgressLine

ARMS = ("0:2m:20", "10:2m:10", "5:10m:8")
TIMES = ("2m", "10m")
RUNS = "runs"
DATA, PAGE = Path("results") / "scoreboard", Path("docs") / "scoreboard.md"

scoreboard = typer.Typer(help="Our verdicts and other tools', on the same cells, with slowdowns of known size.")


@scoreboard.callback(invoke_without_command=True)
def live(
    context: typer.Context,
    *,
    trials: options.Rounds = 5,
    seconds_each: options.TrialSeconds = 60.0,
    effects: options.Effects = "0,10",
    cells: options.TrialCells = 2,
    tools: options.Tools = None,
    budget: options.TrialBudget = None,
    out: options.DataOut = DATA,
    page: options.Page = PAGE,
    wait: options.Wait = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Our verdicts and other tools', live, on the same cells, at equal wall time; goes on where it was cut."""
    if context.invoked_subcommand is not None:
        return
    from attnbench.results.extra import check_report_extra

    set_quiet(quiet)
    check_report_extra("attnbench scoreboard")
    from attnbench.scoreboard.live import trials as tried
    from attnbench.scoreboard.page import fill, write_csv

    extras = [_whole(effect) for effect in effects.split(",")]
    named = tools.split(",") if tools else tried.ALL
    plan = tried.TrialPlan(trials, extras, cells, seconds_each, named)
    check_folder("--out", out)
    end_as_interrupted()
    with ProgressLine(seconds(budget), paced=False) as progress:
        limit_s, wait_s = seconds(budget), seconds(wait) or 0.0
        path = tried.trials(plan, out, runs=out / RUNS, limit_s=limit_s, wait_s=wait_s, progress=progress, said=say)
    every = tried.read(path)
    rows = tried.counting(every)
    if not rows:
        _end_with_nothing("no trial was finished here", path, as_json=as_json)
    left = tried.left(plan, rows)
    write_csv(tried.flat(every), out / "trials.csv")
    text = f"{tried.table(rows)}\n\n{tried.recorded_by(rows, len(every) - len(rows))}"
    filled = fill(page, "live", text)
    code = EXIT_INCONCLUSIVE if left else EXIT_OK
    if as_json:
        document({"trials": rows, "file": str(path), "left": left, "exit_code": code})
    else:
        _tell(text, path, page if filled else None, f"{left} trials are" if left else None)
    raise typer.Exit(code)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        msg = f"--effects are whole per cents with commas, such as 0,5,10; got {text!r}"
        raise UsageError(msg) from error


@scoreboard.command()
def record(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the corpus goes.")],
    *,
    budget: options.RecordBudget = "15m",
    out: options.DataOut = DATA,
    wait: options.Wait = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Record the noise of this machine: a version against itself, every burst kept, in one Parquet file."""
    from attnbench.results.extra import check_report_extra

    set_quiet(quiet)
    check_report_extra("attnbench scoreboard record")
    from attnbench.comparing.signed_rank import robust_spread
    from attnbench.scoreboard.live.ours import record as recorded
    from attnbench.scoreboard.recorded.corpus import read_corpus

    check_folder("DIR", folder)
    check_folder("--out", out)
    end_as_interrupted()
    with ProgressLine(seconds(budget), paced=False) as progress:
        path = recorded(folder, seconds(budget) or 0.0, out / RUNS, seconds(wait) or 0.0, progress)
    corpus = read_corpus(folder)
    spread = robust_spread(list(corpus.log_ratios.ravel()))
    size = path.stat().st_size
    if as_json:
        sizes = {"bytes": size, "pairs": corpus.pairs, "cells": len(corpus.cells), "spread": spread}
        document({"file": str(path), **sizes, "exit_code": EXIT_OK})
        return
    show(
        f"kept: {path} ({size / 1e3:.0f} kB): {corpus.pairs} whole pairs of {len(corpus.cells)} cells, "
        f"robust spread of pairs {100 * spread:.1f} %"
    )


@scoreboard.command()
def campaign(
    *,
    arm: options.Arms = None,
    limit: options.Limit = None,
    cells: options.RunCells = 8,
    out: options.DataOut = DATA,
    page: options.Page = PAGE,
    wait: options.Wait = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare by ab again and again, with and without a slowdown, and count the verdicts; goes on where it was cut."""
    from attnbench.results.extra import check_report_extra

    set_quiet(quiet)
    check_report_extra("attnbench scoreboard campaign")
    from attnbench.scoreboard.live import campaign as many
    from attnbench.scoreboard.page import fill, write_csv

    arms = [many.arm(text, cells, seconds) for text in arm or ARMS]
    check_folder("--out", out)
    end_as_interrupted()
    with ProgressLine(seconds(limit), paced=False) as progress:
        limit_s, wait_s = seconds(limit), seconds(wait) or 0.0
        path = many.campaign(arms, out, runs=out / RUNS, limit_s=limit_s, wait_s=wait_s, progress=progress, said=say)
    every = many.finished(path)
    rows = many.counting(every)
    if not rows:
        _end_with_nothing("no run was finished here", path, as_json=as_json)
    left = many.following(arms, rows) is not None
    write_csv(many.flat(every), out / "campaign.csv")
    text = f"{many.table(rows)}\n\n{many.sentences(rows)}\n\n{many.recorded_by(rows, len(every) - len(rows))}"
    filled, held = fill(page, "campaign", text), _held(out, page)
    code = EXIT_INCONCLUSIVE if left else EXIT_OK
    if as_json:
        summaries = [asdict(summary) for summary in many.summarise(rows)]
        document({"arms": summaries, "file": str(path), "left": left, "exit_code": code})
    else:
        _tell(f"{text}\n\n{held}", path, page if filled else None, "something is" if left else None)
    raise typer.Exit(code)


@scoreboard.command()
def replay(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A recorded corpus.")],
    *,
    trials: options.RunsDrawn = 10_000,
    time: options.Times = None,
    seed: options.DrawsSeed = 0,
    out: options.DataOut = DATA,
    page: options.Page = PAGE,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Judge every rule on recorded noise, with slowdowns added: false alarms, power, coverage."""
    from attnbench.results.extra import check_report_extra

    set_quiet(quiet)
    check_report_extra("attnbench scoreboard replay")
    from attnbench.comparing.signed_rank import robust_spread
    from attnbench.scoreboard.live.targets import REPLAYED
    from attnbench.scoreboard.live.terms import own_rules
    from attnbench.scoreboard.page import fill, write_csv
    from attnbench.scoreboard.recorded.corpus import read_corpus
    from attnbench.scoreboard.recorded.replay import replay as replayed
    from attnbench.scoreboard.recorded.replay import table

    if trials < 1:
        msg = f"--trials is 1 or more; got {trials}"
        raise UsageError(msg)
    budgets = [float(seconds(text) or 0) for text in time or TIMES]
    check_folder("--out", out)
    corpus = read_corpus(folder)
    results = replayed(corpus, budgets, trials=trials, seed=seed)
    spread = robust_spread(list(corpus.log_ratios.ravel()))
    about = {"rules": own_rules(len(corpus.cells)), "machine_id": corpus.about.get("machine_id"), "spread": spread}
    path = write_csv([result.to_dict() | about for result in results], out / REPLAYED)
    text = table(results, corpus)
    filled, held = fill(page, "replay", text), _held(out, page)
    if as_json:
        document({"results": [result.to_dict() for result in results], "file": str(path), "exit_code": EXIT_OK})
    else:
        _tell(f"{text}\n\n{held}", path, page if filled else None)


def _held(out: Path, page: Path) -> str:
    """What replay and campaign show of the targets, on the page too."""
    from attnbench.scoreboard.live.targets import collected
    from attnbench.scoreboard.page import fill

    text = collected(out)
    fill(page, "targets", text)
    return text


def _end_with_nothing(why: str, path: Path, *, as_json: bool) -> NoReturn:
    say(why)
    if as_json:
        document({"file": str(path), "left": True, "exit_code": EXIT_NOTHING_MEASURED})
    raise typer.Exit(EXIT_NOTHING_MEASURED)


def _tell(text: str, path: Path, page: Path | None, left: str | None = None) -> None:
    """The tables, where they and their data are, and whether the same command goes on."""
    show(text)
    show(f"kept: {path}" + (f"; the tables stand in {page}" if page else ""))
    if left:
        say(f"{left} left: the same command goes on")
