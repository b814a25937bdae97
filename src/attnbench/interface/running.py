"""From the words of ``attnbench run`` to a finished run with its verdicts: what the command and ``ab.run`` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.errors import UsageError, check_known
from attnbench.interface.given import Duration, Note, check_positive, check_threads, seconds, split
from attnbench.interface.places import check_runs_folder

if TYPE_CHECKING:
    from attnbench.analysis.judged import JudgedRun
    from attnbench.measure.run.options import RunOptions
    from attnbench.measure.run.plan import Plan

# Options that are levels of axes, by the names of these.
LEVELS = ("shape", "tokens", "batch", "phase", "dtype")


@dataclass(frozen=True)
class RunWords:
    """What a run is asked, in the words of the command line.

    ``axes`` are the texts of -a; ``levels`` what the options of ``LEVELS`` say.
    ``suite_files`` are those of --suites. Times are as they were typed, or seconds. The other words are those of the
    options.
    """

    suites: Sequence[str] = ()
    workload: str | None = None
    impl: Sequence[str] = ()
    axes: Sequence[str] = ()
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    device: Sequence[str] = ()
    threads: Sequence[int] = ()
    budget: Duration = None
    resume: str | Path | None = None
    out: Path = Path("results")
    timeout_s: float = 120.0
    wait: Duration = None
    impls: Sequence[Path] = ()
    suite_files: Sequence[Path] = ()

    def typed(self) -> list[str]:
        """The command line that asks the same, as a run keeps it."""
        several = {"--impl": self.impl, "-a": self.axes, "--device": self.device, "--threads": self.threads}
        several |= {f"--{name}": levels for name, levels in self.levels.items()}
        several |= {"--impls": self.impls, "--suites": self.suite_files}
        once = {"--workload": self.workload, "--budget": self.budget, "--resume": self.resume}
        once |= {"--wait": self.wait, "--timeout": None if self.timeout_s == self._usual else self.timeout_s}
        once |= {"--out": None if self.resume or self.out == Path("results") else self.out}
        said = [(option, value) for option, values in several.items() for value in values]
        said += [(option, value) for option, value in once.items() if value is not None]
        return ["attnbench", "run", *self.suites, *(_text(word) for pair in said for word in pair)]

    @property
    def _usual(self) -> float:
        return type(self).timeout_s


def _text(word: object) -> str:
    """A word as it is typed; a number in plain digits, which every option reads."""
    if not isinstance(word, float):
        return str(word)
    plain = f"{Decimal(repr(word)):f}"
    return plain.removesuffix(".0")


def run_options(words: RunWords, note: Note) -> RunOptions:
    """What is measured for these words. Raises ``UsageError`` and its kin before anything is measured.

    ``note`` is told what a workload means, what is left out and why, and what makes times doubtful.
    """
    from attnbench import groups
    from attnbench.interface.serving import overrides, own_setting, serving
    from attnbench.interface.suite_files import suites_named

    suites = suites_named(words.suites, words.suite_files, resumed=words.resume is not None)
    named, made = serving(words.workload, suites, words.resume, note)
    axes = overrides(named, words.axes, {name: split(levels) for name, levels in words.levels.items()})
    _check(named, words)
    check_threads(words.threads, note)
    from attnbench.measure.blocks.effort import Effort
    from attnbench.measure.run.options import RunOptions

    return RunOptions(
        suites=[*groups.expanded(named[: len(named) - len(made)]), *made],
        patterns=words.impl,
        overrides=axes,
        devices=words.device or own_setting(named, "devices"),
        threads=words.threads or own_setting(named, "threads"),
        files=[str(path) for path in words.impls],
        budget_s=seconds(words.budget),
        resume=words.resume,
        out=words.out,
        effort=Effort(timeout_s=words.timeout_s),
        wait_s=seconds(words.wait) or 0.0,
        command=words.typed(),
        on_plan=_planned(note),
    )


def _check(suites: Sequence[str], words: RunWords) -> None:
    """Raise ``UsageError`` before anything is measured for what could not be measured or kept."""
    from attnbench.backends.implementation import DEVICES
    from attnbench.results.extra import check_report_extra

    check_report_extra("attnbench run")
    if not suites and words.resume is None:
        msg = (
            "name a suite, such as 'attnbench run smoke' (attnbench list suites shows them), a --workload, or --resume "
            "a run"
        )
        raise UsageError(msg)
    check_known("device", words.device, DEVICES)
    check_positive("--timeout", words.timeout_s)
    if words.resume is None:
        check_runs_folder("--out", words.out)


def _planned(note: Note) -> Callable[[Plan], None]:
    def planned(plan: Plan) -> None:
        from attnbench.interface.serving import check_servable, left_out
        from attnbench.tried.code import GPU
        from attnbench.tried.marks import untried

        check_servable(plan)
        for line in left_out(plan):
            note(line)
        on_gpu = [cell.impl for cell in plan.cells if cell.device == GPU and cell.id not in plan.refused]
        if new := untried(on_gpu):
            note(new)

    return planned


def judged(folder: Path, note: Note) -> JudgedRun:
    """The finished run with its verdicts, which stand beside its rows; what could not be written is noted."""
    from attnbench.analysis.claim_rows import write_verdicts
    from attnbench.analysis.judged import judge_run
    from attnbench.backends import discover

    run = judge_run(folder, discover.suite)
    try:
        write_verdicts(run)
    except Exception as error:  # noqa: BLE001  (a suite's own code, which must not lose the run)
        note(f"the run is kept in {folder}, but its verdicts were not written: {error}")
    return run
