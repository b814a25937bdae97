"""What ``ab`` is meant to hold on a shared machine, against what replay and campaign show of it.

``met`` is said only where the whole 95 % interval is within the target, ``not met`` where all of it is outside; between
the two nothing is shown, however well the rate itself looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attnbench.comparing.rates import Rate
from attnbench.scoreboard.live.campaign import JOURNAL, Summary, conditions, counting, finished, summarise
from attnbench.scoreboard.page import read_csv
from attnbench.scoreboard.recorded.replay import OURS, Result
from attnbench.show import markdown

MET, NOT_MET, NOT_SHOWN = "met", "not met", "not shown"
WIDER = "not met, they hold more"
# The targets for slowdowns that are found hold while the robust spread of pairs is at most this.
MOST_SPREAD = 0.04
CELLS = 8
REPLAYED = "replay.csv"


@dataclass(frozen=True)
class Target:
    """The share of ``what`` (a field of ``Result``) is from ``low`` to ``high``, at ``extra`` per cent more work."""

    name: str
    what: str
    extra: int
    budget_s: float
    low: float
    high: float

    @property
    def asked(self) -> str:
        """The target in words."""
        if self.low and self.high < 1:
            return f"{100 * self.low:g} to {100 * self.high:g} %"
        return f"at least {100 * self.low:g} %" if self.low else f"at most {100 * self.high:g} %"


TARGETS = (
    Target("cells without a change called `slower`, 2 minutes", "slower", 0, 120, 0, 0.005),
    Target("runs of A against A with any `slower`, 2 minutes", "any_slower", 0, 120, 0, 0.02),
    Target("+5 % called `same`, 10 minutes", "same", 5, 600, 0, 0.01),
    Target("+10 % found, 2 minutes", "slower", 10, 120, 0.95, 1),
    Target("+5 % found, 10 minutes", "slower", 5, 600, 0.95, 1),
    Target("intervals that hold no change, 2 minutes", "covered", 0, 120, 0.93, 0.97),
    Target("intervals that hold +10 %, 2 minutes", "covered", 10, 120, 0.93, 0.97),
    Target("intervals that hold +5 %, 10 minutes", "covered", 5, 600, 0.93, 0.97),
)


def held(rate: Rate, target: Target) -> str:
    """Whether a target is met, as far as the interval shows it."""
    if target.low <= rate.low and rate.high <= target.high:
        return MET
    if rate.low > target.high:
        return WIDER if target.what == "covered" else NOT_MET
    return NOT_MET if rate.high < target.low else NOT_SHOWN


def collected(out: Path) -> str:
    """The table by what lies in ``out``: replay.csv and the journal of the campaign, both by the rules of now."""
    now = conditions(CELLS)
    rows = [row for row in read_csv(out / REPLAYED) if row.get("rules") == now.rules]
    runs = counting(finished(out / JOURNAL))
    spread = float(rows[0]["spread"]) if rows else None
    text = table([Result.of(row) for row in rows], spread, summarise(runs))
    recorded = f"noise recorded on machine {rows[0]['machine_id']}" if rows else "no noise replayed"
    return f"{text}\n\nRules {now.rules}; {recorded}; live on machine {now.machine_id}."


def table(replayed: Sequence[Result], spread: float | None, live: Sequence[Summary]) -> str:
    """Markdown: a row for each target; ``replayed`` and ``live`` by the rules of now, either may be empty."""
    lines = [
        (
            target.name,
            target.asked,
            _told(_replayed(replayed, target), spread, target),
            _told(*_live(live, target), target),
        )
        for target in TARGETS
    ]
    return markdown.table(("target", "asked", "on recorded noise", "live"), lines).rstrip()


def _replayed(results: Sequence[Result], target: Target) -> Rate | None:
    for result in results:
        if (result.rule, result.budget_s, round(100 * result.effect)) == (OURS, target.budget_s, target.extra):
            rate: Rate | None = getattr(result, target.what)
            return rate
    return None


def _live(summaries: Sequence[Summary], target: Target) -> tuple[Rate | None, float | None]:
    for summary in summaries:
        if summary.arm.key == (target.extra, target.budget_s, CELLS):
            rates = {**summary.words, "any_slower": summary.any_slower, "covered": summary.coverage}
            return rates[target.what], summary.spread
    return None, None


def _told(rate: Rate | None, spread: float | None, target: Target) -> str:
    if rate is None or not rate.of:
        return "not measured yet"
    counted = f"{rate.count} of {rate.of}: {rate}"
    if target.low and target.high == 1 and spread is not None and spread > MOST_SPREAD:
        return f"{counted}: out of scope, since the spread of pairs was {100 * spread:.1f} %"
    return f"{counted}: {held(rate, target)}"
