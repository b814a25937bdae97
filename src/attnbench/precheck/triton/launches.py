"""What an implementation launches: every ``@triton.jit`` kernel with the kinds of its arguments, and nothing executed.

``JITFunction.run`` is replaced while the implementation is called on CPU tensors: the arguments are specialised as
Triton does it (types, alignment to 16, divisibility by 16, ones), and kept. What the kernels would have written stays
as it is, so that the answers of the call mean nothing.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from attnbench.precheck.triton.architectures import MULTIPROCESSORS
from attnbench.precheck.triton.standin import standing_in


@dataclass(frozen=True)
class Launch:
    """One launch: the kernel, what it is compiled with, and the grid.

    ``case`` says in which call it was seen, ``choice`` numbers the alternatives of one launch that Triton's autotuner
    would choose from (0 where there is none).
    """

    kernel: Any
    signature: dict[str, Any]
    constexprs: dict[Any, Any]
    attributes: dict[Any, Any]
    options: Any
    grid: tuple[int, ...]
    case: str
    choice: int = 0

    @property
    def name(self) -> str:
        """The kernel's name in Python."""
        name: str = self.kernel.fn.__name__
        return name

    @property
    def key(self) -> str:
        """What is compiled once: two launches with the same key are the same machine code."""
        settings = {name: value for name, value in sorted(self.options.__dict__.items()) if name != "extern_libs"}
        return repr((self.name, id(self.kernel), self.signature, self.constexprs, self.attributes, settings))

    @property
    def says(self) -> str:
        """The variant in words: its constants and how it is launched."""
        names = [parameter.name for parameter in self.kernel.params]
        constants = {names[path[0]]: value for path, value in self.constexprs.items() if len(path) == 1}
        how = {"num_warps": self.options.num_warps, "num_stages": self.options.num_stages}
        return ", ".join(f"{name}={_short(value)}" for name, value in {**constants, **how}.items())


def _short(value: Any) -> str:
    return str(getattr(value, "__name__", value))


@dataclass
class LaunchRecorder:
    """Keeps what is launched while ``recording``; ``case`` is the call that is made at the moment."""

    case: str = ""
    launches: list[Launch] = field(default_factory=list)
    _choices: int = 0
    _choice: int = 0

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Every launch of this process is kept and not made; of the autotuner, one with every configuration."""
        jit = importlib.import_module("triton.runtime.jit")
        tuner = importlib.import_module("triton.runtime.autotuner").Autotuner
        tuned = tuner.run

        def run(kernel: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
            del warmup
            self._keep(kernel, args, grid, options)

        def run_tuned(self_: Any, *args: Any, **options: Any) -> Any:
            self_.cache.clear()  # it would not try its configurations again
            self._choices += 1
            self._choice = self._choices
            try:
                return tuned(self_, *args, **options)
            finally:
                self._choice = 0

        with mock.patch.object(jit.JITFunction, "run", run), mock.patch.object(tuner, "run", run_tuned):
            yield

    def _keep(self, kernel: Any, args: tuple[Any, ...], grid: Any, options: dict[str, Any]) -> None:
        for hook in kernel.pre_run_hooks:
            hook(*args, **options)
        *_, backend, binder = kernel.create_binder()
        bound, specialization, rest = binder(*args, **options)
        parsed, signature, constexprs, attributes = kernel._pack_args(backend, options, bound, specialization, rest)  # noqa: SLF001
        size = grid(bound) if callable(grid) else grid
        size = tuple(int(n) for n in size)
        self.launches.append(Launch(kernel, signature, constexprs, attributes, parsed, size, self.case, self._choice))


@contextmanager
def launching_nothing() -> Iterator[None]:
    """Where this process has Triton, calls on tensors without values launch no kernel: they are asked for shapes."""
    if "triton" not in sys.modules:
        yield
        return
    with standing_in(next(iter(MULTIPROCESSORS)), call_once), LaunchRecorder().recording():
        yield


def call_once(call: Callable[[], Any], *_: Any, **__: Any) -> tuple[float, float, float]:
    """In place of a benchmark of the autotuner: every configuration is called, and all are as fast."""
    call()
    return (1.0, 1.0, 1.0)
