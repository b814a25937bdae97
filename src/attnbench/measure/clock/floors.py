"""The floor of a cell's time: below it no right method can be, at the best rates that this machine has shown.

Counted from the fewest operations that any right method needs, which is less than what ``roofline`` counts as work: the
two products of a forward pass, and four more of a backward pass, which may keep P; and from the bytes that do not fit
the last cache. Where a method may skip pairs or products by looking at the values, they do not count. A cell that is
``MARGIN`` times below its floor has not done the work, whatever it answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.measure.clock import ceilings, roofline
from attnbench.show import units

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attnbench.attention.problem import Case

# Ceilings are measured, and not at their best on a busy machine: an honest kernel was seen at 1.12 times the products'.
MARGIN = 1.5
PRODUCTS, BACKWARD_PRODUCTS = 2, 4
LEARNED = ("additive", "concat")
# Operands that may take pairs away, which only their values tell.
SKIPS = ("mask", "bias_minus_inf", "bias_low")
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


@dataclass(frozen=True)
class Floor:
    """The least ``seconds`` of one call, and the ``sentence`` that says what they are of."""

    seconds: float
    sentence: str

    def broken_by(self, median_s: float) -> str | None:
        """Why a time is too short to be true, or ``None``."""
        if median_s * MARGIN >= self.seconds:
            return None
        least, took = units.seconds(self.seconds), units.seconds(median_s)
        return f"faster than this machine can {self.sentence} take {least}, and a call {took}"


def floor(case: Case, rates: Mapping[str, float], device: str = "cpu", cached: float = float("inf")) -> Floor | None:
    """The floor of a case by the ``rates`` of the ceilings; ``None`` where nothing is known.

    ``cached`` is the size of the last cache in bytes: what fits there need not come from memory.
    """
    rate = max((rates.get(ceilings.product(name), 0.0) for name in _units(case.problem.dtype, device)), default=0.0)
    flops, moved = least_flops(case), max(0.0, roofline.work(case).min_bytes - cached)
    candidates = []
    if rate and flops:
        candidates.append(Floor(flops / rate, f"multiply: at {rate / 1e9:,.0f} GFLOP/s the fewest operations"))
    if (copy := rates.get(ceilings.COPY, 0.0)) and moved:
        candidates.append(Floor(moved / copy, f"read: at {copy / 1e9:,.1f} GB/s the bytes beyond the last cache"))
    return max(candidates, key=lambda candidate: candidate.seconds, default=None)


def least_flops(case: Case) -> float:
    """The fewest operations of products that any right method needs for a case."""
    p, spec = case.problem, case.spec
    if spec.scale == 0 or p.S == 1 or any(kind.startswith(SKIPS) for kind in p.operands):
        return 0.0  # the weights are known, or pairs may be skipped
    pairs, _ = roofline.allowed(case)
    scores = 0 if spec.score in LEARNED else p.D
    values = 0 if spec.dropout else p.Dv  # what is dropped need not be added
    forward = 2.0 * p.Hq * pairs * (scores + values)
    return forward * (1 + BACKWARD_PRODUCTS / PRODUCTS) if case.gradients and not p.wanted else forward


def last_cache(caches: Mapping[str, str]) -> float:
    """The size in bytes of the largest cache of a machine, as its fingerprint has them; unknown is without end."""
    sizes = [size for text in caches.values() if (size := _bytes(text)) is not None]
    return max(sizes, default=float("inf"))


def _bytes(text: str) -> float | None:
    number, unit = text.strip().rstrip("B"), 1
    if number[-1:] in UNITS:
        number, unit = number[:-1], UNITS[number[-1]]
    return float(number) * unit if number.isdigit() else None


def _units(dtype: str, device: str) -> tuple[str, ...]:
    """The dtypes in which its products may be computed: 16 bits in float32 too, and on a GPU float32 in fewer bits."""
    if dtype == "float64":
        return ("float64",)
    if device == "cpu" and dtype == "float32":
        return ("float32",)
    return ("float32", "bfloat16", "float16")
