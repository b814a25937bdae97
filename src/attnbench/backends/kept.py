"""Bindings that are used again: ``attend`` and ``vjp`` trace and compile once for inputs of one kind.

What is kept is what a framework has compiled, and holds no arrays. The least lately used goes first, and what belongs
to an implementation goes with it.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np

from attnbench.backends import discover
from attnbench.backends.answers import Answer, answer_of
from attnbench.errors import UnsupportedError, UsageError, device_not_there
from attnbench.keywords import explained

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend, Bound
    from attnbench.backends.bind import Inputs
    from attnbench.backends.implementation import Implementation

MOST = 128


@dataclass(frozen=True)
class Compiled:
    """What a framework has compiled of an implementation.

    The implementation is not kept alive. When it goes, what was compiled of it goes too: Python may then give its
    ``id``, under which this is kept, to another object.
    """

    implementation: weakref.ref[Implementation]
    bound: Bound


class Kept:
    """At most ``most`` bindings that were compiled, by implementation, spec, shapes, dtypes, device and settings.

    What a framework does not compile costs nothing to bind and is not kept.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._compiled: OrderedDict[Hashable, Compiled] = OrderedDict()
        self._verified: set[tuple[str, int]] = set()
        self._there: set[tuple[str, str]] = set()  # devices that a framework was seen to have
        # One at a time, so that nothing is compiled twice; again in the same thread where a kernel calls ``attend``.
        self._lock = threading.RLock()
        self.compiling_s = 0.0  # seconds that all bindings took to trace and compile

    def __len__(self) -> int:
        return len(self._compiled)

    def clear(self) -> None:
        """Forget every binding: the next call of each kind traces and compiles anew."""
        with self._lock:
            self._compiled.clear()
            self._verified.clear()
            self._there.clear()

    def answer(
        self, backend: Backend, implementation: Implementation, inputs: Inputs, device: str, threads: int | None = None
    ) -> Answer:
        """Compute once on these inputs (NumPy); bound first where nothing of their kind was compiled."""
        if threads is None:
            return self._computed(backend, implementation, inputs, device)
        count = checked_threads(threads)
        with backend.limited(count):
            if (backend.name, count) not in self._verified:
                verify_threads(backend, count)
                self._verified.add((backend.name, count))
            return self._computed(backend, implementation, inputs, device)

    def _computed(self, backend: Backend, implementation: Implementation, inputs: Inputs, device: str) -> Answer:
        if (backend.name, device) not in self._there:
            check_there(backend, implementation, device)
            self._there.add((backend.name, device))
        native = inputs.map_arrays(lambda array: backend.borrow(array, device))
        bound = self._bound(backend, implementation, inputs, native, device)
        result = bound.on(*native.qkv, native.call, **native.cotangents)()
        backend.wait(result)
        answer = answer_of(backend, result, native.call, gradients=inputs.gradients)
        return _of_its_own(answer, inputs)

    def _bound(
        self, backend: Backend, implementation: Implementation, inputs: Inputs, native: Inputs, device: str
    ) -> Bound:
        key = (id(implementation), inputs.kind(), device, backend.settings())
        with self._lock:
            if known := self._compiled.get(key):
                self._compiled.move_to_end(key)
                return known.bound
            bound = backend.bind(implementation, *native.qkv, native.call, **native.cotangents)
            took = bound.trace_s + bound.compile_s
            self.compiling_s += took
            if took > 0:
                gone = weakref.ref(implementation, lambda _: self._compiled.pop(key, None))
                self._compiled[key] = Compiled(gone, bound)
            while len(self._compiled) > self.most:
                self._compiled.popitem(last=False)
        return bound


def checked_threads(threads: object) -> int:
    """A number of threads. Raises ``UsageError`` for anything else."""
    if isinstance(threads, Integral) and not isinstance(threads, bool) and int(threads) >= 1:
        return int(threads)
    msg = f"threads is a whole number of 1 or more, or None to leave them as they are; got {threads!r}"
    raise UsageError(msg)


def check_there(backend: Backend, implementation: Implementation, device: str) -> None:
    """Raise ``UnsupportedError``, which says what to type, where the framework has no such device here."""
    there = backend.devices()
    if device in there:
        return
    other = next((name for name in there if name in implementation.capabilities_on(name).devices), None)
    advice = f'give device="{other}"' if other else "choose another implementation: attnbench list"
    msg = f"{implementation.name} cannot compute here: {device_not_there(device, backend.name, there)}; {advice}"
    raise UnsupportedError(msg)


def verify_threads(backend: Backend, threads: int) -> None:
    """Raise ``UsageError``, which says how to start, where a pool that computes has another number of threads."""
    unlike = {name: count for name, count in backend.computing_threads().items() if count != threads}
    if unlike:
        card = discover.backend(backend.name)
        if card.one_thread is not None:
            msg = f"threads={threads} was asked of {backend.name}. {card.one_thread}. Ask for threads=1"
            raise UsageError(msg)
        start = card.process_environment(threads)
        words = " ".join(f"{name}={value}" for name, value in start.items() if value == str(threads))
        pools = ", ".join(f"{name} has {count}" for name, count in unlike.items())
        msg = (
            f"threads={threads} was asked of {backend.name}, but {pools}, and that cannot be changed here. "
            f"Ask for threads={next(iter(unlike.values()))}, or start Python anew with {words}"
        )
        raise UsageError(msg)


def _of_its_own(answer: Answer, inputs: Inputs) -> Answer:
    """The answer with copies in the place of arrays that share memory with what the user gave."""
    given = [array for array in inputs.arrays().values() if isinstance(array, np.ndarray)]

    def unshared(array: object) -> object:
        shared = isinstance(array, np.ndarray) and any(np.may_share_memory(array, operand) for operand in given)
        return array.copy() if shared else array  # type: ignore[attr-defined]

    output = type(answer.output)(**{name: unshared(array) for name, array in answer.output.items()})
    return Answer(output, {name: unshared(grad) for name, grad in answer.grads.items()})  # type: ignore[misc]


KEPT = Kept()


@explained
def clear_bindings() -> None:
    """Forget what ``attend`` and ``vjp`` have kept compiled: the next call of each kind compiles anew."""
    KEPT.clear()
