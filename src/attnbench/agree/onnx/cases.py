"""ONNX's own cases of ``Attention``: those that the installed ``onnx`` package generates on import, and how it judges.

Every function here needs the extra ``[onnx]``; ``check_onnx_extra`` says so in one line.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.agree.judge.array import Judgement, judge
from attnbench.agree.judge.weight_bounds import SLACK
from attnbench.agree.onnx.node import INPUTS, OUTPUTS, Node
from attnbench.attention.arrays import Array
from attnbench.errors import MissingExtraError, UsageError, suggest

if TYPE_CHECKING:
    from onnx import ModelProto

# onnx/backend/test/runner: "two bfloat16 ULPs", because 1e-3 is less than one.
BFLOAT16_RTOL = 2.0**-6


@dataclass(frozen=True)
class OnnxCase:
    """One node with the outputs that ONNX expects, and ONNX's own tolerance |error| <= atol + rtol·|expected|."""

    name: str
    node: Node
    expected: dict[str, Array]
    rtol: float
    atol: float


def check_onnx_extra(what: str) -> None:
    """Raise ``MissingExtraError`` if ``what`` cannot work here; looks, but imports nothing."""
    if find_spec("onnx") is None:
        raise MissingExtraError(what, "onnx")


@cache
def node_cases() -> dict[str, OnnxCase]:
    """Every case that is a single ``Attention`` node, by name. The ``_expanded`` ones are graphs of other operators."""
    check_onnx_extra("the conformance check")
    random_state = np.random.get_state()  # noqa: NPY002  (ONNX seeds the global generator; it is put back)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        package: Any = importlib.import_module("onnx.backend.test.case.node")
        importlib.import_module("onnx.backend.test.case.node.attention")
    np.random.set_state(random_state)  # noqa: NPY002
    # collect_testcases() would import, and so compute, the cases of every operator there is.
    return {test.name: _case(test) for test in package._NodeTestCases if _is_attention(test.model)}  # noqa: SLF001


def node_case(name: str) -> OnnxCase:
    """One case by its name; ``UsageError`` for another name."""
    cases = node_cases()
    if name not in cases:
        raise UsageError(f"onnx has no case {name!r}{suggest(name, cases)}")
    return cases[name]


def judge_case(case: OnnxCase, outputs: dict[str, Array]) -> tuple[Judgement, ...]:
    """Every output held to ONNX's expectation with ONNX's tolerance, to which an error ratio of 1 refers."""
    return tuple(_judge(case, name, outputs[name]) for name in case.expected)


def largest_error(outputs: dict[str, Array], expected: dict[str, Array]) -> float:
    """The largest absolute difference of all outputs where both are finite."""
    return max((_largest(outputs[name], array) for name, array in expected.items()), default=0.0)


def _largest(output: Array, expected: Array) -> float:
    if output.shape != expected.shape:
        return float("inf")
    got, wanted = output.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(got) & np.isfinite(wanted)
    return float(np.abs(np.where(finite, got, 0) - np.where(finite, wanted, 0)).max(initial=0.0))


def _judge(case: OnnxCase, name: str, output: Array) -> Judgement:
    array = case.expected[name]
    rtol = max(case.rtol, BFLOAT16_RTOL) if array.dtype.name == "bfloat16" else case.rtol
    wanted = array.astype(np.float64)
    tolerance = case.atol + rtol * np.abs(np.where(np.isfinite(wanted), wanted, 0))
    return judge(name, output, wanted, tolerance / SLACK, array.dtype.name)


def _is_attention(model: ModelProto) -> bool:
    nodes = model.graph.node
    return len(nodes) == 1 and nodes[0].op_type == "Attention" and nodes[0].domain in ("", "ai.onnx")


def _case(test: Any) -> OnnxCase:
    proto = test.model.graph.node[0]
    inputs, outputs = test.data_sets[0]
    node = Node(
        opset=opset_of(test.model),
        attributes=attributes_of(proto),
        inputs=_named(INPUTS, proto.input, inputs),
        outputs=tuple(formal for formal, name in zip(OUTPUTS, proto.output, strict=False) if name),
    )
    return OnnxCase(test.name, node, _named(OUTPUTS, proto.output, outputs), test.rtol, test.atol)


def opset_of(model: ModelProto) -> int:
    """The version of the default domain that a model imports."""
    return next(int(imported.version) for imported in model.opset_import if imported.domain in ("", "ai.onnx"))


def attributes_of(proto: Any) -> dict[str, Any]:
    """The attributes that a node sets, by name."""
    from onnx.helper import get_attribute_value

    return {attribute.name: get_attribute_value(attribute) for attribute in proto.attribute}


def _named(formal: Iterable[str], names: Iterable[str], arrays: Iterable[Array]) -> dict[str, Array]:
    """Arrays by formal name: an empty name in the node means that the argument is left out, and has no array."""
    given = iter(arrays)
    return {argument: next(given) for argument, name in zip(formal, names, strict=False) if name}
