"""The ceilings of a run: this machine's rates, by device and number of threads, that its cells are held against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from attnbench.backends import discover
from attnbench.measure.blocks.outcome import Outcome
from attnbench.measure.blocks.spending import Spending
from attnbench.measure.clock import floors
from attnbench.measure.run import rows
from attnbench.results.store import RunWriter
from attnbench.suite import Cell
from attnbench.workers.process import Setting
from attnbench.workers.protocol import Ceilings, Reply, value
from attnbench.workers.session import ask_once

# Seconds for each rate; and for each that is measured again because a cell was faster than the first one allows.
CEILINGS_S, AGAIN_S, BRIEF_S = 0.15, 0.6, 0.05

# Asks a process of a backend that computes with so many threads: (backend, device, threads, what it is to measure).
Ask = Callable[[str, str, int, dict[str, Any]], Reply]


class Rates:
    """The rates that were seen so far. ``cells`` are those that are left to measure, of which some are timed.

    ``at_work`` is told what is measured next. ``brief``: there is little time, so that each rate has less of it and one
    framework measures for all on a device, that of most of its cells; where a cell is faster than that allows, the
    others are asked too.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        writer: RunWriter,
        spending: Spending,
        timeout_s: float,
        *,
        brief: bool = False,
        at_work: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._brief, self._at_work = brief, at_work
        self._timed = [cell for cell in cells if cell.case is not None]
        self._dtypes = sorted(_multiplied({cell.case.problem.dtype for cell in self._timed if cell.case is not None}))
        self._writer, self._spending, self._timeout_s = writer, spending, timeout_s
        self._best: dict[tuple[str, int], Ceilings] = {}
        self._measured_again: set[tuple[str, int]] = set()

    def _once(self, backend: str, _device: str, threads: int, what: dict[str, Any]) -> Reply:
        return ask_once(backend, "ceilings", timeout_s=self._timeout_s, setting=Setting(threads), **what)

    def known(self, device: str, threads: int) -> Ceilings | None:
        """The best rates so far."""
        return self._best.get((device, threads))

    def measure(self, ask: Ask | None = None) -> None:
        """Once for every framework, device and number of threads that is timed; each in a process of its own.

        With ``ask`` they are measured in the processes that answer it.
        """
        with self._spending.during("ceilings"):
            measuring = sorted({(cell.device, cell.threads, cell.backend) for cell in self._timed})
            for device, threads, backend in measuring:
                if not self._brief or backend == self._main(device, threads):
                    self._improve(device, threads, backend, BRIEF_S if self._brief else CEILINGS_S, ask)

    def _main(self, device: str, threads: int) -> str:
        """The framework of most cells that are timed on a device with so many threads."""
        there = (cell.backend for cell in self._timed if (cell.device, cell.threads) == (device, threads))
        return Counter(there).most_common(1)[0][0]

    def of(self, outcomes: Sequence[Outcome], device: str, threads: int) -> tuple[Ceilings | None, float]:
        """The ceilings that cells are held against, and the size of the last cache.

        Where one is faster than they allow they are measured again, once, longer and in every framework that is
        installed: nobody is accused because the machine was busy when they were measured, or another library is faster.
        """
        ceilings, cached = self._now(device, threads)
        if self.in_doubt(outcomes, device, threads):
            self._measured_again.add((device, threads))
            with self._spending.during("ceilings"):
                for name, info in discover.backends().items():
                    if info.why_missing() is None:
                        self._improve(device, threads, name, CEILINGS_S if self._brief else AGAIN_S)
            ceilings = self._best.get((device, threads))
        return ceilings, cached

    def in_doubt(self, outcomes: Sequence[Outcome], device: str, threads: int) -> bool:
        """Whether one of them is faster than the ceilings allow, and these are to be measured again first."""
        again = (device, threads) not in self._measured_again
        return again and any(rows.too_fast(outcome, *self._now(device, threads)) for outcome in outcomes)

    def _now(self, device: str, threads: int) -> tuple[Ceilings | None, float]:
        last_cache = floors.last_cache(self._writer.info.fingerprint.hardware.caches)
        return self._best.get((device, threads)), last_cache if device == "cpu" else float("inf")

    def _improve(self, device: str, threads: int, backend: str, seconds: float, ask: Ask | None = None) -> None:
        """Measure them in one framework, and keep the best rates that any has shown."""
        ask = ask or self._once
        self._at_work(f"the rates of this machine in {backend}")
        what = {"device": device, "seconds": seconds, "dtypes": self._dtypes}
        reply = ask(backend, device, threads, what)
        if reply.outside:
            reply = ask(backend, device, threads, what)
        if not reply.ok:
            self._writer.event("no ceilings", backend=backend, device=device, threads=threads, reason=reply.reason)
            return
        known = self._best.get((device, threads), Ceilings({}))
        self._best[device, threads] = best = value(Ceilings, reply).better(known)
        rates = {f"{name}.{device}.threads{threads}": rate for name, rate in best.rates.items()}
        info = self._writer.info
        self._writer.update(info.model_copy(update={"ceilings": info.ceilings | rates}))


def _multiplied(dtypes: set[str]) -> set[str]:
    """The dtypes of cells; what is computed in 16 bits may be computed in float32, so that its rate counts too."""
    return dtypes if dtypes <= {"float64", "float32"} else dtypes | {"float32"}
