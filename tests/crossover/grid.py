"""A plain grid, to hold an answer of ``attnbench crossover`` to: every place in processes of its own, none chosen.

By hand, on a quiet machine: ``python -m tests.crossover.grid A B SECONDS PLACE...`` measures pairs of fresh processes
at each place in turn until the time is over, and prints the ratio of each with its interval.
"""

from __future__ import annotations

import math
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from attnbench.comparing.signed_rank import estimate
from attnbench.crossover.axes import AXES, AxisSetting
from attnbench.crossover.evidence import AxisPlace
from attnbench.crossover.question import CrossoverQuestion
from attnbench.crossover.search import Grid
from attnbench.crossover.visits import EFFORT
from attnbench.live.duo import Name, Side
from attnbench.live.pairs import Pairs
from attnbench.measure.audits.auditor import Auditor
from attnbench.results.pairs import PairsWriter
from attnbench.workers.lock import only_run


def main() -> None:
    """Measure and print."""
    a, b, seconds, *rest = sys.argv[1:]
    places = [int(word) for word in rest]
    question = CrossoverQuestion((a, b), AXES["tokens"], AxisSetting(), Grid(places[0], places[-1]))
    began, judged = time.monotonic(), {x: AxisPlace(x) for x in places}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(only_run())
        auditor = stack.enter_context(Auditor(120.0, brief=True))
        writer = stack.enter_context(PairsWriter.create(folder, "grid", {}))
        sides: dict[Name, Side] = {"A": Side(a), "B": Side(b)}
        rng = random.Random(0)  # noqa: S311
        pairs = Pairs(sides, (), lambda: AxisPlace(0), writer, rng, effort=EFFORT, auditor=auditor)
        states = {x: pairs.add(question.twin(a, b, x), judged[x]) for x in places}
        while time.monotonic() - began < float(seconds):
            for x in rng.sample(places, len(places)):
                pairs.pair([states[x]], steady=True)
    for x, place in judged.items():
        seen = estimate(place.values)
        low, high = math.exp(seen.low), math.exp(seen.high)
        print(f"{x:6d}  {math.exp(seen.centre):.3f} [{low:.3f}, {high:.3f}]  {len(place.values)} pairs")  # noqa: T201


if __name__ == "__main__":
    main()
