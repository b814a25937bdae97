"""The cases of ``attnbench check`` at boundaries: a covering design over what an implementation declares.

In the first sweep every two classes of different dimensions that can stand together do so in some case; in sweeps of
small cases those that are small. Where every case is compiled the first rows are tried, those that bring most of the
classes to each dtype. What is not declared is replaced by the plain level and so costs no coverage. The list is a
function of the declared capabilities alone: the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from attnbench.agree.cases import dimensions as dims
from attnbench.agree.cases.case_text import case_text
from attnbench.agree.cases.covering import Design, Row
from attnbench.agree.cases.features import features_of
from attnbench.agree.cases.levels import FORWARD, levels_of
from attnbench.agree.cases.making import Planned, case_of, has_a_key, pick, planned
from attnbench.agree.cases.sizes import not_too_large
from attnbench.attention.inputs import stream
from attnbench.attention.precision import DTYPES
from attnbench.backends.asked import needs_of
from attnbench.errors import SpecError

if TYPE_CHECKING:
    import numpy as np

    from attnbench.attention.problem import Case
    from attnbench.backends.implementation import Implementation

MOST_ON = 4  # features in one case, beside those that these need: with more of them hardly a key is left
QUICK, USUAL, DEEP = "quick", "usual", "deep"
SWEEPS = (dims.LARGE, dims.SMALL, dims.SMALL)
SWEEPS_DEEP = (dims.LARGE, dims.SMALL) * 8
QUICK_CASES = 40
CANDIDATES, COMPILED_CANDIDATES = 4, 6  # rows of which the best is taken: a case that is compiled must count
COMPILED_CASES = 52  # each is compiled, and takes a second
COMPILED_FORWARD = 1 / 7  # of them have no backward pass, if there is one
COMPILED_WEIGHT = 50  # what a class that is new to a dtype is worth there, in other pairs
OTHERS = 3  # further cases for which nothing is compiled
SIZE_NAMES = ("B", "Hq", "Hkv", "Tq", "S", "D", "Dv", "Da")
# Cases in which no query has a key.
DEAD: tuple[Row, ...] = (
    {"causal": "causal", "where": "offset_minus_1", "Tq": "1"},
    {"causal": "causal", "where": "offset_below", "Tq": "16"},
    {"window": "none", "where": "offset_beyond"},
    {"mask": "mask_dead_rows", "Tq": "1"},
)


def sweeps_of(depth: str, *, compiles: bool = False) -> tuple[dims.MostWork, ...]:
    """The sweeps of the plan, one after the other; of a framework that compiles every case only large ones."""
    if depth == QUICK or (compiles and depth == USUAL):
        return SWEEPS[:1]
    sweeps = SWEEPS_DEEP if depth == DEEP else SWEEPS
    return tuple(sweep for sweep in sweeps if sweep == dims.LARGE) if compiles else sweeps


def boundary_cases(
    implementation: Implementation,
    dtypes: Sequence[str],
    features: Sequence[str],
    device: str = "cpu",
    *,
    depth: str = USUAL,
    compiles: bool = False,
    sweeps: Sequence[int] | None = None,
) -> list[str]:
    """The plan as texts, as far as it is about one of ``features`` (all without any), in the order to be tried.

    ``sweeps`` are the numbers of those that are wanted, all without any.
    """
    every = sweeps_of(depth, compiles=compiles)
    most = QUICK_CASES if depth == QUICK else COMPILED_CASES if compiles and depth == USUAL else None
    cases: list[Case] = []
    for number in range(len(every)) if sweeps is None else sweeps:
        sweep = {number: every[number]}
        for planned_case in planned_cases(implementation, dtypes, device, sweeps=sweep, compiles=compiles, most=most):
            more = others(implementation, planned_case, device) if compiles else []
            cases += [planned_case.case, *(other.case for other in more)]
    return [case_text(case) for case in cases if not features or set(features) & set(features_of(case))]


def planned_cases(
    implementation: Implementation,
    dtypes: Sequence[str] = DTYPES,
    device: str = "cpu",
    *,
    sweeps: Mapping[int, dims.MostWork] = MappingProxyType({0: dims.LARGE}),
    compiles: bool = False,
    most: int | None = None,
) -> list[Planned]:
    """The cases for what ``implementation`` declares, in sweeps; none where it takes nothing that there are classes of.

    ``sweeps`` says by the number of each sweep, which seeds it, what a case of it may cost; ``compiles`` where each
    case is compiled; ``most`` is the number of cases that a sweep is cut to.
    """
    available = levels_of(implementation, dtypes, device)
    if not available["mode"]:
        return []
    cases: list[Planned] = []
    for sweep, work in sweeps.items():
        for levels, count in _parts(available, most, compiles=compiles):
            cases += _Rows(implementation, device, sweep, compiles=compiles).cases(levels, work, count)
        cases += () if compiles else _dead(available, sweep, implementation, device)
    return cases


def _parts(
    available: dict[str, list[str]], most: int | None, *, compiles: bool
) -> list[tuple[dict[str, list[str]], int | None]]:
    """The parts of a sweep: the levels of each, and how many cases it has.

    There is one part, unless few cases are compiled. Then most of them have gradients, and these come first. Of those
    without gradients half have no feature that hides keys, so that each kernel that takes a NaN is asked what it
    reaches.
    """
    forward = [mode for mode in available["mode"] if mode.endswith(FORWARD)]
    backward = [mode for mode in available["mode"] if mode not in forward]
    if not (compiles and most is not None and backward and forward):
        return [(available, most)]
    each = max(1, round(COMPILED_FORWARD * most / 2 / len(forward)))
    parts: list[tuple[dict[str, list[str]], int | None]] = []
    for mode in forward:
        without = _only(available, mode=(mode,), outputs=(dims.OFF, "lse"))
        plain = _only(without, **dict.fromkeys(dims.HIDING, (dims.OFF,)))
        parts += [(without, each), (plain, each)]
    return [(_only(available, mode=backward), most - 2 * each * len(forward)), *parts]


def _only(available: dict[str, list[str]], **levels: Sequence[str]) -> dict[str, list[str]]:
    """What is available, of each dimension that is named only the levels given here, where some of them are."""
    kept = {name: [level for level in available[name] if level in some] for name, some in levels.items()}
    return {**available, **{name: some for name, some in kept.items() if some}}


class _Rows:
    """The rows of one sweep, and the case of each."""

    def __init__(self, implementation: Implementation, device: str, sweep: int, *, compiles: bool) -> None:
        self._implementation, self._device, self._sweep, self._compiles = implementation, device, sweep, compiles
        can = implementation.capabilities_on(device)
        self._isolates, self._limits = can.nan_isolation, can.limits
        self._made: dict[tuple[str, ...], Planned | None] = {}

    def cases(self, available: Mapping[str, Sequence[str]], work: dims.MostWork, most: int | None) -> list[Planned]:
        """Those of a design over the levels that are available."""
        design = Design(
            available,
            partial(self._fits, work=work),
            stream(self._sweep, f"covering {available['mode'][0]} {sum(map(len, available.values()))}"),
            features=tuple(dims.FEATURES),
            core=dims.CORE,
            first=("mode",),
            weight=COMPILED_WEIGHT if self._compiles else 1,
            most_on=MOST_ON + 2 * self._compiles,
            candidates=COMPILED_CANDIDATES if self._compiles else CANDIDATES,
            stands=self._stands,
        )
        return [planned_case for row in design.rows(most) if (planned_case := self._case(row)) is not None]

    def _fits(self, row: Mapping[str, str], added: str | None, work: dims.MostWork) -> bool:
        if not dims.fits(row, work, added) or (not self._isolates and dims.isolates(row)):
            return False
        return not self._limits or not_too_large(row, self._limits)

    def _stands(self, row: Row) -> list[Row]:
        """The rows that are tried with this one; none where it has no case."""
        planned_case = self._case(row)
        if planned_case is None:
            return []
        more = others(self._implementation, planned_case, self._device) if self._compiles else []
        return [dict(each.row) for each in (planned_case, *more)]

    def _case(self, row: Row) -> Planned | None:
        key = tuple(row[name] for name in sorted(row))
        if key not in self._made:
            self._made[key] = planned(self._implementation, row, self._device, str(self._sweep))
        return self._made[key]


def _dead(
    available: Mapping[str, Sequence[str]], sweep: int, implementation: Implementation, device: str
) -> Iterator[Planned]:
    """A few cases in which no query has a key: they cover nothing else."""
    plain = {name: levels[0] for name, levels in available.items()}
    plain |= {name: level for name, level in (("Tq", "64"), ("D", "8")) if level in available[name]}
    for number, levels in enumerate(DEAD):
        if all(level in available[name] for name, level in levels.items()):
            modes = available["mode"]
            row = plain | levels | {"mode": modes[(sweep + number) % len(modes)]}
            case = case_of(row, stream(sweep, f"dead {number}"), implementation.capabilities_on(device).limits)
            if implementation.unsupported(needs_of(case, device)) is None and not has_a_key(case):
                yield Planned(case, row, dead=True)


def others(implementation: Implementation, planned: Planned, device: str = "cpu", count: int = OTHERS) -> list[Planned]:
    """Cases that differ from a planned one in values alone: for them nothing is compiled again.

    Each has other levels, wherever two levels of a feature give arrays of the same shapes, and another seed. Without
    gradients every other one has a NaN that some row sees.
    """
    more: list[Planned] = []
    rng = stream(planned.case.problem.seed, "others")
    if planned.row.get("where") in dims.DRAWN_NUMBERS:
        return more
    first = int(rng.integers(len(dims.SEEN)))
    for number in range(3 * count):
        poison = dims.SEEN[(first + number // 2) % len(dims.SEEN)] if number % 2 == 0 else None
        other = _other(planned, rng, poison) if len(more) < count else None
        if other is not None and implementation.unsupported(needs_of(other.case, device)) is None:
            more.append(other)
    return more


def _other(planned: Planned, rng: np.random.Generator, seen: str | None) -> Planned | None:
    """One of them; ``seen`` is the NaN that some row sees, where there are no gradients."""
    row = dict(planned.row)
    for name, groups in dims.ALIKE.items():
        group = next((levels for levels in groups if row.get(name) in levels), ())
        fitting = [level for level in group if dims.fits(row | {name: level})]
        row |= {name: pick(rng, fitting)} if fitting else {}
    if seen is not None and row["mode"].endswith(FORWARD):
        row["poison"] = seen
    if not dims.fits(row):
        return None
    try:
        case = case_of(row, rng)
        sizes = {name: getattr(planned.case.problem, name) for name in SIZE_NAMES}
        case = replace(case.with_problem(**sizes), spec=planned.case.spec)
    except SpecError:
        return None
    return Planned(case, row) if has_a_key(case) else None
