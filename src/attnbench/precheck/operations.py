"""The workers' side of a precheck: the operations by their names in the protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attnbench.workers.protocol import OK, Done

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend


def precheck_operations(backend: Callable[[], Backend]) -> dict[str, Callable[..., Done]]:
    """The operations; ``backend`` is asked when one is called."""

    def precheck_machine(impl: str, files: list[str], arch: str, dtype: str, cases: list[str] | None = None) -> Done:
        """What an implementation launches in one dtype, or in these cases, as machine code for one architecture."""
        from attnbench.precheck.triton.recorded import machine_code

        return OK, None, machine_code(backend(), impl, files, arch, dtype, cases)

    def precheck_cases(impl: str, files: list[str], archs: list[str]) -> Done:
        """The cases that the interpreter is asked, and the large calls; ``left_out`` says what is claimed besides."""
        from attnbench.precheck.triton.plan import interpreter_plan

        return OK, None, interpreter_plan(impl, files, archs)

    def precheck_case(impl: str, files: list[str], case: str, orders: int, arch: str) -> Done:
        """One case in the interpreter, with what a kernel does on this architecture: its numbers and its memory."""
        from attnbench.precheck.triton.watched import watched

        return OK, None, watched(backend(), impl, files, case, orders, arch)

    def precheck_offsets(impl: str, files: list[str], call: dict[str, Any]) -> Done:
        """The addresses of one large call."""
        from attnbench.precheck.triton.offsets import offsets

        return OK, None, offsets(backend(), impl, files, call)

    operations = (precheck_machine, precheck_cases, precheck_case, precheck_offsets)
    return {operation.__name__: operation for operation in operations} | _of_frameworks(backend)


def _of_frameworks(backend: Callable[[], Backend]) -> dict[str, Callable[..., Done]]:
    """What frameworks are asked that lower a call for a GPU, or interpret it."""

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

    def precheck_grids(impl: str, files: list[str], case: dict[str, Any], *, triton: bool, arch: str) -> Done:
        """What one case launches."""
        from attnbench.precheck.grids.launching import launches_of

        return OK, None, launches_of(backend(), impl, files, case, triton=triton, arch=arch)

    def precheck_seen(impl: str, files: list[str], case: dict[str, Any], device: str) -> Done:
        """What one case launches on a device that is there."""
        from attnbench.precheck.grids.running import launches_seen

        return OK, None, launches_seen(backend(), impl, files, case, device)

    operations = (precheck_lowered, precheck_interpretable, precheck_interpreted, precheck_grids, precheck_seen)
    return {operation.__name__: operation for operation in operations}
