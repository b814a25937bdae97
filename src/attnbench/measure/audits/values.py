"""Values that a kernel cannot have seen, of the same kind as those of a case: the work that they ask for is the same.

``renewed`` draws every operand anew that has values: q, k, v, bias, sinks, parameters, cotangents, dropout. What says
which pairs are allowed (mask, lengths, segments, offsets) decides how much there is to do, so that it changes in one
place only. ``partly`` changes one head or one row of one operand: a kernel may keep its answers by parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.inputs import GARBAGE, stream
from attnbench.backends.bind import Inputs, inputs_of

if TYPE_CHECKING:
    from attnbench.attention.problem import Case

STRUCTURE = ("mask", "q_lengths", "kv_lengths", "q_segments", "kv_segments", "offset", "scale")
# A bias as low as this takes its key away; one of these is no value, but a mask.
LOW_BIAS = 1e3
# In shorter rows one key more or less is work that shows.
LONG_ROW = 16
HEADED = 4  # axes of an operand that has heads and rows


def renewed(case: Case, base: Inputs, seed: int) -> Inputs:
    """Other values for a case whose drawn inputs are ``base``; the same from the same ``seed``."""
    other = inputs_of(case.with_problem(seed=seed)).arrays()
    rng = stream(seed, "audit")
    changed = {}
    for name, array in base.arrays().items():
        if name in STRUCTURE:
            changed[name] = _nudged(name, array, rng)
        elif name == "slopes":
            changed[name] = (array * rng.uniform(0.9, 1.1, array.shape)).astype(array.dtype)
        else:
            changed[name] = _merged(name, array, other[name])
    return base.with_arrays(changed)


def partly(base: Inputs, seed: int) -> Inputs:
    """The same with another sign in one head or one row of one operand."""
    rng = stream(seed, "part")
    arrays = base.arrays()
    names = [name for name in arrays if name not in (*STRUCTURE, "keep", "slopes")]
    usual = [name for name in names if arrays[name].ndim == HEADED]
    name = str(rng.choice(usual if rng.random() < 0.8 else names))  # noqa: PLR2004  (most are of these)
    array = arrays[name].copy()
    where = _part(base, name, array, rng)
    array[where] = -array[where]
    return base.with_arrays(arrays | {name: array})


def _part(base: Inputs, name: str, array: Array, rng: np.random.Generator) -> tuple[Any, ...]:
    """A head, or a row of one, that is not zero; the same in all batch entries where these are one place in memory."""
    where: tuple[Any, ...] = ()
    for _ in range(8):
        where = tuple(int(rng.integers(n)) for n in array.shape[: 2 if rng.random() < 0.5 else 3])  # noqa: PLR2004
        if array.ndim < HEADED:
            where = where[: max(1, array.ndim - 1)]
        if base.layout == "expanded" and name in "kv":
            where = (slice(None), *where[1:])
        if np.any(array[where] != 0):
            break
    return where


def _merged(name: str, old: Array, new: Array) -> Array:
    """New values where both are ordinary; what stands for something else (−inf, NaN, a low bias) stays where it is."""
    if old.dtype.kind in "biu":
        return new
    with np.errstate(invalid="ignore"):
        kept = _special(name, old)
        strange = _special(name, new) & ~kept
    if not kept.any() and not strange.any():
        return new
    return np.where(kept, old, np.where(strange, -old, new)).astype(old.dtype)


def _special(name: str, array: Array) -> Array:
    """Where an array has what is no ordinary value, compared in its own dtype: it may be large."""
    garbage = np.asarray(GARBAGE).astype(array.dtype)
    special: Array = ~np.isfinite(array) | (array == 0) | (np.abs(array) == garbage)
    return special | (np.abs(array) >= np.asarray(LOW_BIAS).astype(array.dtype)) if name == "bias" else special


def _nudged(name: str, old: Array, rng: np.random.Generator) -> Array:
    """One entry changed, where that takes next to no work away; else as it is."""
    array = old.copy()
    if name == "mask":
        _close_one(array, rng)
    elif name.endswith("_lengths") or name == "offset":
        b = int(rng.integers(array.size)) if array.size else None
        if b is not None and (name == "offset" or array[b] > LONG_ROW):
            array[b] -= 1
    elif name.endswith("_segments"):
        _move_a_border(array, rng)
    return array


def _close_one(mask: Array, rng: np.random.Generator) -> None:
    """Take one allowed key from one row that has many."""
    rows = np.argwhere(mask.sum(-1) > LONG_ROW)
    if len(rows):
        row = tuple(rows[rng.integers(len(rows))])
        mask[(*row, rng.choice(np.flatnonzero(mask[row])))] = False


def _move_a_border(segments: Array, rng: np.random.Generator) -> None:
    """Let one segment be one place longer, if it is long."""
    borders = np.argwhere(segments[:, 1:] != segments[:, :-1])
    if len(borders):
        b, i = borders[rng.integers(len(borders))]
        if (segments[b] == segments[b, i + 1]).sum() > LONG_ROW:
            segments[b, i + 1] = segments[b, i]
