"""What a backend's own files import besides ``attnbench.api``: its card and adapter, native kernels, learners."""

from typing import TYPE_CHECKING

from attnbench.backends.backend import Backend, Bound, KernelGrid, Lowered, OnNumpy, Stopwatch, as_output
from attnbench.backends.card import BackendInfo, NativeKernel, Program
from attnbench.errors import UncountedError, UndeliveredError
from attnbench.lazily import loader

if TYPE_CHECKING:
    from attnbench.backends.learning import (
        AttentionSizes,
        Calls,
        EncoderDecoder,
        Learner,
        Model,
        Optimiser,
        Retrieval,
        check_whole,
        score_parameters,
    )

__all__ = [
    "AttentionSizes",
    "Backend",
    "BackendInfo",
    "Bound",
    "Calls",
    "EncoderDecoder",
    "KernelGrid",
    "Learner",
    "Lowered",
    "Model",
    "NativeKernel",
    "OnNumpy",
    "Optimiser",
    "Program",
    "Retrieval",
    "Stopwatch",
    "UncountedError",
    "UndeliveredError",
    "as_output",
    "check_whole",
    "score_parameters",
]

# The other names are for learners. They need NumPy and the attention core, and are loaded only when asked for, because
# every command imports this module to read the backends' cards.
__getattr__ = loader(__name__, dict.fromkeys(set(__all__) - set(globals()), "attnbench.backends.learning"))
