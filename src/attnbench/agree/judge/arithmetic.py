"""The arithmetic that an implementation is held to: what it declares, and what its backend does whatever it says.

A declaration holds for the versions of the framework that it was seen with (``Precision.seen``). With another version
it is not presumed: a few plain cases are answered once. The implementation is then held to the first of its
declarations that explains them all, and to the default where none does. Where the kernel answers none of these cases
nothing is known of its arithmetic: values that a declaration would explain are then neither right nor wrong. The rows
of the table say which of these it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from attnbench.agree.eager.baseline import baseline_cases
from attnbench.agree.judge.answered import Answered, answered
from attnbench.attention.precision import Precision, default_precision
from attnbench.backends import discover
from attnbench.backends.asked import needs_of
from attnbench.backends.attend import load_backend
from attnbench.backends.fitted import asked, offered
from attnbench.errors import refusal_of
from attnbench.versions import installed, parse_all

if TYPE_CHECKING:
    from collections.abc import Hashable

    from attnbench.backends.implementation import Implementation


@dataclass(frozen=True)
class Held:
    """What an implementation is held to; ``probed`` says in words why that is not just what it declares.

    ``declared`` is the same without what its backend does besides. ``open`` are declarations that may be true, where
    the arithmetic could not be probed.
    """

    precision: Precision
    declared: Precision
    probed: str | None = None
    open: tuple[Precision, ...] = ()


_PROBED: dict[Hashable, Held] = {}


def precision_of(implementation: Implementation, dtype: str, device: str) -> Precision:
    """What it is held to for inputs of ``dtype``."""
    return held(implementation, dtype, device).precision


def held(implementation: Implementation, dtype: str, device: str) -> Held:
    """What it is held to for inputs of ``dtype``, and whether that was probed; that is done once in a process."""
    capabilities = implementation.capabilities_on(device)
    seen = capabilities.seen_precision_of(dtype)
    if seen is not None:
        return Held(in_its_backend(seen, implementation, dtype, device), seen)
    key = (implementation.attend, implementation.vjp, capabilities.precisions_of(dtype), dtype, device)
    if key not in _PROBED:
        _PROBED[key] = _probed(implementation, dtype, device)
    return _PROBED[key]


def _probed(implementation: Implementation, dtype: str, device: str) -> Held:
    """The first declaration that explains the plain cases, else the default."""
    declared = implementation.capabilities_on(device).precisions_of(dtype)
    usual = {
        precision: in_its_backend(replace(precision, seen=""), implementation, dtype, device) for precision in declared
    }
    default = default_precision(dtype)
    held_to = in_its_backend(default, implementation, dtype, device)
    versions, known = _installed(declared), " and ".join(precision.seen for precision in declared)
    answers, why = _plain(implementation, dtype, device)
    if not answers:
        words = f"{versions}: arithmetic could not be probed, and is not known to be as declared for {known}: {why}"
        return Held(held_to, default, words, tuple(usual.values()))
    for precision in declared:
        if all(answer.agrees(usual[precision]) for answer in answers):
            words = f"{versions}: arithmetic probed, and as declared for {precision.seen}"
            return Held(usual[precision], precision, words)
    words = f"{versions}: arithmetic probed, and not as declared for {known}: held to the default"
    return Held(held_to, default, words)


def _plain(implementation: Implementation, dtype: str, device: str) -> tuple[list[Answered], str]:
    """The plain cases that the kernel takes, answered; and what it said of one that it does not take."""
    backend, can = load_backend(implementation.backend), implementation.capabilities_on(device)
    answers, why = [], ""
    for plain in baseline_cases(dtype):
        case = offered(asked(plain, can), implementation, device)
        try:
            implementation.require(needs_of(case, device))
            answers.append(answered(backend, implementation, case, device))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  (a kernel may raise anything; what it raises is a row's business)
            why = f"{case.label()}: {refusal_of(error) or type(error).__name__}"
    return answers, why


def _installed(declared: tuple[Precision, ...]) -> str:
    """The installed versions of the packages that the declarations name, as ``jax 0.13.0``."""
    packages = dict.fromkeys(versions.package for precision in declared for versions in parse_all(precision.seen))
    return ", ".join(f"{name} {installed(name) or 'not installed'}" for name in packages)


def in_its_backend(precision: Precision, implementation: Implementation, dtype: str, device: str) -> Precision:
    """An arithmetic with subnormals that become 0 where the backend of an implementation flushes them anyway."""
    return replace(precision, flush=precision.flush or flushed_by(implementation, dtype, device) is not None)


def flushed_by(implementation: Implementation, dtype: str, device: str) -> str | None:
    """The backend that sets subnormals of ``dtype`` to 0 in every kernel on the device, or ``None``."""
    card = discover.backends().get(implementation.backend)
    return card.name if card is not None and dtype in card.flushes.get(device, ()) else None
