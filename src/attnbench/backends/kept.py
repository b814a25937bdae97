"""Bindings that are used again: ``attend`` and ``vjp`` trace and compile once for inputs of one kind.

What is kept holds no arrays: only what a framework has compiled. The least lately used goes first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnbench import discover
from attnbench.backends.answers import Answer, answer_of
from attnbench.errors import UsageError

if TYPE_CHECKING:
    from attnbench.backend import Backend, Bound
    from attnbench.backends.bind import Inputs
    from attnbench.implementation import Implementation

MOST = 128


@dataclass(frozen=True)
class Entry:
    """What is kept; the implementation stands here so that its ``id`` in the key stays its own."""

    implementation: Implementation
    bound: Bound


class Kept:
    """At most ``most`` bindings, by implementation, spec, shapes, dtypes, device, threads and framework settings."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._lock = threading.Lock()
        self.compiling_s = 0.0  # seconds that all bindings took to trace and compile

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget every binding: the next call of each kind traces and compiles anew."""
        with self._lock:
            self._entries.clear()

    def answer(
        self, backend: Backend, implementation: Implementation, inputs: Inputs, device: str, threads: int | None = None
    ) -> Answer:
        """Compute once on these inputs (NumPy); bound first where nothing of their kind was."""
        if threads is None:
            return self._computed(backend, implementation, inputs, device, None)
        if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
            msg = f"threads is a whole number of 1 or more, or None to leave them as they are; got {threads!r}"
            raise UsageError(msg)
        with backend.limited(threads):
            return self._computed(backend, implementation, inputs, device, threads)

    def _computed(
        self, backend: Backend, implementation: Implementation, inputs: Inputs, device: str, threads: int | None
    ) -> Answer:
        native = inputs.map_arrays(lambda array: backend.borrow(array, device))
        bound = self._bound(backend, implementation, inputs, native, device, threads)
        result = bound.on(*native.qkv, native.call, **native.cotangents)()
        backend.wait(result)
        answer = answer_of(backend, result, native.call, gradients=inputs.gradients)
        return _of_its_own(answer, inputs)

    def _bound(
        self,
        backend: Backend,
        implementation: Implementation,
        inputs: Inputs,
        native: Inputs,
        device: str,
        threads: int | None,
    ) -> Bound:
        key = (id(implementation), inputs.kind(), device, threads, backend.settings())
        with self._lock:
            if entry := self._entries.get(key):
                self._entries.move_to_end(key)
                return entry.bound
        if threads is not None:
            verify_threads(backend, threads)
        bound = backend.bind(implementation, *native.qkv, native.call, **native.cotangents)
        with self._lock:
            self.compiling_s += bound.trace_s + bound.compile_s
            self._entries[key] = Entry(implementation, bound)
            while len(self._entries) > self.most:
                self._entries.popitem(last=False)
        return bound


def verify_threads(backend: Backend, threads: int) -> None:
    """Raise ``UsageError``, which says how to start, where a pool that computes has another number of threads."""
    pools = backend.computing_threads()
    unlike = ", ".join(f"{name} has {count}" for name, count in pools.items() if count != threads)
    if unlike:
        start = discover.backend(backend.name).process_environment(threads)
        words = " ".join(f"{name}={value}" for name, value in start.items() if value == str(threads))
        msg = (
            f"threads={threads} was asked of {backend.name}, but {unlike}, and that cannot be changed any more. "
            f"Ask for threads={next(iter(pools.values()))}, or start Python anew with {words}"
        )
        raise UsageError(msg)


def _of_its_own(answer: Answer, inputs: Inputs) -> Answer:
    """The answer with copies in the place of arrays that share memory with what the user gave."""
    given = [array for array in inputs.arrays().values() if isinstance(array, np.ndarray)]

    def own(array: object) -> object:
        shared = isinstance(array, np.ndarray) and any(np.may_share_memory(array, one) for one in given)
        return array.copy() if shared else array  # type: ignore[attr-defined]

    output = type(answer.output)(**{name: own(array) for name, array in answer.output.items()})
    return Answer(output, {name: own(grad) for name, grad in answer.grads.items()})  # type: ignore[misc]


KEPT = Kept()


def clear_bindings() -> None:
    """Forget what ``attend`` and ``vjp`` have kept compiled: the next call of each kind compiles anew."""
    KEPT.clear()
