"""What implementations, suites and drop-in files import, and nothing else of attnbench."""

from attnbench import catalogue, layouts
from attnbench.ablate import (
    aligned,
    alignments,
    claims,
    contrasts,
    costs,
    diagnostics,
    draws,
    frames,
    intervals,
    pronunciation,
    reach,
    retrieval,
    tasks,
    training,
    translation,
)
from attnbench.backend import Backend, BackendInfo, Bound, Stopwatch, as_output
from attnbench.call import Call, Operands, Sizes, from_padding
from attnbench.errors import AttnbenchError, SpecError, UnsupportedError, UsageError
from attnbench.exchange import inprocess
from attnbench.implementation import AttentionOutput, Capabilities, Implementation, Limit, implementation
from attnbench.inputs import default_params, draw, draw_cotangents
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
from attnbench.precision import Precision, numpy_dtype
from attnbench.problem import Case, Problem
from attnbench.spec import AttentionSpec
from attnbench.suite import Cell, Figure, Frame, Probe, Suite

__all__ = [
    "AttentionOutput",
    "AttentionSpec",
    "AttnbenchError",
    "Backend",
    "BackendInfo",
    "Bound",
    "Call",
    "Calls",
    "Capabilities",
    "Case",
    "Cell",
    "EncoderDecoder",
    "Figure",
    "Frame",
    "Implementation",
    "Learner",
    "Limit",
    "Model",
    "NativeKernel",
    "Operands",
    "Optimiser",
    "Precision",
    "Probe",
    "Problem",
    "Retrieval",
    "Shape",
    "Sizes",
    "SpecError",
    "Stopwatch",
    "Suite",
    "UnsupportedError",
    "UsageError",
    "aligned",
    "alignments",
    "as_output",
    "catalogue",
    "check_whole",
    "claims",
    "contrasts",
    "costs",
    "default_params",
    "diagnostics",
    "draw",
    "draw_cotangents",
    "draws",
    "frames",
    "from_padding",
    "implementation",
    "inprocess",
    "intervals",
    "layouts",
    "numpy_dtype",
    "pronunciation",
    "reach",
    "retrieval",
    "score_parameters",
    "tasks",
    "training",
    "translation",
]
