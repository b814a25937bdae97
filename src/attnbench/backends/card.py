"""A backend's card: the static data that announces it, its native kernels, and what it needs on a machine.

A card is cheap and imports no framework. The adapter that it names is loaded in the process that measures or checks.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attnbench.errors import MissingExtraError, UnsupportedError, UsageError, not_one_of, pip_install
from attnbench.versions import installed

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend

# Read by OpenMP and BLAS when they are loaded; every framework obeys at least one of them.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
# What is known of a backend's implementations on a GPU, in a file beside their code that is none of it.
GPU_RECORD = "gpu_record.json"
OPTIONS = ("mask", "bias", "causal", "softcap", "lse")


@dataclass(frozen=True)
class NativeKernel:
    """One native entry point of a backend: a framework's own, as its users call it, with nothing of ours around it.

    ``attnbench semantics`` probes these. An implementation brings a kernel to the spec; a native kernel is left as is.

    ``call(q, k, v, **options)`` takes native arrays q (B, Hq, Tq, D), k (B, Hkv, S, D), v (B, Hkv, S, Dv), rearranges
    them as the kernel wants and returns the output (B, Hq, Tq, Dv), or with ``lse=True`` the pair (output, lse).
    ``takes`` names the options that the kernel has: ``mask`` (Tq, S) bool, passed on in whatever polarity the kernel
    has; ``bias`` (Tq, S), added to the logits; ``causal=True``; ``softcap`` a float; ``lse``. No other is ever given.
    ``requires`` is the module that must be installed beside the backend's own framework.
    """

    name: str
    call: Callable[..., Any]
    takes: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu",)
    requires: str | None = None

    def __post_init__(self) -> None:
        for option in self.takes:
            if option not in OPTIONS:
                raise UsageError(not_one_of("option", option, OPTIONS))

    def available(self) -> bool:
        """Whether what it requires is installed; looks, but does not import."""
        return self.requires is None or importlib.util.find_spec(self.requires) is not None


@dataclass(frozen=True)
class Program:
    """A program that is needed on this machine besides the framework: any of ``names``.

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

    ``requires`` is the module that must be installed, ``also`` are those that it needs besides, ``extra`` the attnbench
    extra that brings them, or several with commas (``None``: ``requires`` is installed by its own name); ``package``
    the package of the implementations; ``adapter`` ``"module:Class"`` inside it; ``implementations`` pairs of (variant,
    module in the package), of which ``about`` says in a line what each is and ``devices`` where it runs, by variant
    (not named: nothing is known). ``needs`` is the program that a variant needs besides the framework, or with ``"*"``
    all of them: without it they are unsupported. ``packages`` are the names by which ``requires`` may be installed,
    where these are others than its own.

    ``environment`` are variables that must stand before the framework is imported, where ``{threads}`` is filled in.
    ``native`` is ``"module:TUPLE"`` of its ``NativeKernel``s, for the semantics probe. ``sharing`` are variables by
    which the workers of one check share what they compile, where ``{folder}`` is filled in: the same program is then
    compiled once. Never set where compilation is timed. ``dispatchers`` are threads that hand out work on the CPU while
    the asked number of threads computes: a burst needs a processor for each. ``one_thread`` is why the framework
    computes with one thread, whatever is asked.

    ``compiles``: every new shape is compiled, so that few shapes are to carry what is checked; where that is so of some
    implementations alone, these say it themselves (``Implementation.compiled``). ``apart`` are dtypes that are checked
    in a process of their own: to compute in them changes the framework, and other dtypes are to run as its users run
    them. ``flushes`` are the dtypes, by device, of which subnormals become 0 in every kernel of the framework, whatever
    it does: its kernels are held to that without declaring it.
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
    also: tuple[str, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    devices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs: Mapping[str, Program] = field(default_factory=dict)
    one_thread: str | None = None
    packages: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Full names of the implementations."""
        return tuple(f"{self.name}/{variant}" for variant, _ in self.implementations)

    def available(self) -> bool:
        """Whether the framework is installed, and the program that all of it needs; looks, but does not import."""
        return self.why_missing() is None

    def version(self) -> str | None:
        """The version of ``requires`` that is installed, without importing it; ``None`` where there is none."""
        return next((of for name in (self.requires, *self.packages) if (of := installed(name)) is not None), None)

    def _missing(self) -> str | None:
        return next((name for name in (self.requires, *self.also) if importlib.util.find_spec(name) is None), None)

    def why_missing(self, variant: str = "*") -> str | None:
        """Which module is missing and what to type, as a row's reason; ``None`` where the framework is installed.

        The program that all of the backend needs is asked for too, and with a ``variant`` the one that it needs.
        """
        if missing := self._missing():
            return f"{missing} is not installed: {pip_install(self.extra, missing)}"
        programs = [self.needs[name] for name in dict.fromkeys(("*", variant)) if name in self.needs]
        return next((why for program in programs if (why := program.why_missing())), None)

    def check_available(self, variant: str = "*") -> None:
        """Raise ``MissingExtraError`` if the framework is not installed, ``UnsupportedError`` if a program is not."""
        what = f"backend {self.name!r}" if variant == "*" else f"{self.name}/{variant}"
        if missing := self._missing():
            raise MissingExtraError(what, self.extra, missing)
        if why := self.why_missing(variant):
            msg = f"{what} cannot run here: {why}"
            raise UnsupportedError(msg)

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
