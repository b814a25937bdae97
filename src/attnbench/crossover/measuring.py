"""From a question to its answer: the lock, the folder, the matches in turn within the budget, the exit status."""

from __future__ import annotations

import math
import random
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from attnbench.crossover.answer import Crossing, CrossoverAnswer, flips
from attnbench.crossover.envelope import Both, LedStretch, concluded, matters
from attnbench.crossover.evidence import ERROR, MOST_PLACES, RANKED, rules_for
from attnbench.crossover.question import CrossoverQuestion, check_possible
from attnbench.crossover.schedule import Schedule
from attnbench.crossover.search import Search
from attnbench.crossover.visits import EFFORT, Match, Stop
from attnbench.errors import (
    EXIT_CELLS_FAILED,
    EXIT_GATE_FAILED,
    EXIT_INCONCLUSIVE,
    EXIT_NOTHING_MEASURED,
    EXIT_OK,
    worst_exit,
)
from attnbench.live.duo import Name, Side
from attnbench.live.pairs import INTERRUPTED, Pairs
from attnbench.measure.audits.auditor import Auditor
from attnbench.measure.run.ongoing import MEMORY_SHARE
from attnbench.results.fingerprint import collect_fingerprint
from attnbench.results.pairs import PairsWriter
from attnbench.results.schema import Fingerprint
from attnbench.results.store import new_run_id, utc_now
from attnbench.workers.limits import free_memory
from attnbench.workers.protocol import WRONG

FAILED = ("crashed", "timeout", "oom")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Asked:
    """How a question is to be measured, and where what was seen goes; ``began`` is of ``time.monotonic``."""

    budget_s: float = 180.0
    out: Path = Path("results")
    seed: int | None = None
    progress: Progress | None = None
    began: float | None = None


@dataclass(frozen=True)
class CrossoverOutcome:
    """What is sure, of whom, and where what was measured is kept."""

    question: CrossoverQuestion
    matches: tuple[Match, ...]
    word: str
    crossings: tuple[Crossing, ...]
    stretches: tuple[LedStretch, ...]
    run_id: str
    folder: Path
    machine_id: str
    pairs: int
    seconds: float
    note: str | None
    exit_code: int

    @property
    def searches(self) -> Mapping[Both, Search]:
        """The searches by the two names."""
        return {(match.a, match.b): match.search for match in self.matches}

    @property
    def stops(self) -> tuple[Stop, ...]:
        """Where one could not be measured, each once."""
        return tuple(dict.fromkeys(stop for match in self.matches for stop in match.stops))

    @property
    def answer(self) -> CrossoverAnswer:
        """That of two implementations."""
        return self.matches[0].search.answer()


class Numbered:
    """Writes the pairs of several matches into one folder, numbered through, each with the names of its sides."""

    def __init__(self, writer: PairsWriter) -> None:
        self._writer, self.count = writer, 0

    def of(self, a: str, b: str) -> Book:
        """The recorder of one match."""
        return Book(self, f"{a} : {b}")

    def pair(self, record: Mapping[str, Any], match: str) -> None:
        """One pair."""
        self._writer.pair({**record, "pair": self.count, "match": match})
        self.count += 1

    def event(self, name: str, **detail: Any) -> None:
        """Something else."""
        self._writer.event(name, **detail)


@dataclass(frozen=True)
class Book:
    """The recorder of one match."""

    numbered: Numbered
    match: str

    def pair(self, record: Mapping[str, Any]) -> None:
        """All of one pair."""
        self.numbered.pair(record, self.match)

    def event(self, name: str, **detail: Any) -> None:
        """Something else that happened."""
        self.numbered.event(name, match=self.match, **detail)


@dataclass
class Ring:
    """The matches of a question, and which of them has the next pair: of those that matter the one with fewest.

    So many ``waiting`` share the time that is left. Who has no use for such a share rests; ``resting`` says how many
    there were then. Once there are fewer the share is larger, and one of those that rest is asked again: the one that
    needs the fewest pairs.
    """

    names: tuple[str, ...]
    matches: list[Match] = field(default_factory=list)
    waiting: int = 1
    resting: dict[Both, int] = field(default_factory=dict)

    def next(self) -> Match | None:
        """The match whose turn it is; ``None`` where none can say more."""
        searches = {(match.a, match.b): match.search for match in self.matches}
        matter = [m for m in self.matches if matters(searches, self.names, (m.a, m.b), absent(self))]
        going = [match for match in matter if (match.a, match.b) not in self.resting]
        again = [match for match in matter if self.resting.get((match.a, match.b), 0) > len(going) + 1]
        self.waiting = len(going) + bool(again)
        if again:
            match = min(again, key=lambda match: match.search.pairs_to_go() or math.inf)
            del self.resting[match.a, match.b]
            return match
        return min(going, key=lambda match: len(match.schedule.pairs), default=None)

    def visit(self, match: Match, left_s: float) -> None:
        """One pair more of a match; it rests where its share of the time that is left is of no use to it."""
        if not match.visit(left_s, self.waiting):
            self.resting[match.a, match.b] = self.waiting


def absent(ring: Ring) -> Callable[[str, int], bool]:
    """Whether an implementation could not be measured at a place."""
    stops = [stop for match in ring.matches for stop in match.stops if stop.side is not None]
    return lambda name, x: any(stop.side == name and (x == stop.x or (stop.beyond and x >= stop.x)) for stop in stops)


def measure_held(question: CrossoverQuestion, how: Asked) -> CrossoverOutcome:
    """Measure and judge, for whoever holds the lock of this machine. What happens after the start is in the outcome."""
    check_possible(question)
    began = time.monotonic() if how.began is None else how.began
    seed = secrets.randbits(32) if how.seed is None else how.seed
    fingerprint, started = collect_fingerprint(), utc_now()
    run_id = new_run_id(["crossover"], started)
    info = _info(question, how, fingerprint, started) | {"seed": seed}
    with PairsWriter.create(how.out, run_id, info) as writer, Auditor(EFFORT.timeout_s, brief=True) as auditor:
        numbered, rng = Numbered(writer), random.Random(seed)  # noqa: S311  (an order to be repeatable)
        ring, rules = Ring(question.names), rules_for(len(question.matches))
        for a, b in question.matches:
            pairs = Pairs(
                _sides(a, b),
                (),
                _no_judge,
                numbered.of(a, b),
                rng,
                effort=EFFORT,
                budget_s=how.budget_s,
                began=began,
                memory_limit=int(free_memory() * MEMORY_SHARE / 2),
                auditor=auditor,
            )
            schedule = Schedule(how.budget_s / len(question.matches), question.axis.power)
            search = Search(a, b, question.grid, rules=rules)
            ring.matches.append(Match(a, b, question, pairs, search, schedule))
        note = _all(ring, question, how)
        outcome = _outcome(ring, question, run_id, writer.folder, fingerprint, numbered.count, began, note)
        cut = note == INTERRUPTED
        writer.finish("interrupted" if cut else "complete", **_conclusion(outcome))
    return outcome


def _all(ring: Ring, question: CrossoverQuestion, how: Asked) -> str | None:
    """Pair after pair, until nothing is wanted or there is no time for it; a note where it was broken off."""
    for every in ring.matches:
        for x, reason in question.refused_at(sorted(every.search.places)).items():
            every.stopped(Stop(x, None, "unsupported", reason, beyond=question.axis.beyond))
    try:
        while (match := ring.next()) is not None:
            left = match.pairs.left()
            if how.progress is not None:
                places = [place for place in match.search.live if place.open]
                count = sum(len(m.schedule.pairs) for m in ring.matches) + 1
                how.progress(0, 0, f"pair {count}, {match.a} and {match.b}: {len(places)} places open")
            ring.visit(match, left)
    except KeyboardInterrupt:
        return INTERRUPTED
    return None


def _no_judge() -> Any:
    msg = "every place brings its own judge"
    raise NotImplementedError(msg)


def _sides(a: str, b: str) -> dict[Name, Side]:
    return {"A": Side(a), "B": Side(b)}


def _info(question: CrossoverQuestion, how: Asked, fingerprint: Fingerprint, started: str) -> dict[str, Any]:
    return {
        "started": started,
        "started_at": datetime.fromisoformat(started).timestamp(),
        "command": ["attnbench", *sys.argv[1:]],
        "kind": "crossover",
        "implementations": list(question.names),
        "axis": question.axis.name,
        "range": asdict(question.grid),
        "setting": question.held(),
        "rules": _rules(len(question.matches)),
        "effort": asdict(EFFORT),
        "budget_s": how.budget_s,
        "machine_id": fingerprint.machine_id,
        "fingerprint": fingerprint.model_dump(mode="json"),
    }


def _rules(matches: int) -> dict[str, Any]:
    rules = rules_for(matches)
    shared = {"error": ERROR, "matches": matches, "most_places": MOST_PLACES}
    return shared | {"plain": rules.plain, "ranked": asdict(RANKED), "ranked_error": rules.ranked_error}


def _outcome(
    ring: Ring,
    question: CrossoverQuestion,
    run_id: str,
    folder: Path,
    fingerprint: Fingerprint,
    pairs: int,
    began: float,
    note: str | None,
) -> CrossoverOutcome:
    searches = {(match.a, match.b): match.search for match in ring.matches}
    word, crossings, stretches = concluded(searches, question.names, absent(ring))
    stops = tuple(stop for match in ring.matches for stop in match.stops)
    measured = any(place.values for search in searches.values() for place in search.places.values())
    code = exit_code(word, stops, measured=measured, interrupted=note == INTERRUPTED)
    seconds = time.monotonic() - began
    machine = fingerprint.machine_id
    matches = tuple(ring.matches)
    return CrossoverOutcome(
        question, matches, word, crossings, stretches, run_id, folder, machine, pairs, seconds, note, code
    )


def exit_code(word: str, stops: tuple[Stop, ...], *, measured: bool, interrupted: bool) -> int:
    """0 an answer; 3 it cannot be told, or was broken off; 1 one was wrong; 4 one failed; 5 nothing was measured."""
    statuses = {stop.status for stop in stops}
    codes = {EXIT_OK} if measured else {EXIT_NOTHING_MEASURED}
    codes |= {EXIT_INCONCLUSIVE} if interrupted or word == "cannot-be-told" else set()
    codes |= {EXIT_GATE_FAILED} if WRONG in statuses else set()
    codes |= {EXIT_CELLS_FAILED} if statuses & set(FAILED) else set()
    return worst_exit(codes)


def _conclusion(outcome: CrossoverOutcome) -> dict[str, Any]:
    return {
        "pairs": outcome.pairs,
        "seconds": outcome.seconds,
        "note": outcome.note,
        "answer": outcome.word,
        "crossings": [crossing.to_dict() for crossing in outcome.crossings],
        "flips": [stretch.to_dict() for stretch in flips(outcome.crossings)],
        "stops": [asdict(stop) for stop in outcome.stops],
        "exit_code": outcome.exit_code,
        "finished": utc_now(),
    }
