"""What a look at a cell takes, before it is measured, and which cells the time that is left is enough for.

The forecast is coarse at first, and corrected by every block that was measured: how many times the roofline an
implementation takes for a call, and how many times the forecast a look took on this machine. It decides nothing but
what is left out beforehand; what is measured is measured as it always is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import TYPE_CHECKING, Protocol

from attnbench.backends import discover
from attnbench.measure.audits.judging import HEAD
from attnbench.measure.clock import roofline
from attnbench.show.units import roughly

if TYPE_CHECKING:
    from attnbench.measure.blocks.outcome import Outcome
    from attnbench.suite import Cell
    from attnbench.workers.protocol import Ceilings

# Seconds of a look at a short call, on a machine of 2024: preparing and checking it, its bursts, its audit. A framework
# that compiles takes longer; gradients are more to judge.
PREPARE_S, BURSTS_S, AUDIT_S, COMPILE_S = 0.25, 0.3, 0.35, 0.5
# Of what has a program of the system compile for it, such as a C++ compiler.
PROGRAM_S = 8.0
GRADIENTS, SIXTEEN_BITS = 1.5, 1.5
# Calls in a look where one is longer than a burst: the first, its calibration, its bursts, those beside the audit.
CALLS, CALLS_OF_AUDIT = 10, 5
# Seconds for each byte of operands, which are drawn, copied, handed out and judged; and for each pair of query and key
# of a head whose gradients are judged whole.
BYTE_S, HEAD_PAIR_S = 2e-8, 7e-7
# How many times the roofline a call takes where nothing is known of the implementation: of one that is about to be
# measured, and of one whose turn comes later, when more is known.
SLOW, SLOW_LATER = 10.0, 3.0
# Seconds of weighing a cell beside its call, and of starting a process of a framework, where none was started yet.
WEIGH_S, START_S = 1.0, 1.2
# A further look takes about this share of the first: agreement is known, and most audits have no rounds.
FURTHER = 0.6
# The forecast is corrected by no more than this, either way, by what this share of so many of the last looks kept to.
MOST_CORRECTED, CAREFUL, RECENT = 8.0, 0.7, 12
# What is told of a forecast.
STEPS = (1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)


class KnownRates(Protocol):
    """What is known of the machine; ``Rates`` is one."""

    def known(self, device: str, threads: int) -> Ceilings | None:
        """The best rates so far."""


class LookForecast:
    """Seconds by cell; ``rates`` are those of the machine."""

    def __init__(self, rates: KnownRates) -> None:
        self._rates = rates
        self._slow: dict[tuple[str, bool, str], float] = {}
        self._looks: list[float] = []

    def call_s(self, cell: Cell, unknown: float = SLOW) -> float:
        """Seconds of one call."""
        if cell.case is None:
            return 0.0
        least = roofline.least_s(cell.case, self._rates.known(cell.device, cell.threads))
        mine = self._slow.get((cell.impl, cell.case.gradients, cell.case.problem.dtype))
        others = [slow for (name, *_), slow in self._slow.items() if name == cell.impl]
        return least * (max(others, default=unknown) if mine is None else mine)

    def look_s(self, cell: Cell, *, later: bool = False) -> float:
        """Seconds of one look: preparing, timing and auditing the cell."""
        return self._correction() * self._uncorrected(cell, SLOW_LATER if later else SLOW)

    def audit_s(self, cells: Iterable[Cell]) -> float:
        """Seconds of the audits among them."""
        return self._correction() * sum(AUDIT_S * _more(cell) + CALLS_OF_AUDIT * self.call_s(cell) for cell in cells)

    def weigh_s(self, cell: Cell) -> float:
        """Seconds of measuring the memory of the cell."""
        return self._correction() * (WEIGH_S + 2 * self.call_s(cell) + _bytes_s(cell))

    def learn(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Take what the cells of a block took together, and each for a call."""
        looked = [outcome for outcome in outcomes if outcome.prepared is not None]
        expected = sum(self._uncorrected(outcome.cell) for outcome in looked)
        if expected:
            self._looks.append(seconds / expected)
        for outcome in looked:
            case, bursts = outcome.cell.case, [s.wall_s for s in outcome.samples if not s.warmup]
            known = self._rates.known(outcome.cell.device, outcome.cell.threads)
            if case is not None and bursts and (least := roofline.least_s(case, known)):
                # The longest case is the next to be forecast, so that the last one seen counts.
                self._slow[outcome.cell.impl, case.gradients, case.problem.dtype] = median(bursts) / least

    def _uncorrected(self, cell: Cell, unknown: float = SLOW) -> float:
        short = PREPARE_S * _more(cell) + BURSTS_S + AUDIT_S * _more(cell) + _compile_s(cell)
        return short + (CALLS + CALLS_OF_AUDIT) * self.call_s(cell, unknown) + _bytes_s(cell) + _heads_s(cell)

    def _correction(self) -> float:
        recent = sorted(self._looks[-RECENT:])
        usual = recent[round(CAREFUL * (len(recent) - 1))] if recent else 1.0
        return min(MOST_CORRECTED, max(1 / MOST_CORRECTED, usual))


def _compile_s(cell: Cell) -> float:
    """What compiling takes about, by the card of the backend."""
    card = discover.backends().get(cell.backend)
    if card is None:
        return 0.0
    if card.needs.keys() & {"*", cell.impl.partition("/")[2]}:
        return PROGRAM_S
    return COMPILE_S * card.compiles


def _more(cell: Cell) -> float:
    """How many times as long judging takes."""
    if cell.case is None:
        return 1.0
    sixteen = cell.case.problem.dtype in ("bfloat16", "float16")
    return (GRADIENTS if cell.case.gradients else 1.0) * (SIXTEEN_BITS if sixteen else 1.0)


def _bytes_s(cell: Cell) -> float:
    return 0.0 if cell.case is None else BYTE_S * roofline.array_bytes(cell.case)


def _heads_s(cell: Cell) -> float:
    """Seconds of judging the gradients of a key head whole, in three answers, where it is a small one."""
    if cell.case is None or not cell.case.gradients:
        return 0.0
    p = cell.case.problem
    pairs = p.Hq // p.Hkv * p.Tq * p.S
    return 3 * HEAD_PAIR_S * pairs if pairs <= HEAD else 0.0


def chosen(blocks: Sequence[Sequence[tuple[str, float]]], seconds: float) -> set[str]:
    """The cells, by id, that so many seconds are enough for; ``blocks`` have (id, forecast) of each of their cells.

    Every block has its cheapest cell before any has a second one; the others are taken by their cost.
    """
    ranked = [sorted(cells, key=_cost) for cells in blocks if cells]
    firsts, others = [cells[0] for cells in ranked], [cell for cells in ranked for cell in cells[1:]]
    kept, left = set[str](), seconds
    for cell_id, cost in [*sorted(firsts, key=_cost), *sorted(others, key=_cost)]:
        if cost <= left:
            kept.add(cell_id)
            left -= cost
    return kept


def _cost(cell: tuple[str, float]) -> float:
    return cell[1]


def reason(cost: float) -> str:
    """Why a cell was left out."""
    return f"left out beforehand: it takes about {roughly(_coarse(cost))}, and the budget has no time for it"


def _coarse(seconds: float) -> float:
    """One of few times, so that cells of about the same cost have the same reason."""
    return next((step for step in STEPS if seconds <= step), seconds)
