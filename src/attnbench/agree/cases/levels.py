"""Which levels of each dimension an implementation takes: each tried on its own and beside what gives it a meaning.

They are tried on the plainest row that it takes. That is looked for among all classes of sizes, so that a kernel for
one new token, for one head of keys or for tiles of 128 has a plan as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from attnbench.agree.cases import dimensions as dims
from attnbench.agree.cases.covering import Row
from attnbench.agree.cases.making import planned
from attnbench.agree.cases.sizes import size_rows
from attnbench.attention.precision import DTYPES

if TYPE_CHECKING:
    from attnbench.backends.implementation import Implementation

# Where queries may stand, in the order in which it is tried.
PLACES = (dims.OFF, "bottom_right", "top_left", "offset")
# Features beside which others have a meaning.
BESIDE: tuple[tuple[str, str], ...] = (
    ("causal", "causal"),
    ("window", "left"),
    ("slopes", "slopes"),
    ("mask", "mask_keys"),
    ("kv_lengths", "kv_lengths"),
)
BASES, OF_A_SIZE = 24, 3  # rows of sizes that are tried: for a base, and for one class of a size
FORWARD = " forward"


def levels_of(implementation: Implementation, dtypes: Sequence[str], device: str = "cpu") -> dict[str, list[str]]:
    """The levels of each dimension that an implementation supports, in at least one combination with plain ones.

    All are empty where it takes none of ``dtypes``, or no sizes that the plan has (``why_none`` says which).
    """
    every = _every(implementation, dtypes, device)
    base = _base(implementation, every, device)
    if base is None:
        return {name: [] for name in every}
    beside = list(_contexts(implementation, base, every["mode"], device))
    return {
        name: [level for level in levels if _stands(implementation, base, beside, name, level, device)]
        for name, levels in every.items()
    }


def why_none(implementation: Implementation, dtypes: Sequence[str], device: str = "cpu") -> str:
    """Why there are no levels."""
    can = implementation.capabilities_on(device)
    if device not in can.devices or not _every(implementation, dtypes, device)["mode"]:
        return f"takes none of {', '.join(dtypes)}" if device in can.devices else f"does not run on {device}"
    limits = ", ".join(dict.fromkeys(f"{limit.of} ({limit.reason})" for limit in can.limits))
    limited = f"; it limits {limits}" if limits else ""
    return f"takes none of the sizes that there are cases of{limited}"


def _every(implementation: Implementation, dtypes: Sequence[str], device: str) -> dict[str, list[str]]:
    """All levels of each dimension, of dtypes and scores those that are declared."""
    can = implementation.capabilities_on(device)
    taken = [dtype for dtype in DTYPES if dtype in dtypes and dtype in can.dtypes]
    modes = [f"{dtype} {phase}" for phase in ("backward", "forward") for dtype in taken]
    sizes: dict[str, list[str]] = {
        "Tq": list(dims.LENGTHS),
        "S": [*dims.LENGTHS, dims.SQUARE],
        "heads": list(dims.HEADS),
        "B": list(dims.BATCH),
        "D": list(dims.HEAD_SIZES),
        "Dv": list(dims.VALUE_SIZES),
    }
    forward = [mode for mode in modes if mode.endswith(FORWARD)]
    every = {"mode": modes if implementation.has_gradients(device) else forward, **sizes}
    every |= {name: list(levels) for name, levels in dims.FEATURES.items()}
    return every | {"score": [score for score in every["score"] if score in can.scores]}


def _base(implementation: Implementation, every: Mapping[str, Sequence[str]], device: str) -> Row | None:
    """The plainest row that an implementation takes: some are always causal, or square, or grouped."""
    if not every["score"]:
        return None
    plain = {name: levels[0] for name, levels in every.items() if levels}
    for sizes in islice(size_rows(implementation.capabilities_on(device).limits), BASES):
        for mode in every["mode"]:
            for score in every["score"]:
                row = plain | sizes | {"mode": mode, "score": score}
                if placed := next(_placed(implementation, row, device), None):
                    return placed
    return None


def _placed(implementation: Implementation, row: Row, device: str) -> Iterator[Row]:
    """The row in each way in which it is supported: as it is or causal, with its queries at each of ``PLACES``."""
    for causal in dict.fromkeys((row["causal"], "causal")):
        for where in PLACES:
            placed = row | {"causal": causal, "where": where}
            if _supported(implementation, placed, device):
                yield placed


def _contexts(implementation: Implementation, base: Row, modes: Sequence[str], device: str) -> Iterator[Row]:
    """Rows beside which a level may have its meaning, each as plain as it can be."""
    limits = implementation.capabilities_on(device).limits
    forward = next((mode for mode in modes if mode.endswith(FORWARD)), base["mode"])
    base_sizes = {name: base[name] for name in dims.SIZES}
    longer = next((sizes for sizes in size_rows(limits) if _a_cache_fits(sizes)), base_sizes)
    several = next(size_rows(limits, {"B": "2"}), base_sizes)
    features = ({}, *({name: level} for name, level in BESIDE))
    seen: list[Row] = []
    for sizes in (base_sizes, longer, several):
        for feature in features:
            for mode in dict.fromkeys((base["mode"], forward)):
                context = next(_placed(implementation, base | sizes | feature | {"mode": mode}, device), None)
                if context is not None and context not in seen:
                    seen.append(context)
                    yield context


def _a_cache_fits(sizes: Row) -> bool:
    return sizes["S"] != dims.SQUARE and dims.largest(sizes["Tq"]) < dims.smallest(sizes, "S")


def _stands(
    implementation: Implementation, base: Row, beside: Sequence[Row], name: str, level: str, device: str
) -> bool:
    """Whether a level of the dimension ``name`` is supported on its own or beside what gives it a meaning."""
    if name not in dims.SIZES:
        return any(_supported(implementation, row | {name: level}, device) for row in (base, *beside))
    rows = islice(size_rows(implementation.capabilities_on(device).limits, {name: level}), OF_A_SIZE)
    return any(next(_placed(implementation, base | sizes, device), None) is not None for sizes in rows)


def _supported(implementation: Implementation, row: Row, device: str) -> bool:
    return dims.fits(row) and planned(implementation, row, device, "level") is not None
