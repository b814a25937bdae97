"""The workers' side of a precheck: the operations by their names in the protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attnbench.workers.protocol import Done

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend


def precheck_operations(backend: Callable[[], Backend]) -> dict[str, Callable[..., Done]]:
    """The operations; ``backend`` is asked when one is called."""
    del backend
    return {}
