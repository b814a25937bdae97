"""Pairs that are not measured but drawn: a known curve of log-ratios, recorded noise, and a clock of its own.

The judging, the choice of places and the schedule are those of the command; only the processes are not there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from attnbench.crossover.answer import CrossoverAnswer
from attnbench.crossover.schedule import Cost, Schedule
from attnbench.crossover.search import Grid, Search
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
class Simulated:
    """A search on a machine that is not there, until it has all it wants or the budget is spent."""

    curve: Curve
    noise: Noise
    rng: np.random.Generator
    grid: Grid = GRID
    budget_s: float = BUDGET_S
    now: float = 0.0
    pairs: int = 0
    search: Search = field(init=False)

    def __post_init__(self) -> None:
        self.search = Search("a", "b", self.grid)

    def answer(self) -> CrossoverAnswer:
        """The answer at the end."""
        schedule = Schedule(self.budget_s, power=0.0)
        while True:
            left = self.budget_s - self.now
            chosen = schedule.fitting(self.search.wanted(schedule.pairs_in(left)), left)
            if not chosen:
                return self.search.answer()
            began = self.now
            self.now += START_S
            for place, noise in zip(chosen, self.noise(self.rng, len(chosen)), strict=True):
                self.now += VISIT_S if place.values else FIRST_S
                place.add(self.curve(place.x) + float(noise))
            costs = {place.x: Cost(VISIT_S, FIRST_S, VISIT_S, 0.01) for place in chosen}
            schedule.learn(START_S, self.now - began, costs)
            self.pairs += 1


def log2(x: float) -> float:
    """The scale on which curves are drawn."""
    return math.log2(x)


# Curves of log(B / A): their name, the curve, and where B takes over from A or A from B.
CURVES: dict[str, tuple[Curve, tuple[float, ...]]] = {
    "one crossing": (lambda x: 0.35 * (log2(x) - log2(613)), (613,)),
    "a steep one": (lambda x: 2.0 * math.tanh(2 * (log2(x) - log2(905))), (905,)),
    "a flat one": (lambda x: 0.06 * (log2(x) - log2(700)), (700,)),
    "near the end": (lambda x: 0.35 * (log2(x) - log2(80)), (80,)),
    "two crossings": (lambda x: 0.12 * (log2(x) - log2(300)) * (log2(x) - log2(2500)), (300, 2500)),
    "none": (lambda x: 0.10 + 0.05 * (log2(x) - 6), ()),
    "touching": (lambda x: 0.05 * (log2(x) - log2(1000)) ** 2, ()),
    "twins": (lambda _: 0.0, ()),
    "2 % apart": (lambda _: 0.02, ()),
}
