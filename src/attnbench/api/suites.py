"""What a suite imports, and nothing else of attnbench: questions and cells, inputs, models to train, analyses."""

from attnbench import catalogue
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
from attnbench.call import Operands, from_padding
from attnbench.errors import AttnbenchError, SpecError, UnsupportedError, UsageError
from attnbench.exchange import inprocess
from attnbench.implementation import AttentionOutput
from attnbench.inputs import default_params, draw, draw_cotangents
from attnbench.learning import EncoderDecoder, Learner, Optimiser, Retrieval
from attnbench.precision import numpy_dtype
from attnbench.problem import Case, Problem
from attnbench.spec import AttentionSpec
from attnbench.suite import Cell, Figure, Frame, Probe, Suite

__all__ = [
    "AttentionOutput",
    "AttentionSpec",
    "AttnbenchError",
    "Case",
    "Cell",
    "EncoderDecoder",
    "Figure",
    "Frame",
    "Learner",
    "Operands",
    "Optimiser",
    "Probe",
    "Problem",
    "Retrieval",
    "SpecError",
    "Suite",
    "UnsupportedError",
    "UsageError",
    "aligned",
    "alignments",
    "catalogue",
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
    "inprocess",
    "intervals",
    "numpy_dtype",
    "pronunciation",
    "reach",
    "retrieval",
    "tasks",
    "training",
    "translation",
]
