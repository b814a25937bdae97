"""Why timed suites leave implementations out unless they are named: kinds of implementations, each with its reason.

A pattern names implementations by what they are, whichever backends are installed. One that names a backend must match
something of it where that backend is announced (``stale``); ``*/chunked`` speaks of every backend that has one.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """Implementations by shell patterns, and the reason that they share, in a few words."""

    patterns: tuple[str, ...]
    why: str


LEARNED_SCORES = Kind(
    ("*/chunked", "jax/fused"),
    "made for learned scores, which scoring-cost is about",
)
ADDITIVE_ALONE = Kind(("*/additive",), "computes additive scores alone, which scoring-cost is about")
PYTHON_LOOPS = Kind(("*/loops",), "Python loops: too slow here, and at most 4,096 pairs of query and key")
INTERPRETED = Kind(
    ("*/pallas", "triton/*"), "interpreted on a CPU: that shows whether it is right, and not how fast it is"
)
HALF_ALONE = Kind(("*/*-f16",), "takes float16 alone, which nothing here is in")
KERAS = Kind(("keras_*/*",), "computes with the kernels of the framework below it: name it to see what Keras adds")
TWINS = Kind(
    ("mlx/formula", "torch/mha-weights", "torch/mha-fast", "onnxruntime/attention-23"),
    "hardly anything but another one measured here in other words: the same operations in the same framework",
)
CAUSAL_ALONE = Kind(("onnxruntime/gqa",), "takes causal calls alone: speed and decode measure it")
COMPILED_LONG = Kind(
    ("*/compiled", "*/flex"), "its compiler takes longer for each shape than this suite for a cell; speed measures it"
)
IN_A_LAYER = Kind(
    ("torch/mha",),
    "it projects by identities, as in a layer of a model, around the kernels of others; speed measures it",
)
FAR_BEHIND = Kind(
    ("mlx/*", "tinygrad/*"), "made for other devices: on a CPU many times as slow as the rest (docs/implementations.md)"
)
ONE_THREAD = Kind(("mlx/*", "tinygrad/*"), "computes with one thread on a CPU, whatever is asked")
DOT_ALONE = Kind(
    (
        "*/loops",
        "torch/sdpa*",
        "jax/nn-*",
        "mlx/sdpa",
        "tinygrad/*",
        "onnxruntime/*",
        "openvino/*",
        "keras_*/ops",
        "keras_*/attention",
        "*/mha*",
        "torch/flex",
        "torch/varlen",
    ),
    "has no score but the dot product",
)

# An array of all scores, or more: measured by suites that grow only where it fits.
STORES_SCORES = (
    "*/naive",
    "*/formula",
    "torch/sdpa-math",
    "torch/mha-weights",
    "torch/mha-fast",
    "jax/nn-xla",
    "jax/fused",
    "onnxruntime/attention*",
    "onnxruntime/gqa*",
    "tinygrad/*",
    "keras_numpy/*",
    "keras_jax/*",
    "keras_torch/attention",
    "keras_torch/additive",
)

# What answers no question about speed or memory on a CPU that somebody would ask without naming it.
BY_NAME_ALONE = (LEARNED_SCORES, ADDITIVE_ALONE, INTERPRETED, HALF_ALONE, KERAS, TWINS)


def left_out(*kinds: Kind, besides: Mapping[str, str] | None = None) -> dict[str, str]:
    """Patterns with their reasons for ``TimedSuite(leaves_out=…)``; what one suite says ``besides`` comes first."""
    by_pattern = dict(besides or {})
    for kind in kinds:
        by_pattern |= {pattern: kind.why for pattern in kind.patterns if pattern not in by_pattern}
    return by_pattern


def stale(patterns: Iterable[str], implementations: Iterable[str]) -> list[str]:
    """The patterns that name a backend which is announced, and none of its implementations."""
    known = list(implementations)
    backends = {name.partition("/")[0] for name in known}
    return [
        pattern
        for pattern in patterns
        if (backend := pattern.partition("/")[0]) != "*"
        and fnmatch.filter(backends, backend)
        and not fnmatch.filter(known, pattern)
    ]
