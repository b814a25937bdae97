"""What is known of this machine from comparing a version with itself: one JSON file for each machine.

It lies in the folder that ``ATTNBENCH_DATA`` names, else in the user's own (on Linux ``$XDG_DATA_HOME/attnbench`` or
``~/.local/share/attnbench``), under ``calibration/<machine_id>.json``: it is the machine's, whatever is measured on it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from platformdirs import user_data_path
from pydantic import ValidationError

from attnbench.errors import ResultsError
from attnbench.results.read import first_fault
from attnbench.results.schema import Record
from attnbench.results.store import write_whole

VARIABLE = "ATTNBENCH_DATA"
FORMAT = "attnbench-calibration"
VERSION = 1


class SelfComparison(Record):
    """One cell that was compared with itself: its log-ratios, pair by pair, and the verdict by ``margin``.

    Cells of one comparison have the same ``started``. Files from before margins were kept have none.
    """

    started: str
    impl: str
    case_label: str
    threads: int
    verdict: str
    log_ratios: tuple[float, ...]
    margin: float | None = None


class Replayed(Record):
    """What replaying the recorded pairs showed, which is a computation on them and not a rate that was measured.

    ``alarms`` of ``trials`` cells without a change were called slower, with the interval ``low`` to ``high``.
    ``found`` maps a number of pairs to the smallest slowdown that was found in at least ``power`` of the replays, by
    the ``margin``; ``None`` where none of those that were tried was.
    """

    trials: int
    alarms: int
    low: float
    high: float
    spread: float
    margin: float
    cells: int
    power: float
    found: Mapping[int, float | None]


class Calibration(Record):
    """All that was compared with itself on a machine: its ``trials``.

    ``startup_s`` and ``cell_s`` are seconds of a pair, and of each cell in it besides.

    ``alarms`` of ``live`` cells in ``runs`` live comparisons of a version with itself, by the margin of the newest,
    were called slower; ``low`` to ``high`` is the interval of that rate, clustered by comparison.
    """

    machine_id: str
    made: str
    trials: tuple[SelfComparison, ...]
    startup_s: float = 0.0
    cell_s: float = 0.0
    alarms: int = 0
    low: float = 0.0
    high: float = 1.0
    replayed: Replayed | None
    live: int = 0
    runs: int = 0

    @property
    def series(self) -> tuple[tuple[float, ...], ...]:
        """The log-ratios of every trial, in the order of measuring."""
        return tuple(trial.log_ratios for trial in self.trials)

    @property
    def log_ratios(self) -> tuple[float, ...]:
        """Of all trials."""
        return tuple(value for trial in self.trials for value in trial.log_ratios)

    def smallest(self, pairs: int) -> tuple[int, float] | None:
        """The most pairs not above ``pairs`` for which a slowdown is known, and that slowdown."""
        if self.replayed is None:
            return None
        known = [(count, size) for count, size in self.replayed.found.items() if size is not None and count <= pairs]
        return max(known) if known else None

    def sentence(self, pairs: int) -> str:
        """What to think of verdicts from so many pairs here."""
        head = f"This machine, calibrated {self.made[:10]} on {len(self.log_ratios)} pairs of a version with itself"
        if self.replayed is None:
            return f"{head}: too few to tell its false alarms. Type: attnbench calibrate --budget 10m"
        replay = self.replayed
        rate = f"{100 * replay.alarms / replay.trials:.2f} %, at most {100 * replay.high:.2f} %"
        alarms = f"{replay.alarms} false alarms in {replay.trials} replayed cells ({rate})"
        runs = f"{self.runs} live comparison{'' if self.runs == 1 else 's'}"
        live = f"{self.alarms} of {self.live} cells of {runs} called slower (at most {100 * self.high:.0f} % are)"
        head = f"{head}: {live}; judging blocks of its pairs again, {alarms}; spread {100 * replay.spread:.1f} %"
        best = self.smallest(pairs)
        if best is None:
            return f"{head}; no slowdown of those tried is found reliably with {pairs} pairs."
        often = f"in at least {100 * replay.power:.0f} of 100, by a margin of {100 * replay.margin:g} %"
        return f"{head}; with {best[0]} pairs a slowdown of {100 * best[1]:.0f} % is found {often}."

    def describe(self) -> dict[str, Any]:
        """JSON-ready, without the log-ratios."""
        return {**self.model_dump(exclude={"trials"}), "pairs": len(self.log_ratios), "cells": len(self.trials)}


def folder() -> Path:
    """Where calibrations are kept."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named) / "calibration"
    return user_data_path("attnbench", appauthor=False) / "calibration"


def for_machine(machine_id: str) -> Calibration | None:
    """What is known of a machine, ``None`` if nothing is. Raises ``ResultsError`` for a damaged file."""
    path = folder() / f"{machine_id}.json"
    if not path.is_file():
        return None
    try:
        return _read(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        why = first_fault(error, "the file") if isinstance(error, ValidationError) else error
        msg = f"{path} is damaged ({why}); remove it and type: attnbench calibrate"
        raise ResultsError(msg) from error


def _read(data: Any) -> Calibration:
    """The content of a file, checked. Raises ``ValueError``, which a ``ValidationError`` is too."""
    if not isinstance(data, dict) or (data.pop("format", None), data.pop("version", None)) != (FORMAT, VERSION):
        msg = "another format or version"
        raise ValueError(msg)
    data.pop("notes", None)  # always empty, and gone
    return Calibration.model_validate(data)


def save(calibration: Calibration) -> Path:
    """Write the file of a machine; the path."""
    path = folder() / f"{calibration.machine_id}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{path.parent} cannot be written ({error.strerror}); name another folder with {VARIABLE}"
        raise ResultsError(msg) from error
    data = {"format": FORMAT, "version": VERSION, **calibration.model_dump(mode="json")}
    write_whole(path, json.dumps(data, indent=1) + "\n")
    return path


def joined(before: Calibration | None, trials: Sequence[SelfComparison]) -> tuple[SelfComparison, ...]:
    """The trials of earlier calibrations with the new ones."""
    return (*(before.trials if before is not None else ()), *trials)
