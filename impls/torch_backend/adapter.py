"""What PyTorch does for the harness: conversion, devices, waiting, gradients, threads, memory."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import threadpoolctl
import torch
from torch import Tensor

from attnbench.api import Array, AttentionOutput, UnsupportedError
from attnbench.api.backends import Backend, Bound, Lowered, as_output
from attnbench.impls.torch_backend import ceilings, device_clock, strides
from attnbench.impls.torch_backend.autograd import Autograd, Qkv

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping
    from pathlib import Path

    from jaxtyping import Float, Shaped

    from attnbench.api import Call, Implementation
    from attnbench.api.backends import Learner, Model, Optimiser, Stopwatch


# What PyTorch says of a kernel that looks at values, where there are none.
NEEDS_VALUES = re.compile(
    r"cannot be called on meta tensors|out of meta tensor|data-dependent|FlexAttention is only supported on"
)


class Adapter(Backend):
    """PyTorch, eager but for implementations that say they are compiled.

    float32 means float32: TF32 and bfloat16 products are switched off for the whole process.
    """

    name = "torch"

    def __init__(self) -> None:
        # For the process, not around a call: the backward pass runs on autograd's own threads.
        torch.set_float32_matmul_precision("highest")
        self._held = 0
        self._limiting = threading.RLock()

    def versions(self) -> dict[str, str]:
        """Versions of torch, and of MKL, oneDNN, OpenMP, CUDA and cuDNN where it was built with them."""
        built = torch.__config__.show()
        patterns = {"mkl": r"Math Kernel Library Version (\S+)", "onednn": r"MKL-DNN v(\S+)", "openmp": r"OpenMP (\d+)"}
        libraries = {name: match[1] for name, pattern in patterns.items() if (match := re.search(pattern, built))}
        if torch.version.cuda:
            libraries |= {"cuda": torch.version.cuda, "cudnn": str(torch.backends.cudnn.version())}
        return {"torch": torch.__version__, "cpu_capability": torch.backends.cpu.get_cpu_capability()} | libraries

    def devices(self) -> tuple[str, ...]:
        """``cpu``, and ``cuda`` where a GPU is usable."""
        return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)

    def to_native(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[Tensor, " *axes"]:
        """A tensor of the same shape, dtype and values that owns its memory."""
        copy = np.array(array, order="C", copy=True)
        if copy.dtype == ml_dtypes.bfloat16:  # NumPy's bfloat16 is unknown to torch: hand over the bits
            return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16).to(device)
        return torch.from_numpy(copy).to(device)

    def arrays_in(self, path: Path) -> dict[str, Shaped[Array, " *axes"]]:
        """Of a file that ``torch.save`` wrote: a tensor, or a dict of tensors by name. No pickle of anything else."""
        saved = torch.load(path, map_location="cpu", weights_only=True)
        named = saved if isinstance(saved, dict) else {path.stem: saved}
        for name, tensor in named.items():
            if not isinstance(name, str) or not isinstance(tensor, Tensor):
                msg = f"{path} holds a {type(tensor).__name__} as {name!r}, and no tensor"
                raise TypeError(msg)
        return {name: self.to_numpy(tensor.detach()) for name, tensor in named.items()}

    def laid_out(self, native: Shaped[Tensor, " *axes"], layout: str) -> Shaped[Tensor, " *axes"]:
        """See ``strides.py``."""
        return strides.laid_out(native, layout)

    def to_numpy(self, native: Shaped[Tensor, " *axes"]) -> Shaped[Array, " *axes"]:
        """The values as a NumPy array of its own, bfloat16 as ``ml_dtypes.bfloat16``."""
        tensor = native.detach().cpu().contiguous()
        if tensor.dtype == torch.bfloat16:
            return np.array(tensor.view(torch.int16).numpy()).view(ml_dtypes.bfloat16)
        return np.array(tensor.numpy())

    def overwrite(self, native: Shaped[Tensor, " *axes"], array: Shaped[Array, " *axes"]) -> bool:
        """Copy the values in, but not where several elements are one place in memory."""
        if any(stride == 0 and n > 1 for stride, n in zip(native.stride(), native.shape, strict=True)):
            return False
        with torch.no_grad():
            native.copy_(self.to_native(array, native.device.type))
        return True

    def writes(self, native: Shaped[Tensor, " ..."]) -> int:
        """Autograd's own count, which views share; it misses what is written through ``.data`` or NumPy."""
        return int(native._version)  # noqa: SLF001  (nothing public says it)

    def wait(self, result: Any) -> None:
        """Return when the GPU has nothing left to do; the CPU computes as it is called."""
        del result
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()

    def bind(
        self,
        implementation: Implementation,
        q: Float[Tensor, "B Hq Tq D"],
        k: Float[Tensor, "B Hkv S D"],
        v: Float[Tensor, "B Hkv S Dv"],
        call: Call,
        *,
        d_output: Float[Tensor, "B Hq Tq Dv"] | None = None,
        d_lse: Float[Tensor, "B Hq Tq"] | None = None,
    ) -> Bound:
        """Forward, or with ``d_output`` forward and backward; compiled by one call where the implementation says so."""
        if not implementation.compiled:
            return _eager(implementation, gradients=d_output is not None)
        from attnbench.impls.torch_backend.compiled.binding import CompiledAttention

        compiled = CompiledAttention(implementation, call)
        bound = _eager(replace(implementation, attend=compiled), gradients=d_output is not None)
        cotangents = {name: c for name, c in (("d_output", d_output), ("d_lse", d_lse)) if c is not None}
        bound.on(q, k, v, call, **cotangents)()
        compiled.close()
        return replace(bound, trace_s=compiled.trace_s, compile_s=compiled.compile_s)

    def lowered(
        self,
        implementation: Implementation,
        q: Float[Array, "B Hq Tq D"],
        k: Float[Array, "B Hkv S D"],
        v: Float[Array, "B Hkv S Dv"],
        call: Call,
        *,
        device: str,
        d_output: Float[Array, "B Hq Tq Dv"] | None = None,
        d_lse: Float[Array, "B Hq Tq"] | None = None,
    ) -> Lowered:
        """Shapes and dtypes by way of ``meta``, whose tensors have no memory.

        A build without CUDA knows no fake tensors on a GPU: the first one that is indexed or differentiated raises.
        """
        del device
        meta = {
            name: _on_meta(array) for name, array in (("d_output", d_output), ("d_lse", d_lse)) if array is not None
        }
        if implementation.compiled:
            traced = torch.compile(implementation.attend, backend="eager", fullgraph=True, dynamic=False)
            implementation = replace(implementation, attend=traced, compiled=False)
        bound = _eager(implementation, gradients=d_output is not None)
        try:
            result = bound.on(*map(_on_meta, (q, k, v)), call.map_arrays(_on_meta), **meta)()
        except RuntimeError as error:
            if said := NEEDS_VALUES.search(str(error)):
                msg = f"PyTorch cannot tell it from tensors without values ({said[0]} …)"
                raise UnsupportedError(msg) from error
            raise
        finally:
            torch.compiler.reset()
        output, gradients = (result, {}) if d_output is None else result
        arrays = dict(output.items()) | {f"d_{name}": tensor for name, tensor in gradients.items()}
        described = {name: (tuple(tensor.shape), str(tensor.dtype).split(".")[1]) for name, tensor in arrays.items()}
        return Lowered(described, "PyTorch's meta device")

    def settings(self) -> Hashable:
        """What is compiled in, or would be compiled for again: threads, and how exact and repeatable products are."""
        return (
            torch.get_num_threads(),
            torch.get_float32_matmul_precision(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.get_default_dtype(),
        )

    def learner(
        self,
        model: Model,
        implementation: Implementation,
        parameters: Mapping[str, Float[Array, " ..."]],
        optimiser: Optimiser,
        device: str = "cpu",
    ) -> Learner:
        """See ``train.py``."""
        from attnbench.impls.torch_backend import train

        return train.learner(model, implementation, parameters, optimiser, device)

    def set_threads(self, threads: int) -> None:
        """Bound the intra-op pool, which OpenMP, MKL and oneDNN share, and the inter-op pool.

        The latter can be set only before it is first used; ``threads`` tells whether it was.
        """
        torch.set_num_threads(threads)
        with suppress(RuntimeError):
            torch.set_num_interop_threads(threads)

    @contextmanager
    def limited(self, threads: int) -> Iterator[None]:
        """The intra-op pool; one thread of Python at a time, so that what was comes back."""
        with self._limiting:
            before = torch.get_num_threads()
            torch.set_num_threads(threads)
            try:
                yield
            finally:
                torch.set_num_threads(before)

    def threads(self) -> dict[str, int]:
        """The intra-op and inter-op pools as torch reports them, and the loaded OpenMP and BLAS libraries."""
        pools = {"intra_op": torch.get_num_threads(), "inter_op": torch.get_num_interop_threads()}
        return pools | {pool["prefix"]: int(pool["num_threads"]) for pool in threadpoolctl.threadpool_info()}

    def computing_threads(self) -> dict[str, int]:
        """The intra-op pool alone: the inter-op pool and other libraries' pools stand idle during a call."""
        return {"intra_op": torch.get_num_threads()}

    def trim(self) -> None:
        """Empty torch's cache on the GPU."""
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def reset_peak(self, device: str) -> None:
        """Forget the peak of torch's allocator on the GPU."""
        if device == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._held = torch.cuda.memory_allocated()

    def peak_bytes(self, device: str) -> int | None:
        """Peak of bytes in tensors on the GPU since ``reset_peak``, less those held then."""
        if device != "cuda":
            return None
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - self._held

    def device_name(self, device: str) -> str | None:
        """The model of the GPU."""
        return torch.cuda.get_device_name() if device == "cuda" else None

    def ceiling(self, kind: str, dtype: str, size: int, device: str) -> Callable[[], Any] | None:
        """A matrix product in any dtype, a copy, exp."""
        return ceilings.ceiling(kind, dtype, size, device)

    def stopwatch(self, device: str) -> Stopwatch | None:
        """CUDA events."""
        return device_clock.EventStopwatch() if device == "cuda" else None

    def flusher(self, device: str) -> Callable[[], None] | None:
        """A write over twice the L2 cache."""
        return device_clock.flusher() if device == "cuda" else None

    def as_graph(self, run: Callable[[], Any], device: str) -> Callable[[], Any] | None:
        """A CUDA graph."""
        return device_clock.as_graph(run) if device == "cuda" else None

    def kernel_time_s(self, run: Callable[[], Any], device: str) -> float | None:
        """CUPTI's sum, through torch's profiler."""
        return device_clock.kernel_time_s(run) if device == "cuda" else None


def _on_meta(array: Shaped[Array, " *axes"]) -> Shaped[Tensor, " *axes"]:
    """A tensor like this, without memory."""
    return torch.empty(array.shape, dtype=getattr(torch, array.dtype.name), device="meta")


def _eager(implementation: Implementation, *, gradients: bool) -> Bound:
    """The implementation as it stands; nothing is traced or compiled beforehand."""
    if not gradients:

        def forward_on(
            q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
        ) -> Callable[[], Any]:
            prepared = _prepared(implementation, call, q.device)
            return lambda: _forward(prepared, q, k, v, call)

        return Bound(forward_on)
    step = Autograd() if implementation.vjp is None else _own_backward

    def on(
        q: Float[Tensor, "B Hq Tq D"],
        k: Float[Tensor, "B Hkv S D"],
        v: Float[Tensor, "B Hkv S Dv"],
        call: Call,
        d_output: Float[Tensor, "B Hq Tq Dv"],
        d_lse: Float[Tensor, "B Hq Tq"] | None = None,
    ) -> Callable[[], Any]:
        prepared = _prepared(implementation, call, q.device)
        return lambda: step(prepared, (q, k, v), call, d_output, d_lse)

    return Bound(on)


def _prepared(implementation: Implementation, call: Call, device: torch.device) -> Implementation:
    """What an implementation settles of a call's lengths beforehand, if it does: where packed sequences begin."""
    prepare = getattr(implementation.attend, "prepared", None)
    return implementation if prepare is None else replace(implementation, attend=prepare(call, device))


def _forward(attend: Callable[..., Any], q: Tensor, k: Tensor, v: Tensor, call: Call) -> AttentionOutput:
    with torch.no_grad():
        return as_output(attend(q, k, v, call))


def _own_backward(
    implementation: Implementation, qkv: Qkv, call: Call, d_output: Tensor, d_lse: Tensor | None
) -> tuple[AttentionOutput, dict[str, Tensor]]:
    """Forward, and the gradients of the implementation's own ``vjp``."""
    with torch.no_grad():
        output = as_output(implementation(*qkv, call))
        grads: dict[str, Tensor] = implementation.vjp(*qkv, call, d_output, d_lse)  # type: ignore[misc]
    return output, grads
