"""``attnbench ab`` on the cells of the scoreboard, by the engine and with the effort that a user's comparison has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attnbench.live.comparison import Compared, Terms, compare_live
from attnbench.live.pair import PairedEffort
from attnbench.scoreboard.live.cells import LENGTHS, versions
from attnbench.scoreboard.recorded.corpus import write_corpus

Progress = Callable[[int, int, str], None]
MARGIN = 0.03


def record(out: Path, budget_s: float, runs: Path, wait_s: float = 0.0, progress: Progress | None = None) -> Path:
    """Measure the version without a change against itself until the budget is spent, and make a corpus of it."""
    terms = Terms(
        budget_s=budget_s,
        out=runs,
        wait_s=wait_s,
        effort=PairedEffort(memory_repeats=0),
        progress=progress,
        name="noise",
        keep_going=True,
    )
    return write_corpus(compare_live(versions(0), terms).folder, out)


def compare_ours(
    extra: int,
    budget_s: float,
    runs: Path,
    *,
    at: Sequence[int] = LENGTHS,
    memory: bool = True,
    wait_s: float = 0.0,
    progress: Progress | None = None,
) -> Compared:
    """One comparison of the version without a change against the one with ``extra`` per cent more work."""
    effort = PairedEffort() if memory else PairedEffort(memory_repeats=0)
    terms = Terms(MARGIN, budget_s, runs, wait_s=wait_s, effort=effort, progress=progress, name="scoreboard")
    return compare_live(versions(extra, at), terms)


def told(compared: Compared) -> dict[str, Any]:
    """What a comparison said, for a journal."""
    cells = [
        {
            "cell": verdict.case_label,
            "status": verdict.status,
            "verdict": verdict.verdict,
            "memory": None if verdict.memory is None else verdict.memory.verdict,
            "change": verdict.change,
            "low": verdict.low,
            "high": verdict.high,
            "screened": verdict.screened,
            "confirmed": verdict.confirmed,
            "again": verdict.again,
            "quads": verdict.quads,
            "log_ratios": [round(value, 5) for value in verdict.log_ratios],
        }
        for verdict in compared.verdicts
    ]
    outcome = compared.outcome
    return {
        "run_id": compared.run_id,
        "machine_id": compared.fingerprint.machine_id,
        "code": compared.fingerprint.git,
        "pairs": outcome.pairs,
        "seconds": round(outcome.seconds, 1),
        "note": outcome.note,
        "cells": cells,
    }
