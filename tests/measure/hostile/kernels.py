"""Kernels that do what kernels under development do, with good ones beside them: ``attnbench run --impls`` this file.

What becomes of each is in ``tests/measure/test_faults.py``.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from attnbench.api import Call, Capabilities, implementation

Array = np.ndarray[Any, np.dtype[Any]]
Kernel = Callable[[Array, Array, Array, Call], Any]

kept: list[Any] = []


def attention(q: Array, k: Array, v: Array, call: Call) -> Array:
    scores = q @ np.swapaxes(k, -1, -2) * call.scale
    if call.mask is not None:
        scores = np.where(call.mask, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    result: Array = (weights / weights.sum(-1, keepdims=True)) @ v
    return result


def hostile(name: str) -> Callable[[Kernel], Any]:
    return implementation(f"numpy/{name}", Capabilities())


@hostile("good-first")
def good_first(q: Array, k: Array, v: Array, call: Call) -> Array:
    return attention(q, k, v, call)


@hostile("segfault")
def segfault(*_: Any) -> Any:
    return ctypes.string_at(0)


@hostile("abort")
def abort(*_: Any) -> Any:
    os.abort()


@hostile("exits")
def exits(*_: Any) -> Any:
    os._exit(0)


@hostile("loops-forever")
def loops_forever(*_: Any) -> Any:
    while True:
        pass


@hostile("allocates")
def allocates(*_: Any) -> Any:
    while True:
        kept.append(np.ones(64 * 2**20, np.uint8))


@hostile("forks")
def forks(q: Array, k: Array, v: Array, call: Call) -> Array:
    """The child comes back as well, as if nothing had happened."""
    os.fork()
    return attention(q, k, v, call)


@hostile("stays")
def stays(q: Array, k: Array, v: Array, call: Call) -> Array:
    """A child in a session of its own that would stay for ever."""
    if not kept:
        kept.append(None)
        if os.fork() == 0:
            os.setsid()
            os.execvp("sleep", ["sleep", "7777"])  # noqa: S606
    return attention(q, k, v, call)


@hostile("nan")
def nan(q: Array, k: Array, v: Array, call: Call) -> Array:
    output = attention(q, k, v, call)
    output[..., -1, -1] = np.nan
    return output


@hostile("shape")
def shape(q: Array, k: Array, v: Array, call: Call) -> Array:
    return attention(q, k, v, call)[:, :, :-1]


@hostile("dtype")
def dtype(q: Array, k: Array, v: Array, call: Call) -> Array:
    return attention(q, k, v, call).astype(np.float64)


@hostile("scales-its-inputs")
def scales_its_inputs(q: Array, k: Array, v: Array, call: Call) -> Array:
    q *= call.scale
    return attention(q / call.scale, k, v, call)


@hostile("unlocks-its-inputs")
def unlocks_its_inputs(q: Array, k: Array, v: Array, call: Call) -> Array:
    output = attention(q, k, v, call)
    v.flags.writeable = True
    v[..., 0, 0] = 0
    return output


@hostile("prints")
def prints(q: Array, k: Array, v: Array, call: Call) -> Array:
    os.write(1, b"y" * 2_000_000)
    sys.stdout.write('{"number": 2, "status": "ok", "value": {}}\n')
    return attention(q, k, v, call)


@hostile("raises")
def raises(*_: Any) -> Any:
    msg = "not today"
    raise ValueError(msg)


@hostile("leaves")
def leaves(*_: Any) -> Any:
    sys.exit(0)


@hostile("closes-stdout")
def closes_stdout(q: Array, k: Array, v: Array, call: Call) -> Array:
    sys.stdout.close()
    if not kept:
        kept.append(None)
        os.close(1)
    return attention(q, k, v, call)


@hostile("previous")
def previous(q: Array, k: Array, v: Array, call: Call) -> Array:
    """What it answered the first time."""
    if not kept or kept[0].shape != v.shape:
        kept[:] = [attention(q, k, v, call)]
    answer: Array = kept[0]
    return answer


@hostile("good-last")
def good_last(q: Array, k: Array, v: Array, call: Call) -> Array:
    return attention(q, k, v, call)
