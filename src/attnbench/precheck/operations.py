"""The workers' side of a precheck: the operations by their names in the protocol."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attnbench.backends import discover
from attnbench.workers.protocol import OK, Done

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend


def precheck_operations(backend: Callable[[], Backend]) -> dict[str, Callable[..., Done]]:
    """The operations; ``backend`` is asked when one is called."""

    def precheck_machine(impl: str, files: list[str], arch: str, dtype: str) -> Done:
        """What an implementation launches in one dtype, as machine code for one architecture."""
        from attnbench.precheck.triton.recorded import machine_code

        return OK, None, machine_code(backend(), impl, files, arch, dtype)

    return {"precheck_machine": precheck_machine}
