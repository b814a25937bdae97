"""The backend protocol: what a framework's adapter does for the harness.

``Backend`` is the adapter, created in the process that measures or checks. Nothing outside ``impls/`` knows a framework
except through it; its card (``card``) announces it.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attnbench.backends.implementation import AttentionOutput, Implementation
from attnbench.errors import UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from jaxtyping import Float, Shaped

    from attnbench.attention.arrays import Array
    from attnbench.attention.call import Call
    from attnbench.backends.learning import Learner, Model, Optimiser


@dataclass(frozen=True)
class Bound:
    """An implementation made ready for arrays of certain shapes and dtypes, without holding any.

    ``on(q, k, v, call, d_output=…, d_lse=…)`` takes native arrays and returns ``run``, a function without arguments.
    Nothing is traced or compiled in either. ``run()`` starts one computation on these arrays and returns its native
    result, perhaps before it is done (``Backend.wait``): an ``AttentionOutput``, or with cotangents the pair
    (``AttentionOutput``, gradients by name). ``trace_s`` and ``compile_s`` are the seconds spent on tracing or
    lowering and on compiling; 0 where there is no such phase.
    """

    on: Callable[..., Callable[[], Any]]
    trace_s: float = 0.0
    compile_s: float = 0.0
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Lowered:
    """What a framework makes of a call for a device that is not there, with nothing computed.

    ``arrays`` are the shape and the dtype of every array that it would return, by name, gradients as ``d_q``;
    ``kernels`` the kernels that the program calls, where it names any; ``by`` is how the framework was asked.
    """

    arrays: Mapping[str, tuple[tuple[int, ...], str]]
    by: str
    kernels: tuple[str, ...] = ()


@dataclass(frozen=True)
class KernelGrid:
    """A kernel that a call launches on a GPU: its grid, and the warps of a program where the framework says them."""

    kernel: str
    grid: tuple[int, ...]
    num_warps: int | None = None


class Stopwatch(ABC):
    """A device's own clock: marks that are queued with the work, and read when it is done."""

    @abstractmethod
    def start(self) -> None:
        """Queue a mark before the work."""

    @abstractmethod
    def stop(self) -> None:
        """Queue a mark behind the work."""

    @abstractmethod
    def elapsed_s(self) -> list[float]:
        """Wait, and return the seconds between the marks of every start and stop since the last time."""


class Backend(ABC):
    """A framework's adapter: to and from NumPy, devices, waiting, gradients, threads, memory."""

    name: str

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of the framework and of the numerical libraries in it."""

    @abstractmethod
    def devices(self) -> tuple[str, ...]:
        """The device kinds usable here, ``cpu`` first."""

    @abstractmethod
    def to_native(self, array: Shaped[Array, " ..."], device: str = "cpu") -> Any:
        """A native array on ``device`` with the same shape, dtype and values; never shares memory with ``array``."""

    @abstractmethod
    def to_numpy(self, native: Any) -> Shaped[Array, " ..."]:
        """The values as a NumPy array of the same dtype (bfloat16 as ``ml_dtypes.bfloat16``)."""

    @abstractmethod
    def wait(self, result: Any) -> None:
        """Return when every array in ``result`` (nested dicts, tuples, ``AttentionOutput``) is computed."""

    @abstractmethod
    def bind(
        self,
        implementation: Implementation,
        q: Any,
        k: Any,
        v: Any,
        call: Call,
        *,
        d_output: Any = None,
        d_lse: Any = None,
    ) -> Bound:
        """Make ready for operands like these: forward, or with ``d_output`` forward and backward.

        What is no array in ``call`` may be taken as constant; the arrays may not. Gradients come from the
        implementation's ``vjp`` if it has one, else from the framework's autograd; they are named q, k, v, bias, sinks
        and params.NAME, for those that the call has. Where ``call.wanted`` names some, autograd is asked for these
        alone: nothing else requires a gradient.
        """

    @abstractmethod
    def set_threads(self, threads: int) -> None:
        """Use this many threads on the CPU from now on, where that can be set after import."""

    @abstractmethod
    def threads(self) -> dict[str, int]:
        """Threads in use by each pool, as the pools themselves report them.

        Raises ``UncountedError``, with the reason, where there is a pool that it cannot count.
        """

    def borrow(self, array: Shaped[Array, " ..."], device: str = "cpu") -> Any:
        """Like ``to_native`` for one call: memory may be shared where nothing can write to it through the result."""
        return self.to_native(array, device)

    def laid_out(self, native: Any, layout: str) -> Any:
        """The same shape, dtype and values elsewhere in memory, as users' arrays lie; nothing else is right to read.

        ``transposed``: axes 1 and 2 change places in memory, (B, T, H, D) seen as (B, H, T, D); ``padded``: rows lie
        farther apart than they are long; ``step``: every second element of the last axis; ``offset``: an odd number of
        elements behind the start of the memory; ``expanded``: the first batch entry is there for all (stride 0), so
        that all must be alike. What lies between is NaN, or true. This default is for a framework whose arrays have no
        strides: the array itself.
        """
        del layout
        return native

    def lowered(
        self,
        implementation: Implementation,
        q: Any,
        k: Any,
        v: Any,
        call: Call,
        *,
        device: str,
        d_output: Any = None,
        d_lse: Any = None,
    ) -> Lowered:
        """What becomes of a call on arrays like these (NumPy) on ``device``, which need not be there.

        Raises ``UnsupportedError`` where the framework cannot tell.
        """
        del implementation, q, k, v, call, d_output, d_lse
        msg = f"{self.name} tells nothing of a call for {device} before it is made"
        raise UnsupportedError(msg)

    def grids(
        self, implementation: Implementation, q: Any, k: Any, v: Any, call: Call, **cotangents: Any
    ) -> tuple[KernelGrid, ...]:
        """The kernels that a call on arrays like these (NumPy) would launch on a GPU, as far as the framework tells."""
        del implementation, q, k, v, call, cotangents
        return ()

    def interpreting(self) -> AbstractContextManager[Callable[[], bool]] | None:
        """Within it kernels for a GPU run on the CPU, watched; what it gives tells whether the last had a race.

        ``None`` where the framework has no such interpreter.
        """
        return None

    def settings(self) -> Hashable:
        """What a user has set in the framework that is compiled in: what was bound under other settings is no use."""
        return None

    def computing(self, dtype: str) -> AbstractContextManager[Any]:
        """Around a native kernel's own call: what the framework needs to be told before it computes in ``dtype``."""
        del dtype
        return nullcontext()

    @contextmanager
    def limited(self, threads: int) -> Iterator[None]:
        """Within it this process computes with ``threads`` threads, where that can be set; then as before.

        This default sets them and leaves them.
        """
        self.set_threads(threads)
        yield

    def computing_threads(self) -> dict[str, int]:
        """Like ``threads``, of the pools that a call of attention computes in; by default all of them."""
        return self.threads()

    def arrays_in(self, path: Path) -> dict[str, Shaped[Array, " ..."]]:
        """The arrays of a file in the framework's own format, by name; nothing in it is run.

        Raises ``UnsupportedError`` where the framework has no such format.
        """
        msg = f"{self.name} has no format of its own for arrays; {path} is read by another framework, or by none"
        raise UnsupportedError(msg)

    def learner(
        self,
        model: Model,
        implementation: Implementation,
        parameters: Mapping[str, Shaped[Array, " ..."]],
        optimiser: Optimiser,
        device: str = "cpu",
    ) -> Learner:
        """A small model around the implementation that learns in this framework, for ablations that train.

        It starts from ``parameters``. Raises ``UnsupportedError`` where the backend has no such model.
        """
        del model, implementation, parameters, optimiser, device
        msg = f"{self.name} trains no models; choose numpy/naive, torch/naive or jax/naive"
        raise UnsupportedError(msg)

    def overwrite(self, native: Any, array: Shaped[Array, " ..."]) -> bool:
        """Put other values in the place of a native array's; false where the framework's arrays cannot be changed."""
        del native, array
        return False

    def writes(self, native: Any) -> int:
        """How often a native array has been written to, where the framework counts that; so a write undone is seen."""
        del native
        return 0

    def trim(self) -> None:  # noqa: B027  (a backend without a cache has nothing to give back)
        """Let go of what the framework itself caches, before a memory measurement; the core does the rest."""

    def reset_peak(self, device: str) -> None:  # noqa: B027  (nor a device whose peak could be reset)
        """Forget the peak of allocated device memory."""

    def peak_bytes(self, device: str) -> int | None:
        """Peak of allocated device memory since ``reset_peak``, less what was held then; ``None`` on the CPU."""
        del device
        return None

    def device_name(self, device: str) -> str | None:
        """The model of the accelerator; ``None`` on the CPU."""
        del device
        return None

    def ceiling(self, kind: str, dtype: str, size: int, device: str) -> Callable[[], Any] | None:
        """Work at this machine's limit, to be called and waited for; ``None`` where the framework has none of the kind.

        ``kind`` is ``product`` (of two (size, size) matrices in ``dtype``), ``copy`` (of ``size`` bytes) or ``exp``
        (of ``size`` numbers).
        """
        del kind, dtype, size, device
        return None

    def stopwatch(self, device: str) -> Stopwatch | None:
        """A clock on the device; ``None`` where the host's clock is the only one."""
        del device
        return None

    def flusher(self, device: str) -> Callable[[], None] | None:
        """A function that queues a write over more than the device's last cache: the next call is a cold one."""
        del device
        return None

    def as_graph(self, run: Callable[[], Any], device: str) -> Callable[[], Any] | None:
        """``run`` recorded once, to be replayed without launching kernel by kernel; ``None`` where it cannot be."""
        del run, device
        return None

    def kernel_time_s(self, run: Callable[[], Any], device: str) -> float | None:
        """Seconds that the kernels of one call run, by a second clock (the vendor's profiler); ``None`` without one."""
        del run, device
        return None


class OnNumpy(Backend):
    """A framework that takes NumPy arrays and gives such, on the CPU, and has finished when it returns.

    Its own number of threads is ``_threads``, 0 for the framework's choice; what is bound under one is kept for it.
    """

    def __init__(self) -> None:
        self._threads = 0
        self._limiting = threading.RLock()

    def devices(self) -> tuple[str, ...]:
        """The CPU only."""
        return ("cpu",)

    def to_native(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[Array, " *axes"]:
        """A contiguous copy that can be read but not written: a kernel never owns its inputs."""
        self.only_cpu(device)
        copy = array.copy(order="C")
        copy.flags.writeable = False
        return copy

    def borrow(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[Array, " *axes"]:
        """A view that can be read but not written; a copy where the array is not contiguous or not aligned."""
        self.only_cpu(device)
        if not (array.flags.c_contiguous and array.flags.aligned):
            return self.to_native(array, device)
        view = array.view()
        view.flags.writeable = False
        return view

    def to_numpy(self, native: Shaped[Array, " *axes"]) -> Shaped[Array, " *axes"]:
        """The array itself."""
        return native

    def overwrite(self, native: Shaped[Array, " *axes"], array: Shaped[Array, " *axes"]) -> bool:
        """Copy the values in."""
        writeable, native.flags.writeable = native.flags.writeable, True
        native[...] = array
        native.flags.writeable = writeable
        return True

    def wait(self, result: Any) -> None:
        """Nothing to wait for."""

    def set_threads(self, threads: int) -> None:
        """For whatever is bound from now on."""
        self._threads = threads

    @contextmanager
    def limited(self, threads: int) -> Iterator[None]:
        """Whatever is bound within it; one thread of Python at a time, so that what was comes back."""
        with self._limiting:
            before, self._threads = self._threads, threads
            try:
                yield
            finally:
                self._threads = before

    def settings(self) -> Hashable:
        """The number of threads, which is compiled in."""
        return self._threads

    @staticmethod
    def named(
        q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
    ) -> dict[str, Array]:
        """Every array of a call by its name in a graph; parameters are ``params.W``."""
        return {"q": q, "k": k, "v": v} | call.arrays_by_name()

    def described(
        self,
        graph: Any,
        implementation: Implementation,
        q: Float[Array, "B Hq Tq D"],
        k: Float[Array, "B Hkv S D"],
        v: Float[Array, "B Hkv S Dv"],
        call: Call,
    ) -> dict[str, Any]:
        """What an implementation makes of symbols for arrays like these, by name.

        ``graph.input(name, dtype, shape)`` makes the symbol of one.
        """
        named = self.named(q, k, v, call)
        symbols = {name: graph.input(name, array.dtype.name, tuple(array.shape)) for name, array in named.items()}
        result = implementation(symbols["q"], symbols["k"], symbols["v"], call.with_arrays_by_name(symbols))
        return dict(as_output(result).items())

    def only_cpu(self, device: str) -> None:
        """Raise ``UnsupportedError`` for another device."""
        if device not in self.devices():
            msg = f"{self.name} runs on {', '.join(self.devices())} here, not on {device!r}; choose another backend"
            raise UnsupportedError(msg)


def as_output(result: Any) -> AttentionOutput:
    """What an implementation returned, as an ``AttentionOutput``."""
    return result if isinstance(result, AttentionOutput) else AttentionOutput(result)
