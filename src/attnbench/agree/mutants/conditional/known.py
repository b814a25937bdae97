"""Answers computed once for each case, so that judging one more mutant costs no more than the mutant's own passes.

A mutant behind a condition differs from the sound implementation in few cases. Where its condition does not hold
nothing is computed; where it holds, its answer is compared with the oracle's, which was computed once. The verdict is
that of ``attnbench.agree.judge.trial``: numbers beyond the bound, inputs written to, results that a later call changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnbench.agree.eager.attention import CAPABILITIES, Eager
from attnbench.agree.judge.bounds import Units
from attnbench.agree.judge.run_once import SMALL
from attnbench.agree.judge.selection import (
    Selection,
    Share,
    Truth,
    choose,
    forms,
    held,
    held_gradients,
    true_forward,
    true_gradients,
    with_selected_cotangents,
)
from attnbench.agree.mutants.conditional.mutants import Conditional
from attnbench.attention.arrays import Array
from attnbench.attention.call import Sizes
from attnbench.attention.oracle import Evaluated
from attnbench.attention.problem import Case
from attnbench.backends.bind import Inputs, inputs_of
from attnbench.backends.implementation import AttentionOutput
from attnbench.errors import AttnbenchError


@dataclass(frozen=True)
class Known:
    """A case with the truth about the selected rows, and the sound implementation's whole answer."""

    case: Case
    inputs: Inputs
    selection: Selection
    forward: dict[str, Truth]
    gradients: dict[str, Truth]
    output: AttentionOutput
    grads: dict[str, Array]


def known(
    case: Case, selection: Selection | None = None, inputs: Inputs | None = None, share: Share | None = None
) -> Known:
    """Everything about a case that does not depend on a mutant.

    ``inputs`` are the case's, where they were drawn before. Without a ``selection`` the one that a trial takes is
    judged; ``share`` is that of ``choose``.
    """
    inputs = inputs or inputs_of(case)
    selection = selection or choose(inputs.call, case.problem.seed, share)
    inputs = with_selected_cotangents(inputs, selection)
    units = Units.of(CAPABILITIES.precision_of(inputs.call.dtype), inputs.call.dtype)
    evaluated = Evaluated(*inputs.qkv, inputs.call, selection.rows, selection.pairs)
    forward = true_forward(inputs, units, selection, evaluated)
    backward = true_gradients(inputs, units, selection, evaluated) if case.gradients else {}
    sound = Eager()
    output = sound.attend(*inputs.qkv, inputs.call)
    grads = sound.vjp(*inputs.qkv, inputs.call, inputs.d_output, inputs.d_lse) if case.gradients else {}
    answer = Known(case, inputs, selection, forward, backward, output, grads)
    if wrong := _outside(answer, output, grads):
        raise AttnbenchError(f"the sound implementation is wrong in {case.label()}: {wrong}")
    return answer


def called_again(sizes: Sizes) -> bool:
    """Whether a trial calls a second time, to see whether the first result lasts."""
    return sizes.B * sizes.Hq * sizes.Tq * sizes.S <= SMALL


def fault(answer: Known, planted: Conditional, *, twice: bool = False) -> str | None:
    """What is wrong with a mutant's answer to this case, or ``None``. It is called as often as a trial calls it.

    ``twice``: look at the result again after the second call, as only a mutant that keeps something needs it.
    """
    inputs, sizes = answer.inputs, answer.inputs.call.sizes
    planted.note(sizes)
    output, grads, written = _answered(answer, planted)
    if written:
        return "wrote to its input"
    if wrong := _outside(answer, output, grads):
        return wrong
    if not called_again(sizes):
        return None
    planted.note(sizes)
    if not twice:
        return None
    before = _bits(output, grads)
    _answered(answer, planted, inputs.with_values(q=-inputs.q, v=-inputs.v))
    return None if before == _bits(output, grads) else "changed when it was called again on other inputs"


def _bits(output: AttentionOutput, grads: dict[str, Array]) -> list[bytes]:
    return [array.tobytes() for array in (*dict(output.items()).values(), *grads.values())]


def _answered(
    answer: Known, planted: Conditional, other: Inputs | None = None
) -> tuple[AttentionOutput, dict[str, Array], bool]:
    """Output and gradients, the sound ones themselves where nothing shows, and whether an input was written to."""
    inputs = other or answer.inputs
    call, cotangents = inputs.call, (inputs.d_output, inputs.d_lse)
    q, k, v = (_read_only(array) for array in inputs.qkv)

    def sound() -> AttentionOutput:
        return answer.output if other is None else planted.right.attend(*inputs.qkv, call)

    def sound_gradients() -> dict[str, Array]:
        return answer.grads if other is None else planted.right.vjp(*inputs.qkv, call, *cotangents)

    output, grads = answer.output, answer.grads
    if planted.shows(call):
        output = planted.attended(q, k, v, call, sound)
    if answer.case.gradients and planted.shows(call, backward=True):
        grads = planted.differentiated(q, k, v, call, *cotangents, sound_gradients)
    return output, grads, any(a.tobytes() != b.tobytes() for a, b in zip((q, k, v), inputs.qkv, strict=True))


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _outside(answer: Known, output: AttentionOutput, grads: dict[str, Array]) -> str | None:
    """The first array that disagrees, judged as a trial judges it."""
    judged = forms(output, answer.inputs.call) or held(output, answer.forward, answer.selection)
    judged += held_gradients(grads, answer.gradients)
    return next((judgement.sentence() for judgement in judged if not judgement.ok), None)
