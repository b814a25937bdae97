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


Piece = tuple[str, str, int]


class Anchoring:
    """What the process of an anchor can be asked. It holds one piece of work, until it is asked for another."""

    def __init__(self) -> None:
        self._kept: tuple[Piece, Iterator[Callable[[], None]], int] | None = None
        self._clock = Clock(_done)

    def operations(self) -> dict[str, Callable[..., Done]]:
        """The operations by their names in the protocol."""
        return {operation.__name__: operation for operation in (self.anchor_prepare, self.anchor_burst)}

    def anchor_prepare(self, name: str, dtype: str, threads: int) -> Done:
        """Draw its numbers and find out how many calls make a burst, unless the last block had the same; its parts."""
        piece = (name, dtype, threads)
        if self._kept is None or self._kept[0] != piece:
            self._kept = None  # its memory goes before the next is drawn
            self._kept = self._drawn(piece)
        return OK, None, {"version": work.VERSION, "code": work.code(), "library": work.library()}

    def _drawn(self, piece: Piece) -> tuple[Piece, Iterator[Callable[[], None]], int]:
        runs = work.make(*piece)
        calls, _ = self._clock.calibrate(runs[0], length=ANCHOR_LENGTH)
        for run in runs:
            run()
        return piece, itertools.cycle(runs), calls

    def anchor_burst(self, name: str, dtype: str, threads: int) -> Done:
        """Time one burst, of the next set of arrays."""
        if self._kept is None or self._kept[0] != (name, dtype, threads):
            msg = f"{name} {dtype} with {threads} threads is not prepared"
            raise ValueError(msg)
        _, runs, calls = self._kept
        return OK, None, asdict(self._clock.burst(next(runs), calls))


def _done(_result: Any) -> None:
    """NumPy has finished when it returns."""
