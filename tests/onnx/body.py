"""ONNX's function body of ``Attention`` on one node: the operator as a graph of simpler ones, which is normative."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from onnx import TensorProto, TypeProto, helper
from onnx.backend.test.case.node import function_testcase_helper
from onnx.reference import ReferenceEvaluator

from attnbench.agree.onnx.node import INPUTS, OUTPUTS, Node
from attnbench.attention.arrays import Array


def evaluate_body(node: Node) -> dict[str, Array]:
    """The outputs of the function body, by formal name."""
    inputs = [name if name in node.inputs else "" for name in INPUTS]
    outputs = [name if name in node.outputs else "" for name in OUTPUTS]
    infos = {
        name: helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in node.inputs.items()
    }
    proto = helper.make_node("Attention", inputs, _stripped(outputs), **node.attributes)
    types = [infos[name].type if name else TypeProto() for name in inputs]
    opset = [helper.make_opsetid("", node.opset)]
    expanded, _ = function_testcase_helper(proto, types, "body", opset_imports=opset)
    nodes, imports = expanded[0]
    wanted = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in node.outputs]
    graph = helper.make_graph(nodes, "body", list(infos.values()), wanted)
    version = max(imported.version for imported in imports)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        arrays: Any = ReferenceEvaluator(model).run(None, dict(node.inputs))
    return dict(zip(node.outputs, arrays, strict=True))


def _stripped(names: list[str]) -> list[str]:
    return names[: max(i for i, name in enumerate(names) if name) + 1]
