"""What OpenVINO does for the harness: a model compiled for each shape by its CPU plugin, with the cell's threads.

The arrays are NumPy's, as its users' are; it reads and writes their memory, so that nothing is copied.
Rows without a key are set to 0 in the output once it is there, which is part of a call.
"""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.api import Array, AttentionOutput, Call, Implementation, numpy_dtype
from attnbench.api.backends import Bound, OnNumpy, UndeliveredError
from attnbench.impls.openvino_backend.graph import Hints, OpenvinoGraph, element
from attnbench.impls.openvino_backend.silent import openvino

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jaxtyping import Float, Shaped

# The output that says which rows have no key.
DEAD = "dead"


class Adapter(OnNumpy):
    """OpenVINO's CPU plugin. float32 means float32: the hint that lets it compute in less is set for each model."""

    name = "openvino"

    def __init__(self) -> None:
        super().__init__()
        self._core = openvino.Core()
        self._programs: weakref.WeakSet[CompiledModel] = weakref.WeakSet()

    def versions(self) -> dict[str, str]:
        """Of OpenVINO, which holds its own oneDNN and TBB."""
        return {"openvino": openvino.get_version()}

    def to_native(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[Array, " *axes"]:
        """A contiguous copy. OpenVINO takes no array that cannot be written, though it writes to none."""
        copy = super().to_native(array, device)
        copy.flags.writeable = True
        return copy

    def borrow(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Shaped[Array, " *axes"]:
        """The array itself; a copy where it is not contiguous, not aligned or not to be written."""
        self.only_cpu(device)
        return array if array.flags.carray else self.to_native(array, device)

    def bind(
        self,
        implementation: Implementation,
        q: Float[Array, "B Hq Tq D"],
        k: Float[Array, "B Hkv S D"],
        v: Float[Array, "B Hkv S Dv"],
        call: Call,
        *,
        d_output: Float[Array, "B Hq Tq Dv"] | None = None,
        d_lse: Float[Array, "B Hq Tq"] | None = None,
    ) -> Bound:
        """The implementation describes its graph; what is compiled includes the kernels made by a first inference."""
        if d_output is not None or d_lse is not None:
            msg = f"{implementation.name} has no gradients: OpenVINO infers, and has no autograd"
            raise UndeliveredError(msg)
        start = time.perf_counter()
        graph = OpenvinoGraph()
        outputs = self.described(graph, implementation, q, k, v, call)
        described_at = time.perf_counter()
        if graph.dead is not None:
            outputs |= {DEAD: graph.dead}
        model = self.compiled(graph.model(outputs), graph.settings)
        program = CompiledModel(model, {name: (s.shape, s.dtype) for name, s in outputs.items()}, call.dtype)
        program({name: np.zeros(a.shape, a.dtype) for name, a in self.named(q, k, v, call).items()})
        program.release_memory()  # else what a call stores besides its output would be there before it is weighed
        self._programs.add(program)
        compiled_at = time.perf_counter()

        def on(
            q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
        ) -> Callable[[], AttentionOutput]:
            given = self.named(q, k, v, call)
            return lambda: program(given)

        return Bound(on, described_at - start, compiled_at - described_at)

    def trim(self) -> None:
        """What compiled models hold from one call to the next."""
        for program in list(self._programs):
            program.release_memory()

    def compiled(self, model: Any, settings: Hints) -> Any:
        """A model for the CPU: one stream of as many threads as are set, wherever the system puts them."""
        threads = {"INFERENCE_NUM_THREADS": self._threads} if self._threads else {}
        options = {
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "ENABLE_HYPER_THREADING": True,
            "INFERENCE_PRECISION_HINT": settings.precision,
        }
        return self._core.compile_model(model, "CPU", options | threads)

    def threads(self) -> dict[str, int]:
        """What the plugin gives a model that is compiled now: it takes no more than there are processors."""
        graph = OpenvinoGraph()
        model = self.compiled(graph.model({"x": graph.input("x", "float32", (1,))}), graph.settings)
        return {"inference": int(model.get_property("INFERENCE_NUM_THREADS"))}


class CompiledModel:
    """A compiled model as a function of arrays by name, for one request in each thread of Python."""

    def __init__(self, model: Any, outputs: Mapping[str, tuple[tuple[int, ...], str]], dtype: str) -> None:
        self._model, self._outputs, self._dtype = model, outputs, numpy_dtype(dtype)
        self._inputs = [port.get_any_name() for port in model.inputs]
        self._local = threading.local()

    def release_memory(self) -> None:
        """Give back what the next call would use again."""
        self._model.release_memory()

    def __call__(self, given: Mapping[str, Array]) -> AttentionOutput:
        """One inference, its outputs in memory of their own, rounded to the dtype of the inputs by NumPy."""
        if not hasattr(self._local, "request"):
            self._local.request = self._model.create_infer_request()
        request = self._local.request
        for name in self._inputs:
            request.set_tensor(name, tensor(given[name]))
        results = {
            name: np.empty(shape, np.bool_ if name == DEAD else numpy_dtype(dtype))
            for name, (shape, dtype) in self._outputs.items()
        }
        for place, array in enumerate(results.values()):
            request.set_output_tensor(place, tensor(array))
        request.infer()
        dead = results.pop(DEAD, None)
        if dead is not None and dead.any():
            output = results["output"]
            output[np.broadcast_to(dead[..., 0], output.shape[:3])] = 0
        with np.errstate(over="ignore"):
            return AttentionOutput(results["output"].astype(self._dtype, copy=False))


def tensor(array: Shaped[Array, " ..."]) -> Any:
    """OpenVINO's view of an array; bfloat16, of which it knows no array, by its bits."""
    if array.dtype.name != "bfloat16":
        return openvino.Tensor(array, shared_memory=True)
    return openvino.Tensor(array.view(np.uint16), array.shape, element("bfloat16"))
