"""Calls of all that takes or returns arrays, for ``checked_signatures`` to run under jaxtyping's hook."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace

import ml_dtypes
import numpy as np

from attnbench.ablate import retrieval, tasks, translation
from attnbench.ablate.probe import LocalProbe
from attnbench.attention import layouts
from attnbench.attention.call import from_padding
from attnbench.attention.oracle import reference
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends import discover
from attnbench.backends.attend import attend, resolve, vjp
from attnbench.backends.bind import bind, inputs_of
from attnbench.backends.fitted import asked
from attnbench.backends.implementation import Implementation
from attnbench.backends.learning import Optimiser

# Every axis with a size of its own, so that no two can be taken for each other.
SMALL = Problem(B=2, Hq=6, Hkv=3, Tq=4, S=7, D=8, Dv=5, Da=9)
BOTTOM, DROPPED = AttentionSpec(causal=True, align="bottom_right", softcap=2.0), AttentionSpec(dropout=0.3)
CASES = (
    (AttentionSpec(), ()),
    (BOTTOM, ("mask_heads", "q_lengths", "kv_lengths")),
    (AttentionSpec(window=(3, 1)), ("offsets", "bias_pairs", "segments", "slopes")),
    (AttentionSpec(scale=(0.1, -0.2, 0.0, 1.0, 2.0, 0.5)), ("sinks", "bias", "mask_keys")),
    (AttentionSpec(scale="log_n"), ("nan_value", "mask")),
    (DROPPED, ("layout_transposed",)),
    *((AttentionSpec(score=score), ()) for score in ("general", "additive", "concat", "cosine")),
)


def load(backend: str) -> None:
    """Import every implementation of a backend, its adapter and its learners."""
    discover.backend(backend).load()
    for name in discover.backend(backend).names():
        discover.load_implementation(name)
    if trains(backend):
        __import__(f"{discover.backend(backend).package}.train")


def run(backend: str) -> None:
    """Call everything; print what was called."""
    for name in discover.backend(backend).names():
        for case in possible(resolve(name)[1]):
            ask(name, case)
            print(name, case.phase, case.problem.dtype)  # noqa: T201  (a program)
    around()
    if trains(backend):
        learn(backend)


def trains(backend: str) -> bool:
    """Whether the backend has learners."""
    return importlib.util.find_spec(f"{discover.backend(backend).package}.train") is not None


def possible(implementation: Implementation) -> Iterator[Case]:
    """The cases that an implementation supports on the CPU, with all outputs and gradients that it has."""
    phase = "backward" if implementation.has_gradients() else "forward"
    can = implementation.capabilities
    if "cpu" not in can.devices or implementation.compiled:  # the hook is not there for what compiles
        return
    outputs = (*(["lse"] if can.lse else []), *(["scores", "capped", "logits", "weights"] if can.stages else []))
    dtypes = (dtype for dtype in ("float32", "bfloat16", "float64") if dtype in can.dtypes)
    for number, dtype in enumerate(dtypes):
        for spec, operands in CASES[:1] if number else CASES:  # a framework may compile each
            case = Case(spec, replace(SMALL, dtype=dtype, operands=operands), phase, outputs)
            needs = inputs_of(case).call.needs(gradients=case.gradients)
            if implementation.unsupported(needs) is None:
                yield case
    plain = Case(AttentionSpec(can.scores[0]), SMALL, phase)
    if implementation.unsupported(inputs_of(plain).call.needs(gradients=plain.gradients)) is not None:
        yield asked(plain if can.gqa else plain.with_problem(Hkv=SMALL.Hq), can)


def ask(name: str, case: Case) -> None:
    """The implementation and the oracle."""
    inputs = inputs_of(case)
    bind(*resolve(name), inputs).answer()
    reference(*inputs.qkv, inputs.call)
    if case.gradients:
        reference_vjp(*inputs.qkv, inputs.call, inputs.d_output, inputs.d_lse, np.arange(2), [(0, 1)])


def around() -> None:
    """The Python interface, with a cache and with nothing to attend; layouts; masks of the other polarity."""
    q, k, v = (np.ones(shape, ml_dtypes.bfloat16) for shape in ((2, 6, 1, 8), (2, 3, 1, 8), (2, 3, 1, 5)))
    past_k, past_v = np.concatenate([k] * 3, 2), np.concatenate([v] * 3, 2)
    mask = from_padding(np.array([[False] * 3 + [True]] * 2))
    output = attend(q, k, v, mask=mask, past_k=past_k, past_v=past_v).output
    vjp(q, k, v, output, mask=mask, past_k=past_k, past_v=past_v)
    vjp(q, k[:, :, :0], v[:, :, :0], output)
    for array in (q, layouts.from_bthd(layouts.to_bthd(q)), layouts.from_packed(layouts.to_packed(q), 6)):
        ends = np.array([0, 1, 2])
        in_a_row = [layouts.to_varlen(x, ends) for x in (array, k, v)]
        layouts.from_varlen(in_a_row[0], in_a_row[1], in_a_row[2], ends)


def learn(backend: str) -> None:
    """A step and an answer of every model."""
    probe, optimiser = LocalProbe(*resolve(f"{backend}/naive")), Optimiser(clip=1.0)
    task = tasks.RetrievalTask(slots=4, keys=9, values=5)
    (batch,) = tasks.batches(task.draw(0, "train", 7), 7)
    learner = probe.learner(*retrieval.build("additive", 6, 0, task, "float32", 8), optimiser)
    learner.step(batch)
    learner.predict(batch)
    if backend == "numpy":
        return
    (batch,) = tasks.batches(tasks.SequenceTask("reverse", 5).draw(0, "train", 4, 5, 5), 4)
    learner = probe.learner(*translation.build("additive", 0, 5, units=6, dtype="float32"), optimiser)
    learner.step(batch)
    learner.predict(batch)
    learner.reach(batch)
