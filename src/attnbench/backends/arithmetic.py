"""The arithmetic that an implementation is held to: what it declares, and what its backend does whatever it says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from attnbench import discover

if TYPE_CHECKING:
    from attnbench.implementation import Implementation
    from attnbench.precision import Precision


def precision_of(implementation: Implementation, dtype: str, device: str) -> Precision:
    """What it declares for inputs of ``dtype``; with subnormals that become 0 where its backend flushes them anyway."""
    declared = implementation.capabilities_on(device).precision_of(dtype)
    return replace(declared, flush=declared.flush or flushed_by(implementation, dtype, device) is not None)


def flushed_by(implementation: Implementation, dtype: str, device: str) -> str | None:
    """The backend that sets subnormals of ``dtype`` to 0 in every kernel on the device, or ``None``."""
    card = discover.backends().get(implementation.backend)
    return card.name if card is not None and dtype in card.flushes.get(device, ()) else None
