"""The arithmetic that an implementation is held to: what it declares, and what its backend does whatever it says.

A declaration holds for the versions of the framework that it was seen with (``Precision.seen``). With any other it is
not presumed: a few plain cases are answered once, and the first declaration that explains them all is held to; where
none does it is the default. Either way the rows say so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from attnbench.agree.baseline import baseline_cases
from attnbench.agree.declare.answered import Answered, answered
from attnbench.agree.fitted import fitted
from attnbench.attention import load_backend
from attnbench.backends.arithmetic import in_its_backend
from attnbench.precision import Precision, default_precision
from attnbench.versions import installed, parse

if TYPE_CHECKING:
    from collections.abc import Hashable

    from attnbench.implementation import Implementation


@dataclass(frozen=True)
class Held:
    """What an implementation is held to; ``probed`` says in words why that is not just what it declares."""

    precision: Precision
    probed: str | None = None


_PROBED: dict[Hashable, Held] = {}


def precision_of(implementation: Implementation, dtype: str, device: str) -> Precision:
    """What it is held to for inputs of ``dtype``."""
    return held(implementation, dtype, device).precision


def held(implementation: Implementation, dtype: str, device: str) -> Held:
    """What it is held to for inputs of ``dtype``, and whether that was probed; that is done once in a process."""
    capabilities = implementation.capabilities_on(device)
    seen = capabilities.seen_precision_of(dtype)
    if seen is not None:
        return Held(in_its_backend(seen, implementation, dtype, device))
    key = (implementation.attend, implementation.vjp, capabilities.precisions_of(dtype), dtype, device)
    if key not in _PROBED:
        _PROBED[key] = _probed(implementation, dtype, device)
    return _PROBED[key]


def _probed(implementation: Implementation, dtype: str, device: str) -> Held:
    """The first declaration that explains the plain cases, else the default."""
    declared = implementation.capabilities_on(device).precisions_of(dtype)
    answers = _plain(implementation, dtype, device)
    for one in declared:
        usual = in_its_backend(replace(one, seen=""), implementation, dtype, device)
        if answers and all(answer.agrees(usual) for answer in answers):
            return Held(usual, f"{_here(declared)}: arithmetic probed, and as declared for {one.seen}")
    default = in_its_backend(default_precision(dtype), implementation, dtype, device)
    known = " and ".join(one.seen for one in declared)
    return Held(default, f"{_here(declared)}: arithmetic probed, and not as declared for {known}: held to the default")


def _plain(implementation: Implementation, dtype: str, device: str) -> list[Answered]:
    """The plain cases, answered; none where the kernel does not take them."""
    backend, can = load_backend(implementation.backend), implementation.capabilities_on(device)
    try:
        return [answered(backend, implementation, fitted(case, can), device) for case in baseline_cases(dtype)]
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  (a kernel may raise anything; what it raises is a row's business)
        return []


def _here(declared: tuple[Precision, ...]) -> str:
    """The versions that are installed of what the ranges name, as ``jax 0.13.0``."""
    packages = dict.fromkeys(parse(one.seen).package for one in declared)
    return ", ".join(f"{name} {installed(name) or 'not installed'}" for name in packages)
