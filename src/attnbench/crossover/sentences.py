"""What a crossover says in sentences: where one overtakes the other, who leads where, what stopped, what is open."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from attnbench.crossover.answer import Crossing, CrossoverAnswer
from attnbench.crossover.evidence import AxisPlace, pairs_needed, spread_of
from attnbench.crossover.measuring import CrossoverOutcome
from attnbench.crossover.visits import Match, Stop, became
from attnbench.show.units import clock, significant

FEW = 4


def main_sentence(outcome: CrossoverOutcome) -> str:
    """The answer in one sentence, such as ``numpy/blocked is faster from T >= 610 [540, 700]``."""
    sign = outcome.question.axis.sign
    if outcome.word == "crossings":
        several = len(outcome.matches) > 1
        return "; ".join(_from_on(crossing, sign, several=several) for crossing in outcome.crossings)
    if len(outcome.matches) > 1:
        return _of_several(outcome)
    low, high = _reach(outcome)
    answer = outcome.answer
    if outcome.word == "none" and answer.faster and answer.least is not None:
        times = significant(answer.least)
        by = f", by a factor of {times} at least" if answer.least > 1.005 else ""  # noqa: PLR2004  (1.00 says nothing)
        return f"no crossing: {answer.faster} is faster everywhere from {sign} = {low} to {high}{by}"
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
    lines += [_stop_line(outcome, stop) for stop in outcome.stops]
    if unaudited := {state.unaudited for match in outcome.matches for state in match.states.values()} - {None}:
        lines.append(f"Not audited at some places: {'; '.join(sorted(map(str, unaudited)))}.")
    pairs = f"{outcome.pairs} pair{'' if outcome.pairs == 1 else 's'} of fresh processes in {clock(outcome.seconds)}."
    return [*lines, pairs, *([f"Partial: {outcome.note}."] if outcome.note else [])]


def _from_on(crossing: Crossing, sign: str, *, several: bool) -> str:
    verb = f"overtakes {crossing.faster_below}" if several else "is faster"
    return f"{crossing.faster_above} {verb} from {sign} >= {crossing.at} [{crossing.low}, {crossing.high}]"


def _never(outcome: CrossoverOutcome) -> str:
    """Who is faster below the first crossing and above the last, as far as was looked."""
    sign, (low, high) = outcome.question.axis.sign, _sure_reach(outcome)
    first, last = outcome.crossings[0], outcome.crossings[-1]
    parts = [f"{first.faster_below} from {sign} = {low} to {first.low}"]
    for left, right in pairwise(outcome.crossings):
        parts.append(f"{left.faster_above} from {left.high} to {right.low}")
    surely = ", ".join([*parts, f"{last.faster_above} from {last.high} to {high}"])
    is_open = any(place.values and not place.sign for place in outcome.matches[0].search.live)
    but = ", but for those that are not told apart" if is_open else ""
    return f"Surely faster at every place that was looked at{but}: {surely}."


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
        return f"it cannot be told: no place was measured at which both {a} and {b} could be"
    sure_places = [place for place in measured if place.sign]
    if not sure_places:
        return f"it cannot be told: {a} and {b} are not told apart at any of {len(measured)} places"
    leader = f"{answer.faster} is faster at {_listed([place.x for place in sure_places])}"
    return f"it cannot be told: {leader}; at {sign} = {_listed(answer.open_places)} they are not told apart"


def _of_several(outcome: CrossoverOutcome) -> str:
    sign, (low, high) = outcome.question.axis.sign, _reach(outcome)
    if outcome.word == "none":
        return f"no crossing: {outcome.stretches[0].names[0]} is the fastest everywhere from {sign} = {low} to {high}"
    names = sorted({name for stretch in outcome.stretches for name in stretch.names})
    if not names:
        return "it cannot be told: nothing was measured"
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
    if not places or (len(outcome.matches) > 1 and outcome.word == "crossings"):
        return []
    which = f"{match.a} and {match.b} are" if len(outcome.matches) > 1 else "They are"
    return [f"{which} not told apart at {outcome.question.axis.sign} = {_listed(left)}: {_price(match, places)}."]


def _price(match: Match, places: Sequence[AxisPlace]) -> str:
    if any(not place.values for place in places):
        return "not all of them were measured; give it a longer --budget"
    if min(len(place.values) for place in places) < 3:  # noqa: PLR2004  (too few to say)
        return "too few pairs to say what it would cost; give it a longer --budget"
    spread = spread_of(match.search.live)
    centres = [place.centre for place in places]
    largest = max(map(abs, centres))
    size = f"a ratio within {100 * largest:.1f} % of 1, and pairs that vary by {100 * spread:.1f} %"
    numbers = [pairs_needed(place, spread) for place in places]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return f"{size}; more pairs are not expected to tell it"
    mean_s = sum(match.schedule.pairs) / max(len(match.schedule.pairs), 1)
    return f"{size}; about {max(known)} more pairs, {clock(max(known) * mean_s)}"


def _stop_line(outcome: CrossoverOutcome, stop: Stop) -> str:
    sign = outcome.question.axis.sign
    if stop.side is None:
        verb = "from there on nothing was measured" if stop.beyond else "it was not measured"
        return f"{sign} = {stop.x}: {verb}: {stop.reason}."
    verb = "stops at" if stop.beyond else "is left out at"
    return f"{stop.side} {verb} {sign} = {stop.x}: {became(stop.status)} ({stop.reason})."


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:FEW]))
    return shown if len(numbers) <= FEW else f"{shown} and {len(numbers) - FEW} more"
