"""The cases of ``attnbench check`` at boundaries: a covering design over what an implementation declares.

Every two classes of different dimensions stand together in some case, in every sweep with other values of the classes;
what is not declared is replaced by the plain level and so costs no coverage. The list is a function of the declared
capabilities alone: the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.agree.case_text import case_text
from attnbench.agree.check import dimensions as dims
from attnbench.agree.check.covering import Design, Row
from attnbench.agree.check.features import features_of
from attnbench.backends.asked import needs_of
from attnbench.errors import SpecError
from attnbench.inputs import stream
from attnbench.precision import DTYPES
from attnbench.problem import Case, Problem
from attnbench.spec import AttentionSpec

if TYPE_CHECKING:
    from attnbench.implementation import Implementation

MOST_ON = 5  # features in one case: with more of them hardly a key is left
QUICK, USUAL, DEEP = "quick", "usual", "deep"
SWEEPS = (dims.LARGE, dims.SMALL, dims.SMALL)
SWEEPS_DEEP = (dims.LARGE, dims.SMALL) * 8
QUICK_CASES = 40
COMPILED_CASES = 50  # each is compiled, and takes a second
OTHERS = 3  # further cases for which nothing is compiled
SIZE_NAMES = ("B", "Hq", "Hkv", "Tq", "S", "D", "Dv", "Da")
TRIES = 6  # values drawn of a class before it counts as out of an implementation's limits

# Where every case is compiled, its sizes come together: these hold every class of every size at least once.
SHAPES: tuple[tuple[str, str, str, str, str, str], ...] = (
    # Tq, S, heads, B, D, Dv
    ("odd", "256", "2/2", "2", "64", "same"),
    ("1", "1025+", "by 4", "2", "128", "same"),
    ("64", "=Tq", "by 3", "1", "40", "same"),
    ("128", "=Tq", "3/3", "1", "96", "smaller"),
    ("256", "128", "1/1", "2", "72", "same"),
    ("16", "2049+", "by 2", "1", "160", "larger"),
    ("2", "64", "17+", "9+", "8", "same"),
    ("32", "4097+", "2/2", "1", "3", "larger"),
    ("1025+", "odd", "by 5", "1", "192", "same"),
    ("other", "other", "6/6", "2", "1", "smaller"),
    ("4097+", "2", "1/1", "2", "256", "same"),
    ("512", "32", "by 6", "1", "64", "smaller"),
    ("600+", "=Tq", "1/1", "1", "64", "same"),
    ("2049+", "1", "by 7", "1", "40", "same"),
    ("1", "8193+", "1/1", "1", "72", "same"),
    ("odd", "16", "by 8", "9+", "128", "same"),
    ("8193+", "16", "2/2", "1", "8", "larger"),
    ("32", "512", "all", "2", "96", "same"),
    ("2", "600+", "by 2 of 17+", "1", "160", "smaller"),
    ("16", "=Tq", "33+", "1", "256", "same"),
)


@dataclass(frozen=True)
class Planned:
    """A case of the plan and the levels that it stands for."""

    case: Case
    row: Mapping[str, str]

    @property
    def features(self) -> tuple[str, ...]:
        """The dimensions on which it is not plain, sizes aside."""
        return tuple(name for name in dims.FEATURES if self.row.get(name, dims.OFF) not in (dims.OFF, "dot"))


def sweeps_of(depth: str, *, compiles: bool = False) -> tuple[dims.Limits, ...]:
    """The sweeps of the plan, one after the other; of a framework that compiles every case only large ones."""
    if depth == QUICK or (compiles and depth == USUAL):
        return SWEEPS[:1]
    sweeps = SWEEPS_DEEP if depth == DEEP else SWEEPS
    return tuple(one for one in sweeps if one == dims.LARGE) if compiles else sweeps


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
    found: list[Case] = []
    for number in range(len(every)) if sweeps is None else sweeps:
        sweep = {number: every[number]}
        for one in planned_cases(implementation, dtypes, device, sweeps=sweep, by_shape=compiles, most=most):
            found += [one.case, *(other.case for other in others(implementation, one, device) if compiles)]
    return [case_text(one) for one in found if not features or set(features) & set(features_of(one))]


def planned_cases(
    implementation: Implementation,
    dtypes: Sequence[str] = DTYPES,
    device: str = "cpu",
    *,
    sweeps: Mapping[int, dims.Limits] = MappingProxyType({0: dims.LARGE}),
    by_shape: bool = False,
    most: int | None = None,
) -> list[Planned]:
    """The cases for what ``implementation`` declares, in sweeps; ``by_shape`` where each is compiled.

    ``sweeps`` are the limits of each sweep by its number, which it is drawn from; ``most`` is the number of cases that
    a sweep is cut to.
    """
    available = levels_of(implementation, dtypes, device)
    if not available["mode"]:
        return []
    found: list[Planned] = []
    for sweep, limits in sweeps.items():

        def made(row: Row, sweep: int = sweep) -> bool:
            one = _planned(implementation, row, device, f"{sweep}/{len(found)}")
            found.extend([] if one is None else [one])
            return one is not None

        _design(available, sweep, limits, most, made, by_shape=by_shape)
    return found


def others(implementation: Implementation, planned: Planned, device: str = "cpu", count: int = OTHERS) -> list[Planned]:
    """Cases that differ from a planned one in values alone: for them nothing is compiled again.

    Each has other levels, wherever two levels of a feature give arrays of the same shapes, and another seed.
    """
    found: list[Planned] = []
    rng = stream(planned.case.problem.seed, "others")
    if planned.row.get("where") in dims.DRAWN_NUMBERS:
        return found
    for _ in range(3 * count):
        other = _other(planned, rng) if len(found) < count else None
        if other is not None and implementation.unsupported(needs_of(other.case, device)) is None:
            found.append(other)
    return found


def _other(planned: Planned, rng: np.random.Generator) -> Planned | None:
    row = dict(planned.row)
    for name, groups in dims.ALIKE.items():
        group = next((one for one in groups if row.get(name) in one), ())
        row |= {name: _pick(rng, group)} if group else {}
    if not dims.fits_a_shape(row):
        return None
    try:
        case = case_of(row, rng)
        sizes = {name: getattr(planned.case.problem, name) for name in SIZE_NAMES}
        return Planned(replace(case.with_problem(**sizes), spec=planned.case.spec), row)
    except SpecError:
        return None


def _design(
    available: Mapping[str, Sequence[str]],
    sweep: int,
    limits: dims.Limits,
    most: int | None,
    made: Callable[[Row], bool],
    *,
    by_shape: bool,
) -> None:
    """Make the rows of one sweep; ``made`` is given each, and says whether it can stand."""
    rng = stream(sweep, "covering")
    given: dict[str, Any] = {"features": tuple(dims.FEATURES), "core": dims.CORE, "first": ("mode", "shape")}
    if not by_shape:
        Design(available, partial(dims.fits, limits=limits), rng, **given, most_on=MOST_ON, made=made).rows(most)
        return
    shapes = {str(i): dict(zip(dims.SIZES, one, strict=True)) for i, one in enumerate(SHAPES)}
    whole = {n: one for n, one in shapes.items() if all(one[name] in available[name] for name in dims.SIZES)}

    def expanded(row: Mapping[str, str]) -> Row:
        sizes = whole[row["shape"]] if "shape" in row else {}
        return {name: level for name, level in row.items() if name != "shape"} | sizes

    rest = {name: levels for name, levels in available.items() if name not in dims.SIZES}
    together = {"shape": list(whole), **rest}
    given |= {"most_on": MOST_ON + 1, "made": lambda row: made(expanded(row))}
    Design(together, lambda row: dims.fits_a_shape(expanded(row)), rng, **given).rows(most)


def _planned(implementation: Implementation, row: Row, device: str, name: str) -> Planned | None:
    """A case of a row that is supported; its values drawn again while what is said against them changes."""
    before = None
    for attempt in range(TRIES):
        try:
            case = case_of(row, stream(attempt, f"boundary {name}"))
            reason = implementation.unsupported(needs_of(case, device))
        except SpecError:
            continue
        if reason is None:
            return Planned(case, row)
        if reason == before:
            break
        before = reason
    return None


def case_of(row: Mapping[str, str], rng: np.random.Generator) -> Case:
    """The case of a row, with values drawn of its classes. Raises ``SpecError`` where they do not go together."""
    added = [dims.FEATURES[name][level] for name, level in row.items() if name in dims.FEATURES]
    spec = {name: _pick(rng, values) for one in added for name, values in one.spec.items()}
    sizes = _sizes(row, rng)
    if spec.get("scale") == "per_head":
        spec["scale"] = tuple(round(float(value), 3) for value in rng.uniform(-1, 1, sizes["Hq"]))
    dtype, _, phase = row["mode"].partition(" ")
    problem = Problem(
        **sizes,
        dtype=dtype,
        seed=int(rng.integers(2**31)),
        distribution=next((one.distribution for one in added if one.distribution), "normal"),
        operands=tuple(kind for one in added for kind in one.operands),
    )
    outputs = tuple(name for one in added for name in one.outputs)
    return Case(AttentionSpec(**spec), problem, phase, outputs)


def _sizes(row: Mapping[str, str], rng: np.random.Generator) -> dict[str, int]:
    hq, hkv = _pick(rng, dims.HEADS[row["heads"]])
    tq = _pick(rng, dims.LENGTHS[row["Tq"]])
    s = tq if row["S"] == dims.SQUARE else _pick(rng, dims.LENGTHS[row["S"]])
    d = _pick(rng, dims.HEAD_SIZES[row["D"]])
    values = {"same": (d,), "smaller": tuple({1, max(1, d // 2), max(1, d - 8)}), "larger": (d + 1, d + 24, 2 * d)}
    hidden = _pick(rng, (1, 5, 16))
    b = _pick(rng, dims.BATCH[row["B"]])
    return {"B": b, "Hq": hq, "Hkv": hkv, "Tq": tq, "S": s, "D": d, "Dv": _pick(rng, values[row["Dv"]]), "Da": hidden}


def _pick(rng: np.random.Generator, choices: Sequence[Any]) -> Any:
    return choices[int(rng.integers(len(choices)))]


def levels_of(implementation: Implementation, dtypes: Sequence[str], device: str = "cpu") -> dict[str, list[str]]:
    """The levels of each dimension that an implementation supports, in at least one combination with plain ones."""
    sizes: dict[str, list[str]] = {
        "Tq": list(dims.LENGTHS),
        "S": [*dims.LENGTHS, dims.SQUARE],
        "heads": list(dims.HEADS),
        "B": list(dims.BATCH),
        "D": list(dims.HEAD_SIZES),
        "Dv": list(dims.VALUE_SIZES),
    }
    every = {"mode": _modes(implementation, dtypes, device), **sizes}
    every |= {name: list(levels) for name, levels in dims.FEATURES.items()}
    base = next((one for one in _plain_rows(every) if _supported(implementation, one, device)), None)
    if base is None:
        return {name: [] for name in every}
    return {
        name: [one for one in levels if _supported_beside(implementation, base, (name, one), every["mode"], device)]
        for name, levels in every.items()
    }


def _modes(implementation: Implementation, dtypes: Sequence[str], device: str) -> list[str]:
    """Dtypes with a phase: forward alone in all of them where there are no gradients."""
    modes = dims.MODES if implementation.has_gradients(device) else tuple(f"{dtype} forward" for dtype in DTYPES)
    return [one for one in modes if one.partition(" ")[0] in dtypes]


def _plain_rows(every: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """Rows as plain as an implementation may take them: some are always causal, or square, or grouped."""
    plain = {name: levels[0] for name, levels in every.items() if levels}
    plain |= {"Tq": "64", "S": dims.SQUARE, "heads": "2/2"}
    for mode in every["mode"]:
        for heads in ("2/2", "by 2"):
            for causal in (dims.OFF, "causal"):
                yield plain | {"mode": mode, "heads": heads, "causal": causal}


def _supported(implementation: Implementation, row: Row, device: str) -> bool:
    return dims.fits(row) and _planned(implementation, row, device, "level") is not None


def _supported_beside(
    implementation: Implementation, base: Row, one: tuple[str, str], modes: Sequence[str], device: str
) -> bool:
    """Whether a level is supported on its own or beside one that gives it a meaning."""
    row = base | dict([one])
    forward = next((mode for mode in modes if mode.endswith("forward")), row["mode"])
    beside: tuple[dict[str, str], ...] = (
        {},
        {"causal": "causal"},
        {"causal": "causal", "S": "128", "Tq": "16"},
        {"window": "left"},
        {"window": "left", "S": "128", "Tq": "16"},
        {"slopes": "slopes"},
        {"mask": "mask_keys"},
        {"kv_lengths": "kv_lengths"},
        {"mode": forward},
        {"mode": forward, "causal": "causal"},
        {"Tq": "1", "S": "64", "D": "8"},
        {"Tq": "16", "S": "64"},
        {"S": "64"},
        {"S": "2", "D": "8"},
    )
    return any(_supported(implementation, row | _new(row, more, one[0]), device) for more in beside)


def _new(row: Row, more: Mapping[str, str], own: str) -> Row:
    """What stands beside a level without taking its own place."""
    plain = (dims.OFF, "64", dims.SQUARE, row["mode"])
    return {name: level for name, level in more.items() if name != own and row.get(name) in plain}
