"""Pairs that are not measured but drawn: a known curve of log-ratios, recorded noise, and a clock of its own.

The judging, the choice of places and the schedule are those of the command; only the processes are not there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import cast

import numpy as np

from attnbench.crossover.answer import Crossing, CrossoverAnswer
from attnbench.crossover.envelope import Both, LedStretch, concluded
from attnbench.crossover.evidence import rules_for
from attnbench.crossover.measuring import Ring, absent
from attnbench.crossover.schedule import Cost, Schedule
from attnbench.crossover.search import Grid, Search
from attnbench.crossover.visits import Match, Stop
from tests.repository import REPOSITORY

CAMPAIGN = REPOSITORY / "results/scoreboard/campaign-plain-ranks.jsonl"
Curve = Callable[[int], float]
Noise = Callable[[np.random.Generator, int], np.ndarray]
START_S, VISIT_S, FIRST_S = 3.0, 0.6, 2.0
BUDGET_S = 180.0
GRID = Grid(64, 8192)


def recorded(*, worst: bool = False) -> np.ndarray:
    """Log-ratios of pairs of a shared machine about the centre of their cell: of all runs, or of the three worst."""
    chosen = ("ddd03e", "7d0bd0", "f2a2ff") if worst else ("",)
    values: list[float] = []
    for line in CAMPAIGN.read_text().splitlines():
        run = json.loads(line)["data"]
        if run["run_id"].endswith(chosen):
            for cell in run["cells"]:
                ratios = np.asarray(cell["log_ratios"])
                values += list(ratios - np.median(ratios))
    return np.asarray(values)


def drawn_from(values: np.ndarray) -> Noise:
    """Noise of a pair at so many places: single recorded values, each with a fair sign."""
    return lambda rng, count: rng.choice(values, count) * rng.choice((-1.0, 1.0), count)


@dataclass
class Machine:
    """A clock that pairs move on; nothing else is there."""

    noise: Noise
    rng: np.random.Generator
    budget_s: float = BUDGET_S
    now: float = 0.0
    pairs: int = 0

    @property
    def left(self) -> float:
        """Seconds until nothing more is begun."""
        return self.budget_s - self.now


@dataclass
class Walk:
    """What a ``Match`` is to the ring: two names, their search, and visits, which are drawn."""

    a: str
    b: str
    curve: Curve
    machine: Machine
    search: Search
    schedule: Schedule
    stops: list[Stop] = field(default_factory=list)

    def visit(self, left_s: float, waiting: int = 1) -> bool:
        """One pair more, as ``Match.visit``."""
        wanted = self.search.wanted(self.schedule.pairs_in(left_s / waiting))
        chosen = self.schedule.fitting(wanted, left_s)
        if not chosen:
            return False
        machine = self.machine
        began = machine.now
        machine.now += START_S
        for place, noise in zip(chosen, machine.noise(machine.rng, len(chosen)), strict=True):
            machine.now += VISIT_S if place.values else FIRST_S
            place.add(self.curve(place.x) + float(noise))
        costs = {place.x: Cost(VISIT_S, FIRST_S, VISIT_S, 0.01) for place in chosen}
        self.schedule.learn(START_S, machine.now - began, costs)
        machine.pairs += 1
        return True


def walked(curve: Curve, machine: Machine, grid: Grid = GRID) -> Walk:
    """A search of two, until it has all it wants or the budget is spent."""
    walk = Walk("a", "b", curve, machine, Search("a", "b", grid), Schedule(machine.budget_s, power=0.0))
    while walk.visit(machine.left):
        pass
    return walk


@dataclass(frozen=True)
class Told:
    """What is said of several: the word, the crossings of those that lead, and the searches of every two."""

    word: str
    crossings: tuple[Crossing, ...]
    stretches: tuple[LedStretch, ...]
    searches: dict[Both, Search]


def all_walked(times: Mapping[str, Curve], machine: Machine, grid: Grid = GRID) -> Told:
    """Every two of several, in turn as the command has them; a curve is the logarithm of a time."""
    names = tuple(times)
    matches = list(combinations(names, 2))
    rules = rules_for(len(matches))
    walks = [
        Walk(
            a, b, _ratio(times[a], times[b]), machine, Search(a, b, grid, rules=rules), Schedule(machine.budget_s, 0.0)
        )
        for a, b in matches
    ]
    ring = Ring(names, cast("list[Match]", walks))
    while (match := ring.next()) is not None:
        ring.visit(match, machine.left)
    searches = {(walk.a, walk.b): walk.search for walk in walks}
    return Told(*concluded(searches, names, absent(ring)), searches)


def _ratio(a: Curve, b: Curve) -> Curve:
    return lambda x: b(x) - a(x)


def log2(x: float) -> float:
    """The scale on which curves are drawn."""
    return math.log2(x)


def in_tiles(x: int) -> float:
    """As of a kernel that computes in tiles of 128: B leads from 115 on, but not where its second tile begins."""
    second = 0.35 * max(0.0, 1 - (log2(x) - 7) / 0.6) if x > 128 else 0.0
    return 0.35 * (log2(115) - log2(x)) + second


def holds(answer: CrossoverAnswer, truth: tuple[float, ...]) -> bool:
    """Whether every crossing that is claimed holds one of the true ones, each another, and a lead has none."""
    if answer.word == "none" and truth:
        return False
    left = list(truth)
    for crossing in answer.crossings:
        inside = [x for x in left if crossing.low <= x <= crossing.high]
        if not inside:
            return False
        left.remove(inside[0])
    return True


# Logarithms of times: of the first two the second takes over at 300, and from it the third at 2500.
THREE: dict[str, Curve] = {
    "a": lambda x: 0.5 * (log2(x) - log2(300)),
    "b": lambda _: 0.0,
    "c": lambda x: -0.5 * (log2(x) - log2(2500)),
}
THREE_CROSS = {("a", "b"): 300, ("b", "c"): 2500}
THREE_TWINS: dict[str, Curve] = dict.fromkeys(("a", "b", "c"), lambda _: 0.0)
# Curves of log(B / A): their name, the curve, and where B takes over from A or A from B.
CURVES: dict[str, tuple[Curve, tuple[float, ...]]] = {
    "one crossing": (lambda x: 0.35 * (log2(x) - log2(613)), (613,)),
    "a steep one": (lambda x: 2.0 * math.tanh(2 * (log2(x) - log2(905))), (905,)),
    "a flat one": (lambda x: 0.06 * (log2(x) - log2(700)), (700,)),
    "near the end": (lambda x: 0.35 * (log2(x) - log2(80)), (80,)),
    "two crossings": (lambda x: 0.12 * (log2(x) - log2(300)) * (log2(x) - log2(2500)), (300, 2500)),
    "in tiles": (in_tiles, (115, 128.5, 159.5)),
    "none": (lambda x: 0.10 + 0.05 * (log2(x) - 6), ()),
    "touching": (lambda x: 0.05 * (log2(x) - log2(1000)) ** 2, ()),
    "twins": (lambda _: 0.0, ()),
    "2 % apart": (lambda _: 0.02, ()),
}
