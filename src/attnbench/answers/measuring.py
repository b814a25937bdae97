"""A question measured now: its one case with every implementation that a suite would measure, kept as a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from attnbench.answers.answer import Answer
from attnbench.answers.best import answered
from attnbench.answers.question import SUITE, Question
from attnbench.answers.sieve import Declares, LeftOut
from attnbench.measure.run.options import Progress, RunOptions
from attnbench.measure.run.plan import Plan
from attnbench.measure.run.run import run
from attnbench.suite.written import written


@dataclass(frozen=True)
class HowMeasured:
    """How a question is measured now: for how long, where it is kept, by whom, and who is told how far it is."""

    budget_s: float
    out: Path = Path("results")
    patterns: Sequence[str] = ()
    files: Sequence[Path] = ()
    wait_s: float = 0.0
    command: Sequence[str] = ()
    progress: Progress | None = None
    at_work: Callable[[str], None] | None = None
    on_plan: Callable[[Plan], None] | None = None


def measured_now(question: Question, how: HowMeasured, declares: Declares | None = None) -> Answer:
    """The answer from a run that is made now. Raises ``UsageError`` and its kin before anything is measured."""
    outcome = run(
        RunOptions(
            suites=[SUITE],
            patterns=how.patterns,
            overrides=[f"{axis}={written([level])}" for axis, level in question.levels().items()],
            devices=[question.device],
            threads=[question.threads],
            files=[str(file) for file in how.files],
            budget_s=how.budget_s,
            out=how.out,
            wait_s=how.wait_s,
            command=how.command,
            progress=how.progress,
            at_work=how.at_work,
            on_plan=how.on_plan,
        )
    )
    answer = answered(question, [outcome.folder], files=[str(file) for file in how.files], declares=declares)
    whys = {name: group.reason for group in outcome.left_out for name in group.implementations}
    left_out = tuple(_by_the_suite(left, whys) for left in answer.left_out)
    return replace(answer, left_out=left_out, notes=(*answer.notes, *outcome.shortened))


def _by_the_suite(left: LeftOut, whys: dict[str, str]) -> LeftOut:
    """The same with the suite's own reason, where it was the suite that left somebody out."""
    if left.kind != "not-measured" or left.impl not in whys:
        return left
    return replace(left, reason=f"{whys[left.impl]} (--impl {left.impl} measures it)")
