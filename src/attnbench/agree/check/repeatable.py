"""Two questions about the bits of an implementation, each a row of ``attnbench check`` in every dtype.

``deterministic``: the same bits when the same inputs are given again. ``batch_invariant``: the same bits for a batch
entry alone as in a batch, and for queries in chunks as for all at once. A correct kernel may answer no to either (sums
in another order are within rounding), so that no is an answer and no disagreement; ``--require`` demands a yes.

Chunks of queries are asked in the first of three ways that the kernel declares: where they stand among all keys; with
the keys behind their last query left out; and as the last rows of all queries up to there. Where it declares none of
them there is no answer, since that a batch entry alone has the same bits is only half of the question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.call import Call
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.bind import Inputs, bind, inputs_of
from attnbench.backends.fitted import asked
from attnbench.backends.kept import Kept
from attnbench.errors import NotDeclaredError

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

AGAIN = 4  # calls after the first one
CHUNK = 16  # queries at a time, and one by one
SIZES = {"B": 3, "Hq": 2, "Tq": 2 * CHUNK, "S": 96, "D": 16}
PLACES = 8  # chunks that are asked where each has other sizes, for which some frameworks compile anew


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
    plain = Case(AttentionSpec(can.scores[0]), problem, phase)
    least = asked(plain.with_problem(Tq=CHUNK, S=CHUNK), can).problem.Tq
    return asked(plain.with_problem(Tq=2 * least), can)


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
        in_batch = {name: np.asarray(array)[b : b + 1] for name, array in whole.items() if not _shared(name)}
        yield _difference(in_batch, answered(_entry(inputs, b)), f"alone, batch entry {b}")
    forward = replace(inputs, d_output=None, d_lse=None)
    for first, count, words, given in _chunks(implementation, forward, device):
        rows = {"output": np.asarray(whole["output"])[:, :, first : first + count]}
        got = {"output": np.asarray(answered(given)["output"])[:, :, -count:]}
        yield _difference(rows, got, f"in chunks of {count}{words}, queries from {first}")


def _chunks(implementation: Implementation, inputs: Inputs, device: str) -> Iterator[tuple[int, int, str, Inputs]]:
    """Chunks of queries that it can be asked: first, count, how in words, and inputs whose last rows they are.

    Raises ``NotDeclaredError`` where it can be asked none.
    """
    tq = inputs.call.sizes.Tq
    larger = [count for count in range(CHUNK, tq) if tq % count == 0] or [max(1, tq // 2)]
    ways = (_askable(implementation, inputs, device, count) for count in larger)
    chunks = next(filter(None, ways), [])
    if larger[0] > 1:
        chunks += _askable(implementation, inputs, device, 1)
    if not chunks:
        why = implementation.unsupported(_rows(inputs, 0, larger[0]).call.needs(device)) or "does not take them apart"
        msg = f"alone each batch entry has the same bits; chunks of queries could not be asked: it {why}"
        raise NotDeclaredError(msg)
    yield from chunks


def _askable(
    implementation: Implementation, inputs: Inputs, device: str, count: int
) -> list[tuple[int, int, str, Inputs]]:
    """All chunks of ``count`` queries, in the first way that is declared of each; none where there is no such way."""
    for words, way, places in WAYS:
        chunks = [(first, count, words, way(inputs, first, count)) for first in places(inputs.call.sizes.Tq, count)]
        if not any(implementation.unsupported(given.call.needs(device)) for *_, given in chunks):
            return chunks
    return []


def _all(tq: int, count: int) -> list[int]:
    return list(range(0, tq, count))


def _some(tq: int, count: int) -> list[int]:
    """The first, the last and others between them."""
    every = _all(tq, count)
    return [every[i] for i in sorted({round(i) for i in np.linspace(0, len(every) - 1, PLACES)})]


def _where_they_stand(inputs: Inputs, first: int, count: int) -> Inputs:
    return _rows(inputs, first, first + count)


def _without_later_keys(inputs: Inputs, first: int, count: int) -> Inputs:
    return _until(_rows(inputs, first, first + count), inputs.call.offset + first + count)


def _with_earlier_queries(inputs: Inputs, first: int, count: int) -> Inputs:
    last = first + count
    square = inputs.call.spec.causal and inputs.call.sizes.Tq == inputs.call.sizes.S
    return _until(_rows(inputs, 0, last), last if square else inputs.call.sizes.S)


WAYS = (
    ("", _where_they_stand, _all),
    (" without later keys", _without_later_keys, _some),
    (" after all queries before them", _with_earlier_queries, _some),
)
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


def _rows(inputs: Inputs, first: int, last: int) -> Inputs:
    """Some of the queries, where they stand."""
    call: Call = replace(
        inputs.call,
        sizes=replace(inputs.call.sizes, Tq=last - first),
        offset=inputs.call.offset + first if inputs.call.spec.causal else inputs.call.offset,
        spec=replace(inputs.call.spec, align=None),
    )
    return inputs.with_values(q=np.ascontiguousarray(inputs.q[:, :, first:last]), call=call)


def _until(inputs: Inputs, keys: int) -> Inputs:
    """The first keys alone, where a causal call sees no other; else the call as it is."""
    if not inputs.call.spec.causal or not 0 < keys < inputs.call.sizes.S:
        return inputs
    call = replace(inputs.call, sizes=replace(inputs.call.sizes, S=keys))
    k, v = (np.ascontiguousarray(array[:, :, :keys]) for array in (inputs.k, inputs.v))
    return inputs.with_values(k=k, v=v, call=call)


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
