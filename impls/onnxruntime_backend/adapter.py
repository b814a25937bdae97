"""What onnxruntime does for the harness: a session for each shape, with as many threads as the cell has.

The arrays are NumPy's, as its users' are. Outputs are bound to fresh memory at each call, so that nothing is copied.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import psutil

from attnbench.api import Array, AttentionOutput, Call, Implementation, numpy_dtype
from attnbench.api.backends import Bound, OnNumpy, UncountedError, UndeliveredError
from attnbench.impls.onnxruntime_backend.graph import Graph, Symbol
from attnbench.impls.onnxruntime_backend.wire import ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jaxtyping import Float

PROVIDERS = ["CPUExecutionProvider"]
ERRORS_ONLY = 3  # a mask that is constant is folded, of which a warning tells


class Adapter(OnNumpy):
    """Onnxruntime on the CPU, by a session of its own for each computation that is bound."""

    name = "onnxruntime"

    def __init__(self) -> None:
        super().__init__()
        onnxruntime.disable_telemetry_events()  # on Windows its events go to the system's log

    def versions(self) -> dict[str, str]:
        """Of onnxruntime, which holds its own matrix products."""
        return {"onnxruntime": onnxruntime.__version__}

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
        """The implementation describes its graph on symbols; the session made of it is what is compiled."""
        if d_output is not None or d_lse is not None:
            msg = f"{implementation.name} has no gradients: onnxruntime infers, and has no autograd"
            raise UndeliveredError(msg)
        start = time.perf_counter()
        graph = Graph()
        outputs = self.described(graph, implementation, q, k, v, call)
        model = graph.serialized(outputs)
        described_at = time.perf_counter()
        session = new_session(model, self._threads)
        compiled_at = time.perf_counter()

        def on(
            q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], call: Call
        ) -> Callable[[], AttentionOutput]:
            given = self.named(q, k, v, call)
            return lambda: computed(session, given, outputs)

        return Bound(on, described_at - start, compiled_at - described_at)

    def threads(self) -> dict[str, int]:
        """The threads of a new session: those that begin when it is made, and the one that calls it.

        Raises ``UncountedError`` where the system does not list threads.
        """
        graph = Graph()
        model = graph.serialized({"x": graph.input("x", "float32", (1,))})
        try:
            before = {thread.id for thread in psutil.Process().threads()}
            session = new_session(model, self._threads)
            after = {thread.id for thread in psutil.Process().threads()}
        except psutil.Error as error:
            msg = f"the threads of onnxruntime cannot be counted: {error}"
            raise UncountedError(msg) from error
        del session
        return {"intra_op": len(after - before) + 1}


def new_session(model: bytes, threads: int) -> Any:
    """A session on the CPU with this many threads, 0 for its own choice; nothing runs beside its one node."""
    # Waiting threads spin within a call, and not beyond its end: there they would go on for more than 30 ms, and take
    # the processors of whoever is measured next. So a call with two threads takes 1.02 times as long (H 8, T 512, D 64;
    # and in decoding, 32/8 heads, S 4096, D 128).
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model, options, providers=PROVIDERS)


def computed(session: Any, given: Mapping[str, Array], outputs: Mapping[str, Symbol]) -> AttentionOutput:
    """One run, its outputs in memory of their own."""
    binding = session.io_binding()
    used = {node.name for node in session.get_inputs()}
    for name in used:
        array = given[name]
        binding.bind_input(name, "cpu", 0, ELEMENTS[array.dtype.name], array.shape, array.ctypes.data)
    results = {name: np.empty(symbol.shape, numpy_dtype(symbol.dtype)) for name, symbol in outputs.items()}
    for name, array in results.items():
        binding.bind_output(f"out.{name}", "cpu", 0, ELEMENTS[array.dtype.name], array.shape, array.ctypes.data)
    session.run_with_iobinding(binding)
    return AttentionOutput(**results)
