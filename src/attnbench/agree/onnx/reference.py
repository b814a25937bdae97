"""``onnx.reference`` on one node, its arithmetic, and where it departs from ONNX's own text and function body.

The departures were found by random nodes with onnx 1.23.2, by evaluating each node's function body besides; in every
one the body and the text agree with each other and with the spec. ``as_intended`` rewrites a node so that the
reference means what the text says. docs/onnx.md lists them for people.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from attnbench.agree.onnx.node import DTYPE_OF_CODE, INPUTS, OUTPUTS, Node, by_heads, full_mask, keys
from attnbench.attention.arrays import Array
from attnbench.attention.precision import UNIT_ROUNDOFF, Precision


def evaluate(node: Node) -> dict[str, Array]:
    """The outputs of ``onnx.reference.ReferenceEvaluator``, by formal name."""
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    def infos(names: list[str]) -> list[Any]:
        return [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in names if name]

    inputs = [name if name in node.inputs else "" for name in INPUTS]
    outputs = [name if name in node.outputs else "" for name in OUTPUTS]
    proto = helper.make_node("Attention", _stripped(inputs), _stripped(outputs), **node.attributes)
    graph = helper.make_graph([proto], "attention", infos(inputs), infos(outputs))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", node.opset)])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        arrays: Any = ReferenceEvaluator(model).run(None, dict(node.inputs))
    return dict(zip([name for name in outputs if name], arrays, strict=True))


def _stripped(names: list[str]) -> list[str]:
    """Without the empty names at the end."""
    last = max(i for i, name in enumerate(names) if name)
    return names[: last + 1]


def evaluate_as_intended(node: Node) -> dict[str, Array]:
    """What the reference gives once its departures from ONNX's text are worked around."""
    rewritten = as_intended(node)
    outputs = evaluate(rewritten)
    if "qk_matmul_output" in outputs and node.attribute("qk_matmul_output_mode") == 0 and node.attribute("softcap"):
        # Mode 0 is the product before the cap; the reference has overwritten it with the capped one.
        uncapped = {name: value for name, value in rewritten.attributes.items() if name != "softcap"}
        outputs["qk_matmul_output"] = evaluate(replace(rewritten, attributes=uncapped))["qk_matmul_output"]
    # Y has the dtype of Q, also where V has another one.
    return outputs | {"Y": outputs["Y"].astype(node.inputs["Q"].dtype, copy=False)}


def as_intended(node: Node) -> Node:
    """The same node, written so that the reference reads it as the text means it."""
    attributes, inputs = dict(node.attributes), dict(node.inputs)
    if node.attribute("softcap") < 0:
        attributes["softcap"] = -node.attribute("softcap")  # the reference takes it for no cap
    mask = full_mask(node)
    if mask is not None:
        # The reference gives every query the causal row of the first one if the mask has one row (and raises if it
        # has no such axis), and in opset 23 pads a mask of one key instead of broadcasting it.
        lead = mask.shape[:-2]
        inputs["attn_mask"] = np.broadcast_to(mask, (*lead, by_heads(node, "Q").shape[2], keys(node))).copy()
    return replace(node, attributes=attributes, inputs=inputs)


def precision(node: Node) -> Precision:
    """The reference's arithmetic: everything in the dtype of Q, but the softmax, which is cast there and back."""
    dtype = node.inputs["Q"].dtype.name
    softmax = DTYPE_OF_CODE[node.attribute("softmax_precision", None) or _code(dtype)]
    coarsest = max((dtype, softmax), key=lambda name: UNIT_ROUNDOFF[name])
    accumulate = "float32" if dtype == "float64" and not _has_exact_root(node) else dtype
    return Precision(accumulate=accumulate, logits=coarsest, softmax=coarsest, p_cast=coarsest)


def _has_exact_root(node: Node) -> bool:
    """Whether the root of a given scale is exact: ONNX takes it in float32, whatever the inputs are."""
    if "scale" not in node.attributes:
        return True
    scale = np.float32(node.attributes["scale"])
    return float(np.sqrt(scale)) ** 2 == float(scale)


def _code(dtype: str) -> int:
    return next(code for code, name in DTYPE_OF_CODE.items() if name == dtype)
