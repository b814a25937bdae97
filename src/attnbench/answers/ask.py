"""``ab.best``: a question from Python, in the words of ``attnbench best``; and a question that is measured now.

What is measured is its one case with every implementation that the suite ``speed`` has, and it is kept as a run.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from attnbench.analysis.leading import MOST_PROCESSES
from attnbench.answers import able
from attnbench.answers.best import answered, answered_by_machine
from attnbench.answers.order import GoingOn
from attnbench.answers.question import SUITE, Wanted, WhichOne, question
from attnbench.answers.sieve import Declares, NotChosen
from attnbench.answers.words import AnswersByMachine, BestAnswer
from attnbench.errors import UsageError
from attnbench.keywords import explained
from attnbench.measure.run.options import Progress, RunOptions, SeenCell
from attnbench.measure.run.plan import Plan
from attnbench.measure.run.run import run
from attnbench.results.extra import check_report_extra
from attnbench.results.read import Runs
from attnbench.suite.written import written

BEST = "attnbench best "


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


def measured_now(question: WhichOne, how: HowMeasured, declares: Declares | None = None) -> BestAnswer:
    """The answer from a run that is made now. Raises ``UsageError`` and its kin before anything is measured."""
    going_on = GoingOn(_fitting(question.wanted, how, declares))
    options = RunOptions(
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
        goes_on=going_on,
    )
    outcome = run(replace(options, effort=replace(options.effort, replicates=MOST_PROCESSES)))
    answer = answered(question, [outcome.folder], files=[str(file) for file in how.files], declares=declares)
    whys = {name: group.reason for group in outcome.left_out for name in group.implementations}
    left_out = tuple(_by_the_suite(left, whys) for left in answer.left_out)
    broken_off = [] if outcome.note is None else [f"the run is partial: {outcome.note}"]
    notes = (*answer.notes, *going_on.said(), *outcome.shortened, *broken_off)
    interrupted = (outcome.note or "").startswith("interrupted")
    typed = tuple(line + _by_whom(how) if line.startswith(BEST) else line for line in answer.type)
    return replace(answer, left_out=left_out, notes=notes, type=typed, interrupted=interrupted)


def _fitting(
    fits: Wanted, how: HowMeasured, declares: Declares | None
) -> Callable[[Sequence[SeenCell]], list[SeenCell]]:
    """Who may be an answer among cells that are being measured: what they declare is asked once."""
    asks = declares or partial(able.declared, device=fits.device, files=[str(file) for file in how.files])
    known: dict[str, able.Able] = {}

    def fitting(cells: Sequence[SeenCell]) -> list[SeenCell]:
        if fits.needs and (new := [c.impl for c in cells if c.impl not in known]):
            known.update(asks(new))
        return [c for c in cells if _is_small(c, fits) and not (fits.needs and known[c.impl].lacks(fits.needs))]

    return fitting


def _is_small(cell: SeenCell, fits: Wanted) -> bool:
    """Whether the peak of a cell is within the bound; one that is not measured yet may be."""
    if fits.memory_bytes is None or not cell.weighed:
        return True
    return cell.peak_bytes is not None and cell.peak_bytes <= fits.memory_bytes


def _by_whom(how: HowMeasured) -> str:
    """The options that say who is measured."""
    given = [("--impl", pattern) for pattern in how.patterns] + [("--impls", str(file)) for file in how.files]
    return "".join(f" {option} {shlex.quote(value)}" for option, value in given)


def _by_the_suite(left: NotChosen, whys: dict[str, str]) -> NotChosen:
    """The same with the suite's own reason, where it was the suite that left somebody out."""
    if left.kind != "not-measured" or left.impl not in whys:
        return left
    return replace(left, reason=f"{whys[left.impl]} (--impl NAME measures it)")


@explained
def best(
    shape: str,
    tokens: int | str,
    *,
    phase: str = "prefill",
    dtype: str = "float32",
    batch: int | str = 1,
    device: str = "cpu",
    threads: int | None = None,
    memory: int | str | None = None,
    needs: Sequence[str] = (),
    runs: Runs | None = None,
    measure: float | None = None,
    impl: Sequence[str] = (),
    files: Sequence[str | Path] = (),
    out: str | Path = "results",
) -> BestAnswer | AnswersByMachine:
    """The fastest implementation for one case that agrees and fits, from saved runs of this machine, or measured now.

    ``runs`` are all in ``results/`` unless some are named; where these are of several machines, each has an answer of
    its own in ``.answers``. ``measure`` is seconds: the case is then measured now, and
    kept as a run in ``out``; ``impl`` are names or patterns of those that are measured, ``files`` drop-in files.
    ``needs`` are features by their names in ``Capabilities``. Raises ``UsageError`` and its kin.
    """
    check_report_extra("attnbench.best")
    needed = (needs,) if isinstance(needs, str) else tuple(needs)
    wanted = question(
        shape,
        tokens,
        batch=batch,
        phase=phase,
        dtype=dtype,
        device=device,
        threads=threads,
        needs=needed,
        memory=memory,
    )
    if measure is None:
        if impl:
            msg = "impl= says who is measured now: give measure=300 (seconds) with it, or leave it out"
            raise UsageError(msg)
        return answered_by_machine(wanted, runs, files=files)
    if runs is not None:
        msg = "give runs= or measure=: what is measured now is a run of its own, and not mixed with others"
        raise UsageError(msg)
    patterns = (impl,) if isinstance(impl, str) else tuple(impl)
    how = HowMeasured(measure, Path(out), patterns, [Path(file) for file in files], command=("attnbench.best",))
    return measured_now(wanted, how)
