"""What the process of a kernel does in an audit: puts values in the place of its inputs, calls, hands the answer out.

Each call is timed by itself, right after its values were written, so that they lie in the processor's caches as those
of the call before do in a burst. The answer is copied out at once. Nothing that this says is believed: the time of the
whole is taken outside, and the answers are judged there.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.measure.audits.shelf import put, take

if TYPE_CHECKING:
    from attnbench.backends.bind import Binding


def audited(binding: Binding, folder: Path, steps: Sequence[str], idle: Any = None) -> tuple[list[int], Binding, Any]:
    """Call once for every step, on the values of the file of that name; nanoseconds of each, and the last result.

    Answers are written beside it as ``answer-`` and the number of the step. With ``idle``, a result from before,
    nothing is called and that is handed out each time: what an audit takes beside its calls.
    """
    backend, found, result = binding.backend, list[int](), None
    collecting = gc.isenabled()
    gc.disable()
    try:
        for number, name in enumerate(steps):
            result = None
            binding = _on(binding, take(folder / name))
            run, wait = binding.run, backend.wait
            wait(binding.native.arrays())
            start = time.perf_counter_ns()
            result = run() if idle is None else idle
            wait(result)
            found.append(time.perf_counter_ns() - start)
            hand_out(binding, result, folder / f"{'answer' if idle is None else 'idle'}-{number}")
    finally:
        if collecting:
            gc.enable()
    return found, binding, result


def _on(binding: Binding, arrays: dict[str, Any]) -> Binding:
    """The same binding with these values in the place of its own, or where that cannot be a binding to them."""
    places = [(native, arrays[name]) for name, native in binding.native.arrays().items()]
    if all(binding.backend.overwrite(native, array) for native, array in places):
        return binding
    return binding.on(binding.native.with_arrays(arrays))


def hand_out(binding: Binding, result: Any, path: Path) -> None:
    """Write an answer, output and gradients by name, for the judge."""
    put(path, binding.to_numpy(result).named())
