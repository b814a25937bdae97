"""A run that was read once and judged once: the value that all who show it or keep its verdicts are handed.

A suite says what it found in sentences (``Story.findings``), and what became of published claims in verdicts
(``Story.claims``). The two come by different ways and stay apart, so that nobody has to tell one from the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.analysis.sampled import load_sampled
from attnbench.errors import UsageError
from attnbench.results.frames import own_columns
from attnbench.results.read import read_info
from attnbench.results.schema import RunInfo

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.suite import Suite

# A verdict on a published claim by column, as ``Suite.judged`` makes it.
Row = dict[str, Any]
# A suite by name; ``UsageError`` where it is not installed here.
SuiteFinder = Callable[[str], "Suite"]


@dataclass(frozen=True)
class JudgedSuite:
    """One suite of a run: its rows with its own columns, and its verdicts on published claims.

    ``suite`` is ``None`` where it is not installed here. ``failure`` says why nothing could be judged, be it that or
    an error of the suite's own code; without one, no verdicts mean that the suite speaks of no claim.
    """

    name: str
    suite: Suite | None
    frame: pd.DataFrame
    verdicts: tuple[Row, ...] = ()
    failure: Exception | None = None


@dataclass(frozen=True)
class JudgedRun:
    """A run: what run.json says, all its rows as one frame with their rounds, and each suite of it, judged."""

    folder: Path
    info: RunInfo
    frame: pd.DataFrame
    suites: tuple[JudgedSuite, ...]

    @property
    def verdicts(self) -> tuple[Row, ...]:
        """The verdicts of all suites, each with its suite."""
        return tuple({"suite": suite.name, **row} for suite in self.suites for row in suite.verdicts)


def judge_run(folder: Path, find_suite: SuiteFinder) -> JudgedRun:
    """Read a run and judge it by its rows. Raises ``ResultsError`` for a folder that cannot be read.

    A suite that fails has its failure as data, and takes no other suite with it.
    """
    frame = load_sampled(folder)
    parts = frame.groupby("suite", sort=False)
    suites = tuple(judge_suite(str(name), rows, find_suite) for name, rows in parts)
    return JudgedRun(folder, read_info(folder), frame, suites)


def judge_suite(name: str, rows: pd.DataFrame, find_suite: SuiteFinder) -> JudgedSuite:
    """One suite, by its rows in the frame of its run."""
    frame = own_columns(rows)
    try:
        suite = find_suite(name)
    except UsageError as error:
        return JudgedSuite(name, None, frame, failure=error)
    try:
        return JudgedSuite(name, suite, frame, tuple(suite.judged(frame)))
    except Exception as error:  # noqa: BLE001  (a suite's own code; the rest of the run must survive it)
        return JudgedSuite(name, suite, frame, failure=error)
