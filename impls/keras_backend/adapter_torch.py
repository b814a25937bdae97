"""Keras on PyTorch: eager, with the gradients of autograd."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import threadpoolctl
import torch
from torch import Tensor

from attnbench.api import Array, AttentionOutput, numpy_dtype
from attnbench.api.backends import Bound, UndeliveredError, as_output
from attnbench.impls.keras_backend import strides
from attnbench.impls.keras_backend.adapter import OnKeras

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Shaped

    from attnbench.api import Call, Implementation


class Adapter(OnKeras):
    """Tensors of PyTorch on the CPU. float32 means float32: bfloat16 products are switched off for the process."""

    name = "keras_torch"
    side = "torch"

    def __init__(self) -> None:
        super().__init__()
        torch.set_float32_matmul_precision("highest")
        self._limiting = threading.RLock()

    def _versions_below(self) -> dict[str, str]:
        return {"torch": torch.__version__, "cpu_capability": torch.backends.cpu.get_cpu_capability()}

    def to_native(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[Tensor, " *axes"]:
        """A tensor that owns its memory. Keras would take bfloat16 through float32, which changes the bits of a NaN."""
        self.only_cpu(device)
        copy = np.array(array, order="C", copy=True)
        bits = copy.view(np.int16) if copy.dtype.name == "bfloat16" else copy
        tensor = torch.from_numpy(bits)
        return tensor if bits is copy else tensor.view(torch.bfloat16)

    def to_numpy(self, native: Shaped[Tensor, " *axes"]) -> Shaped[Array, " *axes"]:
        """The values as a NumPy array of its own, bit by bit."""
        tensor = native.detach().contiguous()
        if tensor.dtype == torch.bfloat16:
            return np.array(tensor.view(torch.int16).numpy()).view(numpy_dtype("bfloat16"))
        return np.array(tensor.numpy())

    def laid_out(self, native: Shaped[Tensor, " *axes"], layout: str) -> Shaped[Tensor, " *axes"]:
        """See ``strides.py``."""
        view: Tensor = strides.of_tensor(native, layout)
        return view

    def overwrite(self, native: Shaped[Tensor, " *axes"], array: Shaped[Array, " *axes"]) -> bool:
        """Copy the values in, but not where several elements are one place in memory."""
        if any(stride == 0 and n > 1 for stride, n in zip(native.stride(), native.shape, strict=True)):
            return False
        with torch.no_grad():
            native.copy_(self.to_native(array))
        return True

    def writes(self, native: Shaped[Tensor, " ..."]) -> int:
        """Autograd's own count, which views share."""
        return int(native._version)  # noqa: SLF001  (nothing public says it)

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
        """Eager forward, or with ``d_output`` forward and backward; nothing is traced or compiled beforehand."""
        del q, k, v, call, d_lse
        if d_output is None:
            return Bound(lambda q, k, v, call: lambda: _forward(implementation, q, k, v, call))

        def on(q: Tensor, k: Tensor, v: Tensor, call: Call, d_output: Tensor, d_lse: Any = None) -> Callable[[], Any]:
            del d_lse  # no implementation here declares an lse
            return lambda: _with_gradients(implementation, q, k, v, call, d_output)

        return Bound(on)

    def set_threads(self, threads: int) -> None:
        """Bound the intra-op pool, which OpenMP, MKL and oneDNN share, and the inter-op pool if it is not used yet."""
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


def _forward(attend: Callable[..., Any], q: Tensor, k: Tensor, v: Tensor, call: Call) -> AttentionOutput:
    with torch.no_grad():
        return as_output(attend(q, k, v, call))


def _with_gradients(
    implementation: Implementation, q: Tensor, k: Tensor, v: Tensor, call: Call, d_output: Tensor
) -> tuple[AttentionOutput, dict[str, Tensor]]:
    """Output and gradients, by fresh leaves that share memory with the operands: nothing is left of an earlier call."""
    operands = {"q": q, "k": k, "v": v}
    if not call.wanted:
        operands |= {} if call.bias is None else {"bias": call.bias}
        operands |= {f"params.{name}": tensor for name, tensor in call.params.items()}
    leaves = {n: x.detach().requires_grad_() for n, x in operands.items() if not call.wanted or n in call.wanted}
    params = {name: leaves.get(f"params.{name}", tensor) for name, tensor in call.params.items()}
    with torch.enable_grad():
        given = call.with_arrays({"params": params, "bias": leaves.get("bias", call.bias)})
        q, k, v = (leaves.get(name, operands[name]) for name in "qkv")
        output: Tensor = implementation(q, k, v, given)
    if not output.requires_grad:
        msg = f"autograd does not reach the output of {implementation.name}: it is detached from q, k and v"
        raise UndeliveredError(msg)
    gradients = torch.autograd.grad(
        [output], list(leaves.values()), [d_output], allow_unused=True, materialize_grads=True
    )
    return AttentionOutput(output.detach()), dict(zip(leaves, gradients, strict=True))
