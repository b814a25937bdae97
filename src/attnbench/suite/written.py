"""Levels as they are typed: several in one text, numbers with a suffix; ``-a T=128,4Ki``, ``--tokens 128k``.

Levels stand between commas as in a CSV file: one that holds a comma is in double quotes, ``arm="input, reversed"``, and
a double quote within those is written twice. ``k``, ``M`` and ``G`` are 1000, 1000² and 1000³, ``Ki``, ``Mi`` and
``Gi`` are 1024, 1024² and 1024³ (SI and IEC 80000-13).
"""

from __future__ import annotations

import csv
import re
import shlex
from collections.abc import Iterable, Mapping
from decimal import Decimal

from attnbench.errors import UsageError

FACTORS = {"": 1, "k": 1000, "K": 1000, "M": 1000**2, "G": 1000**3}
BINARY = {"ki": 1024, "mi": 1024**2, "gi": 1024**3}
NUMBER = re.compile(
    r"(?P<number>[+-]?(?:(?:0|[1-9]\d*)(?:_\d+)*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?)"
    r"(?P<suffix>[kKMG]|[kKmMgG][iI])?",
    re.ASCII,
)
# What no count of anything reaches, and a float holds.
MOST_DIGITS = 300


def words(text: str) -> list[str]:
    """The levels in a text, without the spaces around them. Raises ``UsageError`` for an empty one, or a lone quote."""
    try:
        rows = list(csv.reader([text.strip()], skipinitialspace=True, strict=True))
    except csv.Error as error:
        msg = f"{text}: a level that holds a comma stands in double quotes from its first letter to its last ({error})"
        raise UsageError(msg) from error
    levels = [word.strip() for row in rows for word in row]
    if not levels or not all(levels):
        msg = f"{text!r} holds an empty level; write v1,v2 with nothing before the first and behind the last"
        raise UsageError(msg)
    return levels


def written(levels: Iterable[object]) -> str:
    """The inverse of ``words``: levels between commas, those with a comma or a quote in quotes."""
    return ",".join(quoted(str(level)) for level in levels)


def levels_typed(levels: Mapping[str, object]) -> str:
    """Levels of a suite's axes as options: ``-a shape=gpt2 -a tokens=128``."""
    return " ".join(f"-a {shlex.quote(f'{axis}={written([level])}')}" for axis, level in levels.items())


def quoted(level: str) -> str:
    """One level as it is typed."""
    plain = not any(sign in level for sign in ',"') and level == level.strip()
    return level if plain else '"' + level.replace('"', '""') + '"'


def exact(text: str) -> Decimal:
    """The value of a number such as ``128``, ``4Ki``, ``1.5k``, ``1_000`` or ``3e-4``; ``ValueError`` for no number."""
    match = NUMBER.fullmatch(text)
    if match is None:
        raise ValueError(text)
    suffix = match["suffix"] or ""
    value = Decimal(match["number"].replace("_", "")) * FACTORS.get(suffix, BINARY.get(suffix.lower(), 1))
    if value and abs(value.adjusted()) > MOST_DIGITS:
        raise ValueError(text)
    return value


def whole(text: str) -> int:
    """A count such as ``4Ki``; ``ValueError`` for what is no whole number, such as ``1.5`` and ``128.0``."""
    value = exact(text)
    by_point = "." in text and not any(sign in text for sign in "eEkKmMgG")
    if by_point or value != value.to_integral_value():
        raise ValueError(text)
    return int(value)


def number(text: str) -> float:
    """A number such as ``3e-4``; ``ValueError`` for none, for infinity and NaN."""
    return float(exact(text))
