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

    def precheck_lowered(impl: str, files: list[str], dtype: str) -> Done:
        """What the framework lowers of an implementation in one dtype."""
        from attnbench.precheck.lowering import lowered

        return OK, None, lowered(backend(), impl, files, dtype)

    def precheck_interpretable(impl: str, files: list[str]) -> Done:
        """The cases that the framework's own interpreter is asked."""
        from attnbench.precheck.interpreting import interpretable

        return OK, None, interpretable(backend(), impl, files)

    def precheck_interpreted(impl: str, files: list[str], case: str) -> Done:
        """One of them."""
        from attnbench.precheck.interpreting import interpreted

        return OK, None, interpreted(backend(), impl, files, case)

    every = {"precheck_machine": precheck_machine, "precheck_lowered": precheck_lowered}
    return {**every, "precheck_interpretable": precheck_interpretable, "precheck_interpreted": precheck_interpreted}
