"""Where the wall time of a run goes: seconds by phase, so that nobody has to guess why it took so long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from attnbench.results.schema import Sample

# What is importing, compiling and checking (the processes that weigh memory do little else), or is not timed at all.
ASIDE = ("prepare", "audit", "memory", "observing")


class Spending:
    """Seconds by phase.

    ``ceilings``; ``prepare``: start, import, compile, check, calibrate; ``rounds``, of which ``bursts`` are measured;
    ``audit``; ``memory``.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.by_suite: dict[str, float] = {}
        self._start = self._ended = time.monotonic()

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Count the time until the end of the block."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.add(phase, time.monotonic() - start)

    def add(self, phase: str, seconds: float) -> None:
        """Count some seconds."""
        self.seconds[phase] = self.seconds.get(phase, 0.0) + seconds

    def began(self) -> None:
        """Cells are worked at from now on: what was before belongs to no suite."""
        self._ended = time.monotonic()

    def ended(self, suite: str) -> None:
        """A cell of a suite came to its end: the time since the last one did is that suite's.

        Where several are observed at once they end in turn, so that all shares together are the time that passed.
        """
        now = time.monotonic()
        self.by_suite[suite] = self.by_suite.get(suite, 0.0) + now - self._ended
        self._ended = now

    def burst(self, sample: Sample) -> None:
        """Count a burst that was measured, disturbed or not."""
        if not sample.warmup:
            self.add("bursts", sample.wall_s * sample.calls)

    def total(self) -> dict[str, float]:
        """Seconds by phase, and ``wall`` in all."""
        return {"wall": time.monotonic() - self._start} | self.seconds

    def measured_share(self) -> float | None:
        """The part of the wall time, but for what is ``ASIDE``, that was inside measured bursts."""
        total = self.total()
        rest = total["wall"] - sum(total.get(phase, 0.0) for phase in ASIDE)
        return total["bursts"] / rest if total.get("bursts") and rest > 0 else None

    def sentence(self) -> str:
        """For people."""
        total = self.total()
        parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in total.items() if name != "wall")
        share = self.measured_share()
        inside = (
            ""
            if share is None
            else f"; {', '.join(name for name in ASIDE if name in total)} aside, {share:.0%} inside measured bursts"
        )
        return f"Time: {total['wall']:.0f} s ({parts}){inside}." + self._suites()

    def _suites(self) -> str:
        if len(self.by_suite) < 2:  # noqa: PLR2004  (of one suite the time in all is known)
            return ""
        listed = ", ".join(f"{name} {seconds / 60:.1f}" for name, seconds in self.by_suite.items())
        return f"\nMinutes by suite: {listed}."
