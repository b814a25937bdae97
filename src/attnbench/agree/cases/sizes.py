"""Sizes within the limits of an implementation: values of the classes of a row, and classes that go together.

Sizes whose values follow from the same classes, such as Tq and S, are a group. Of each group only values that the
limits allow are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice, product
from math import prod
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases import dimensions as dims
from attnbench.agree.cases.covering import Row
from attnbench.errors import SpecError

if TYPE_CHECKING:
    import numpy as np

    from attnbench.backends.implementation import Limit

Values = dict[str, int]

GROUPS = (("Tq", "S"), ("D", "Dv"), ("heads",), ("B",))
HIDDEN = (1, 5, 16)  # sizes of a hidden layer
TRIES = 100  # draws of values for a limit on sizes of several groups
LOOKED_AT = 20_000  # rows of classes after which there is taken to be none within all limits

_LENGTHS = ("64", "32", "16", "other", "128", "256", "odd", "512", "600+", "2", "1")
# The classes of each size, plain ones first; those that are not named follow.
PREFERRED: dict[str, tuple[str, ...]] = {
    "Tq": tuple(dict.fromkeys((*_LENGTHS, *dims.LENGTHS))),
    "S": tuple(dict.fromkeys((dims.SQUARE, *_LENGTHS, *dims.LENGTHS))),
    "D": tuple(dims.HEAD_SIZES),
    "Dv": dims.VALUE_SIZES,
    "heads": tuple(dict.fromkeys(("2/2", "by 2", "1/1", "3/3", *dims.HEADS))),
    "B": tuple(dims.BATCH),
}


def draw_sizes(row: Mapping[str, str], rng: np.random.Generator, limits: tuple[Limit, ...] = ()) -> Values:
    """Values of the classes of a row, ``Da`` besides; ``SpecError`` where the limits leave none."""
    groups = [_allowed(names, row, limits) for names in GROUPS]
    for _ in range(TRIES if all(groups) else 0):
        sizes = {name: n for group in groups for name, n in group[int(rng.integers(len(group)))].items()}
        if _within(sizes, limits):
            return {**sizes, "Da": HIDDEN[int(rng.integers(len(HIDDEN)))]}
    classes = ", ".join(f"{name} {row[name]}" for names in GROUPS for name in names)
    msg = f"the limits leave no sizes of {classes}"
    raise SpecError(msg)


def size_rows(limits: tuple[Limit, ...], fixed: Mapping[str, str] | None = None) -> Iterator[Row]:
    """Classes of all sizes that are within the limits and not too much work, plain ones first; some are ``fixed``."""
    known = dict(fixed or {})
    classes = {name: (known[name],) if name in known else levels for name, levels in PREFERRED.items()}
    groups = [_classes(names, classes, limits) for names in GROUPS]
    across = [limit for limit in limits if not any(_sizes_of(limit) <= _names(group) for group in GROUPS)]
    for parts in islice(product(*groups), LOOKED_AT):
        row = {name: level for part in parts for name, level in part.items()}
        if dims.fits(row) and (not across or (not_too_large(row, limits) and _some(row, limits))):
            yield row


def not_too_large(row: Mapping[str, str], limits: tuple[Limit, ...]) -> bool:
    """Whether the smallest values of the classes of a row, or of a part of one, are within all upper limits."""
    heads = dims.HEADS[row["heads"]] if "heads" in row else ((1, 1),)
    least = {
        "Tq": dims.smallest(row, "Tq"),
        "S": dims.smallest(row, "S"),
        "Hq": min(hq for hq, _ in heads),
        "Hkv": min(hkv for _, hkv in heads),
        "B": dims.BATCH[row["B"]][0] if "B" in row else 1,
        "D": dims.HEAD_SIZES[row["D"]][0] if "D" in row else 1,
        "Dv": 1,
    }
    return all(
        limit.at_most is None or prod(least[n] for n in limit.of.split("*")) <= limit.at_most for limit in limits
    )


def _classes(names: tuple[str, ...], classes: Mapping[str, Sequence[str]], limits: tuple[Limit, ...]) -> list[Row]:
    """The classes of one group of which the limits leave some values."""
    rows = [dict(zip(names, levels, strict=True)) for levels in product(*(classes[name] for name in names))]
    return [row for row in rows if _allowed(names, row, limits)]


def _some(row: Row, limits: tuple[Limit, ...]) -> bool:
    """Whether the limits on sizes of several groups leave any values."""
    parts = product(*(_allowed(names, row, limits) for names in GROUPS))
    return any(_within({name: n for part in combination for name, n in part.items()}, limits) for combination in parts)


def _allowed(names: tuple[str, ...], row: Mapping[str, str], limits: tuple[Limit, ...]) -> tuple[Values, ...]:
    """The values of one group that the limits on its sizes allow, if all others are 1."""
    return _of_classes(names, tuple(row[name] for name in names), limits)


@lru_cache(maxsize=4096)
def _of_classes(names: tuple[str, ...], levels: tuple[str, ...], limits: tuple[Limit, ...]) -> tuple[Values, ...]:
    of_the_group = tuple(limit for limit in limits if _sizes_of(limit) <= _names(names))
    most = tuple((limit.of.split("*"), limit.at_most) for limit in limits if limit.at_most is not None)
    values = _VALUES[names](dict(zip(names, levels, strict=True)))
    small = (sizes for sizes in values if all(prod(sizes.get(n, 1) for n in of) <= bound for of, bound in most))
    return tuple(sizes for sizes in small if _within(sizes, of_the_group))


def _within(sizes: Values, limits: tuple[Limit, ...]) -> bool:
    return all(limit.broken_by(sizes) is None for limit in limits)


def _sizes_of(limit: Limit) -> set[str]:
    return set(limit.of.split("*"))


def _names(group: Sequence[str]) -> set[str]:
    return {"Hq", "Hkv"} if group == ("heads",) else set(group)


def _lengths(row: Mapping[str, str]) -> list[Values]:
    square = row["S"] == dims.SQUARE
    pairs = [(tq, s) for tq in dims.LENGTHS[row["Tq"]] for s in ((tq,) if square else dims.LENGTHS[row["S"]])]
    return [{"Tq": tq, "S": s} for tq, s in pairs]


def _head_sizes(row: Mapping[str, str]) -> list[Values]:
    sizes = []
    for d in dims.HEAD_SIZES[row["D"]]:
        smaller = tuple(dict.fromkeys((1, max(1, d // 2), max(1, d - 8))))
        values = {"same": (d,), "smaller": smaller, "larger": (d + 1, d + 24, 2 * d)}
        sizes += [{"D": d, "Dv": dv} for dv in values[row["Dv"]]]
    return sizes


_VALUES: dict[tuple[str, ...], Any] = {
    ("Tq", "S"): _lengths,
    ("D", "Dv"): _head_sizes,
    ("heads",): lambda row: [{"Hq": hq, "Hkv": hkv} for hq, hkv in dims.HEADS[row["heads"]]],
    ("B",): lambda row: [{"B": b} for b in dims.BATCH[row["B"]]],
}
