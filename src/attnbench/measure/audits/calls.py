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

from attnbench.measure.audits.shelf import put, take

if TYPE_CHECKING:
    from attnbench.backend import Backend
    from attnbench.backends.bind import Binding


def audited(
    binding: Binding, folder: Path, steps: Sequence[str], *, ahead: bool = False, idle: Any = None
) -> tuple[list[int], Binding, Any]:
    """Call once for every step, on the values of the file of that name; nanoseconds of each, and the last result.

    Answers are written beside it as ``answer-`` and the number of the step: at once, or with ``ahead`` after the last
    call. Then all values are there before the first one, each in arrays of their own, and calls follow each other as in
    a burst: short ones would else pay for what is done between them. With ``idle``, a result from before, nothing is
    called and that is handed out each time: what an audit takes beside its calls.
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
    backend, found, result = binding.backend, list[int](), None
    for number, name in enumerate(steps):
        result = None
        binding = _on(binding, take(folder / name))
        backend.wait(binding.native.arrays())
        took, result = _timed(backend, binding.run, idle)
        found.append(took)
        hand_out(binding, result, folder / _file(number, idle))
    return found, binding, result


def _ahead(binding: Binding, folder: Path, steps: Sequence[str], idle: Any) -> tuple[list[int], Binding, Any]:
    backend = binding.backend
    bindings = [binding.on(binding.native.with_arrays(take(folder / name))) for name in steps]
    backend.wait([one.native.arrays() for one in bindings])
    called = [_timed(backend, one.run, idle) for one in bindings]
    for number, (one, (_, result)) in enumerate(zip(bindings, called, strict=True)):
        hand_out(one, result, folder / _file(number, idle))
    return [ns for ns, _ in called], bindings[-1], called[-1][1]


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
