"""A declared arithmetic in words, and as the line that is typed into a kernel's file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from attnbench.attention.precision import DTYPES, Precision

if TYPE_CHECKING:
    from collections.abc import Iterable

# The name of what its backend does besides, in a row's ``declared``.
FLUSHED_BY = "flushed_by"
# Why it is not just what was declared, in the same place.
PROBED = "probed"

WORDS = {
    "accumulate": "sums in {}",
    "logits": "logits stored in {}",
    "softmax": "softmax in {}",
    "p_cast": "P rounded to {}",
    "chain": "sums of at most {} terms",
    "exp_ulp": "exp within {:g} unit roundoffs",
    "tanh_ulp": "tanh within {:g} unit roundoffs",
    "flush": "subnormals become 0",
    "stored_output": "a backward pass that reads O in {}",
    "stored_sums": "gradients stored after every {} terms of their sums",
    FLUSHED_BY: "subnormals become 0, as in all of {}",
    PROBED: "{}",
}
UNSET = {
    "logits": "logits not stored",
    "p_cast": "P not rounded",
    "chain": "sums over all terms",
    "stored_output": "a backward pass that does not read O",
    "stored_sums": "gradients stored once",
}


def arithmetic(declared: Mapping[str, Any]) -> str:
    """A declared arithmetic in words, as ``exp within 20 unit roundoffs, P rounded to bfloat16``."""
    return ", ".join(_word(name, value) for name, value in declared.items())


def _word(name: str, value: Any) -> str:
    return UNSET[name] if value is None and name in UNSET else WORDS.get(name, f"{name} {{}}").format(value)


def as_typed(precision: Precision) -> str:
    """``Precision(p_cast="bfloat16")``: the fields that are not the class's own defaults."""
    usual = Precision()
    given = [(f.name, getattr(precision, f.name)) for f in fields(Precision)]
    return f"Precision({', '.join(f'{n}={_typed(v)}' for n, v in given if v != getattr(usual, n))})"


def _typed(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return f"{value:g}" if isinstance(value, float) else repr(value)


def line(by_dtype: Mapping[str, Sequence[Precision]]) -> str:
    """The argument of ``Capabilities`` that declares all of it: ``precision={"bfloat16": Precision(flush=True)}``."""
    inner = ", ".join(f'"{dtype}": {_all_typed(by_dtype[dtype])}' for dtype in DTYPES if by_dtype.get(dtype))
    return f"precision={{{inner}}}"


def _all_typed(several: Sequence[Precision]) -> str:
    """One declaration, or a tuple of those for several ranges of versions."""
    typed = [as_typed(precision) for precision in several]
    return typed[0] if len(typed) == 1 else f"({', '.join(typed)})"


def listed(names: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
