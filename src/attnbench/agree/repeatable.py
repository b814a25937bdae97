"""Two questions about the bits of an implementation, each a row of ``attnbench check`` in every dtype.

``deterministic``: the same bits when the same inputs are given again. ``batch_invariant``: the same bits for a batch
entry alone as in a batch, and for queries in chunks as for all at once. A correct kernel may answer no to either (sums
in another order are within rounding), so that no is an answer and no disagreement; ``--require`` demands a yes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.agree.fitted import fitted
from attnbench.backends.bind import Inputs, bind, inputs_of
from attnbench.backends.kept import Kept
from attnbench.call import Call
from attnbench.problem import Case, Problem
from attnbench.spec import AttentionSpec

if TYPE_CHECKING:
    from attnbench.backend import Backend
    from attnbench.implementation import Implementation

Array = np.ndarray[Any, np.dtype[Any]]

REPEATABLE = ("deterministic", "batch_invariant")
AGAIN = 4  # calls after the first one
CHUNKS = (16, 1)  # queries at a time; they divide Tq
SIZES = {"B": 3, "Hq": 2, "Tq": 32, "S": 96, "D": 16}


@dataclass(frozen=True)
class Repeated:
    """What was found: ``cases`` comparisons, and the first difference with its case, or ``None``."""

    cases: int
    difference: str | None = None
    case: str | None = None

    @property
    def holds(self) -> bool:
        """Whether all bits were the same."""
        return self.difference is None


def repeatable(
    question: str, backend: Backend, implementation: Implementation, dtype: str, device: str = "cpu"
) -> Repeated:
    """Answer ``deterministic`` or ``batch_invariant``; what the implementation raises is raised."""
    case = _case(implementation, dtype, device)
    inputs = inputs_of(case)
    implementation.require(inputs.call.needs(device, gradients=case.gradients))
    cases = 0
    for difference in ASK[question](backend, implementation, inputs, device):
        cases += 1
        if difference is not None:
            return Repeated(cases, difference, case.label())
    return Repeated(cases)


def _case(implementation: Implementation, dtype: str, device: str) -> Case:
    can = implementation.capabilities_on(device)
    problem = Problem.from_dict({**SIZES, "dtype": dtype})
    phase = "backward" if implementation.has_gradients(device) else "forward"
    return fitted(Case(AttentionSpec(can.scores[0]), problem, phase), can)


def _deterministic(
    backend: Backend, implementation: Implementation, inputs: Inputs, device: str
) -> Iterator[str | None]:
    binding = bind(backend, implementation, inputs, device)
    first = _copied(binding.answer().named())
    for number in range(AGAIN):
        yield _difference(first, binding.answer().named(), f"in call {number + 2}")


def _batch_invariant(
    backend: Backend, implementation: Implementation, inputs: Inputs, device: str
) -> Iterator[str | None]:
    kept = Kept()

    def answered(given: Inputs) -> dict[str, Any]:
        return kept.answer(backend, implementation, given, device).named()

    whole = _copied(answered(inputs))
    for b in range(inputs.call.sizes.B):
        own = {name: np.asarray(array)[b : b + 1] for name, array in whole.items() if not _shared(name)}
        yield _difference(own, answered(_entry(inputs, b)), f"alone, batch entry {b}")
    forward = replace(inputs, d_output=None, d_lse=None)
    for chunk in CHUNKS:
        asked = [_rows(forward, first, chunk) for first in range(0, inputs.call.sizes.Tq, chunk)]
        if any(implementation.unsupported(one.call.needs(device)) for one in asked):
            continue
        for first, one in zip(range(0, inputs.call.sizes.Tq, chunk), asked, strict=True):
            rows = {"output": np.asarray(whole["output"])[:, :, first : first + chunk]}
            yield _difference(rows, answered(one), f"in chunks of {chunk}, queries from {first}")


ASK = {"deterministic": _deterministic, "batch_invariant": _batch_invariant}


def _shared(name: str) -> bool:
    """Gradients that add over the batch: those of the parameters of a score."""
    return name.startswith("d_params")


def _entry(inputs: Inputs, b: int) -> Inputs:
    """One batch entry alone."""
    q, k, v = (np.ascontiguousarray(array[b : b + 1]) for array in inputs.qkv)
    d_output = None if inputs.d_output is None else np.ascontiguousarray(inputs.d_output[b : b + 1])
    call = replace(inputs.call, sizes=replace(inputs.call.sizes, B=1))
    return Inputs(q, k, v, call, d_output)


def _rows(inputs: Inputs, first: int, count: int) -> Inputs:
    """Some of the queries, where they stand."""
    call: Call = replace(
        inputs.call,
        sizes=replace(inputs.call.sizes, Tq=count),
        offset=inputs.call.offset + first if inputs.call.spec.causal else inputs.call.offset,
        spec=replace(inputs.call.spec, align=None),
    )
    return inputs.with_values(q=np.ascontiguousarray(inputs.q[:, :, first : first + count]), call=call)


def _copied(arrays: Mapping[str, Any]) -> dict[str, Array]:
    return {name: np.array(array) for name, array in arrays.items()}


def _difference(first: Mapping[str, Any], second: Mapping[str, Any], when: str) -> str | None:
    """The first element of other bits, in words; ``None`` where all are the same."""
    for name, array in first.items():
        before, after = np.asarray(array), np.asarray(second[name])
        if before.shape != after.shape or before.dtype != after.dtype:
            return f"{name}: {after.dtype}{after.shape} {when}, and {before.dtype}{before.shape} before"
        unlike = _bits(before) != _bits(after)
        if unlike.any():
            place = tuple(int(i) for i in np.argwhere(unlike)[0])
            where = ", ".join(map(str, place))
            count = f"{int(unlike.sum())} of {unlike.size} elements"
            return f"{name}[{where}]: {after[place]!s} {when}, and {before[place]!s} before; {count} differ"
    return None


def _bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
