"""``ab.run`` and ``ab.open_run``: a run that was just made, or one that is kept, as an object that shows itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.errors import EXIT_INCONCLUSIVE, AttnbenchError, worst_exit
from attnbench.interface.given import (
    Duration,
    Files,
    Levels,
    Note,
    Words,
    levels,
    one_folder,
    one_text,
    paths,
    run_path,
    texts,
    whole_numbers,
)
from attnbench.interface.shown import ShownAnswer
from attnbench.keywords import explained

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from attnbench.analysis.judged import JudgedRun
    from attnbench.measure.run.options import RunOptions, RunOutcome
    from attnbench.results.schema import RunInfo
    from attnbench.suite import Suite

MOST_CASES = 40  # rows of the grid that a notebook shows; the page has them all


class Run(ShownAnswer):
    """A run: a folder with its rows, its samples and its verdicts. Printing it says what was found.

    ``folder`` is where it is kept; ``notes`` are what the command line says beside its progress, such as which
    implementations were left out and why. ``judged`` is the run where it was judged already, and ``suites`` stand for
    those that it names.
    """

    def __init__(
        self,
        folder: str | Path,
        notes: Sequence[str] = (),
        judged: JudgedRun | None = None,
        suites: Mapping[str, Suite] | None = None,
    ) -> None:
        from attnbench.results.read import read_info

        self.folder = Path(folder)
        self.notes = tuple(notes)
        self._info = read_info(self.folder)
        self._at_once, self._given = judged, dict(suites or {})

    @property
    def info(self) -> RunInfo:
        """What was asked, the machine, the versions: ``run.json``."""
        return self._info

    @property
    def run_id(self) -> str:
        """Its name, which is that of its folder."""
        return self._info.run_id

    @property
    def complete(self) -> bool:
        """Whether it came to its end; one that did not goes on with ``ab.run(resume=...)``."""
        return self._info.status == "complete"

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many cells are ``ok``, ``wrong``, ``unsupported`` and so on."""
        from attnbench.results.read import outcomes

        return dict(Counter(cell.status for cell in outcomes(self.folder)))

    @property
    def exit_code(self) -> int:
        """The exit status of ``attnbench run``: 0, 1 wrong, 4 failed, 5 nothing measured, 3 not all was run."""
        from attnbench.measure.run.options import exit_of

        code = exit_of(self.counts)
        return code if self.complete else worst_exit({code, EXIT_INCONCLUSIVE})

    def frame(self) -> pd.DataFrame:
        """A pandas frame with a row for each planned cell (docs/results.md explains its columns)."""
        from attnbench.results.dataset import load

        return load(self.folder)

    def samples(self) -> pd.DataFrame:
        """A pandas frame with a row for each sample."""
        from attnbench.results.dataset import load

        return load(self.folder, samples=True)

    def report(self, folder: str | Path | None = None) -> Path:
        """Write its page, figures, Markdown and CSV, and return the path of its ``index.html``.

        Without a folder they go to ``reports/<run_id>`` beside the folder of runs, as those of ``attnbench run``.
        """
        from attnbench.interface.places import reports_folder
        from attnbench.report.write import write_report

        return write_report([self.folder], folder or reports_folder(self.folder, self.run_id), self._given)

    def __fspath__(self) -> str:
        return str(self.folder)

    @cached_property
    def _judged(self) -> JudgedRun:
        from attnbench.analysis.judged import judge_run
        from attnbench.backends import discover

        return self._at_once or judge_run(self.folder, discover.suite, self._given)

    def __str__(self) -> str:
        """What became of its cells, what is to be known of its suites' files, and the answer as the command has it."""
        from attnbench.report.content import collect, remarks
        from attnbench.report.terminal.answer import answer_text
        from attnbench.show.console import screen

        judged = self._judged
        total = ", ".join(f"{count} {status}" for status, count in self.counts.items()) or "no cell was planned"
        ended = "" if self.complete else "; not finished: what was measured so far"
        sentences = [line for suite in judged.suites for line in remarks(suite)]
        try:
            answer = answer_text(collect([judged], drawn=False), replace(screen(), colour=False))
        except AttnbenchError as error:  # such as a damaged journal
            answer = f"its answer cannot be shown: {error}"
        there = " ".join(answer.split())
        said = [line for line in sentences if " ".join(line.split()) not in there]  # no sentence twice
        return "\n".join([f"run {self.run_id}: {total}{ended}", *said, "", answer, f"folder: {self.folder}"])

    def __repr__(self) -> str:
        """The same in a session; a run that cannot be read any more says so, and stops nobody."""
        try:
            return str(self)
        except (AttnbenchError, OSError):
            return f"run {self.run_id}: its folder {self.folder} cannot be read"

    def html(self) -> str:
        """What a notebook shows: the first screen of the run's page."""
        from attnbench.report.html.notebook import run_html

        return run_html(self._judged, most=MOST_CASES)


@explained
def open_run(run: str | PathLike[str], *, suite_files: Files = ()) -> Run:
    """A run that is kept, by its folder or its run_id below ``results/``. Raises ``ResultsError`` where it is none.

    Suites in ``suite_files`` stand for those of the run, as those of ``attnbench report --suites`` do.
    """
    from attnbench.interface.suite_files import suites_for, use_suites
    from attnbench.results.extra import check_report_extra
    from attnbench.results.read import read_info, run_folder

    check_report_extra("attnbench.open_run")
    folder, files = run_folder(run_path(run)), paths("suite_files", suite_files)
    return Run(folder, suites=suites_for([read_info(folder)], use_suites(files)) if files else {})


@explained
def run(
    suites: Words = (),
    *,
    workload: str | None = None,
    impl: Words = (),
    axes: Levels | None = None,
    shape: Words = (),
    tokens: Words = (),
    batch: Words = (),
    phase: Words = (),
    dtype: Words = (),
    device: Words = (),
    threads: int | Sequence[int] = (),
    budget: Duration = None,
    resume: str | PathLike[str] | None = None,
    out: str | Path = "results",
    timeout: float = 120.0,
    wait: Duration = None,
    impls: Files = (),
    suite_files: Files = (),
    quiet: bool = True,
) -> Run:
    """Check agreement, measure time and memory, and keep a run: ``attnbench run`` in the same words.

    Each word is the option of that name, and ``axes`` is ``-a``: ``axes={"T": [128, 256], "setting": "forward"}``.
    What may be given several times is one text or number, or a list. ``budget`` and ``wait`` are durations such as
    ``"10m"``, or seconds; ``timeout`` is seconds. ``impls`` are drop-in files, and ``suite_files`` those of
    ``--suites``. Implementations are measured in processes of their own. No page is written: ``.report()`` does that.
    Nothing is printed, unless ``quiet=False`` shows on standard error what the command shows. Raises ``UsageError``
    and its kin before anything is measured; afterwards whatever happens is a row, and an interrupt leaves a run that
    ``resume=`` goes on with.
    """
    from attnbench.interface.running import RunWords, run_options

    words = RunWords(
        suites=texts("suites", suites),
        workload=one_text("workload", workload, "24x 1q512, 2x 256q256"),
        impl=texts("impl", impl),
        axes=levels(axes),
        levels={
            "shape": texts("shape", shape),
            "tokens": texts("tokens", tokens),
            "batch": texts("batch", batch),
            "phase": texts("phase", phase),
            "dtype": texts("dtype", dtype),
        },
        device=texts("device", device),
        threads=whole_numbers("threads", threads),
        budget=budget,
        resume=None if resume is None else run_path(resume),
        out=one_folder("out", out, "results"),
        timeout_s=timeout,
        wait=wait,
        impls=paths("impls", impls),
        suite_files=paths("suite_files", suite_files),
    )
    notes: list[str] = []
    note = noting(notes, quiet=quiet)
    return _judged_run(_measured(run_options(words, note), quiet=quiet), notes, note)


def _judged_run(outcome: RunOutcome, notes: list[str], note: Note) -> Run:
    from attnbench.interface.running import judged

    judgement = judged(outcome.folder, note)
    partial = [] if outcome.note is None else [f"Partial: {outcome.note}."]
    return Run(outcome.folder, [*notes, *partial, *outcome.shortened], judgement)


def noting(notes: list[str], *, quiet: bool) -> Note:
    """Who keeps what is noted, and says it on standard error unless that is to be quiet."""
    from attnbench.show.console import say

    def note(text: str) -> None:
        notes.append(text)
        if not quiet:
            say(text)

    return note


def _measured(options: RunOptions, *, quiet: bool) -> RunOutcome:
    from attnbench.measure.run.run import run as measured
    from attnbench.show.progress import ProgressLine

    if quiet:
        return measured(options)
    progress = ProgressLine(options.budget_s, first="planning")
    with progress:
        return measured(replace(options, progress=progress, at_work=progress.at_work))
