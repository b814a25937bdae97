"""The backend protocol: what a framework's adapter does for the harness, and the static card that announces it.

``BackendInfo`` is cheap data that the entry point names; it imports no framework. ``Backend`` is the adapter, created
in the process that measures or checks. Nothing outside ``impls/`` knows a framework except through it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attnbench.backends.implementation import AttentionOutput, Implementation
from attnbench.backends.native import NativeKernel
from attnbench.errors import MissingExtraError, UnsupportedError, pip_install

if TYPE_CHECKING:
    from jaxtyping import Shaped

    from attnbench.attention.arrays import Array
    from attnbench.attention.call import Call
    from attnbench.backends.learning import Learner, Model, Optimiser

# Read by OpenMP and BLAS when they are loaded; every framework obeys at least one of them.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


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


def as_output(result: Any) -> AttentionOutput:
    """What an implementation returned, as an ``AttentionOutput``."""
    return result if isinstance(result, AttentionOutput) else AttentionOutput(result)


@dataclass(frozen=True)
class Program:
    """A program that an implementation needs on this machine besides its framework: any of ``names``.

    Where the environment ``variable`` is set, it names the one that is used. ``install`` is what to type.
    """

    what: str
    names: tuple[str, ...]
    install: str
    variable: str = ""

    def why_missing(self) -> str | None:
        """What is missing and what to type; ``None`` where one of them is there."""
        given = os.environ.get(self.variable)
        if any(shutil.which(name) for name in ((given,) if given else self.names)):
            return None
        if given:
            return f"{self.variable}={given} is not there: it names {self.what}; unset it, or {self.install}"
        return f"{self.what} is not installed ({' or '.join(self.names)}): {self.install}"


@dataclass(frozen=True)
class BackendInfo:
    """The card of a backend, readable without its framework.

    ``requires`` is the module that must be installed, ``extra`` the attnbench extra that brings it (``None``: it is
    installed by its own name); ``package`` the package of the implementations; ``adapter`` ``"module:Class"`` inside
    it; ``implementations`` pairs of (variant, module in the package), of which ``about`` says in a line what each is
    and ``devices`` where it runs, by variant (not named: nothing is known); ``needs`` the program that a variant needs
    besides the framework, without which it is unsupported. ``environment`` are variables that must
    stand before the framework is imported, where ``{threads}`` is filled in. ``native`` is ``"module:TUPLE"`` of its
    ``NativeKernel``s, for the semantics probe. ``sharing`` are variables by which the workers of one check share what
    they compile, where ``{folder}`` is filled in: the same program is then compiled once. Never set where compilation
    is timed. ``dispatchers`` are threads that hand out work on the CPU while the asked number of threads computes: a
    burst needs a processor for each. ``compiles``: every new shape is compiled, so that few shapes are to carry what is
    checked; where that is so of some implementations alone, these say it themselves (``Implementation.compiled``).
    ``apart`` are dtypes that are checked in a process of their own: to compute in them changes the framework, and other
    dtypes are to run as its users run them. ``flushes`` are the dtypes, by device, of which subnormals become 0 in
    every kernel of the framework, whatever it does: its kernels are held to that without declaring it.
    """

    name: str
    package: str
    requires: str
    extra: str | None
    implementations: tuple[tuple[str, str], ...]
    adapter: str = "adapter:Adapter"
    environment: Mapping[str, str] = field(default_factory=dict)
    native: str | None = None
    sharing: Mapping[str, str] = field(default_factory=dict)
    dispatchers: int = 0
    compiles: bool = False
    apart: tuple[str, ...] = ()
    flushes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs: Mapping[str, Program] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Full names of the implementations."""
        return tuple(f"{self.name}/{variant}" for variant, _ in self.implementations)

    def available(self) -> bool:
        """Whether the framework is installed; looks, but does not import."""
        return importlib.util.find_spec(self.requires) is not None

    def why_missing(self, variant: str = "") -> str | None:
        """Which module is missing and what to type, as a row's reason; ``None`` where the framework is installed.

        With a ``variant`` the program that it needs is asked for too.
        """
        if self.available():
            return self.needs[variant].why_missing() if variant in self.needs else None
        return f"{self.requires} is not installed: {pip_install(self.extra, self.requires)}"

    def check_available(self) -> None:
        """Raise ``MissingExtraError`` if the framework is not installed."""
        if not self.available():
            what = f"backend {self.name!r}"
            raise MissingExtraError(what, self.extra, self.requires)

    def load(self) -> Backend:
        """Import the framework and return its adapter."""
        self.check_available()
        module, _, attribute = self.adapter.partition(":")
        adapter: Backend = getattr(importlib.import_module(f"{self.package}.{module}"), attribute)()
        return adapter

    def kind_of(self, dtype: str) -> str:
        """The dtype where it is checked in a process of its own, else an empty string: what may share a process."""
        return dtype if dtype in self.apart else ""

    def native_kernels(self) -> tuple[NativeKernel, ...]:
        """Import the framework and return its native kernels; none if the backend announces none."""
        if self.native is None:
            return ()
        self.check_available()
        module, _, attribute = self.native.partition(":")
        kernels: tuple[NativeKernel, ...] = getattr(importlib.import_module(f"{self.package}.{module}"), attribute)
        return kernels

    def process_environment(self, threads: int) -> dict[str, str]:
        """The environment of a process that imports this framework with ``threads`` threads."""
        named = {name: value.format(threads=threads) for name, value in self.environment.items()}
        flags = {name: os.environ.get(name) for name in named if name.endswith("_FLAGS")}
        named |= {name: f"{before} {named[name]}" for name, before in flags.items() if before}
        return dict.fromkeys(THREAD_VARIABLES, str(threads)) | named
