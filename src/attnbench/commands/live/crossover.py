"""What ``attnbench crossover`` says for people, and its JSON document."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from attnbench.comparing.live import percent
from attnbench.crossover.answer import flips
from attnbench.crossover.sentences import main_sentence, sentences
from attnbench.report.console import render_all
from attnbench.report.tables import Table
from attnbench.show import units
from attnbench.show.table import Column

if TYPE_CHECKING:
    from attnbench.crossover.evidence import AxisPlace
    from attnbench.crossover.measuring import CrossoverOutcome
    from attnbench.crossover.visits import Match


def text(outcome: CrossoverOutcome) -> str:
    """The answer, the places, and what else is to be known."""
    tables = [
        _table(outcome, match) for match in outcome.matches if any(p.values for p in match.search.places.values())
    ]
    lines = [*sentences(outcome), f"kept: {outcome.folder}"]
    return "\n".join([main_sentence(outcome), "", *([render_all(tables)] if tables else []), *lines])


def _table(outcome: CrossoverOutcome, match: Match) -> Table:
    """One row for each place that was measured."""
    columns = (
        Column(outcome.question.axis.sign, right=True),
        Column("faster"),
        Column(match.a, right=True, rank=1),
        Column(match.b, right=True, rank=1),
        Column("time of B against A", right=True),
        Column("interval", right=True),
        Column("pairs", right=True, rank=2),
    )
    places = sorted((place for place in match.search.places.values() if place.values), key=lambda place: place.x)
    rows = tuple(_row(match, place) for place in places)
    title = f"A = {match.a}, B = {match.b}, {_about(outcome)}"
    return Table(title, columns, rows, tuple("" if place.sign else "absent" for place in places))


def _about(outcome: CrossoverOutcome) -> str:
    setting, axis = outcome.question.setting, outcome.question.axis.name
    parts = [setting.shape, setting.phase, setting.dtype]
    parts += [] if axis in ("tokens", "keys") else [f"{setting.tokens} tokens"]
    parts += [] if axis == "batch" or setting.batch == 1 else [f"batch {setting.batch}"]
    parts += [] if axis == "threads" else [f"{setting.threads} thread{'' if setting.threads == 1 else 's'}"]
    return ", ".join([*parts, setting.device])


def _row(match: Match, place: AxisPlace) -> tuple[str, ...]:
    seen, state = place.estimate, match.states[place.x]
    bounded = math.isfinite(seen.low) and math.isfinite(seen.high)
    ends = f"{percent(math.expm1(seen.low))} … {percent(math.expm1(seen.high))}" if bounded else "too few pairs"
    faster = match.a if place.sign > 0 else match.b if place.sign < 0 else "not told"
    times = tuple(units.seconds(_middle(state.seconds[side])) for side in ("A", "B"))
    return (str(place.x), faster, *times, percent(math.expm1(seen.centre)), ends, str(len(place.values)))


def _middle(values: list[float]) -> float | None:
    from statistics import median

    return median(values) if values else None


def json_document(outcome: CrossoverOutcome) -> dict[str, Any]:
    """The document of ``--json``."""
    axis = outcome.question.axis.name
    reason = " ".join([f"{main_sentence(outcome)}.", *sentences(outcome)])
    return {
        "crossings": [crossing.to_dict() for crossing in outcome.crossings],
        "flips": [stretch.to_dict() for stretch in flips(outcome.crossings)],
        "reason": reason,
        "answer": outcome.word,
        "implementations": list(outcome.question.names),
        "axis": axis,
        "range": [outcome.question.grid.low, outcome.question.grid.high],
        "setting": outcome.question.held(),
        "fastest": [stretch.to_dict() for stretch in outcome.stretches],
        "places": [_place(match, place) for match in outcome.matches for place in _measured(match)],
        "stopped": [asdict(stop) for stop in outcome.stops],
        "pairs": outcome.pairs,
        "seconds": outcome.seconds,
        "note": outcome.note,
        "run_id": outcome.run_id,
        "folder": str(outcome.folder),
        "machine_id": outcome.machine_id,
        "exit_code": outcome.exit_code,
    }


def _measured(match: Match) -> list[AxisPlace]:
    return sorted((place for place in match.search.places.values() if place.values), key=lambda place: place.x)


def _place(match: Match, place: AxisPlace) -> dict[str, Any]:
    seen = place.estimate
    bounded = math.isfinite(seen.low) and math.isfinite(seen.high)
    return {
        "at": place.x,
        "a": match.a,
        "b": match.b,
        "faster": match.a if place.sign > 0 else match.b if place.sign < 0 else None,
        "ratio": math.exp(seen.centre),
        "low": math.exp(seen.low) if bounded else None,
        "high": math.exp(seen.high) if bounded else None,
        "pairs": len(place.values),
        "log_ratios": list(place.values),
    }
