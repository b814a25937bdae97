"""ONNX's definition of attention in NumPy, for ``attnbench semantics``. NumPy itself has no attention."""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any

from attnbench.api import Array
from attnbench.api.backends import NativeKernel

if TYPE_CHECKING:
    from jaxtyping import Float

# The newest opset with Attention, and the version of the file format with it.
OPSET, FORMAT = 24, 11


def reference(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], **options: Any
) -> Float[Array, "B Hq Tq Dv"]:
    """``onnx.reference.ReferenceEvaluator``, the operator's definition in NumPy."""
    evaluator = importlib.import_module("onnx.reference").ReferenceEvaluator
    result: Array = evaluator(model(*kinds(q, options))).run(None, feeds(q, k, v, options))[0]
    return result


def kinds(q: Float[Array, "B Hq Tq D"], options: dict[str, Any]) -> tuple[str, str | None, bool, float]:
    """What the model depends on: the dtype, that of the mask or bias, causality, the cap."""
    both = options.get("mask", options.get("bias"))
    kind = None if both is None else both.dtype.name
    return q.dtype.name, kind, options.get("causal", False), options.get("softcap", 0.0)


def feeds(
    q: Float[Array, "B Hq Tq D"], k: Float[Array, "B Hkv S D"], v: Float[Array, "B Hkv S Dv"], options: dict[str, Any]
) -> dict[str, Array]:
    """The inputs by their names in the model."""
    both = options.get("mask", options.get("bias"))
    return {"Q": q, "K": k, "V": v} | ({} if both is None else {"attn_mask": both})


@cache
def model(dtype: str, mask: str | None, causal: bool, softcap: float) -> Any:  # noqa: FBT001  (the operator's attribute)
    """A model of one ``Attention`` node."""
    onnx = importlib.import_module("onnx")
    types = {name.lower(): number for name, number in onnx.TensorProto.DataType.items()}
    types |= {"float32": types["float"], "float64": types["double"]}
    inputs = dict.fromkeys(("Q", "K", "V"), types[dtype]) | ({} if mask is None else {"attn_mask": types[mask]})
    node = onnx.helper.make_node("Attention", list(inputs), ["Y"], is_causal=int(causal), softcap=softcap)
    values = [onnx.helper.make_tensor_value_info(name, number, None) for name, number in inputs.items()]
    output = onnx.helper.make_tensor_value_info("Y", types[dtype], None)
    graph = onnx.helper.make_graph([node], "attention", values, [output])
    opset = onnx.helper.make_opsetid("", OPSET)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=FORMAT)


TAKES = ("mask", "bias", "causal", "softcap")

KERNELS = (NativeKernel("ONNX Attention (onnx.reference)", reference, TAKES, requires="onnx"),)
