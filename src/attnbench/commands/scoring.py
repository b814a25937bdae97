"""``attnbench scoreboard``: recording noise, replaying rules on it, and live campaigns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from attnbench.commands.output import ProgressLine, document, say, show
from attnbench.commands.running import end_as_interrupted, seconds
from attnbench.errors import EXIT_INCONCLUSIVE, EXIT_NOTHING_MEASURED, EXIT_OK, UsageError
from attnbench.results.extra import check_report_extra

ARMS = ("0:2m:20", "10:2m:10", "5:10m:8")
TIMES = ("2m", "10m")
RUNS = "runs"


def live_command(
    *,
    trials: int,
    seconds_each: float,
    effects: str,
    cells: int,
    tools: str | None,
    budget: str | None,
    out: Path,
    page: Path,
    wait: str | None,
    as_json: bool,
) -> int:
    """Try what is left, then count all that is there; 3 while something is left."""
    check_report_extra("attnbench scoreboard")
    from attnbench.scoreboard import trials as live
    from attnbench.scoreboard.page import fill, write_csv

    extras = [_whole(one) for one in effects.split(",")]
    named = tools.split(",") if tools else live.ALL
    asked = live.Asked(trials, extras, cells, seconds_each, named)
    end_as_interrupted()
    path = live.trials(
        asked,
        out,
        runs=out / RUNS,
        limit_s=seconds(budget),
        wait_s=seconds(wait) or 0.0,
        progress=ProgressLine(),
        said=say,
    )
    every = live.read(path)
    rows = live.counting(every)
    if not rows:
        return _nothing("no trial was finished here", path, as_json=as_json)
    left = live.left(asked, rows)
    write_csv(live.flat(every), out / "trials.csv")
    text = f"{live.table(rows)}\n\n{live.recorded_by(rows, len(every) - len(rows))}"
    filled = fill(page, "live", text)
    code = EXIT_INCONCLUSIVE if left else EXIT_OK
    if as_json:
        document({"trials": rows, "file": str(path), "left": left, "exit_code": code})
        return code
    _tell(text, path, page if filled else None, f"{left} trials are" if left else None)
    return code


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        msg = f"--effects are whole per cents with commas, such as 0,5,10; got {text!r}"
        raise UsageError(msg) from error


def record_command(folder: Path, *, budget: str, out: Path, wait: str | None, as_json: bool) -> int:
    """Record, and say what there is."""
    check_report_extra("attnbench scoreboard record")
    from attnbench.compare.signed_rank import robust_spread
    from attnbench.scoreboard.corpus import read_corpus
    from attnbench.scoreboard.ours import record

    end_as_interrupted()
    path = record(folder, seconds(budget) or 0.0, out / RUNS, seconds(wait) or 0.0, ProgressLine())
    corpus = read_corpus(folder)
    spread = robust_spread(list(corpus.log_ratios.ravel()))
    size = path.stat().st_size
    if as_json:
        told = {"file": str(path), "bytes": size, "pairs": corpus.pairs, "cells": len(corpus.cells), "spread": spread}
        document({**told, "exit_code": EXIT_OK})
        return EXIT_OK
    show(
        f"kept: {path} ({size / 1e3:.0f} kB): {corpus.pairs} whole pairs of {len(corpus.cells)} cells, "
        f"robust spread of pairs {100 * spread:.1f} %"
    )
    return EXIT_OK


def campaign_command(
    arms: Sequence[str], *, limit: str | None, cells: int, out: Path, page: Path, wait: str | None, as_json: bool
) -> int:
    """Run what is left, then count all that is there; 3 while something is left."""
    check_report_extra("attnbench scoreboard campaign")
    from attnbench.scoreboard import campaign as many
    from attnbench.scoreboard.page import fill, write_csv

    asked = [many.arm(text, cells, seconds) for text in arms or ARMS]
    end_as_interrupted()
    path = many.campaign(
        asked,
        out,
        runs=out / RUNS,
        limit_s=seconds(limit),
        wait_s=seconds(wait) or 0.0,
        progress=ProgressLine(),
        said=say,
    )
    every = many.finished(path)
    rows = many.counting(every)
    if not rows:
        return _nothing("no run was finished here", path, as_json=as_json)
    left = many.following(asked, rows) is not None
    write_csv(many.flat(every), out / "campaign.csv")
    text = f"{many.table(rows)}\n\n{many.sentences(rows)}\n\n{many.recorded_by(rows, len(every) - len(rows))}"
    filled, held = fill(page, "campaign", text), _held(out, page)
    code = EXIT_INCONCLUSIVE if left else EXIT_OK
    if as_json:
        found = [asdict(one) for one in many.summarise(rows)]
        document({"arms": found, "file": str(path), "left": left, "exit_code": code})
        return code
    _tell(f"{text}\n\n{held}", path, page if filled else None, "something is" if left else None)
    return code


def replay_command(
    folder: Path, *, trials: int, times: Sequence[str], seed: int, out: Path, page: Path, as_json: bool
) -> int:
    """Judge every rule, write the CSV and the page."""
    check_report_extra("attnbench scoreboard replay")
    from attnbench.compare.signed_rank import robust_spread
    from attnbench.scoreboard.corpus import read_corpus
    from attnbench.scoreboard.page import fill, write_csv
    from attnbench.scoreboard.replay import replay, table
    from attnbench.scoreboard.targets import REPLAYED
    from attnbench.scoreboard.terms import own_rules

    if trials < 1:
        msg = f"--trials is 1 or more; got {trials}"
        raise UsageError(msg)
    corpus = read_corpus(folder)
    budgets = [float(seconds(text) or 0) for text in times or TIMES]
    results = replay(corpus, budgets, trials=trials, seed=seed)
    spread = robust_spread(list(corpus.log_ratios.ravel()))
    about = {"rules": own_rules(len(corpus.cells)), "machine_id": corpus.about.get("machine_id"), "spread": spread}
    path = write_csv([one.to_dict() | about for one in results], out / REPLAYED)
    text = table(results, corpus)
    filled, held = fill(page, "replay", text), _held(out, page)
    if as_json:
        document({"results": [one.to_dict() for one in results], "file": str(path), "exit_code": EXIT_OK})
        return EXIT_OK
    _tell(f"{text}\n\n{held}", path, page if filled else None)
    return EXIT_OK


def _held(out: Path, page: Path) -> str:
    """What replay and campaign show of the targets, on the page too."""
    from attnbench.scoreboard.page import fill
    from attnbench.scoreboard.targets import collected

    text = collected(out)
    fill(page, "targets", text)
    return text


def _nothing(why: str, path: Path, *, as_json: bool) -> int:
    say(why)
    if as_json:
        document({"file": str(path), "left": True, "exit_code": EXIT_NOTHING_MEASURED})
    return EXIT_NOTHING_MEASURED


def _tell(text: str, path: Path, page: Path | None, left: str | None = None) -> None:
    """The tables, where they and their data are, and whether the same command goes on."""
    show(text)
    show(f"kept: {path}" + (f"; the tables stand in {page}" if page else ""))
    if left:
        say(f"{left} left: the same command goes on")
