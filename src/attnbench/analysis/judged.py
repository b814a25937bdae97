"""A run that was read once and judged once: the value that all who show it or keep its verdicts are handed.

A suite says what it found in sentences (``Story.findings``), and what became of published claims in verdicts
(``Story.claims``). The two come by different ways and stay apart, so that nobody has to tell one from the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.analysis.sampled import load_sampled
from attnbench.errors import ResultsError, UsageError
from attnbench.results.frames import own_columns
from attnbench.results.read import read_info
from attnbench.results.schema import RunInfo
from attnbench.suite import Story, files

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.suite import Suite

VERDICTS_FILE = "verdicts.parquet"
COUNTS = ("n_seeds",)  # of its columns, those of whole numbers
# A verdict on a published claim by column, as ``Suite.judged`` makes it.
Row = dict[str, Any]
# A suite by name; ``UsageError`` where it is not installed here.
SuiteFinder = Callable[[str], "Suite"]


@dataclass(frozen=True)
class JudgedSuite:
    """One suite of a run: its rows with its own columns, and its verdicts on published claims.

    ``suite`` is ``None`` where it is not installed here, or stands in a file that is gone or has changed: ``story`` is
    then what the run kept of it. ``failure`` says why nothing could be judged, be it that or an error of the suite's
    own code; without one, no verdicts mean that the suite speaks of no claim. ``note`` is what else is to be known.
    """

    name: str
    suite: Suite | None
    frame: pd.DataFrame
    verdicts: tuple[Row, ...] = ()
    failure: Exception | None = None
    kept: Story | None = None
    note: str = ""

    def place(self, error: BaseException) -> str:
        """Where in the suite's own file an error came from, in brackets; empty where it has none."""
        return "" if self.suite is None else self.suite.place(error)

    @property
    def story(self) -> Story | None:
        """What the suite says, or what the run kept of it where it cannot be had; ``None`` where that is nothing."""
        return self.kept if self.suite is None else self.suite.story


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


def judge_run(folder: Path, find_suite: SuiteFinder, given: Mapping[str, Suite] | None = None) -> JudgedRun:
    """Read a run and judge it by its rows. Raises ``ResultsError`` for a folder that cannot be read.

    ``given`` are suites that stand for those of the run, whatever is in the files that it names.
    A suite that fails has its failure as data, and takes no other suite with it.
    """
    frame, info = load_sampled(folder), read_info(folder)
    parts = frame.groupby("suite", sort=False)
    suites = tuple(
        _filed(judge_suite(str(name), rows, partial(suite_of_run, info, find_suite, given or {})), folder, info)
        for name, rows in parts
    )
    return JudgedRun(folder, info, frame, suites)


def suite_of_run(info: RunInfo, find_suite: SuiteFinder, given: Mapping[str, Suite], name: str) -> Suite:
    """A suite of a run: of its file where it has one. ``UsageError`` where that is gone or another one by now.

    A suite that is ``given`` for this run (``--suites``) stands for it. One of a file that this process used for
    another run does so only where it is the very same file.
    """
    if name in given:
        return given[name]
    source, used = info.suite_files.get(name), files.known().get(name)
    if source is None:
        return find_suite(name)
    if used is not None and used.file is not None and used.file.sha256 == source.sha256:
        return used
    return files.load_from(files.SuiteFile(source.file, source.path, source.sha256), name)


def _filed(judged: JudgedSuite, folder: Path, info: RunInfo) -> JudgedSuite:
    """The same, with what the run kept of a suite whose file cannot be had, and what is to be known of the file."""
    source = info.suite_files.get(judged.name)
    if source is None:
        return judged
    if judged.suite is None:
        kept = Story(question=source.question, method=source.method, limits=source.limits)
        note = (
            f"This suite stands in a file of its own: {judged.failure}. Its question, its method and its verdicts are "
            "those that the run kept; its findings and figures need the file as it was, with --suites FILE."
        )
        return replace(judged, kept=kept, note=note, verdicts=tuple(kept_verdicts(folder, judged.name)))
    origin = judged.suite.file
    if origin is not None and origin.sha256 != source.sha256:
        note = f"The run was measured with {source.file} as it was then; this page is by {origin.typed} as it is now."
        return replace(judged, note=note)
    return judged


def kept_verdicts(folder: Path, suite: str) -> list[Row]:
    """The verdicts on claims that a run kept of a suite; none where it kept none."""
    import pandas as pd

    path = folder / VERDICTS_FILE
    if not path.is_file():
        return []
    try:
        frame = pd.read_parquet(path)
        rows = frame[frame["suite"] == suite].drop(columns="suite")
        kept: list[Row] = [
            {str(k): None if pd.isna(v) else v for k, v in row.items()} for row in rows.to_dict("records")
        ]
        # Older files have numbers with a point where a claim had no measurement.
        return [row | {name: int(row[name]) for name in COUNTS if row.get(name) is not None} for row in kept]
    except Exception as error:  # pyarrow's own errors are of many kinds
        msg = f"{path} is damaged; delete it, and the run is shown without the verdicts that it kept"
        raise ResultsError(f"{msg}. It is left untouched") from error


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
