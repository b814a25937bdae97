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
BOTH = "both"  # Tq and S together: the smaller of the two


def extents(cases: Iterable[Case]) -> dict[str, tuple[int, int]]:
    """The smallest and the largest of every size; ``group`` is Hq / Hkv, and ``offset`` counts where positions do.

    ``both`` is the smaller of Tq and S: up to where queries and keys were many together.
    """
    found: dict[str, tuple[int, int]] = {}
    for case in cases:
        p = case.problem
        values: dict[str, tuple[int, ...]] = {name: (getattr(p, name),) for name in SIZES if name != "group"}
        values["group"], values[BOTH] = (p.Hq // p.Hkv,), (min(p.Tq, p.S),)
        if case.spec.causal or case.spec.window is not None or p.kind_of("slopes"):
            values[OFFSET] = _offsets(case)
        found = together(found, {name: (min(all_of), max(all_of)) for name, all_of in values.items() if all_of})
    return found


def together(*several: Extents) -> dict[str, tuple[int, int]]:
    """The extents of all of them."""
    found: dict[str, tuple[int, int]] = {}
    for one in several:
        for name, (least, most) in one.items():
            before = found.get(name, (least, most))
            found[name] = (min(before[0], least), max(before[1], most))
    return found


def _offsets(case: Case) -> tuple[int, ...]:
    given = drawn(case.problem, OFFSET).get(OFFSET)
    if given is None:
        return (corner(case),)
    return (given,) if isinstance(given, int) else tuple(map(int, given))
