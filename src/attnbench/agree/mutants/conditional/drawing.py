"""Drawing conditions: their classes by name, their numbers, and cases that are made to fulfil them.

Thresholds are log-uniform from 1 to 9,000 for queries and keys, or stand at or beside the edge of a tile; those of
heads and batch entries are small. Kernels have branches for what is left over behind whole tiles, so the rests that are
drawn are those that matter there: none, one element, all but one. No number is taken from the cases of the check, which
must find faults that it was not made for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from attnbench.agree.mutants.conditional.moments import Condition
from attnbench.attention.problem import OPERAND_GROUPS, OPERAND_KINDS, Case

Draw = Callable[[np.random.Generator], Condition]

FARTHEST = 9000
SMALL_TILE = 8
TILES = tuple(2**power for power in range(4, 14))
DRAWN: dict[str, Draw] = {}


def drawn(kind: str, *operands: str) -> Callable[[Callable[[np.random.Generator], dict[str, Any]]], Draw]:
    """Enter a class of conditions; it is left out as long as one of ``operands`` cannot be drawn."""

    def enter(parts: Callable[[np.random.Generator], dict[str, Any]]) -> Draw:
        def draw(rng: np.random.Generator) -> Condition:
            return Condition(kind, **{"when": lambda _: True, **parts(rng)})

        if set(operands) <= set(OPERAND_KINDS):
            DRAWN[kind] = draw
        return draw

    return enter


def log_uniform(rng: np.random.Generator, low: int, high: int) -> int:
    """An integer from ``low`` to ``high``, small and large ones alike."""
    return int(math.exp(rng.uniform(math.log(low), math.log(high + 1))))


def threshold(rng: np.random.Generator) -> int:
    """A number of queries or keys: one in four at the edge of a tile or one beside it."""
    if rng.random() < 1 / 4:
        return int(rng.choice(TILES)) + int(rng.integers(-1, 2))
    return log_uniform(rng, 1, FARTHEST)


def modulus(rng: np.random.Generator) -> int:
    """The length of a tile: mostly a power of two, as kernels have them, else a small number."""
    return 2 ** int(rng.integers(1, 8)) if rng.random() < 7 / 8 else int(rng.integers(3, 13))


def tail(rng: np.random.Generator, m: int) -> int:
    """What is left over behind whole tiles: mostly one element, or all but one; of a small tile anything."""
    anything = m <= SMALL_TILE and rng.random() < 1 / 4
    return int(rng.integers(m)) if anything else int(rng.choice((1, m - 1)))


# Cases in which a condition can hold


def resized(**changes: Callable[[int], int]) -> Callable[[Case], Case]:
    """Sizes changed one by one."""

    def fit(case: Case) -> Case:
        for name, change in changes.items():
            size = max(1, change(getattr(case.problem, name)))
            case = case.with_problem(**_in_step(case, name, size))
        return case

    return fit


def _in_step(case: Case, name: str, size: int) -> dict[str, int]:
    """A size with those that follow it: the heads of a group, the keys of a cache (no fewer than queries)."""
    p = case.problem
    if name == "Hq":
        return _heads(case, size)
    if "past" in p.operands and name in ("Tq", "S"):
        return {"Tq": size, "S": max(p.S, size + 3)} if name == "Tq" else {"Tq": min(p.Tq, size), "S": size}
    return {name: size}


def _heads(case: Case, least: int) -> dict[str, int]:
    group = case.problem.Hq // case.problem.Hkv
    hkv = -(-least // group)
    return {"Hq": hkv * group, "Hkv": hkv}


def at_least(n: int) -> Callable[[int], int]:
    """The size, or n where it is smaller."""
    return lambda size: max(size, n)


def at_most(n: int) -> Callable[[int], int]:
    """The size, or n where it is larger."""
    return lambda size: min(size, n)


def in_class(m: int, r: int) -> Callable[[int], int]:
    """The next larger size with this residue."""
    return lambda size: size + (r - size) % m


def with_operand(case: Case, kind: str) -> Case:
    """The case with this operand instead of others of its group."""
    group = next(kinds for kinds in OPERAND_GROUPS.values() if kind in kinds)
    others = tuple(operand for operand in case.problem.operands if operand not in group)
    return case.with_problem(operands=(*others, kind))


def with_spec(**changes: Any) -> Callable[[Case], Case]:
    """The same case with a changed spec."""
    return lambda case: replace(case, spec=replace(case.spec, **changes))


def placed(kind: str) -> Callable[[Case], Case]:
    """The case with its queries at other positions, and a spec in which positions matter."""

    def fit(case: Case) -> Case:
        others = tuple(operand for operand in case.problem.operands if operand != "past")
        case = with_operand(case.with_problem(operands=others), kind)
        spec = replace(case.spec, align=None)
        if not spec.causal and spec.window is None and "slopes" not in case.problem.operands:
            spec = replace(spec, causal=True)
        return replace(case, spec=spec)

    return fit
