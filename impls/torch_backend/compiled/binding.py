"""An implementation compiled by ``torch.compile`` when it is bound, for arrays of one kind, and never after that.

What is compiled is the whole of ``attend``, without a break in the graph, and with gradients AOTAutograd's backward
pass too. A call of the binding finds it compiled or raises; it falls back to nothing. Inductor's CPU code has the
number of threads in it, and takes operands in rows alone: others are copied into rows first, within the call.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from functools import cache
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from attnbench.api import AttentionOutput, UnsupportedError
from attnbench.api.backends import as_output
from attnbench.impls.torch_backend import COMPILER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jaxtyping import Float

    from attnbench.api import Call, Implementation

CACHE = "TORCHINDUCTOR_CACHE_DIR"


class CompiledAttention:
    """``attend`` of an implementation for calls like this one; call it like the implementation.

    Everything in ``call`` that is no array is constant. ``trace_s`` and ``compile_s`` are the seconds that its first
    call spent in front of the compiler and in it; ``close`` ends what may be compiled.
    """

    def __init__(self, implementation: Implementation, call: Call) -> None:
        if why := COMPILER.why_missing():
            msg = f"{implementation.name} is compiled, and {why}"
            raise UnsupportedError(msg)
        self.name, self.closed = implementation.name, False
        self.trace_s = self.compile_s = 0.0
        self._entered = 0.0
        self._strides: dict[str, tuple[int, ...]] = {}
        constant = call.with_arrays(dict.fromkeys(call.arrays()) | {"params": {}})
        self._compiled = torch.compile(
            _of_its_own(_formula(implementation.attend, constant)),
            fullgraph=True,
            dynamic=False,
            backend=self._compile,
        )

    def __call__(
        self, q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
    ) -> AttentionOutput:
        """Attend, compiled."""
        arrays = {"q": q, "k": k, "v": v} | call.arrays()
        params = arrays.pop("params", {})
        laid = {name: self._in_rows(name, array) for name, array in arrays.items()}
        laid_params = {name: self._in_rows(f"params.{name}", array) for name, array in params.items()}
        if self.closed:
            return AttentionOutput(**self._compiled(laid, laid_params))
        self._entered = time.perf_counter()
        with _cached():
            return AttentionOutput(**self._compiled(laid, laid_params))

    def close(self) -> None:
        """From now on nothing is compiled: what would have to be is an error."""
        self.closed = True

    def _in_rows(self, name: str, array: Tensor) -> Tensor:
        """The array in the order in memory that the code is compiled for."""
        if (strides := self._strides.get(name)) is None:
            strides = self._strides[name] = torch.empty(array.shape, device="meta").stride()
        return array if array.stride() == strides else array.clone(memory_format=torch.contiguous_format)

    def _compile(self, graph: torch.fx.GraphModule, examples: list[Any]) -> Callable[..., Any]:
        """What Dynamo asks for with the graph: Inductor's code, and where there are gradients that of their pass."""
        if self.closed:
            msg = f"{self.name} was compiled for other arrays, another number of threads or other settings of PyTorch"
            raise RuntimeError(msg)
        start = time.perf_counter()
        self.trace_s += start - self._entered
        compiled: Callable[..., Any] = torch._inductor.compile(graph, examples)  # noqa: SLF001  (its documented name)
        self.compile_s += time.perf_counter() - start
        return compiled


def _formula(attend: Callable[..., Any], constant: Call) -> Callable[..., dict[str, Tensor]]:
    """A function of arrays alone."""

    def formula(arrays: Mapping[str, Tensor], params: Mapping[str, Tensor]) -> dict[str, Tensor]:
        rest = {name: array for name, array in arrays.items() if name not in ("q", "k", "v")}
        call = constant.with_arrays({**rest, "params": params})
        return dict(as_output(attend(arrays["q"], arrays["k"], arrays["v"], call)).items())

    return formula


def _of_its_own(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with a code object that no other has: what Dynamo compiles is kept, and counted, by that."""
    code = function.__code__
    return FunctionType(code.replace(), function.__globals__, function.__name__, None, function.__closure__)


@contextmanager
def _cached() -> Iterator[None]:
    """Within it Inductor's cache is a folder of this process, unless the user has named one.

    A folder of all processes would make the time of compiling that of an earlier run.
    """
    before = os.environ.get(CACHE)
    if before is None:
        os.environ[CACHE] = _folder()
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE]


@cache
def _folder() -> str:
    folder = tempfile.mkdtemp(prefix="attnbench-inductor-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
