"""A graph of OpenVINO's operators under construction: what an implementation of this backend is called with.

An implementation describes its computation once, for certain shapes, on a ``Traced`` for each array. Its ``output`` is
OpenVINO's own, to be given to the functions of ``openvino.opset13``; ``traced`` takes back what they return.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.impls.openvino_backend.silent import openvino

if TYPE_CHECKING:
    from collections.abc import Mapping

# The operators, as functions of nodes.
ops: Any = importlib.import_module("openvino.opset13")
ELEMENTS = {
    "float64": "f64",
    "float32": "f32",
    "float16": "f16",
    "bfloat16": "bf16",
    "bool": "boolean",
    "int32": "i32",
    "int64": "i64",
}


def element(dtype: str) -> Any:
    """OpenVINO's type of elements by our name."""
    return getattr(openvino.Type, ELEMENTS[dtype])


@dataclass
class Hints:
    """What a model is compiled with: the hint in which precision to compute."""

    precision: str = "f32"


@dataclass
class OpenvinoGraph:
    """Inputs so far, how the model is to be compiled, and which rows of the output are to be 0 when it is back."""

    inputs: list[Any] = field(default_factory=list)
    settings: Hints = field(default_factory=Hints)
    dead: Traced | None = None

    def input(self, name: str, dtype: str, shape: tuple[int, ...]) -> Traced:
        """An array that is given at each call."""
        parameter = ops.parameter(shape, element(dtype), name=name)
        parameter.output(0).set_names({name})
        self.inputs.append(parameter)
        return Traced(self, parameter.output(0))

    def model(self, outputs: Mapping[str, Traced]) -> Any:
        """The model with these outputs, in this order."""
        return openvino.Model([ops.result(traced.output) for traced in outputs.values()], self.inputs, "attention")


@dataclass(frozen=True)
class Traced:
    """An array of a graph: its dtype and shape, and no values."""

    graph: OpenvinoGraph = field(repr=False, compare=False)
    output: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        return tuple(self.output.get_shape())

    @property
    def dtype(self) -> str:
        """Its dtype by our name."""
        return {of: name for name, of in ELEMENTS.items()}[self.output.get_element_type().get_type_name()]


def traced(like: Traced, node: Any) -> Traced:
    """What a function of ``ops`` returned, in the graph of ``like``."""
    return Traced(like.graph, node if isinstance(node, openvino.Output) else node.output(0))


def cast(x: Traced, dtype: str) -> Traced:
    """The same values in another dtype."""
    return x if x.dtype == dtype else traced(x, ops.convert(x.output, element(dtype)))


def constant(value: Any, dtype: str) -> Any:
    """A number, or an array of numbers, as a node."""
    if dtype == "bfloat16":
        return ops.convert(ops.constant(np.asarray(value, np.float32)), element(dtype))
    return ops.constant(np.asarray(value, dtype))


def reshaped(x: Traced, shape: tuple[int, ...]) -> Traced:
    """The same elements with other axes."""
    return x if x.shape == shape else traced(x, ops.reshape(x.output, constant(shape, "int64"), special_zero=False))


def expanded(x: Traced, shape: tuple[int, ...]) -> Traced:
    """Repeated along the axes where it has one element."""
    return x if x.shape == shape else traced(x, ops.broadcast(x.output, constant(shape, "int64")))
