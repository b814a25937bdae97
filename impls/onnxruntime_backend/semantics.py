"""Onnxruntime's own attention, as its users call it, for ``attnbench semantics``: one node and nothing else.

Microsoft's ``GroupQueryAttention`` is not there: it takes causal calls of head sizes of 8, and so none of the probes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attnbench.api import Array
from attnbench.api.backends import NativeKernel
from attnbench.impls.onnxruntime_backend.adapter import new_session
from attnbench.impls.onnxruntime_backend.graph import CONTRIB, Graph, Symbol, op

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float


def run(build: Callable[[dict[str, Symbol]], Symbol], arrays: dict[str, Array]) -> Array:
    """A graph of these arrays computed once, by ``InferenceSession.run``."""
    graph = Graph()
    symbols = {name: graph.input(name, array.dtype.name, array.shape) for name, array in arrays.items()}
    session = new_session(graph.serialized({"y": build(symbols)}), 0)
    result: Array = session.run(None, arrays)[0]
    return result


def operands(q: Array, k: Array, v: Array, options: dict[str, Any]) -> dict[str, Array]:
    """The arrays by name."""
    both = options.get("mask", options.get("bias"))
    return {"q": q, "k": k, "v": v} | ({} if both is None else {"mask": both})


def attention(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], **options: Any
) -> Float[Array, "B Hq Tq Dv"]:
    """``Attention`` of opset 24."""

    def build(x: dict[str, Symbol]) -> Symbol:
        settings: dict[str, Any] = {
            "is_causal": int(options.get("causal", False)),
            "softcap": float(options.get("softcap", 0.0)),
        }
        shape = (*q.shape[:3], v.shape[3])
        return op("Attention", x["q"], x["k"], x["v"], x.get("mask"), shape=shape, opset=24, **settings)

    return run(build, operands(q, k, v, options))


def mha(
    q: Float[Array, "B H Tq D"], k: Float[Array, "B H S D"], v: Float[Array, "B H S Dv"], **options: Any
) -> Float[Array, "B H Tq Dv"]:
    """``com.microsoft.MultiHeadAttention``, packed, an added mask as its ``attention_bias``."""
    bias = options.get("bias")
    given = operands(packed(q), packed(k), packed(v), {} if bias is None else {"bias": bias[None, None]})
    (b, h, t, _), width = q.shape, v.shape[1] * v.shape[3]

    def build(x: dict[str, Symbol]) -> Symbol:
        settings = {"num_heads": h, "unidirectional": int(options.get("causal", False))}
        inputs = (x["q"], x["k"], x["v"], None, None, x.get("mask"))
        return op("MultiHeadAttention", *inputs, domain=CONTRIB, shape=(b, t, width), **settings)

    return unpacked(run(build, given), h)


def packed(x: Float[Array, "B H T n"]) -> Float[Array, "B T Hn"]:
    """Heads side by side."""
    return x.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)


def unpacked(x: Float[Array, "B T Hn"], heads: int) -> Float[Array, "B H T n"]:
    """The inverse of ``packed``."""
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


KERNELS = (
    NativeKernel("ONNX Attention", attention, ("mask", "bias", "causal", "softcap")),
    NativeKernel("MultiHeadAttention (com.microsoft)", mha, ("bias", "causal")),
)
