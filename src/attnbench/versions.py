"""Versions of what is installed, and ranges of them such as ``jax>=0.8,<0.13``, several with ``;`` between them.

What was seen with some versions of a package is not presumed of others. Only the numbers of a release are compared: a
build's label (+cpu) and what is not yet released (0.13.0.dev1) count as that release.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from operator import eq, ge, gt, le, lt

from attnbench.errors import SpecError

Release = tuple[int, ...]

COMPARED: Mapping[str, Callable[[Release, Release], bool]] = {">=": ge, "<=": le, ">": gt, "<": lt, "==": eq}
BOUND = r"(>=|<=|==|<|>)\s*(\d+(?:\.\d+)*)"
RANGE = re.compile(rf"\s*([A-Za-z][\w.-]*)\s*({BOUND}(?:\s*,\s*{BOUND})*)\s*")


@dataclass(frozen=True)
class Range:
    """Some versions of one package: ``bounds`` are pairs of comparison and release, and hold all."""

    package: str
    bounds: tuple[tuple[str, Release], ...]

    def holds(self, release: Release) -> bool:
        """Whether a release is among them."""
        return all(COMPARED[sign](*_as_long(release, bound)) for sign, bound in self.bounds)


def parse(text: str) -> Range:
    """A range from its text, as pip writes it; ``SpecError`` for anything else."""
    match = RANGE.fullmatch(text)
    if match is None:
        msg = f"{text!r} is no range of versions; write a package and its bounds, such as 'jax>=0.8,<0.13'"
        raise SpecError(msg)
    bounds = re.findall(BOUND, match[2])
    return Range(match[1], tuple((sign, release_of(number)) for sign, number in bounds))


def parse_all(text: str) -> tuple[Range, ...]:
    """The ranges of several packages, with ``;`` between them."""
    return tuple(parse(part) for part in text.split(";"))


def release_of(number: str) -> Release:
    """The numbers of a release: (0, 13, 0) of 0.13.0.dev1+cpu."""
    match = re.match(r"\d+(?:\.\d+)*", number)
    return tuple(map(int, match[0].split("."))) if match else ()


def installed(package: str) -> str | None:
    """The version of a package that is installed, without importing it; ``None`` where there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def is_here(text: str) -> bool:
    """Whether the versions that are installed are in the ranges; an empty text is every version."""
    return not text or all(_is_installed(versions) for versions in parse_all(text))


def _is_installed(versions: Range) -> bool:
    number = installed(versions.package)
    return number is not None and versions.holds(release_of(number))


def _as_long(first: Release, second: Release) -> tuple[Release, Release]:
    """Both with as many numbers: 0.13 is 0.13.0."""
    most = max(len(first), len(second))
    return first + (0,) * (most - len(first)), second + (0,) * (most - len(second))
