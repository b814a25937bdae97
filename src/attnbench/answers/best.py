"""``best``: from the runs of this machine, or from one that is made now, to an answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.answers import able
from attnbench.answers.answer import AnswerBasis, Contender, OtherRun
from attnbench.answers.blocks import CaseBlock, blocks, holding, near
from attnbench.answers.equals import Price, facts, price
from attnbench.answers.order import Order, noise, order
from attnbench.answers.question import Wanted, WhichOne
from attnbench.answers.saved import AskedMachine, RunsHere, gathered, machines_of
from attnbench.answers.sieve import UNTRIED, Declares, NotChosen, sieved
from attnbench.answers.since import is_from_a_file
from attnbench.answers.words import AnswersByMachine, BestAnswer
from attnbench.results.frames import records
from attnbench.results.read import Runs
from attnbench.show import units
from attnbench.suite.written import levels_typed

if TYPE_CHECKING:
    import pandas as pd


OTHERS = 3
# The verdicts by which a table has an entry: one to take, and who is not told from it.
NAMED_ALL = ("fastest", "only", "either")
MEASURE = "5m"
# Minutes of another try where nobody can say how many would tell.
LONGER = 20
# Reasons that say an implementation was measured, and is not known to be an answer.
JUDGED = ("wrong", "crashed", "over-memory", "lacks", "unknown")


def answered(
    question: WhichOne,
    runs: Runs | None = None,
    *,
    files: Sequence[str | Path] = (),
    machine: AskedMachine | None = None,
    declares: Declares | None = None,
) -> BestAnswer:
    """The answer from saved runs of a machine, which is this one without: those that are named, or ``results/``.

    ``declares`` says what implementations can do; processes of their frameworks are asked without it. Raises
    ``ResultsError`` for a run that is named and is none.
    """
    every = gathered(runs, machine)
    answer = _answer(question, every, files, declares)
    if machine is None or machine.name is None:
        return answer
    return replace(answer, machine=machine.name, elsewhere=not machine.is_here)


def answered_by_machine(
    question: WhichOne, runs: Runs | None = None, *, files: Sequence[str | Path] = (), declares: Declares | None = None
) -> BestAnswer | AnswersByMachine:
    """The same from this machine alone where no run is named; else from every machine of those that are."""
    answers = [
        answered(question, runs, files=files, machine=machine, declares=declares) for machine in machines_of(runs)
    ]
    return answers[0] if len(answers) == 1 else AnswersByMachine(tuple(answers))


def _answer(question: WhichOne, every: RunsHere, files: Sequence[str | Path], declares: Declares | None) -> BestAnswer:
    asks = declares or partial(able.declared, device=question.device, files=[str(file) for file in files])
    fitting = holding(question, blocks(every.runs))
    if not fitting:
        return _not_measured(question, every)
    return _from_block(question, fitting, every, asks, files)


def _not_measured(question: WhichOne, every: RunsHere) -> BestAnswer:
    again = f"attnbench best {question.typed()} --measure {MEASURE}"
    notes = every.left_out
    return BestAnswer(
        question, "not-measured", near=tuple(near(question, blocks(every.runs))), notes=notes, type=(again,)
    )


def _from_block(
    question: WhichOne,
    fitting: Sequence[CaseBlock],
    every: RunsHere,
    declares: Declares,
    files: Sequence[str | Path] = (),
) -> BestAnswer:
    block = fitting[0]
    known: dict[str, able.Able] = {}

    def ask(names: Sequence[str]) -> dict[str, able.Able]:
        known.update(declares([name for name in names if name not in known]))
        return {name: known[name] for name in names}

    case = judged_case(question.wanted, fitting, ask)
    notes = (*every.left_out, *_newer(block, fitting))
    again = f"attnbench best {question.typed()} --measure {MEASURE}"
    about: dict[str, Any] = {"left_out": case.left_out, "evidence": _evidence(block, case.rows), "notes": notes}
    if case.standing is None:
        return BestAnswer(question, case.verdict, type=(again,), **about)
    about["evidence"] = replace(about["evidence"], rests_on=case.standing.rests_on)
    contenders = _contenders(case.rows, case.standing, block)
    if case.verdict not in ("fastest", "only"):
        about["facts"] = facts({c.impl: c.peak_bytes for c in contenders if c.impl in case.names}, known)
    cost = _price(question, block, contenders, case.standing, files) if case.verdict == "either" else None
    changed = any(c.since is not None and c.since.known == "changed" for c in contenders)
    about |= {"others": case.others, "price": cost, "type": _typed(case.verdict, cost, again, changed=changed)}
    return BestAnswer(question, case.verdict, case.names, contenders, **about)


@dataclass(frozen=True)
class CaseJudged:
    """What can be said of a case, and of whom: by its first block, and by the others as far as they contradict it.

    ``rows`` are those of who may be the answer, and ``standing`` is their order; ``None`` where there are none.
    """

    verdict: str
    names: tuple[str, ...]
    rows: pd.DataFrame
    left_out: tuple[NotChosen, ...]
    standing: Order | None = None
    others: tuple[OtherRun, ...] = ()


def judged_case(wanted: Wanted, fitting: Sequence[CaseBlock], ask: Declares) -> CaseJudged:
    """The verdict on a case from the blocks that measured it, the one that it rests on first."""
    block = fitting[0]
    rows, left_out = sieved(block.rows, wanted, ask, is_here=block.run.is_here)
    if rows.empty:
        tried = any(left.kind in JUDGED for left in left_out)
        return CaseJudged("none" if tried else "not-measured", (), rows, left_out)
    rows = block.sampled(rows)
    standing = order(rows)
    others = tuple(_others(wanted, block, standing, fitting[1:], ask))
    disputed = next((run for run in others if run.contradicts), None)
    if len(standing.leading) == 1 and disputed is not None:
        names = tuple(dict.fromkeys((*standing.leading, *disputed.leading)))
        return CaseJudged("disputed", names, rows, left_out, standing, others)
    verdict = _verdict_of(standing, left_out, block)
    return CaseJudged(verdict, standing.leading, rows, left_out, standing, others)


def _verdict_of(standing: Order, left_out: Sequence[NotChosen], block: CaseBlock) -> str:
    """What one block can say by itself."""
    if len(standing.leading) > 1:
        return "either"
    if standing.behind:
        return "fastest"
    in_block = {str(name) for name in block.rows["impl"]} - set(standing.leading)
    rest = [left.kind not in UNTRIED for left in left_out if left.impl in in_block]
    return "only" if rest and all(rest) else "alone"


def _contenders(rows: pd.DataFrame, standing: Order, block: CaseBlock) -> tuple[Contender, ...]:
    by_name = {str(row["impl"]): row for row in records(rows)}
    return tuple(
        Contender(
            name,
            name in standing.leading,
            float(by_name[name]["time_median_s"]),
            _number(by_name[name]["time_low_s"]),
            _number(by_name[name]["time_high_s"]),
            standing.ratio(name),
            None if (peak := _number(by_name[name]["peak_bytes"])) is None else int(peak),
            block.changed.get(name),
        )
        for name in standing.all
    )


def _number(value: Any) -> float | None:
    return float(value) if units.known(value) else None


def _evidence(block: CaseBlock, rows: pd.DataFrame) -> AnswerBasis:
    info, ok = block.run.info, block.rows[block.rows["status"] == "ok"]
    timed = rows if len(rows) else ok
    fastest = str(timed.sort_values("time_median_s")["impl"].iloc[0]) if len(timed) else None
    return AnswerBasis(
        run_id=info.run_id,
        folder=str(block.run.folder),
        started=info.started,
        age_days=_age_days(info.started),
        suite=block.suite,
        block_id=str(block.rows["block_id"].iloc[0]),
        processes=int(timed["n_replicates"].fillna(0).min()) if len(timed) else 0,
        most_processes=int(timed["n_replicates"].fillna(0).max()) if len(timed) else 0,
        bursts=int(timed["n_bursts"].min()) if len(timed) else 0,
        noise=None if fastest is None else noise(timed, fastest),
        disturbed=int(ok["disturbed_bursts"].sum()),
        machine_id=info.fingerprint.machine_id,
        processor=info.fingerprint.hardware.cpu_model,
        code=info.fingerprint.git,
        versions=info.fingerprint.frameworks,
        spec_version=info.fingerprint.spec_version,
    )


def _age_days(started: str) -> float:
    began = datetime.fromisoformat(started)
    return max(0.0, (datetime.now(UTC) - began).total_seconds() / 86400)


def _newer(block: CaseBlock, fitting: Sequence[CaseBlock]) -> list[str]:
    """Runs that are newer than the one that is taken, and why they are not."""
    return [
        f"{other.run.folder.name} is newer and has {other.measured} of these implementations, in the place of "
        f"{block.measured}: name it to ask it alone"
        for other in fitting[1:]
        if other.run.info.started > block.run.info.started
    ]


def _others(
    wanted: Wanted, block: CaseBlock, standing: Order, rest: Sequence[CaseBlock], ask: Declares
) -> list[OtherRun]:
    """What other runs of this machine say of the case, the best of them first."""
    runs = []
    for other in rest[:OTHERS]:
        rows, _ = sieved(other.rows, wanted, ask, is_here=other.run.is_here)
        if len(rows) > 1:
            there = order(other.sampled(rows))
            against = _against(block, standing, other, there)
            runs.append(OtherRun(other.run.info.run_id, other.run.day, there.leading, against))
    return runs


def _against(block: CaseBlock, standing: Order, other: CaseBlock, there: Order) -> bool:
    """Whether each of two runs tells its own winner from that of the other, of the same code and versions."""
    if len(standing.leading) > 1 or len(there.leading) > 1:
        return False
    winner, rival = standing.leading[0], there.leading[0]
    if winner == rival or winner not in there.behind or rival not in standing.behind:
        return False
    names = (winner, rival)
    unchanged = all(block.changed.get(name) == other.changed.get(name) for name in names)
    return unchanged and all(_alike(block, other, name) for name in names)


def _alike(block: CaseBlock, other: CaseBlock, name: str) -> bool:
    """Whether two runs measured the same versions of an implementation's libraries."""
    backend = name.partition("/")[0]
    left, right = (side.run.info.fingerprint.frameworks.get(backend) for side in (block, other))
    return left == right


def _price(
    question: WhichOne,
    block: CaseBlock,
    contenders: Sequence[Contender],
    standing: Order,
    files: Sequence[str | Path],
) -> Price | None:
    """What telling the first two apart costs."""
    first, second = contenders[:2]
    if second.ratio is None:
        return None
    cell = f"--suite {block.suite} {levels_typed(block.point)}"
    cell += f" --device {question.device}" if question.device != "cpu" else ""
    cell += f" --threads {question.threads}" if question.threads != 1 else ""
    if any(is_from_a_file(contender.impl) for contender in (first, second)):
        cell += "".join(f" --impls {file}" for file in files or ("FILE",))
    machine = block.run.info.fingerprint.machine_id
    spread = standing.spread(second.impl)
    among = len(standing.leading), len(contenders)
    log_ratio = math.log(second.ratio.value)
    return price((first.impl, second.impl), log_ratio, spread, machine, cell, first.time_s, among)


def _typed(verdict: str, cost: Price | None, again: str, *, changed: bool) -> tuple[str, ...]:
    """Commands that tell more."""
    if verdict == "either":
        measured_s = None if cost is None else cost.measured_s
        minutes = LONGER if measured_s is None else max(2, math.ceil(1.2 * measured_s / 60))
        longer = again.replace(f"--measure {MEASURE}", f"--measure {minutes}m")
        return tuple(filter(None, (cost.typed if cost is not None and cost.pairs is not None else None, longer)))
    return (again,) if changed or verdict in ("alone", "disputed") else ()
