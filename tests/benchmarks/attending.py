"""What ``attend`` and ``vjp`` cost beside what they have compiled: ``python -m tests.benchmarks.attending [IMPL]``.

In one process of one framework, interleaved: a call of ``attend`` that finds what was compiled, against the same
compiled function called directly with the copies that such a call needs: every operand to the framework's own arrays,
the result back to NumPy.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import attnbench as ab
from attnbench import AttentionSpec
from attnbench.attention.call import Operands
from attnbench.backends.attend import resolve
from attnbench.backends.bind import bind, given_inputs, to_device

ROUNDS = 60
SHAPE = (1, 8, 512, 64)


def ratio(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[float, float]:
    """Median seconds of the second, and the median of the ratio of first to second in alternating calls."""
    seconds: list[float] = []
    ratios: list[float] = []
    for turn in range(ROUNDS):
        took = {}
        for call in (first, second) if turn % 2 else (second, first):
            start = time.perf_counter()
            call()
            took[call] = time.perf_counter() - start
        seconds.append(took[second])
        ratios.append(took[first] / took[second])
    return statistics.median(seconds), statistics.median(ratios)


def compared(impl: str, *, gradients: bool) -> tuple[float, float]:
    """The direct call with its copies in seconds, and how many times as long the public function takes."""
    backend, kernel = resolve(impl)
    q, k, v, d = (np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32) for seed in range(4))
    cotangents = (d,) if gradients else ()
    inputs = given_inputs(AttentionSpec(), Operands(q, k, v), (), *cotangents)
    bound = bind(backend, kernel, inputs).bound

    def direct() -> Any:
        native = to_device(backend, inputs, "cpu")
        result = bound.on(*native.qkv, native.call, **native.cotangents)()
        backend.wait(result)
        output, grads = result if gradients else (result, {})
        return [backend.to_numpy(array) for array in (output.output, *grads.values())]

    def public() -> Any:
        return ab.vjp(q, k, v, d, impl=impl) if gradients else ab.attend(q, k, v, impl=impl)

    for call in (public, direct):
        call()
    return ratio(public, direct)


def main() -> None:
    """Print a line for each function."""
    impl = sys.argv[1] if len(sys.argv) > 1 else "jax/naive"
    for name, gradients in (("attend", False), ("vjp", True)):
        seconds, times = compared(impl, gradients=gradients)
        print(f"{impl} {name:6s} {times:.2f} x the compiled function with its copies ({1e3 * seconds:.2f} ms)")


if __name__ == "__main__":
    main()
