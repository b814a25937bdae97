"""The anchor in its process: a worker without a framework, which nothing else is asked of."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from attnbench.measure.anchor import work
from attnbench.measure.clock.clock import Clock, Length
from attnbench.workers.protocol import OK, Done

# Much shorter than the bursts of cells, for there is one after each of them.
ANCHOR_LENGTH = Length(0.003, 0.005, 0.008)


class Anchoring:
    """What the process of an anchor can be asked."""

    def __init__(self) -> None:
        self._ready: dict[tuple[str, str, int], tuple[Iterator[Callable[[], None]], int]] = {}
        self._clock = Clock(_done)

    def operations(self) -> dict[str, Callable[..., Done]]:
        """The operations by their names in the protocol."""
        return {operation.__name__: operation for operation in (self.anchor_prepare, self.anchor_burst)}

    def anchor_prepare(self, name: str, dtype: str, threads: int) -> Done:
        """Draw its numbers, find out how many calls make a burst; what it is made of."""
        runs = work.make(name, dtype, threads)
        calls, _ = self._clock.calibrate(runs[0], length=ANCHOR_LENGTH)
        for run in runs:
            run()
        self._ready[name, dtype, threads] = itertools.cycle(runs), calls
        return OK, None, {"version": work.VERSION, "code": work.code(), "library": work.library()}

    def anchor_burst(self, name: str, dtype: str, threads: int) -> Done:
        """Time one burst, of the next set of arrays."""
        runs, calls = self._ready[name, dtype, threads]
        return OK, None, asdict(self._clock.burst(next(runs), calls))


def _done(_result: Any) -> None:
    """NumPy has finished when it returns."""
