"""How fast ours are beside others: ``python -m tests.benchmarks.ratios [--rounds N] [--only NAME ...] [--tiles]``.

Each line is one claim: a shape, one of ours, who it is held to, and the ratio of times that is allowed. In each round
every contestant has a fresh process, in random order, that calls ``attend`` or ``vjp`` with two threads, copies
included; what is compared are medians of rounds. To hold another implementation to a shape, add a line to CLAIMS.
``--tiles`` times sizes of tiles of ``numpy/blocked`` instead. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

import attnbench as ab

THREADS = 2


@dataclass(frozen=True)
class Shape:
    """One batch entry in float32."""

    name: str
    Hq: int
    Tq: int
    D: int
    Hkv: int = 0
    S: int = 0
    causal: bool = False
    gradients: bool = False

    def call(self, impl: str) -> Callable[[], Any]:
        """The call that is timed."""
        rng = np.random.default_rng(0)
        shapes = [(1, self.Hq, self.Tq, self.D), *[(1, self.Hkv or self.Hq, self.S or self.Tq, self.D)] * 2]
        q, k, v = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
        spec = ab.AttentionSpec(causal=self.causal)
        if self.gradients:
            d_output = rng.standard_normal(q.shape).astype(np.float32)
            return lambda: ab.vjp(q, k, v, d_output, impl=impl, spec=spec, threads=THREADS)
        return lambda: ab.attend(q, k, v, impl=impl, spec=spec, threads=THREADS)


@dataclass(frozen=True)
class Claim:
    """``impl`` on ``shape`` takes at most ``at_most`` times as long as the fastest of ``others``, on ``beside``."""

    impl: str
    shape: Shape
    at_most: float
    others: tuple[str, ...] = ("torch/sdpa",)
    beside: Shape | None = None


FULL = Shape("T 2048", 8, 2048, 64)
CLAIMS = (
    Claim("numpy/blocked", Shape("T 512", 8, 512, 64), 1.6),
    Claim("numpy/blocked", FULL, 1.15),
    Claim("numpy/blocked", Shape("T 4096", 8, 4096, 64), 1.15),
    Claim("numpy/blocked", Shape("D 128", 8, 2048, 128), 1.15),
    Claim("numpy/blocked", Shape("causal", 8, 2048, 64, causal=True), 0.62, ("numpy/blocked",), FULL),
    Claim("numpy/blocked", Shape("grouped", 32, 1024, 128, Hkv=8), 1.2),
    Claim("numpy/blocked", Shape("decode", 32, 1, 128, 8, 4096), 1.3, ("numpy/naive", "torch/naive", "torch/sdpa")),
    Claim("numpy/blocked", Shape("backward", 8, 1024, 64, gradients=True), 1.5),
)


# Rows, keys, rows of a product (0: all) and rows of several heads: with large products, and with small ones.
TILES = (
    *((256, 512, 0, 1024), (512, 256, 0, 1024), (512, 512, 0, 1024), (512, 1024, 0, 1024), (1024, 256, 0, 1024)),
    *((512, 128, 64, 1024), (512, 128, 64, 2048), (1024, 128, 64, 1024), (1024, 128, 64, 2048), (1024, 64, 64, 2048)),
)


def median_s(call: Callable[[], Any], seconds: float = 0.7) -> float:
    """Of calls in this process, after two."""
    call(), call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def fresh_s(impl: str, shape: Shape) -> float:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.ratios", "--one", impl, json.dumps(asdict(shape))]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measured(claim: Claim, rounds: int) -> tuple[float, float, str]:
    """Medians of rounds: of ours, and of the fastest of the others, with its name."""
    contestants = [(claim.impl, claim.shape), *((other, claim.beside or claim.shape) for other in claim.others)]
    times: dict[tuple[str, Shape], list[float]] = {contestant: [] for contestant in contestants}
    for _ in range(rounds):
        for contestant in random.sample(contestants, len(contestants)):
            times[contestant].append(fresh_s(*contestant))
    ours, *others = ((statistics.median(times[contestant]), contestant[0]) for contestant in contestants)
    return ours[0], *min(others)


def _always(tile: Any, call: Any) -> Any:
    del call
    return tile


def show_tiles() -> None:
    """Milliseconds of the forward pass with other tiles, in this process."""
    from attnbench.impls.numpy_backend.tiled import forward, layout

    shapes = [claim.shape for claim in CLAIMS if not claim.shape.gradients and claim.shape.Tq > 1]
    for tile in [layout.Tile(*numbers) for numbers in TILES]:
        for module in (layout, forward):
            setattr(module, "forward_tile", partial(_always, tile))  # noqa: B010  (for a type checker)
        took = {shape.name: f"{1e3 * median_s(shape.call('numpy/blocked')):.1f}" for shape in shapes}
        print(f"{tile}  {took}", flush=True)


def main() -> int:
    """Print a line for each claim; 1 where one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="names of shapes, such as decode")
    parser.add_argument("--tiles", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(median_s(Shape(**json.loads(given.one[1])).call(given.one[0])))
        return 0
    if given.tiles:
        show_tiles()
        return 0
    broken = 0
    for claim in CLAIMS:
        if given.only and claim.shape.name not in given.only:
            continue
        ours, other, fastest = measured(claim, given.rounds)
        beside = claim.beside.name if claim.beside else claim.shape.name
        ratio = ours / other
        broken += ratio > claim.at_most
        says = "holds" if ratio <= claim.at_most else "does not hold"
        print(
            f"{claim.impl:15s} {claim.shape.name:9s} {1e3 * ours:8.2f} ms  {ratio:5.2f} x {fastest} {beside}"
            f"  at most {claim.at_most:.2f}: {says}",
            flush=True,
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
