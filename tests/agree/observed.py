"""The tables of observed error ratios in docs/agreement.md; ``python -m tests.docs.write agreement`` measures them.

For correct kernels of several kinds, the largest error over 2 E, over lengths of keys and seeds; above 1 would be a
false alarm. For faulty kernels, the smallest and the largest of that ratio; below 1 the fault is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from attnbench.agree.eager.attention import Eager
from attnbench.agree.judge.trial import trial
from attnbench.agree.mutants import MUTANTS
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call
from attnbench.attention.problem import DISTRIBUTIONS, Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import resolve
from attnbench.backends.implementation import Implementation
from tests.agree.kernels import casting, online, sequential
from tests.repository import DOCS

BACKEND, NAIVE = resolve("numpy/naive")
KERNELS: tuple[Implementation, ...] = (NAIVE, sequential, online, casting)
DTYPES = ("float32", "bfloat16", "float16")
PAGE = DOCS / "agreement.md"
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
            ratios = [largest(kernel, dtype, distribution, lengths) for kernel in KERNELS]
            yield distribution, dtype, [f for f, _ in ratios] + [ratios[0][1], ratios[1][1]]


class Temperature(Eager):
    """The scale is wrong by 1 %."""

    def scale(self, call: Call, allowed: Array) -> Array | float:
        return super().scale(call, allowed) * 1.01


class Factor(Eager):
    """The output is too large by a factor of 1.003."""

    def finish(self, output: Array, dtype: Any) -> Array:
        return super().finish(output * output.dtype.type(1.003), dtype)


class WithoutLastKey(Eager):
    """The last key is dropped, whatever the length."""

    def lengths(self, call: Call) -> Array | None:
        within = super().lengths(call)
        short = np.arange(call.sizes.S) < call.sizes.S - 1
        return short if within is None else within & short


FAULTS: dict[str, Callable[[], Eager]] = {
    "scale 1/√(D + 1)": MUTANTS["ScaleOffByOne"].breed,
    "temperature wrong by 1 %": Temperature,
    "logits kept in bfloat16": MUTANTS["LogitsInBfloat16"].breed,
    "output times 1.003": Factor,
    "q and k rounded to TF32": MUTANTS["TF32"].breed,
    "values through float16": MUTANTS["ValuesInFloat16"].breed,
    "last key dropped (here the last row alone attends it)": WithoutLastKey,
}
PLACES = (("float32", 129), ("float32", 1025), ("bfloat16", 129))
FAULT_HEADER = "| fault | float32, S = 129 | float32, S = 1025 | bfloat16, S = 129 |"


def fault_ratios(fault: str, dtype: str, s: int) -> list[float]:
    """The largest error over its bound of a faulty kernel, for each of three seeds and two distributions."""
    kernel, ratios = FAULTS[fault]().implementation("faulty"), []
    for distribution in ("normal", "outliers"):
        for seed in range(3):
            problem = Problem(Hq=2, Tq=32, S=s, D=64, dtype=dtype, distribution=distribution, seed=seed)
            case = Case(AttentionSpec(causal=True, align="bottom_right"), problem)
            ratios.append(max(j.error_ratio for j in trial(BACKEND, kernel, case).forward))
    return ratios


def correct_table() -> str:
    """The table of correct kernels."""
    lines = [HEADER, "|---|---|" + "---|" * 6]
    for distribution, dtype, ratios in rows():
        lines.append(f"| {distribution} | {dtype} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")
    return "\n".join(lines)


def fault_table() -> str:
    """The table of faulty kernels."""
    lines = [FAULT_HEADER, "|---|---|---|---|"]
    for fault in FAULTS:
        cells = [_range(fault_ratios(fault, dtype, s)) for dtype, s in PLACES]
        lines.append(f"| {fault} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _range(ratios: Sequence[float]) -> str:
    return "–".join(f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.2g}" for ratio in (min(ratios), max(ratios)))


def replaced(page: str, header: str, table: str) -> str:
    """The page with the table that begins with this header replaced."""
    before, header_there, after = page.partition(header)
    if not header_there:
        msg = f"{PAGE} has no table with the header {header}"
        raise ValueError(msg)
    rest = after.split("\n\n", 1)[1]
    return f"{before}{table}\n\n{rest}"


def measured(page: str) -> str:
    """Measure, and return the page with both tables anew."""
    return replaced(replaced(page, HEADER, correct_table()), FAULT_HEADER, fault_table())
