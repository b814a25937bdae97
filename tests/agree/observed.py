"""The table of observed error ratios in docs/agreement.md: ``python -m tests.agree.observed``.

For correct kernels of several kinds, the largest error over 2 E, over lengths of keys and seeds; above 1 would be a
false alarm.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from attnbench.agree.trial import trial
from attnbench.attention import resolve
from attnbench.implementation import Implementation
from attnbench.problem import DISTRIBUTIONS, Case, Problem
from attnbench.spec import AttentionSpec
from tests.agree.kernels import casting, online, sequential

BACKEND, NAIVE = resolve("numpy/naive")
KERNELS: tuple[Implementation, ...] = (NAIVE, sequential, online, casting)
DTYPES = ("float32", "bfloat16", "float16")
LENGTHS = (1, 2, 17, 65, 257, 1025, 4097)
HEADER = "| distribution | dtype | naive | sequential | online | casting | gradients: naive | sequential |"


def largest(kernel: Implementation, dtype: str, distribution: str, lengths: Sequence[int]) -> tuple[float, float]:
    """The largest ratio, forward and backward (0 without gradients)."""
    forward = backward = 0.0
    for seed, s in enumerate(lengths):
        problem = Problem(Hq=2, Hkv=1, Tq=16, S=s, D=64, Dv=16, dtype=dtype, distribution=distribution, seed=seed)
        case = Case(AttentionSpec(), problem, "backward" if kernel.vjp else "forward", ("lse",))
        for spec in (AttentionSpec(), AttentionSpec(causal=True, align="bottom_right")):
            result = trial(BACKEND, kernel, replace(case, spec=spec))
            forward = max([forward, *(j.error_ratio for j in result.forward)])
            backward = max([backward, *(j.error_ratio for j in result.gradients)])
    return forward, backward


def rows(lengths: Sequence[int] = LENGTHS) -> Iterator[tuple[str, str, list[float]]]:
    """Distribution, dtype and the ratios in the order of ``HEADER``."""
    for distribution in DISTRIBUTIONS:
        for dtype in DTYPES:
            found = [largest(kernel, dtype, distribution, lengths) for kernel in KERNELS]
            yield distribution, dtype, [f for f, _ in found] + [found[0][1], found[1][1]]


def main() -> None:
    """Write the table."""
    lines = [HEADER, "|---|---|" + "---|" * 6]
    for distribution, dtype, ratios in rows():
        lines.append(f"| {distribution} | {dtype} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
