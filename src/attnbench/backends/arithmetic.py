"""What a backend does to the arithmetic of every kernel, whatever that declares."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from attnbench.backends import discover

if TYPE_CHECKING:
    from attnbench.attention.precision import Precision
    from attnbench.backends.implementation import Implementation


def in_its_backend(precision: Precision, implementation: Implementation, dtype: str, device: str) -> Precision:
    """An arithmetic with subnormals that become 0 where the backend of an implementation flushes them anyway."""
    return replace(precision, flush=precision.flush or flushed_by(implementation, dtype, device) is not None)


def flushed_by(implementation: Implementation, dtype: str, device: str) -> str | None:
    """The backend that sets subnormals of ``dtype`` to 0 in every kernel on the device, or ``None``."""
    card = discover.backends().get(implementation.backend)
    return card.name if card is not None and dtype in card.flushes.get(device, ()) else None
