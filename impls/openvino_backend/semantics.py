"""OpenVINO's own attention, as its users call it, for ``attnbench semantics``: one operator and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnbench.api import Array
from attnbench.api.backends import NativeKernel
from attnbench.impls.openvino_backend.adapter import Adapter, CompiledModel
from attnbench.impls.openvino_backend.graph import OpenvinoGraph, ops, traced

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def sdpa(
    q: Float[Array, "B Hq Tq D"],
    k: Float[Array, "B Hkv S D"],
    v: Float[Array, "B Hkv S Dv"],
    *,
    mask: Bool[Array, "Tq S"] | None = None,
    bias: Float[Array, "Tq S"] | None = None,
    causal: bool = False,
) -> Float[Array, "B Hq Tq Dv"]:
    """``opset13.scaled_dot_product_attention`` in a model that the CPU plugin compiles, with the hint f32."""
    both = bias if mask is None else mask
    arrays = {"q": q, "k": k, "v": v} | ({} if both is None else {"mask": both})
    graph = OpenvinoGraph()
    given = {name: graph.input(name, array.dtype.name, array.shape) for name, array in arrays.items()}
    node = ops.scaled_dot_product_attention(*(x.output for x in given.values()), causal=causal)
    model = Adapter().compiled(graph.model({"output": traced(given["q"], node)}), graph.settings)
    shapes = {"output": ((*q.shape[:3], v.shape[3]), q.dtype.name)}
    result: Array = CompiledModel(model, shapes, q.dtype.name)(arrays).output
    return result


KERNELS = (NativeKernel("ScaledDotProductAttention (CPU)", sdpa, ("mask", "bias", "causal")),)
