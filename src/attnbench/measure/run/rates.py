"""The ceilings of a run: this machine's rates, by device and number of threads, that its cells are held against."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from attnbench.backends import discover
from attnbench.measure.clock import floors
from attnbench.measure.run import rows
from attnbench.measure.run.block import Outcome
from attnbench.measure.run.spending import Spending
from attnbench.results.store import RunWriter
from attnbench.suite import Cell
from attnbench.workers.process import Setting
from attnbench.workers.protocol import Ceilings, value
from attnbench.workers.session import ask_once

# Seconds for each rate; and for each that is measured again because a cell was faster than the first one allows.
CEILINGS_S, AGAIN_S = 0.15, 0.6


class Rates:
    """The rates that were seen so far. ``cells`` are those that are left to measure, of which some are timed."""

    def __init__(self, cells: Sequence[Cell], writer: RunWriter, spending: Spending, timeout_s: float) -> None:
        self._timed = [cell for cell in cells if cell.case is not None]
        self._dtypes = sorted(_multiplied({cell.case.problem.dtype for cell in self._timed if cell.case is not None}))
        self._writer, self._spending, self._timeout_s = writer, spending, timeout_s
        self._best: dict[tuple[str, int], Ceilings] = {}
        self._measured_again: set[tuple[str, int]] = set()

    def measure(self) -> None:
        """Once for every framework, device and number of threads that is timed."""
        with self._spending.during("ceilings"):
            for device, threads, backend in sorted({(c.device, c.threads, c.backend) for c in self._timed}):
                self._improve(device, threads, backend, CEILINGS_S)

    def of(self, outcomes: Sequence[Outcome], device: str, threads: int) -> tuple[Ceilings | None, float]:
        """The ceilings that cells are held against, and the size of the last cache.

        Where one is faster than they allow they are measured again, once, longer and in every framework that is
        installed: nobody is accused because the machine was busy when they were measured, or another library is faster.
        """
        ceilings = self._best.get((device, threads))
        last_cache = floors.last_cache(self._writer.info.fingerprint.hardware.caches)
        cached = last_cache if device == "cpu" else float("inf")
        again = (device, threads) not in self._measured_again
        if again and any(rows.too_fast(outcome, ceilings, cached) for outcome in outcomes):
            self._measured_again.add((device, threads))
            with self._spending.during("ceilings"):
                for name, info in discover.backends().items():
                    if info.why_missing() is None:
                        self._improve(device, threads, name, AGAIN_S)
            ceilings = self._best.get((device, threads))
        return ceilings, cached

    def _improve(self, device: str, threads: int, backend: str, seconds: float) -> None:
        """Measure them in one framework, and keep the best rates that any has shown."""
        ask = partial(
            ask_once,
            backend,
            "ceilings",
            timeout_s=self._timeout_s,
            setting=Setting(threads),
            device=device,
            seconds=seconds,
            dtypes=self._dtypes,
        )
        reply = ask()
        if reply.outside:
            reply = ask()
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
