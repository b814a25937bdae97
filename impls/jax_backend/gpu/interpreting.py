"""Pallas' kernels of Mosaic GPU, interpreted on a CPU: threads, barriers, TMA and wgmma as NumPy does them.

JAX 0.10 has the interpreter, though not yet in its public interface. It lacks one operation, which only says how
numbers lie in registers, and which is added here. A read beyond an array raises, what nobody wrote is NaN, and races
are told by vector clocks; wgmma and copies back to the GPU's memory have no clocks yet.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from jax._src.pallas.mosaic_gpu import core
from jax._src.pallas.mosaic_gpu.interpret import gpu_callbacks, params
from jax.interpreters import mlir

# The exit status of a process that was ended so.
RAISED = 70
WATCHED = params.InterpretGPUParams(detect_races=True, out_of_bounds_reads="raise", uninitialized_memory="nan")


@cache
def add_layouts() -> None:
    """A layout changes no value on a CPU."""
    mlir.register_lowering(core.layout_cast_p, lambda _, x, **__: [x], platform="cpu")


def raced() -> bool:
    """Whether the last kernel that was interpreted had a race; false where none was."""
    races = gpu_callbacks._races  # noqa: SLF001  (its getter raises where there is none)
    return races is not None and bool(races.races_found)


class Ending(logging.Handler):
    """Ends the process when a warpgroup has raised: the others would wait for it at a barrier for ever."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print what was raised, as the last line of the process."""
        raised = record.exc_info[1] if record.exc_info else None
        what = f"{type(raised).__name__}: {' '.join(str(raised).split())}" if raised else record.getMessage()
        sys.stderr.write(f"raised in the interpreter: {what}\n")
        sys.stderr.flush()
        os._exit(RAISED)


@contextmanager
def interpreting() -> Iterator[Callable[[], bool]]:
    """Whatever is traced within it is interpreted; what it gives tells whether the last kernel had a race."""
    add_layouts()
    callbacks, ending = logging.getLogger("jax._src.callback"), Ending(logging.ERROR)
    callbacks.addHandler(ending)
    try:
        with params.force_gpu_interpret_mode(WATCHED):
            yield raced
    finally:
        callbacks.removeHandler(ending)
        gpu_callbacks.reset_gpu_interpret_mode_state()
