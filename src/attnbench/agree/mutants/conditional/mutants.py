"""Mutants that are right but for one condition: real bugs are wrong somewhere, not everywhere.

``Conditional`` answers as the sound ``Eager`` does until its condition holds; then it answers as the mutant, and where
the condition is about rows, heads, batch entries or keys, only that part of the answer is the mutant's. What is summed
over rows (the gradients of keys, values, sinks, parameters) takes the mutant's share of these rows alone: a gradient is
linear in its cotangents, so that the share is what cotangents give that are zero everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from attnbench.agree.eager.attention import Eager, ForwardState, Softmax
from attnbench.agree.mutants.catalogue import Mutant
from attnbench.agree.mutants.conditional.moments import Condition, Moment
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, Sizes
from attnbench.attention.spec import STAGES
from attnbench.backends.implementation import AttentionOutput

Gradients = dict[str, Array]


class Conditional(Eager):
    """A mutant behind a condition; it becomes an implementation as any other does, by ``implementation(name)``."""

    def __init__(self, mutant: Mutant, condition: Condition) -> None:
        self.condition = condition
        self.right, self.wrong = Eager(), mutant.breed()
        self.calls, self.last, self.before = 0, None, None

    calls: int
    last: Sizes | None
    before: Sizes | None

    def note(self, sizes: Sizes) -> None:
        """Count a forward call, computed or not."""
        self.calls, self.before, self.last = self.calls + 1, self.last, sizes

    def shows(self, call: Call, *, backward: bool = False) -> bool:
        """Whether the fault shows in the call that was noted last."""
        return self.condition.holds(Moment(call, backward, self.calls - 1, self.before))

    def would_show(self, call: Call, *, gradients: bool) -> bool:
        """Whether the fault would show in this call, forward or backward, if it came next."""
        passes = (False, True) if gradients else (False,)
        return any(self.condition.holds(Moment(call, backward, self.calls, self.last)) for backward in passes)

    def attend(self, q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        """The sound answer, or the part of it that is not wrong."""
        self.note(call.sizes)
        if not self.shows(call):
            return self.right.attend(q, k, v, call)
        return self.attended(q, k, v, call, lambda: self.right.attend(q, k, v, call))

    def attended(
        self, q: Array, k: Array, v: Array, call: Call, right: Callable[[], AttentionOutput]
    ) -> AttentionOutput:
        """The answer where the fault shows, given the sound one."""
        if not self.condition.divides:
            return self.wrong.attend(q, k, v, call)
        if self.condition.keys is not None:
            return self._of_keys(q, k, v, call, self.condition.keys)
        rows, sound = self.condition.rows(call.sizes), dict(right().items())
        wrong = dict(self.wrong.attend(q, k, v, call).items())
        return AttentionOutput(**{name: _joined(rows, wrong[name], sound[name]) for name in sound})

    def vjp(self, q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None) -> Gradients:
        """The sound gradients, or the part of them that is not wrong."""
        given = (q, k, v, call, d_output, d_lse)
        if not self.shows(call, backward=True):
            return self.right.vjp(*given)
        return self.differentiated(*given, lambda: self.right.vjp(*given))

    def differentiated(
        self,
        q: Array,
        k: Array,
        v: Array,
        call: Call,
        d_output: Array,
        d_lse: Array | None,
        right: Callable[[], Gradients],
    ) -> Gradients:
        """The gradients where the fault shows, given the sound ones."""
        if self.condition.keys is not None:
            wrong = self.wrong.vjp(q, k, v, call, d_output, d_lse)
            return {name: _of_later_keys(name, wrong[name], g, self.condition.keys) for name, g in right().items()}
        rows = self.condition.rows(call.sizes)
        if rows is None:
            return self.wrong.vjp(q, k, v, call, d_output, d_lse)
        share = np.where(rows[..., None], d_output, d_output.dtype.type(0))
        share_lse = None if d_lse is None else np.where(rows, d_lse, d_lse.dtype.type(0))
        wrong, of_rows = (side.vjp(q, k, v, call, share, share_lse) for side in (self.wrong, self.right))
        return {name: _exchanged(g, of_rows[name], wrong[name]) for name, g in right().items()}

    def _of_keys(self, q: Array, k: Array, v: Array, call: Call, n: int) -> AttentionOutput:
        """The answer with the mutant's logits, allowed set and values from the n-th key on.

        Where the logits and the allowed sets agree, the mutant's weights are taken from there on instead.
        """
        right, wrong = self.right.forward(q, k, v, call), self.wrong.forward(q, k, v, call)
        joined = _beyond(right, wrong, n)
        with np.errstate(all="ignore"):
            if _same(joined.logits, right.logits) and _same(joined.allowed, right.allowed):
                soft = Softmax(_later(right.weights, wrong.weights, n), right.sink, right.lse)
            else:
                sink = self.right.sink(call, joined.logits.dtype)
                soft = self.right.softmax(joined.logits, joined.allowed, sink)
            output = self.right.weighted_sum(soft.weights * joined.keep, joined.v, joined.allowed)
            output = self.right.dead_rows(output, joined.allowed, joined.v)
        joined = replace(joined, weights=soft.weights)
        stages = {name: getattr(joined, name) for name in STAGES if call.wants(name)}
        return AttentionOutput(output.astype(q.dtype), lse=soft.lse if call.wants("lse") else None, **stages)


def _joined(rows: Array | None, wrong: Any, right: Array) -> Any:
    """The mutant's rows and the sound others; a mutant's own type, shape or dtype cannot be had in part."""
    if type(wrong) is not np.ndarray or (wrong.shape, wrong.dtype) != (right.shape, right.dtype) or rows is None:
        return wrong
    return np.where(rows.reshape(rows.shape + (1,) * (right.ndim - rows.ndim)), wrong, right)


def _exchanged(whole: Array, right: Array, wrong: Array) -> Array:
    """The sound gradient with its share of some rows exchanged for the mutant's."""
    if wrong.shape != right.shape:
        return wrong
    same = (wrong == right) | (np.isnan(wrong) & np.isnan(right))
    with np.errstate(all="ignore"):
        changed = whole.astype(np.float64) + (wrong.astype(np.float64) - right.astype(np.float64))
        return np.where(same, whole, changed.astype(whole.dtype))


def _of_later_keys(name: str, wrong: Array, right: Array, n: int) -> Array:
    """Gradients of keys, values and of a bias by key, from the n-th key on."""
    if wrong.shape != right.shape:
        return wrong
    if name in ("k", "v"):
        return np.concatenate([right[:, :, :n], wrong[:, :, n:]], axis=2)
    return _later(right, wrong, n) if name == "bias" and right.shape[-1] > n else right


def _beyond(right: ForwardState, wrong: ForwardState, n: int) -> ForwardState:
    """A state whose keys from the n-th on are the mutant's; keys to which the mutant left a finite logit take part."""
    admitted = wrong.allowed | ~np.isneginf(wrong.logits)
    full = right.logits.shape
    kept, dropped = (np.broadcast_to(np.asarray(state.keep, right.logits.dtype), full) for state in (right, wrong))
    return replace(
        right,
        allowed=_later(right.allowed, admitted, n),
        scores=_later(right.scores, wrong.scores, n),
        capped=_later(right.capped, wrong.capped, n),
        logits=_later(right.logits, wrong.logits, n),
        keep=_later(kept, dropped, n),
        v=np.concatenate([right.v[:, :, :n], wrong.v[:, :, n:]], axis=2),
    )


def _later(right: Array, wrong: Array, n: int) -> Array:
    return np.concatenate([right[..., :n], wrong[..., n:]], axis=-1)


def _same(array: Array, other: Array) -> bool:
    return np.array_equal(array, other, equal_nan=array.dtype.kind == "f")
