"""Among equals: what telling two apart would cost, and what may help to choose meanwhile.

The cost is in pairs of fresh processes and minutes, by the rule that ``attnbench ab`` decides by, and in processes of
``attnbench best --measure``, which has them of all equals until one is told from the others. The same recorded or
assumed noise is replayed as for ``attnbench plan``; where the machine is not calibrated, the spread is that of the
processes of the run in hand, where it had enough of them. Memory and limits are facts, and no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnbench.analysis.leading import MOST_PROCESSES, processes_to_tell
from attnbench.analysis.rounds import LEAST as LEAST_SPREAD
from attnbench.answers.able import Able
from attnbench.attention.arrays import Array
from attnbench.comparing.calibration import ASSUMED_SPREAD, MOST, POWER, SEED, MachineNoise, noise_of
from attnbench.comparing.many import NEVER, SAME_WORD, SLOWER, judge
from attnbench.comparing.sequential import Rules
from attnbench.show import units

TRIALS = 100
# A difference in memory below either is none, as for ``attnbench compare``.
LEAST_SHARE, LEAST_BYTES = 0.01, 2**20
# The margin of ``ab`` is half of the difference that is looked for, as ``attnbench plan`` has it.
MARGIN_SHARE = 0.5
# A difference below this is not looked for: what can be shown is that it is below one of these margins.
LEAST, MOST_MARGIN, SAME_MARGINS = 0.01, 0.5, (0.03, 0.05, 0.1, 0.2, 0.5)
# Bursts of a cell in a pair, those of its audits among them, and what one takes where calls are short.
BURSTS, USUAL_BURST_S = 24, 0.035
# Processes of one that is told behind early.
LOOKS_OF_ALL = 2


@dataclass(frozen=True)
class Price:
    """What it takes to tell ``second`` from ``first``, were the difference as it looks.

    ``pairs`` is enough in 95 of 100 replays (``None``: no number of pairs that is ever looked at is). ``shows`` says
    what is then shown: which is faster (``differ``), or that both are the ``same`` within ``margin``. ``processes`` of
    each of ``equals`` are enough to name the first by ``best --measure``, in ``measured_s`` (``None``: too many).
    """

    first: str
    second: str
    shows: str
    difference: float
    margin: float
    pairs: int | None
    seconds: float | None
    spread: float
    spread_from: str
    typed: str
    equals: int = 2
    processes: int | None = None
    measured_s: float | None = None

    @property
    def sentence(self) -> str:
        """What it costs, and what can be shown at all."""
        return f"{self._by_ab()}; {self._by_measuring()}"

    def _by_measuring(self) -> str:
        of_each = "both" if self.equals == 2 else f"each of the {self.equals}"  # noqa: PLR2004
        if self.processes is None or self.measured_s is None:
            return f"--measure would not name one with {MOST_PROCESSES} processes of {of_each}"
        takes = f"about {self.processes} processes of {of_each}, {units.roughly(self.measured_s)}"
        return f"to name one by --measure, which leaves out early who is told behind, takes {takes}"

    def _by_ab(self) -> str:
        looks = f"they look {100 * self.difference:.2g} % apart"
        by = f"at a spread of {100 * self.spread:.2g} % between pairs of processes ({self.spread_from})"
        if self.pairs is None or self.seconds is None:
            return f"{looks}; {by} no number of pairs that ab looks at would tell: measure on a quieter machine"
        cost = f"takes up to {self.pairs} pairs of processes, about {units.roughly(self.seconds)}"
        if self.shows == "differ":
            return f"{looks}; to tell which is faster {cost}, {by}"
        hopeless = "which is faster, ab would not tell" if self.difference >= LEAST else "that is too little to tell"
        return f"{looks}; {hopeless} {by}; to show that both are within {100 * self.margin:g} % {cost}"

    def describe(self) -> dict[str, Any]:
        """JSON-ready."""
        of_ab = ("first", "second", "shows", "difference", "margin", "pairs", "seconds", "spread", "spread_from")
        names = (*of_ab, "equals", "processes", "measured_s")
        return {name: getattr(self, name) for name in names} | {"type": self.typed}


def price(
    pair: tuple[str, str],
    log_ratio: float,
    observed: float | None,
    machine_id: str,
    cell: str,
    call_s: float = 0.0,
    among: tuple[int, int] = (2, 2),
) -> Price:
    """The price for two by the log of their ratio; ``observed`` is the spread of the processes of their block.

    ``cell`` has the options of ``attnbench ab`` that choose their cell, and ``call_s`` is what a call takes. ``among``
    are the numbers of those that are not told from the first, itself included, and of all that are measured.
    """
    first, second = pair
    noise = noise_of(machine_id, ASSUMED_SPREAD if observed is None else max(observed, LEAST))
    difference = math.expm1(abs(log_ratio))
    shows, margin, pairs = _shown(noise, difference)
    longer = BURSTS * max(0.0, call_s - USUAL_BURST_S)
    seconds = None if pairs is None else noise.seconds(pairs, 1) + pairs * longer
    budget = "" if seconds is None else f" --budget {max(2, math.ceil(seconds / 60))}m"
    typed = f"attnbench ab {first} {second} {cell} --margin {100 * margin:g}%{budget}"
    source = _source(noise, observed)
    equals, every = among
    processes = processes_to_tell(
        abs(log_ratio), noise.spread if observed is None else max(observed, LEAST_SPREAD), equals
    )
    each_s = (noise.startup_s + noise.cell_s + longer) / 2
    looks = None if processes is None else processes * equals + LOOKS_OF_ALL * (every - equals)
    measured_s = None if looks is None else looks * each_s
    price_of_ab = (first, second, shows, difference, margin, pairs, seconds, noise.spread, source, typed)
    return Price(*price_of_ab, equals, processes, measured_s)


def _source(noise: MachineNoise, observed: float | None) -> str:
    if not noise.is_assumed:
        return "this machine's calibration"
    return "assumed: attnbench calibrate measures it" if observed is None else "of the processes of this run"


def _shown(noise: MachineNoise, difference: float) -> tuple[str, float, int | None]:
    """What can be shown, by which margin, and the pairs that it takes: who is faster, else that both are the same."""
    rng = np.random.default_rng(SEED)
    ratios = np.array([noise.draw(rng, MOST) for _ in range(TRIALS)]) + math.log1p(difference)
    margin = min(round(MARGIN_SHARE * difference, 3), MOST_MARGIN)
    if difference >= LEAST and (pairs := _pairs(ratios, margin, SLOWER)) is not None:
        return "differ", margin, pairs
    for within in SAME_MARGINS:
        if within > difference and (pairs := _pairs(ratios, within, SAME_WORD)) is not None:
            return "same", within, pairs
    return "same", SAME_MARGINS[-1], None


def _pairs(ratios: Array, margin: float, verdict: int) -> int | None:
    """Pairs until this verdict stands in 95 of 100 replays; ``None`` where it does not."""
    judged = judge(ratios, Rules(margin=margin))
    needed = np.sort(np.where(judged.verdict == verdict, judged.decided_at, NEVER))
    enough = int(needed[math.ceil(POWER * TRIALS) - 1])
    return None if enough >= NEVER else enough


def facts(peaks: Mapping[str, int | None], able: Mapping[str, Able]) -> tuple[str, ...]:
    """A sentence for each respect in which one of the equals stands out; ``peaks`` has the memory of each."""
    return tuple(filter(None, (_memory(peaks), _limits(tuple(peaks), able))))


def _memory(peaks: Mapping[str, int | None]) -> str:
    known = sorted((peak, impl) for impl, peak in peaks.items() if peak is not None)
    if len(known) < 2 or len(known) < len(peaks):  # noqa: PLR2004  (nothing to stand out from)
        return ""
    (least, name), (second, _) = known[:2]
    if second - least < max(LEAST_BYTES, LEAST_SHARE * second):
        return ""
    others = ", ".join(f"{other} {units.size(peak)}" for peak, other in known[1:])
    return f"{name} needs the least memory for a call: {units.size(least)} ({others})"


def _limits(equals: tuple[str, ...], able: Mapping[str, Able]) -> str:
    counts = sorted((able[impl].limits, impl) for impl in equals if impl in able)
    if len(counts) < 2 or len(counts) < len(equals) or counts[0][0] == counts[1][0]:  # noqa: PLR2004
        return ""
    others = ", ".join(f"{name} {count}" for count, name in counts[1:])
    return f"{counts[0][1]} declares the fewest limits of sizes and calls: {counts[0][0]} ({others})"
