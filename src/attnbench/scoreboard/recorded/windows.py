"""What other tools would have measured on recorded noise: before, and then after, for as long as ours measures.

A tool is given every second of its wall time as bursts, its start-up for nothing. Of B it measures what follows A in
the recording, so that drift between the two is in it. pytest-benchmark measures all in one process for each side and
asv each benchmark in two; a recorded process is short, so a longer one is made of the level of one recorded process
and the residuals of those that follow it. That dilutes a disturbance of some seconds, in favour of these tools.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.comparing.signed_rank import MAD_TO_SD
from attnbench.scoreboard.recorded.corpus import Corpus

# asv's samples of one process: more time makes longer samples, as its sample_time does.
ASV_SAMPLES = 60
# pyperf takes three values from each process.
PYPERF_VALUES = 3


@dataclass(frozen=True)
class Windows:
    """``length`` pairs of a corpus for each side, drawn for so many runs. All arrays are (runs, cells, …), seconds."""

    corpus: Corpus
    length: int
    runs: int
    rng: np.random.Generator

    @cached_property
    def _logs(self) -> Array:
        return np.log(self.corpus.seconds)

    @cached_property
    def _levels(self) -> Array:
        """(pair, cell, side): what a process differs by from others, without what its few bursts scatter by."""
        medians = np.median(self._logs, axis=3)
        half = self.corpus.bursts // 2
        halves = np.median(self._logs[..., :half], axis=3) - np.median(self._logs[..., half:], axis=3)
        middle = np.median(medians, axis=(0, 2), keepdims=True)
        whole, scatter = _spread(medians - middle), _spread(halves) / 2
        shrunk = np.sqrt(np.clip(1 - scatter**2 / np.maximum(whole, 1e-12) ** 2, 0, 1))
        return np.asarray(middle + shrunk[None, :, None] * (medians - middle))

    @cached_property
    def _residuals(self) -> Array:
        """(pair, cell, 2 × bursts), both sides."""
        residuals = self._logs - np.median(self._logs, axis=3, keepdims=True)
        return residuals.reshape(*residuals.shape[:2], -1)

    @cached_property
    def starts(self) -> tuple[Array, Array]:
        """Where the windows of A and of B begin, for every run: one after the other, either first."""
        first = self.rng.integers(self.corpus.pairs, size=self.runs)
        second = (first + self.length) % self.corpus.pairs
        swap = self.rng.random(self.runs) < 0.5  # noqa: PLR2004  (a fair coin)
        return np.where(swap, second, first), np.where(swap, first, second)

    def _over_windows(self, values: Array, statistic: Any) -> Array:
        """A statistic of every window, by where it begins: (pairs, cells)."""
        places = (np.arange(self.corpus.pairs)[:, None] + np.arange(self.length)) % self.corpus.pairs
        return np.stack([statistic(values[place].swapaxes(0, 1).reshape(values.shape[1], -1)) for place in places])

    def pytest_benchmark(self) -> dict[str, tuple[Array, Array]]:
        """Mean, median and minimum of A and of B: one process for each side, and all cells in it."""
        process = [
            (starts + self.rng.integers(self.length, size=self.runs)) % self.corpus.pairs for starts in self.starts
        ]
        sides = self.rng.integers(2, size=(2, self.runs))
        levels = [np.exp(self._levels[process[i], :, sides[i]]) for i in range(2)]
        by_name = {}
        for name, statistic in (("mean", _mean), ("median", _median), ("min", _min)):
            windows = self._over_windows(np.exp(self._residuals), statistic)
            by_name[name] = (levels[0] * windows[self.starts[0]], levels[1] * windows[self.starts[1]])
        return by_name

    def asv(self, rows: slice) -> tuple[Array, Array]:
        """The samples of A and of B for some of the runs: (runs, cells, samples), two processes on each side."""
        a, b = self.starts
        return self._asv(a[rows]), self._asv(b[rows])

    def _asv(self, starts: Array) -> Array:
        half, cells = max(self.length // 2, 1), self.corpus.seconds.shape[1]
        parts = []
        for number in range(2):
            # A window of one pair gives both processes the same residuals, at levels of their own.
            later = number * half if self.length > 1 else 0
            at = (starts[:, None] + np.arange(half) + later) % self.corpus.pairs
            residuals = np.exp(self._residuals[at]).swapaxes(1, 2).reshape(len(starts), cells, -1)
            group = -(-residuals.shape[2] // ASV_SAMPLES)
            whole = residuals.shape[2] // group * group
            samples = residuals[..., :whole].reshape(len(starts), cells, -1, group).mean(3)
            # Every benchmark has processes of its own.
            which = np.take_along_axis(at, self.rng.integers(at.shape[1], size=(len(starts), cells)), axis=1)
            level = self._levels[which, np.arange(cells), self.rng.integers(2, size=(len(starts), cells))]
            parts.append(samples * np.exp(level)[..., None])
        return np.concatenate(parts, axis=2)

    def pyperf(self) -> tuple[tuple[Array, Array], tuple[Array, Array], int]:
        """Means and variances of A and of B, and how many values each has: three from each recorded process."""
        seconds = self.corpus.seconds
        cuts = np.array_split(np.arange(seconds.shape[3]), PYPERF_VALUES)
        values = np.stack([seconds[..., cut].mean(3) for cut in cuts], axis=3).reshape(*seconds.shape[:2], -1)
        means, variances = self._over_windows(values, _mean), self._over_windows(values, _variance)
        a, b = self.starts
        return (means[a], variances[a]), (means[b], variances[b]), self.length * values.shape[2]


def _spread(values: Array) -> Array:
    """(cell,): the robust standard deviation about 0 of (pair, cell, side)."""
    return np.asarray(MAD_TO_SD * np.median(np.abs(values), axis=(0, 2)))


def _mean(x: Array) -> Array:
    return np.asarray(x.mean(1))


def _median(x: Array) -> Array:
    return np.asarray(np.median(x, axis=1))


def _min(x: Array) -> Array:
    return np.asarray(x.min(1))


def _variance(x: Array) -> Array:
    return np.asarray(x.var(1, ddof=1))
