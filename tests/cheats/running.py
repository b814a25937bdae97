"""Runs cheats and honest kernels as a run does: in processes of their own, timed, audited, perhaps weighed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.measure.audits.auditor import Auditor
from attnbench.measure.blocks.block import Block
from attnbench.measure.blocks.effort import Effort
from attnbench.measure.blocks.outcome import Outcome, RunClock
from attnbench.measure.blocks.passes import Passes
from attnbench.results.schema import Sample
from attnbench.suite import Cell
from attnbench.workers.pool import Pool
from tests.cheats.cheat import Cheat

CASES = {
    "forward": Case(AttentionSpec(), Problem(Hq=4, Tq=128, D=32, dtype="float32")),
    "longer": Case(AttentionSpec(), Problem(Hq=4, Tq=512, D=32, dtype="float32")),
    "backward": Case(AttentionSpec(), Problem(Hq=4, Tq=128, D=32, dtype="float32"), phase="backward"),
    "longer backward": Case(AttentionSpec(), Problem(Hq=4, Tq=512, D=32, dtype="float32"), phase="backward"),
    "decode": Case(AttentionSpec(), Problem(Hq=4, Hkv=2, Tq=1, S=2048, D=64, dtype="float32"), phase="decode"),
}
# Of an honest kernel's time or memory.
LEAST = 0.8
TRIES = 8
CAUGHT = ("wrong", "timeout")
EFFORT = Effort(replicates=1, min_bursts=4, max_bursts=5, cell_s=0.3)


class Nobody:
    """Keeps nothing but the events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def samples(self, samples: Sequence[Sample]) -> None:
        """Not kept."""

    def event(self, name: str, **detail: object) -> None:
        """Kept."""
        self.events.append((name, detail))


def run(
    impl: str, file: Path | None, phase: str, *, audited: bool = True, weigh: bool = False, replicates: int = 1
) -> Outcome:
    """What becomes of one implementation in the case of a phase."""
    cell = Cell("cheats", {}, CASES[phase], impl, "cpu", 1, files=() if file is None else (str(file),))
    pool = Pool(threads=1, timeout_s=25, rng=random.Random(1))  # noqa: S311  (an order to be repeatable)
    with Auditor(60) as auditor:
        common = (replace(EFFORT, replicates=replicates), RunClock("r", 0.0), Nobody(), random.Random(2))  # noqa: S311
        block = Block([cell], pool, *common, weigh=weigh, auditor=auditor if audited else None)
        Passes([block], lambda *_: pool, lambda _: None, lambda *_: None, random.Random(3)).measure()  # noqa: S311
        return block.outcomes[0]


def run_cheat(cheat: Cheat, folder: Path, *, audited: bool = True) -> Outcome:
    """What becomes of a cheat in its case."""
    file = cheat.write(folder)
    return run(cheat.impl, file, cheat.phase, audited=audited, weigh=cheat.weighs, replicates=cheat.replicates)


def seconds(outcome: Outcome) -> float:
    """The median time of a call, by the bursts that count."""
    return median(one.wall_s for one in outcome.samples if not one.warmup)


def honest(cheat: Cheat, folder: Path) -> Outcome:
    """The honest kernel of its backend in the case of a cheat."""
    gradients = ", vjp=gradients" if cheat.backend == "numpy" else ""
    body = f"""
@implementation("NAME", CAN{gradients})
def attend(q, k, v, call):
    return honest(q, k, v, call)
"""
    kernel = replace(cheat, name="honest", body=body)
    return run_cheat(kernel, folder)


def paid(outcome: Outcome, cheat: Cheat, folder: Path) -> bool:
    """Whether a cheat that is ``ok`` has cost what honest work costs: 0.8 of its time at least, or of its memory.

    What else a machine does makes times longer, and where pages lie makes a process twice as slow as the next one:
    where it seems not to have, the shortest of up to eight are compared.
    """
    cheats, others = [outcome], [honest(cheat, folder)]
    while not _as_much(cheats, others, cheat) and len(cheats) < TRIES and not cheat.weighs:
        cheats.append(run_cheat(cheat, folder))
        if cheats[-1].status != "ok":
            return cheats[-1].status in CAUGHT
        others.append(honest(cheat, folder))
    return _as_much(cheats, others, cheat)


def _as_much(cheats: Sequence[Outcome], others: Sequence[Outcome], cheat: Cheat) -> bool:
    if not cheat.weighs:
        return min(map(seconds, cheats)) >= LEAST * min(map(seconds, others))
    own, others_own = (0 if one.memory is None else one.memory.peak_bytes or 0 for one in (cheats[0], others[0]))
    return own >= LEAST * others_own > 0


def gains_nothing(cheat: Cheat, folder: Path) -> bool:
    """Whether a cheat is wrong, or hangs, or has cost what honest work costs; one that crashes shows nothing."""
    outcome = run_cheat(cheat, folder)
    return outcome.status in CAUGHT or (outcome.status == "ok" and paid(outcome, cheat, folder))
