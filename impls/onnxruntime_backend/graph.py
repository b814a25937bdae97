"""A graph of ONNX operators under construction: what an implementation of this backend is called with, and returns.

An implementation describes its computation once, for certain shapes, on a ``Symbol`` for each array; the adapter makes
a session of it. ``op`` adds a node. A plain number among its inputs becomes a constant of the first array's dtype.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.impls.onnxruntime_backend import wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attnbench.impls.onnxruntime_backend.wire import Attribute

CONTRIB = "com.microsoft"
OPSET = 23  # the first that has Attention


@dataclass
class Graph:
    """Nodes, inputs and operator sets so far."""

    opsets: dict[str, int] = field(default_factory=lambda: {"": OPSET})
    nodes: list[bytes] = field(default_factory=list)
    inputs: list[Symbol] = field(default_factory=list)
    _names: int = 0

    def input(self, name: str, dtype: str, shape: tuple[int, ...]) -> Symbol:
        """An array that is given at each call."""
        symbol = Symbol(self, name, dtype, shape)
        self.inputs.append(symbol)
        return symbol

    def fresh(self) -> str:
        """A name that nothing has yet."""
        self._names += 1
        return f"n{self._names}"

    def serialized(self, outputs: Mapping[str, Symbol]) -> bytes:
        """The model as bytes, its outputs under these names."""
        renamed = [
            wire.node("Identity", [symbol.name], [f"out.{name}"], "", {}) for name, symbol in outputs.items()
        ]  # an output may be an input too, or stand under two names
        values = [wire.value(f"out.{name}", symbol.dtype, symbol.shape) for name, symbol in outputs.items()]
        given = [wire.value(symbol.name, symbol.dtype, symbol.shape) for symbol in self.inputs]
        return wire.model(wire.graph([*self.nodes, *renamed], given, values), self.opsets)


@dataclass(frozen=True)
class Symbol:
    """An array of a graph: its name, dtype and shape, and no values."""

    graph: Graph = field(repr=False, compare=False)
    name: str
    dtype: str
    shape: tuple[int, ...]


def op(
    kind: str,
    *inputs: Any,
    shape: tuple[int, ...] | None = None,
    dtype: str | None = None,
    domain: str = "",
    opset: int = OPSET,
    **attributes: Attribute,
) -> Symbol:
    """One node with one output, by default of the shape that its inputs broadcast to and of the first one's dtype."""
    first = next(given for given in inputs if isinstance(given, Symbol))
    if shape is None:
        shape = np.broadcast_shapes(*(given.shape for given in inputs if isinstance(given, Symbol)))
    symbol = Symbol(first.graph, first.graph.fresh(), dtype or first.dtype, shape)
    _add(first, kind, inputs, [symbol.name], domain, opset, attributes)
    return symbol


def ops(
    kind: str,
    *inputs: Any,
    outputs: Mapping[int, tuple[str, tuple[int, ...]]],
    domain: str = "",
    opset: int = OPSET,
    **attributes: Attribute,
) -> dict[int, Symbol]:
    """One node with several outputs: by their places, each with its dtype and shape. Others are left out."""
    first = next(given for given in inputs if isinstance(given, Symbol))
    symbols = {place: Symbol(first.graph, first.graph.fresh(), *typed) for place, typed in outputs.items()}
    names = [symbols[place].name if place in symbols else "" for place in range(max(symbols) + 1)]
    _add(first, kind, inputs, names, domain, opset, attributes)
    return symbols


def cast(symbol: Symbol, dtype: str) -> Symbol:
    """The same values in another dtype."""
    return symbol if symbol.dtype == dtype else op("Cast", symbol, dtype=dtype, to=wire.ELEMENTS[dtype])


def constant(like: Symbol, number: Any, dtype: str) -> Symbol:
    """A number as an array without axes, in the graph of ``like``."""
    kind: dict[str, Attribute] = {"value_int": number} if isinstance(number, int) else {"value_float": number}
    plain = Symbol(like.graph, like.graph.fresh(), "int64" if isinstance(number, int) else "float32", ())
    like.graph.nodes.append(wire.node("Constant", [], [plain.name], "", kind))
    return cast(plain, dtype)


def numbers(like: Symbol, given: tuple[int, ...]) -> Symbol:
    """A list of whole numbers as an array of int64, such as a shape."""
    symbol = Symbol(like.graph, like.graph.fresh(), "int64", (len(given),))
    like.graph.nodes.append(wire.node("Constant", [], [symbol.name], "", {"value_ints": given}))
    return symbol


def reshaped(symbol: Symbol, shape: tuple[int, ...]) -> Symbol:
    """The same elements with other axes."""
    return symbol if symbol.shape == shape else op("Reshape", symbol, numbers(symbol, shape), shape=shape)


def expanded(symbol: Symbol, shape: tuple[int, ...]) -> Symbol:
    """Repeated along the axes where it has one element."""
    return symbol if symbol.shape == shape else op("Expand", symbol, numbers(symbol, shape), shape=shape)


def transposed(symbol: Symbol, axes: tuple[int, ...]) -> Symbol:
    """The axes in another order."""
    return op("Transpose", symbol, shape=tuple(symbol.shape[axis] for axis in axes), perm=axes)


def sliced(symbol: Symbol, axis: int, start: int, stop: int) -> Symbol:
    """From ``start`` to ``stop`` along one axis."""
    shape = (*symbol.shape[:axis], stop - start, *symbol.shape[axis + 1 :])
    ends = (numbers(symbol, (number,)) for number in (start, stop, axis))
    return op("Slice", symbol, *ends, shape=shape)


def counting(like: Symbol, number: int, shape: tuple[int, ...]) -> Symbol:
    """0, 1, … in int64, as an array of this shape."""
    ends = [constant(like, end, "int64") for end in (0, number, 1)]
    return reshaped(op("Range", *ends, shape=(number,)), shape)


def _add(
    first: Symbol,
    kind: str,
    inputs: tuple[Any, ...],
    outputs: list[str],
    domain: str,
    opset: int,
    attributes: Mapping[str, Attribute],
) -> None:
    graph = first.graph
    given = [constant(first, x, first.dtype) if isinstance(x, (int, float)) else x for x in inputs]
    names = ["" if x is None else x.name for x in given]
    while not names[-1]:  # those that are left out at the end are not there at all
        names.pop()
    if domain:
        graph.opsets[domain] = 1
    else:
        graph.opsets[""] = max(graph.opsets[""], opset)
    graph.nodes.append(wire.node(kind, names, outputs, domain, attributes))
