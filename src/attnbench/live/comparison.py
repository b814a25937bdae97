"""A live comparison from its plan to its verdicts: the lock, the folder, the pairs, the judges."""

from __future__ import annotations

import random
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from attnbench.comparing.calibration import live_alarms, replay
from attnbench.comparing.live import LiveJudge, LiveVerdict, exit_code, timed, weigh, weigh_again
from attnbench.comparing.sequential import Rules
from attnbench.errors import EXIT_NOTHING_MEASURED, EXIT_OK
from attnbench.live.pair import PairedEffort
from attnbench.live.pairs import INTERRUPTED, Pairs, PairsOutcome
from attnbench.live.sides import Resolved
from attnbench.live.twin_state import NOT_COMPARABLE, TwinState
from attnbench.measure.audits.auditor import Auditor
from attnbench.measure.run.ongoing import MEMORY_SHARE
from attnbench.results.calibrations import Calibration, SelfComparison, for_machine, joined
from attnbench.results.fingerprint import collect_fingerprint
from attnbench.results.pairs import PairsWriter
from attnbench.results.schema import Fingerprint
from attnbench.results.store import new_run_id, utc_now
from attnbench.workers.limits import free_memory
from attnbench.workers.lock import only_run
from attnbench.workers.protocol import OK, UNSUPPORTED

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Terms:
    """How a comparison is to be made, and where it goes. ``keep_going``: decided cells are measured on.

    ``began`` is when the budget began, of ``time.monotonic``; with the first pair, where it is not given.
    """

    margin: float = 0.03
    budget_s: float | None = 600.0
    out: Path = Path("results")
    wait_s: float = 0.0
    seed: int | None = None
    effort: PairedEffort = field(default_factory=PairedEffort)
    inconclusive_passes: bool = False
    progress: Progress | None = None
    name: str = "ab"
    began: float | None = None
    keep_going: bool = False


@dataclass(frozen=True)
class Compared:
    """What a comparison found, and where it is kept."""

    run_id: str
    folder: Path
    resolved: Resolved
    verdicts: tuple[LiveVerdict, ...]
    outcome: PairsOutcome
    exit_code: int
    fingerprint: Fingerprint
    margin: float
    inconclusive_passes: bool

    def failing(self, verdict: LiveVerdict) -> bool:
        """Whether the comparison fails for a cell."""
        return verdict.bad or verdict.opened(inconclusive_passes=self.inconclusive_passes)

    @property
    def failed_as_a_whole(self) -> str | None:
        """Why it fails although none of its cells does by itself; ``None`` where one does, or where it passed."""
        if self.exit_code == EXIT_OK or any(self.failing(verdict) for verdict in self.verdicts):
            return None
        if self.exit_code == EXIT_NOTHING_MEASURED:
            return "nothing was measured"
        return f"the comparison was broken off: {self.outcome.note}"


def compare_live(resolved: Resolved, terms: Terms) -> Compared:
    """Measure and judge. Raises ``UsageError`` before anything is written; later, whatever happens is in a verdict."""
    with only_run(wait_s=terms.wait_s):
        return compare_held(resolved, terms)


def compare_held(resolved: Resolved, terms: Terms) -> Compared:
    """``compare_live`` for whoever holds the lock of this machine already."""
    rules = Rules(margin=terms.margin, cells=len(resolved.twins))
    seed = secrets.randbits(32) if terms.seed is None else terms.seed
    fingerprint, started = collect_fingerprint(), utc_now()
    run_id = new_run_id([terms.name], started)
    info = _info(resolved, terms, rules, fingerprint, started) | {"seed": seed}
    with PairsWriter.create(terms.out, run_id, info) as writer, Auditor(terms.effort.timeout_s) as auditor:
        pairs = Pairs(
            resolved.sides,
            resolved.twins,
            lambda: LiveJudge(rules, keep_going=terms.keep_going),
            writer,
            random.Random(seed),  # noqa: S311  (an order to be repeatable, not secret)
            effort=terms.effort,
            budget_s=terms.budget_s,
            began=terms.began,
            # Both sides live at the same time.
            memory_limit=int(free_memory() * MEMORY_SHARE / 2),
            doubtful=weigh_again,
            progress=terms.progress,
            auditor=auditor,
        )
        _refuse(pairs.states, resolved.refused)
        outcome = pairs.measure()
        verdicts = tuple(_verdict(state, outcome, terms) for state in pairs.states)
        cut = outcome.note == INTERRUPTED
        code = exit_code(verdicts, inconclusive_passes=terms.inconclusive_passes, interrupted=cut)
        writer.finish(
            "interrupted" if cut else "complete",
            pairs=outcome.pairs,
            seconds=outcome.seconds,
            note=outcome.note,
            startup_s=outcome.startup_s,
            cell_s=outcome.cell_s,
            versions=outcome.versions,
            verdicts=[asdict(verdict) for verdict in verdicts],
            exit_code=code,
            finished=utc_now(),
        )
    return Compared(
        run_id=run_id,
        folder=writer.folder,
        resolved=resolved,
        verdicts=verdicts,
        outcome=outcome,
        exit_code=code,
        fingerprint=fingerprint,
        margin=terms.margin,
        inconclusive_passes=terms.inconclusive_passes,
    )


def calibrated(compared: Compared) -> Calibration:
    """What comparing a version with itself says of this machine, together with what was known of it."""
    now, machine = utc_now(), compared.fingerprint.machine_id
    new = [
        SelfComparison(
            started=now,
            impl=verdict.impl,
            case_label=verdict.case_label,
            threads=verdict.threads,
            verdict=verdict.verdict,
            log_ratios=tuple(verdict.log_ratios),
            margin=compared.margin,
        )
        for verdict in compared.verdicts
        if verdict.measured
    ]
    trials = joined(for_machine(machine), new)
    rate, runs = live_alarms(trials, compared.margin)
    replayed = replay([trial.log_ratios for trial in trials], compared.margin, len(compared.verdicts))
    return Calibration(
        machine_id=machine,
        made=now,
        trials=trials,
        startup_s=compared.outcome.startup_s,
        cell_s=compared.outcome.cell_s,
        alarms=rate.count,
        low=rate.low,
        high=rate.high,
        replayed=replayed,
        live=rate.of,
        runs=runs,
    )


def _info(resolved: Resolved, terms: Terms, rules: Rules, fingerprint: Fingerprint, started: str) -> dict[str, Any]:
    sides = {name: {"label": s.label, "python": s.python, "code": s.code} for name, s in resolved.sides.items()}
    return {
        "started": started,
        "started_at": datetime.fromisoformat(started).timestamp(),
        "command": ["attnbench", *sys.argv[1:]],
        "kind": resolved.kind,
        "sides": sides,
        "cells": {twin.id: twin.label for twin in resolved.twins},
        "rules": asdict(rules),
        "effort": asdict(terms.effort),
        "budget_s": terms.budget_s,
        "machine_id": fingerprint.machine_id,
        "fingerprint": fingerprint.model_dump(mode="json"),
    }


def _refuse(states: Sequence[TwinState], refused: Mapping[str, str]) -> None:
    """Cells that cannot be measured here at all, on either side or on one of them."""
    for state in states:
        reasons = {name: refused.get(state.twin.cell(name).id) for name in ("A", "B")}
        if all(reasons.values()):
            state.end(UNSUPPORTED, None, reasons["A"])
        elif reasons["A"]:
            state.end(UNSUPPORTED, "A", reasons["A"])
        elif reasons["B"]:
            state.end(UNSUPPORTED, "B", reasons["B"])


def _verdict(state: TwinState, outcome: PairsOutcome, terms: Terms) -> LiveVerdict:
    twin, judge = state.twin, state.judge
    assert isinstance(judge, LiveJudge)  # noqa: S101  (the judge that compare_live gave)
    fields: dict[str, Any] = timed(judge.decision, outcome.startup_s + outcome.cell_s)
    if state.decided and fields["verdict"] != "inconclusive":
        fields["reason"] = None
    memory = None
    if state.status != OK:
        fields |= {"verdict": NOT_COMPARABLE, "reason": state.reason, "more_pairs": None, "more_s": None}
    elif terms.effort.memory_repeats:
        left = state.memory_reason or ("the comparison was interrupted" if outcome.note == INTERRUPTED else None)
        memory = weigh(state.memory["A"], state.memory["B"], left, state.memory_status, state.memory_unknown)
    return LiveVerdict(
        id=twin.id,
        suite=twin.a.suite,
        case_label=twin.case_label,
        impl=twin.impl,
        device=twin.a.device,
        threads=twin.a.threads,
        # What is not comparable for its own sake has no status of a failure.
        status=OK if state.status == NOT_COMPARABLE else state.status,
        side=state.side,
        quads=state.quads,
        again=state.again,
        disturbed=state.disturbed,
        log_ratios=tuple(state.log_ratios),
        memory=memory,
        a_s=_median(state.seconds["A"]),
        b_s=_median(state.seconds["B"]),
        **fields,
    )


def _median(values: Sequence[float]) -> float | None:
    from statistics import median

    return median(values) if values else None
