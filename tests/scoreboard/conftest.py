"""Made-up noise with what real noise has: heavy tails, drift, processes that differ from one another."""

from __future__ import annotations

import numpy as np

from attnbench.scoreboard.recorded.corpus import Corpus


def made(
    pairs: int = 60, cells: int = 4, *, process: float = 0.04, inner: float = 0.03, drift: float = 0.004, seed: int = 0
) -> Corpus:
    """A corpus; all sizes are spreads on the log scale."""
    rng = np.random.default_rng(seed)
    level = 0.8 * process * rng.standard_t(4, (pairs, cells, 2, 1))
    walk = np.cumsum(drift * rng.standard_normal((pairs, 1, 1, 1)), axis=0)
    seconds = 1e-3 * np.exp(level + walk + 0.6 * inner * rng.standard_t(3, (pairs, cells, 2, 8)))
    return Corpus(seconds, tuple(f"c{i}" for i in range(cells)), 0.5, 1.0, 0.03, {"recorded": "2026-11-23"})
