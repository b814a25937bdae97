"""Entries of a file, one by one: an odd one is a row with its reason, or a warning that names it, and the rest is read.

For formats whose entries stand alone. A file of which nothing can be read is still refused as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from attnbench.exchange.readers.foreign import Benchmark, odd
from attnbench.exchange.readers.values import ODD, Sifted, number, sift


@dataclass
class Entries:
    """The benchmarks of a file as they are read, and what had to be said of some of them."""

    benchmarks: list[Benchmark] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, name: str, read: Callable[..., Benchmark], *given: Any) -> None:
        """Read one entry by ``read(*given)``; where that fails it is a row with the reason."""
        try:
            self.benchmarks.append(read(*given))
        except ODD as error:
            self.benchmarks.append(Benchmark(name, name, failure=odd(error)))

    def warn(self, text: str) -> None:
        """Something to know of the file, said once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def sift(self, name: str, values: Iterable[Any], unit: float = 1.0) -> Sifted:
        """The rounds that are times, in seconds (``values.sift``); what is left out of them is a warning."""
        sifted = sift(number(value) * unit for value in values)
        if sifted.left_out and not sifted.reason:
            self.warn(f"{name}: {sifted.left_out}")
        return sifted


def number_of(value: Any) -> float | None:
    """A value as a finite number, where it is one."""
    known = number(value)
    return known if math.isfinite(known) else None


def time_of(value: Any, unit: float = 1.0) -> float | None:
    """A value as seconds; ``None`` where it cannot be a time."""
    known = number_of(value)
    return known * unit if known is not None and known > 0 else None


def level(text: Any) -> Any:
    """The level of an axis that stands in a name: a number where it is one, else the text."""
    if not isinstance(text, str):
        return text if isinstance(text, (int, float)) else str(text)
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        return value if math.isfinite(value) and "_" not in text else text
    return text


def single(seconds: float, count: int = 1) -> dict[str, Any]:
    """What is known of a benchmark of which only one time was kept, that of ``count`` rounds."""
    return {"n_samples": max(count, 1), "n_bursts": max(count, 1), "time_median_s": seconds}


def medians(columns: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each of several numbers by their names."""
    return {name: float(median(values)) for name, values in columns.items() if values}
