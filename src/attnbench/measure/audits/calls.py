"""What the process of a kernel does in an audit: puts values in the place of its inputs, calls, hands the answer out.

Each call is timed by itself, right after its values were written, so that they lie in the processor's caches as those
of the call before do in a burst. The answer is copied out at once. Nothing that this says is believed: the time of the
whole is taken outside, and the answers are judged there.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.backends.shelf import put, take

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.bind import Binding


def audited(
    binding: Binding, folder: Path, steps: Sequence[str], *, ahead: bool = False, idle: Any = None
) -> tuple[list[int], Binding, Any]:
    """Call once for every step, on the values of the file of that name; nanoseconds of each, and the last result.

    Answers are copied at once, and written beside it as ``answer-`` and the number of the step. With ``ahead`` all
    values are there before the first call, each in arrays of their own, and answers are written after the last one, so
    that calls follow each other nearly as in a burst: short ones would else pay for what is done between them. With
    ``idle``, a result from before, nothing is called and that is handed out each time: what an audit takes beside its
    calls.
    """
    one_by_one = _ahead if ahead else _in_place
    collecting = gc.isenabled()
    gc.disable()
    try:
        return one_by_one(binding, folder, steps, idle)
    finally:
        if collecting:
            gc.enable()


def _in_place(binding: Binding, folder: Path, steps: Sequence[str], idle: Any) -> tuple[list[int], Binding, Any]:
    backend, call_ns, result = binding.backend, list[int](), None
    for number, name in enumerate(steps):
        result = None
        binding = _on(binding, take(folder / name))
        backend.wait(binding.native.arrays())
        took, result = _timed(backend, binding.run, idle)
        call_ns.append(took)
        hand_out(binding, result, folder / _file(number, idle))
    return call_ns, binding, result


def _ahead(binding: Binding, folder: Path, steps: Sequence[str], idle: Any) -> tuple[list[int], Binding, Any]:
    backend, call_ns, answers, result = binding.backend, list[int](), list[dict[str, Any]](), None
    bindings = [binding.on(binding.native.with_arrays(take(folder / name))) for name in steps]
    backend.wait([fresh.native.arrays() for fresh in bindings])
    for fresh in bindings:
        result = None  # its memory is there again for the next call, as in a burst
        took, result = _timed(backend, fresh.run, idle)
        call_ns.append(took)
        answers.append({name: np.array(array) for name, array in fresh.to_numpy(result).named().items()})
    for number, answer in enumerate(answers):
        put(folder / _file(number, idle), answer)
    return call_ns, bindings[-1], result


def _timed(backend: Backend, run: Callable[[], Any], idle: Any) -> tuple[int, Any]:
    start = time.perf_counter_ns()
    result = run() if idle is None else idle
    backend.wait(result)
    return time.perf_counter_ns() - start, result


def _file(number: int, idle: Any) -> str:
    return f"{'answer' if idle is None else 'idle'}-{number}"


def _on(binding: Binding, arrays: dict[str, Any]) -> Binding:
    """The same binding with these values in the place of its own, or where that cannot be a binding to them."""
    places = [(native, arrays[name]) for name, native in binding.native.arrays().items()]
    if all(binding.backend.overwrite(native, array) for native, array in places):
        return binding
    return binding.on(binding.native.with_arrays(arrays))


def hand_out(binding: Binding, result: Any, path: Path) -> None:
    """Write an answer, output and gradients by name, for the judge."""
    put(path, binding.to_numpy(result).named())
