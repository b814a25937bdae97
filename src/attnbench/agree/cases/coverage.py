"""What was covered: the sizes, and the offsets, of the cases that were compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from attnbench.attention.inputs import drawn
from attnbench.backends.asked import corner

if TYPE_CHECKING:
    from attnbench.attention.problem import Case

Extents = Mapping[str, tuple[int, int]]
SIZES = ("B", "Hq", "group", "Tq", "S", "D", "Dv")
OFFSET = "offset"
BOTH = "both"  # the smaller of Tq and S


def extents(cases: Iterable[Case]) -> dict[str, tuple[int, int]]:
    """The smallest and the largest of every size. ``group`` is Hq / Hkv; ``offset`` counts only where positions matter.

    ``both`` is the smaller of Tq and S: its largest says how many queries and keys there were at the same time.
    """
    covered: dict[str, tuple[int, int]] = {}
    for case in cases:
        p = case.problem
        values: dict[str, tuple[int, ...]] = {name: (getattr(p, name),) for name in SIZES if name != "group"}
        values["group"], values[BOTH] = (p.Hq // p.Hkv,), (min(p.Tq, p.S),)
        if case.spec.causal or case.spec.window is not None or p.kind_of("slopes"):
            values[OFFSET] = _offsets(case)
        covered = together(covered, {name: (min(all_of), max(all_of)) for name, all_of in values.items() if all_of})
    return covered


def together(*several: Extents) -> dict[str, tuple[int, int]]:
    """The extents of all of them."""
    covered: dict[str, tuple[int, int]] = {}
    for extents_of_some in several:
        for name, (least, most) in extents_of_some.items():
            before = covered.get(name, (least, most))
            covered[name] = (min(before[0], least), max(before[1], most))
    return covered


def _offsets(case: Case) -> tuple[int, ...]:
    given = drawn(case.problem, OFFSET).get(OFFSET)
    if given is None:
        return (corner(case),)
    return (given,) if isinstance(given, int) else tuple(map(int, given))
