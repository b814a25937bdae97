"""What a backend's own files import besides ``attnbench.api``: its card and adapter, native kernels, learners."""

from attnbench.backend import Backend, BackendInfo, Bound, Stopwatch, as_output
from attnbench.errors import UncountedError, UndeliveredError
from attnbench.learning import (
    Calls,
    EncoderDecoder,
    Learner,
    Model,
    Optimiser,
    Retrieval,
    Shape,
    check_whole,
    score_parameters,
)
from attnbench.native import NativeKernel

__all__ = [
    "Backend",
    "BackendInfo",
    "Bound",
    "Calls",
    "EncoderDecoder",
    "Learner",
    "Model",
    "NativeKernel",
    "Optimiser",
    "Retrieval",
    "Shape",
    "Stopwatch",
    "UncountedError",
    "UndeliveredError",
    "as_output",
    "check_whole",
    "score_parameters",
]
