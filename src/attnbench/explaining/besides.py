"""Readings of what an output comes with: its layout, lse, and gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from attnbench.agree.diagnose.gradients import SeenBackward, explaining_steps, instead_of
from attnbench.agree.diagnose.readings_gradient import gradients
from attnbench.agree.diagnose.stages import instead_of_lse
from attnbench.agree.judge.bounds import Units, stage_bounds
from attnbench.agree.judge.gradient_bounds import gradient_bounds
from attnbench.agree.rules.facts import Computed, Facts, answer, facts_of, head_of, within
from attnbench.attention.arrays import Array
from attnbench.explaining.question import PosedCall
from attnbench.explaining.readings import OF_HEADS, FittingReading, singles
from attnbench.explaining.subject import Subject

ALL_GRADIENTS = "gradients"


def _of(array: str, kind: str, sentence: str) -> FittingReading:
    return FittingReading(kind, sentence, array=array)


def relaid(question: PosedCall) -> Iterator[tuple[FittingReading, PosedCall]]:
    """The output as it would be if its memory were in another order than it was taken for."""
    got, s = question.answers["output"], question.inputs.call.sizes
    if s.empty:
        return
    if question.turned:
        words = f"the output is laid out as {question.turned} instead of {question.lies}"
        yield FittingReading("layout", words), question
        return
    ways = {
        "the output's memory is (B, S, H, D) and was only reshaped to (B, H, S, D)": got.reshape(
            s.B, s.Tq, s.Hq, s.Dv
        ).swapaxes(1, 2),
        "the output's memory is (B, H, S, D) and was only reshaped to (B, S, H, D)": got.swapaxes(1, 2).reshape(
            got.shape
        ),
        "the output's memory is (B, H, D, S) and was only reshaped to (B, H, S, D)": got.reshape(
            s.B, s.Hq, s.Dv, s.Tq
        ).swapaxes(2, 3),
    }
    for words, output in ways.items():
        if not np.array_equal(output, got, equal_nan=True):
            yield FittingReading("layout", words), question.with_output(output)


def of_lse(of: Subject, output: Sequence[FittingReading]) -> list[FittingReading]:
    """What an lse is instead: that of the readings that explain the output, another quantity, or another reading's."""
    got = of.got["lse"].astype(np.float64)
    units = of.witness.units
    for reading in output:
        if reading.facts is not None and within(got, *_lse(answer(reading.facts), units)).all():
            return [_of("lse", "lse", f"lse fits the same reading: {reading.sentence}")]
    right = of.witness.right
    instead = instead_of_lse(*_lse(right, units), right.softmax.row_max, units.softmax)
    fits = [_of("lse", "lse", text) for text, values in instead.items() if within(got, *values).all()]
    if fits:
        return fits
    return [
        _of("lse", "lse", f"lse fits another reading than the output: {reading.sentence}")
        for reading in singles(of)
        if within(got, *_lse(answer(reading.facts), units)).all()
    ]


def _lse(computed: Computed, units: Units) -> tuple[Array, Array]:
    lse = computed.softmax.lse
    bound = np.zeros(lse.shape)
    with np.errstate(all="ignore"):
        for b, h in np.ndindex(*lse.shape[:2]):
            bound[b, h] = stage_bounds(head_of(computed, b, h), computed.facts.call, h, units)["lse"]
    return lse, np.nan_to_num(bound)


def of_gradients(
    question: PosedCall, units: Units, wrong: Sequence[str], output: Sequence[FittingReading]
) -> list[FittingReading]:
    """What explains all gradients that are wrong: the output's reading, a wrong backward pass, or each by itself."""
    inputs = question.inputs
    facts = facts_of(*inputs.qkv, inputs.call)
    passed = SeenBackward(inputs.qkv, answer(facts), units, inputs.d_output, inputs.d_lse, question.grads)
    for reading in output:
        if reading.facts is not None and OF_HEADS not in reading.kind and _follows(passed, reading.facts):
            return [_of(ALL_GRADIENTS, "gradient", f"the gradients fit the same reading: {reading.sentence}")]
    fits = [_of(ALL_GRADIENTS, step.kind, step.sentence) for step in explaining_steps((passed,))]
    return fits or _each_by_itself(passed, wrong)


def _each_by_itself(passed: SeenBackward, wrong: Sequence[str]) -> list[FittingReading]:
    """For every wrong gradient what was handed out in its place; nothing where one of them stays unexplained."""
    fits = []
    for name in wrong:
        sentences = [tensor.sentence for tensor in instead_of(passed, name) if tensor.explains(passed)]
        if not sentences:
            return []
        fits += [_of(f"d_{name}", "gradient", sentence) for sentence in sentences]
    return fits


def _follows(passed: SeenBackward, facts: Facts) -> bool:
    """Whether the gradients are those of a reading of the forward pass."""
    read = replace(passed, computed=answer(facts))
    s = facts.call.sizes
    if not facts.whole:
        return False
    pairs = tuple(np.ndindex(s.B, s.Hq))
    heads = [(b, h, head_of(read.computed, b, h)) for b, h in pairs]
    yielded = gradients(read.computed, read.d_output, read.d_lse)
    with np.errstate(all="ignore"):
        given = (*passed.qkv, facts.call, passed.d_output, passed.d_lse, passed.units, np.arange(s.Tq), pairs)
        bounds = gradient_bounds(*given, evaluated=heads)
    return all(bool(within(got, yielded[name], np.nan_to_num(bounds[name])).all()) for name, got in passed.got.items())
