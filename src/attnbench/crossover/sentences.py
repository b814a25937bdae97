"""What a crossover says in sentences: where one overtakes the other, who leads where, what stopped, what is open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from attnbench.crossover.answer import Crossing, CrossoverAnswer, Flips, flips
from attnbench.crossover.evidence import MOST_PAIRS, AxisPlace, pairs_needed, spread_of, within
from attnbench.crossover.measuring import CrossoverOutcome
from attnbench.crossover.schedule import ENOUGH_S
from attnbench.crossover.visits import Match, Stop, became
from attnbench.show.units import clock, significant
from attnbench.workers.protocol import NOT_RUN, WRONG

FEW = 4
# Where no pair was finished in a budget, one so many times as long is proposed.
LONGER = 3


def main_sentence(outcome: CrossoverOutcome) -> str:
    """The answer in one sentence, such as ``numpy/blocked is faster from T >= 610 [540, 700]``."""
    sign = outcome.question.axis.sign
    if outcome.word == "crossings":
        several = len(outcome.matches) > 1
        parts = [_from_on(crossing, sign, several=several) for crossing in outcome.crossings]
        return "; ".join([*parts, *(_not_single(stretch, several=several) for stretch in flips(outcome.crossings))])
    if len(outcome.matches) > 1:
        return _of_several(outcome)
    low, high = _reach(outcome)
    answer = outcome.answer
    if outcome.word == "none" and answer.faster and answer.least is not None:
        times = significant(answer.least)
        by = f", by a factor of {times} at least" if answer.least > 1.005 else ""  # noqa: PLR2004  (1.00 says nothing)
        everywhere = "" if low == high else "everywhere "
        return f"no crossing: {answer.faster} is faster {everywhere}{_from_to(low, high, sign)}{by}"
    return _untold(outcome, answer)


def sentences(outcome: CrossoverOutcome) -> list[str]:
    """The sentences below the answer."""
    lines = []
    if len(outcome.matches) > 1:
        lines += [_stretches(outcome)] if outcome.stretches else []
    elif outcome.word == "crossings":
        lines += [_never(outcome)]
    for match in outcome.matches:
        lines += _open_line(outcome, match)
    lines += _stop_lines(outcome)
    if unaudited := {state.unaudited for match in outcome.matches for state in match.states.values()} - {None}:
        lines.append(f"Not audited at some places: {'; '.join(sorted(map(str, unaudited)))}.")
    pairs = f"{outcome.pairs} pair{'' if outcome.pairs == 1 else 's'} of fresh processes in {clock(outcome.seconds)}."
    return [*lines, pairs, *([f"Partial: {outcome.note}."] if outcome.note else [])]


def _from_on(crossing: Crossing, sign: str, *, several: bool) -> str:
    verb = f"overtakes {crossing.faster_below}" if several else "is faster"
    return f"{crossing.faster_above} {verb} from {sign} >= {crossing.at} [{crossing.low}, {crossing.high}]"


def _not_single(stretch: Flips, *, several: bool) -> str:
    who = " and ".join(stretch.names) if several else "they"
    return f"not a single point: between {stretch.low} and {stretch.high} {who} change places more than once"


def _never(outcome: CrossoverOutcome) -> str:
    """Who is faster below the first crossing and above the last, as far as was looked."""
    sign, (low, high) = outcome.question.axis.sign, _sure_reach(outcome)
    first, last = outcome.crossings[0], outcome.crossings[-1]
    parts = [f"{first.faster_below} {_from_to(low, first.low, sign)}"]
    for left, right in pairwise(outcome.crossings):
        parts.append(f"{left.faster_above} {_from_to(left.high, right.low)}")
    surely = ", ".join([*parts, f"{last.faster_above} {_from_to(last.high, high)}"])
    is_open = any(place.values and not place.sign for place in outcome.matches[0].search.live)
    but = ", but for those that are not told apart" if is_open else ""
    return f"Surely faster at every place that was looked at{but}: {surely}."


def _from_to(low: int, high: int, sign: str = "") -> str:
    named = f"{sign} = " if sign else ""
    return f"at {named}{low}" if low == high else f"from {named}{low} to {high}"


def _sure_reach(outcome: CrossoverOutcome) -> tuple[int, int]:
    """The least and the largest place at which one is surely faster."""
    xs = [place.x for search in outcome.searches.values() for place in search.live if place.sign]
    return (min(xs), max(xs)) if xs else _reach(outcome)


def _reach(outcome: CrossoverOutcome) -> tuple[int, int]:
    """The least and the largest place that was measured."""
    xs = [place.x for search in outcome.searches.values() for place in search.live if place.values]
    return (min(xs), max(xs)) if xs else (outcome.question.grid.low, outcome.question.grid.high)


def _untold(outcome: CrossoverOutcome, answer: CrossoverAnswer) -> str:
    a, b, sign = outcome.matches[0].a, outcome.matches[0].b, outcome.question.axis.sign
    measured = [place for place in outcome.matches[0].search.live if place.values]
    if not measured:
        return f"it cannot be told: {_nothing(outcome)}"
    sure_places = [place for place in measured if place.sign]
    if not sure_places:
        bound = _bound(measured)
        if bound:
            where = "the place that was measured" if len(measured) == 1 else f"all {len(measured)} places"
            return f"{a} and {b} cannot be told apart: {bound} at {where}"
        where = "the place that was measured" if len(measured) == 1 else f"any of {len(measured)} places"
        return f"it cannot be told: {a} and {b} are not told apart at {where}"
    leader = f"{answer.faster} is faster at {_listed([place.x for place in sure_places])}"
    return f"it cannot be told: {leader}; at {sign} = {_listed(answer.open_places)} they are not told apart"


def _bound(places: Sequence[AxisPlace]) -> str:
    """How near to each other they are, such as ``within ±2.1 %``; nothing where there are too few pairs."""
    factor = within(places)
    return f"within ±{significant(100 * (factor - 1))} %" if math.isfinite(factor) else ""


def _of_several(outcome: CrossoverOutcome) -> str:
    sign, (low, high) = outcome.question.axis.sign, _reach(outcome)
    if outcome.word == "none":
        return f"no crossing: {outcome.stretches[0].names[0]} is the fastest everywhere {_from_to(low, high, sign)}"
    names = sorted({name for stretch in outcome.stretches for name in stretch.names})
    if not names:
        return f"it cannot be told: {_nothing(outcome)}"
    return f"it cannot be told: {', '.join(names)} may each be the fastest somewhere"


def _stretches(outcome: CrossoverOutcome) -> str:
    sign = outcome.question.axis.sign
    parts = []
    for stretch in outcome.stretches:
        where = f"{stretch.low}" if stretch.low == stretch.high else f"{stretch.low} to {stretch.high}"
        parts.append(f"{where}: {' or '.join(stretch.names)}")
    return f"Fastest by {sign}: {'; '.join(parts)}."


def _open_line(outcome: CrossoverOutcome, match: Match) -> list[str]:
    """What is open between two of them, and what it would cost to know."""
    left = match.search.answer().open_places
    places = [match.search.places[x] for x in left]
    several = len(outcome.matches) > 1
    if not places or not any(place.values for place in match.search.live) or (several and outcome.word == "crossings"):
        return []
    which = f"{match.a} and {match.b} are" if several else "They are"
    return [f"{which} not told apart at {outcome.question.axis.sign} = {_listed(left)}: {_price(match, places)}."]


def _price(match: Match, places: Sequence[AxisPlace]) -> str:
    if any(not place.values for place in places):
        return "not all of them were measured; give it a longer --budget"
    if min(len(place.values) for place in places) < 3:  # noqa: PLR2004  (too few to say)
        return "too few pairs to say what it would cost; give it a longer --budget"
    spread = spread_of(match.search.live)
    bound = _bound(places)
    size = f"{bound or 'too few pairs to say within what'}, by pairs that vary by {100 * spread:.1f} %"
    numbers = [pairs_needed(place, spread) for place in places]
    known = [number for number in numbers if number is not None]
    mean_s = sum(match.schedule.pairs) / max(len(match.schedule.pairs), 1)
    most = max(MOST_PAIRS - min(len(place.values) for place in places), 0)
    if len(known) == len(numbers):
        return f"{size}; to tell takes about {max(known)} more pairs, {clock(max(known) * mean_s)}"
    if not most:
        return f"{size}; a place has {MOST_PAIRS} pairs at most, and they did not tell it"
    return f"{size}; the {most} more that a place may have, {clock(most * mean_s)}, are not expected to tell it"


def _nothing(outcome: CrossoverOutcome) -> str:
    """Why nothing was measured."""
    if any(stop.status != NOT_RUN for stop in outcome.stops):
        return f"no place was measured at which {' and '.join(outcome.question.names)} could be"
    budget_s = sum(match.schedule.budget_s for match in outcome.matches)
    longer = f"type a longer one, such as --budget {max(ENOUGH_S, LONGER * math.ceil(budget_s))}s"
    return outcome.note or f"the budget was over before a pair was measured; {longer}"


def _stop_lines(outcome: CrossoverOutcome) -> list[str]:
    """Where they stopped, a line for all places with the same reason; of wrong answers the first is told."""
    alike: dict[tuple[object, ...], list[Stop]] = {}
    for stop in sorted(outcome.stops, key=lambda each: each.x):
        reason = stop.reason if stop.status not in (WRONG, NOT_RUN) else ""
        alike.setdefault((stop.side, stop.status, reason, stop.beyond), []).append(stop)
    return [_stop_line(outcome, stops) for stops in alike.values()]


def _stop_line(outcome: CrossoverOutcome, stops: Sequence[Stop]) -> str:
    stop = stops[0]
    at = f"{outcome.question.axis.sign} = {_listed(sorted({each.x for each in stops}))}"
    if stop.side is None:
        verb = "from there on nothing was measured" if stop.beyond else "not measured"
        return f"{at}: {verb}: {stop.reason}."
    verb = "stops at" if stop.beyond else "is left out at"
    return f"{stop.side} {verb} {at}: {became(stop.status)} ({stop.reason})."


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:FEW]))
    return shown if len(numbers) <= FEW else f"{shown} and {len(numbers) - FEW} more"
