"""An answer: who is the fastest, by how much, how sure that is, who was left out, and what to type for more.

The verdicts: ``fastest`` (one is told from all others that were measured), ``only`` (one agrees and fits, all others
of its block were tried), ``either`` (the first is not told from others), ``disputed`` (two runs of this machine name
different ones), ``alone`` (nobody else was measured), ``none`` (nobody is known to agree and fit), ``not-measured``.
``untried`` are those that none of this is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from attnbench.analysis.intervals import Interval
from attnbench.answers.blocks import NearCase
from attnbench.answers.equals import Price
from attnbench.answers.question import WhichOne
from attnbench.answers.sieve import UNTRIED, NotChosen
from attnbench.answers.since import Since
from attnbench.errors import EXIT_INCONCLUSIVE, EXIT_NOTHING_MEASURED, EXIT_OK

EXIT_CODES = {
    "fastest": EXIT_OK,
    "only": EXIT_OK,
    "either": EXIT_INCONCLUSIVE,
    "disputed": EXIT_INCONCLUSIVE,
    "alone": EXIT_INCONCLUSIVE,
    "none": EXIT_NOTHING_MEASURED,
    "not-measured": EXIT_NOTHING_MEASURED,
}
NAMING = ("fastest", "only")


@dataclass(frozen=True)
class Contender:
    """One that agrees and fits: its time with its interval, and the ratio of its time to that of the first.

    ``is_leading``: it may be the fastest. ``since`` is what changed below it since it was measured.
    """

    impl: str
    is_leading: bool
    time_s: float
    low_s: float | None
    high_s: float | None
    ratio: Interval | None
    peak_bytes: int | None
    since: Since | None

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        given = {name: getattr(self, name) for name in ("impl", "time_s", "low_s", "high_s", "peak_bytes")}
        standing = "leading" if self.is_leading else "behind"
        changed = None if self.since is None else asdict(self.since)
        return {**given, "standing": standing, "ratio": ratio_described(self.ratio), "since": changed}


@dataclass(frozen=True)
class AnswerBasis:
    """What an answer rests on: one block of one run; how much was measured in it, how noisy it was, how old it is."""

    run_id: str
    folder: str
    started: str
    age_days: float
    suite: str
    block_id: str
    processes: int
    most_processes: int
    bursts: int
    noise: float | None
    disturbed: int
    machine_id: str
    processor: str | None
    code: str | None
    versions: Mapping[str, Mapping[str, str]]
    spec_version: str
    rests_on: str | None = None


@dataclass(frozen=True)
class OtherRun:
    """Another run of this machine that measured the case: who led there, and whether that contradicts the answer."""

    run_id: str
    day: str
    leading: tuple[str, ...]
    contradicts: bool


@dataclass(frozen=True)
class AnswerParts:
    """What is answered to a question; ``words.BestAnswer`` says it.

    ``names`` are the one or those that may be the fastest; ``best`` is the one, ``None`` where nobody is to be named
    alone. ``contenders`` stand in the order of their ratios to the first. ``facts`` may help to choose among equals and
    are no verdict; ``notes`` say what was passed over; ``type`` are commands that tell more. ``interrupted``: the run
    that was made for it was broken off. ``machine`` names the machine where runs of others than this one were named,
    and ``elsewhere`` says that it is another one than this.
    """

    question: WhichOne
    verdict: str
    names: tuple[str, ...] = ()
    contenders: tuple[Contender, ...] = ()
    left_out: tuple[NotChosen, ...] = ()
    evidence: AnswerBasis | None = None
    price: Price | None = None
    others: tuple[OtherRun, ...] = ()
    near: tuple[NearCase, ...] = ()
    facts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    interrupted: bool = False
    machine: str | None = None
    elsewhere: bool = False

    @property
    def best(self) -> str | None:
        """The one to take; ``None`` where nobody can be named alone."""
        return self.names[0] if self.verdict in NAMING else None

    @property
    def untried(self) -> tuple[str, ...]:
        """Those that might be faster, for all that was seen: they have no time, or are not known to fit."""
        return tuple(left.impl for left in self.left_out if left.kind in UNTRIED)

    @property
    def lead(self) -> Interval | None:
        """How many times as long the next one takes, with its interval; ``None`` where nobody is named with a lead."""
        return self.contenders[1].ratio if self.best is not None and len(self.contenders) > 1 else None

    @property
    def exit_code(self) -> int:
        """The exit status of the command line."""
        code = EXIT_CODES[self.verdict]
        return EXIT_INCONCLUSIVE if self.interrupted and code == EXIT_OK else code


def ratio_described(ratio: Interval | None) -> dict[str, float] | None:
    """A ratio for JSON; an end that is not known is ``"inf"`` there."""
    return None if ratio is None else {"ratio": ratio.value, "low": ratio.low, "high": ratio.high}
