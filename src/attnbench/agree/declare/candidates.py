"""What a kernel could declare of its arithmetic besides what it does, from the least permissive.

A widening is one field of the declaration with its levels; declared so, the bound is wider. Left out is what breaks a
rule whatever is declared: a sum in 16 bits breaks Rule 2, which asks for no declaration, and so does a softmax, logits
or P of float32 inputs in fewer bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from attnbench.attention.precision import UNIT_ROUNDOFF, Precision, wide

LOW = ("bfloat16", "float16")
PIECES = (256, 64, 16)  # terms of a sum between two times that it is stored
ROUNDOFFS = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


@dataclass(frozen=True)
class Widening:
    """One field that could be declared otherwise: its levels from the least permissive, as changes of a ``Precision``.

    ``narrows``: it says that something is kept in fewer bits, which would show in the plainest case too.
    """

    levels: tuple[dict[str, Any], ...]
    narrows: bool = False


def widenings(declared: Precision, dtype: str) -> tuple[Widening, ...]:
    """Everything that could be declared besides for inputs of ``dtype``, the least permissive first."""
    chain = (Widening(({"chain": None},)),) if declared.chain is not None else ()
    flush = () if declared.flush else (Widening(({"flush": True},)),)
    functions = tuple(Widening(_above(name, getattr(declared, name))) for name in ("tanh_ulp", "exp_ulp"))
    candidates = (*flush, *chain, Widening(_stored(declared, dtype)), *_sums(declared, dtype), *functions)
    candidates = (*candidates, *_narrower(declared, dtype))
    return tuple(widening for widening in candidates if widening.levels)


def _above(name: str, least: float) -> tuple[dict[str, Any], ...]:
    return tuple({name: most} for most in ROUNDOFFS if most > least)


def _stored(declared: Precision, dtype: str) -> tuple[dict[str, Any], ...]:
    formats = dict.fromkeys((wide(dtype), dtype))
    return tuple({"stored_output": name} for name in formats if _coarser(name, declared.stored_output))


def _sums(declared: Precision, dtype: str) -> tuple[Widening, ...]:
    """Sums stored in pieces: in 16 bits alone, since with more of them no sum need be stored before it is whole."""
    if dtype not in LOW:
        return ()
    least = declared.stored_sums or 2 * PIECES[0]
    return (Widening(tuple({"stored_sums": terms} for terms in PIECES if terms < least)),)


def _narrower(declared: Precision, dtype: str) -> tuple[Widening, ...]:
    if dtype in LOW:
        fields = [name for name in ("p_cast", "logits", "softmax") if _coarser(dtype, getattr(declared, name))]
        return tuple(Widening(({name: dtype},), narrows=True) for name in fields)
    if dtype == "float64" and _coarser("float32", declared.softmax):
        return (Widening(({"accumulate": "float32", "softmax": "float32"},), narrows=True),)
    return ()


def _coarser(name: str, than: str | None) -> bool:
    return than is None or UNIT_ROUNDOFF[name] > UNIT_ROUNDOFF[than]


def declaring(declared: Precision, levels: Iterable[dict[str, Any]]) -> Precision:
    """The declaration with these changes."""
    return replace(declared, **{name: value for level in levels for name, value in level.items()})


def with_all(declared: Precision, chosen: Iterable[Widening]) -> Precision:
    """With the most permissive level of each."""
    return declaring(declared, [widening.levels[-1] for widening in chosen])


def sets(every: Sequence[Widening], needed: Sequence[Widening]) -> Iterator[tuple[Widening, ...]]:
    """Sets of widenings that hold the needed ones, the smallest first, and of one size the least permissive first."""
    others = [widening for widening in every if widening not in needed]
    for size in range(len(others) + 1):
        for more in combinations(others, size):
            if chosen := tuple(widening for widening in every if widening in needed or widening in more):
                yield chosen
