"""Judging what a bound call answers, after it was timed: the numbers in a report belong to right answers.

The gate judges a binding before it is timed. This judges it afterwards: once more on the inputs that it was timed on,
and on other values, so that an answer kept from an earlier call is seen. Where a framework's arrays can be changed, the
other values are put in the place of the first ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.agree.judge.arithmetic import precision_of
from attnbench.agree.judge.array import Judgement, judge, of_another_form
from attnbench.agree.judge.bounds import Units
from attnbench.agree.judge.gradient_bounds import gradient_bounds
from attnbench.agree.judge.selection import Selection, choose, judge_forward, judge_gradients
from attnbench.attention.arrays import Array
from attnbench.attention.inputs import stream
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.backends.bind import Inputs, inputs_of

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.backends.bind import Binding
    from attnbench.backends.implementation import AttentionOutput

KEPT = "after other values were put in the place of its inputs"


def verify(binding: Binding, case: Case) -> str | None:
    """Why what the binding of a case answers is wrong, or ``None``. Its inputs may have other values afterwards."""
    inputs = inputs_of(case)
    if wrong := _wrong(binding, inputs, case.problem.seed):
        return f"after it was timed: {wrong}"
    other = inputs_of(replace(case.with_problem(seed=case.problem.seed + 1), phase="forward"))
    changed = inputs.with_values(q=other.q, k=other.k, v=other.v)
    places = zip(binding.native.qkv, changed.qkv, strict=True)
    if not all(binding.backend.overwrite(native, array) for native, array in places):
        binding = binding.on(changed)
    wrong = _wrong(binding, changed, case.problem.seed)
    return f"{KEPT}: {wrong}" if wrong else None


def _wrong(binding: Binding, inputs: Inputs, seed: int) -> str | None:
    """What is wrong with one answer on the values that ``inputs`` has."""
    precision = precision_of(binding.implementation, inputs.call.dtype, binding.device)
    units, selection = Units.of(precision, inputs.call.dtype), choose(inputs.call, seed)
    answer = binding.answer()
    judged = judge_answer(answer.output, answer.grads, inputs, units, selection)
    return next((judgement.sentence() for judgement in judged if not judgement.ok), None)


def judge_answer(
    output: AttentionOutput,
    grads: dict[str, Array],
    inputs: Inputs,
    units: Units,
    selection: Selection,
    *,
    zero_elsewhere: bool = False,
) -> tuple[Judgement, ...]:
    """Hold an answer to the oracle in the selected rows and heads; ``zero_elsewhere``: its cotangents are zero outside.

    Of a large call whose cotangents are not, only the gradient of q is judged: no other row adds to it.
    """
    judged = judge_forward(output, inputs, units, selection)
    if not inputs.gradients:
        return judged
    return judged + (judge_gradients if zero_elsewhere else _gradients)(grads, inputs, units, selection)


def judge_a_head(grads: dict[str, Array], inputs: Inputs, units: Units, seed: int, most: int) -> tuple[Judgement, ...]:
    """Hold the gradients of q, k and v of one key head, drawn by ``seed``, and all its query heads to the oracle.

    They are judged whole, whatever the cotangents are; none of a head of more than ``most`` pairs of query and key.
    """
    s = inputs.call.sizes
    if not inputs.gradients or s.empty or s.group * s.Tq * s.S > most:
        return ()
    rng = stream(seed, "head")
    b, key_head = int(rng.integers(s.B)), int(rng.integers(s.Hkv))
    pairs = tuple((b, key_head * s.group + i) for i in range(s.group))
    given = *inputs.qkv, inputs.call, inputs.d_output, inputs.d_lse
    expected = reference_vjp(*given, np.arange(s.Tq), pairs)
    bounds = gradient_bounds(*given, units, np.arange(s.Tq), pairs)
    heads: dict[str, Any] = {"q": slice(pairs[0][1], pairs[-1][1] + 1), "k": key_head, "v": key_head}
    judged = []
    for name, where in heads.items():
        if name in grads and name in expected:
            tensor, dtype = f"d_{name}", inputs.arrays()[name].dtype.name
            got, right, within = grads[name], expected[name], bounds[name]
            strange = of_another_form(tensor, got, right.shape, dtype)
            judged.append(strange or judge(tensor, got[b, where], right[b, where], within[b, where], dtype))
    return tuple(judged)


def _gradients(grads: dict[str, Array], inputs: Inputs, units: Units, selection: Selection) -> tuple[Judgement, ...]:
    """All gradients of a small call; of a large one that of q alone, if wanted, since no other row adds to it."""
    qkv, call, cotangents = inputs.qkv, inputs.call, (inputs.d_output, inputs.d_lse)
    if selection.is_whole(call):
        return judge_gradients(grads, inputs, units, selection)
    if "q" not in grads:
        return ()
    expected = reference_vjp(*qkv, call, *cotangents, selection.rows, selection.pairs)["q"]
    bound = gradient_bounds(*qkv, call, *cotangents, units, selection.rows, selection.pairs)["q"]
    got, right, within = (
        np.stack([array[b, h][selection.rows] for b, h in selection.pairs]) for array in (grads["q"], expected, bound)
    )
    return (judge("d_q", got, right, within, inputs.q.dtype.name),)
