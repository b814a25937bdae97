"""What a suite imports, and nothing else of attnbench: questions and cells, inputs, models to train, analyses."""

from attnbench import workloads
from attnbench.ablate import aligned, alignments, draws, pronunciation, reach, retrieval, tasks, training, translation
from attnbench.analysis import claims, contrasts, costs, diagnostics, frames, intervals, maps
from attnbench.attention import shapes as catalogue
from attnbench.attention.call import Operands, from_padding
from attnbench.attention.inputs import default_params, draw, draw_cotangents
from attnbench.attention.precision import numpy_dtype
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.implementation import AttentionOutput
from attnbench.backends.learning import EncoderDecoder, Learner, Optimiser, Retrieval
from attnbench.errors import AttnbenchError, SpecError, UnsupportedError, UsageError, not_one_of
from attnbench.exchange import inprocess
from attnbench.suite import (
    Cell,
    Figure,
    Frame,
    Levels,
    Lists,
    Number,
    ObservedSuite,
    OneOf,
    OrNone,
    Probe,
    Spelled,
    Story,
    Suite,
    Text,
    TimedSuite,
    Whole,
    levels,
)

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
    "Levels",
    "Lists",
    "Number",
    "ObservedSuite",
    "OneOf",
    "Operands",
    "Optimiser",
    "OrNone",
    "Probe",
    "Problem",
    "Retrieval",
    "SpecError",
    "Spelled",
    "Story",
    "Suite",
    "Text",
    "TimedSuite",
    "UnsupportedError",
    "UsageError",
    "Whole",
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
    "levels",
    "maps",
    "not_one_of",
    "numpy_dtype",
    "pronunciation",
    "reach",
    "retrieval",
    "tasks",
    "training",
    "translation",
    "workloads",
]
