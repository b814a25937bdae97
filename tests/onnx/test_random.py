"""Random nodes against ``onnx.reference``, and what its departures from ONNX's own function body are."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the onnx extra is not installed")

from attnbench.agree.onnx.check import check_random
from attnbench.agree.onnx.node import ATTRIBUTES, INPUTS, Node, answer, translate
from attnbench.agree.onnx.random_nodes import random_node
from attnbench.agree.onnx.reference import evaluate, evaluate_as_intended
from attnbench.backends.attend import resolve
from attnbench.backends.execute import execute
from tests.onnx.body import evaluate_body
from tests.onnx.kernels import FAULTS, faulty

NODES = {"numpy/naive": 200, "numpy/blocked": 60, "torch/naive": 60, "torch/sdpa": 60, "jax/naive": 6}
WITH_BODY = 60


@pytest.mark.parametrize("impl", NODES)
def test_agrees_with_the_reference(impl: str) -> None:
    pytest.importorskip(impl.partition("/")[0])
    backend, implementation = resolve(impl)
    rows = [check_random(backend, implementation, seed) for seed in range(NODES[impl])]
    assert [row for row in rows if row.status == "wrong"] == []
    compared = sum(row.status == "ok" for row in rows)
    assert compared == len(rows) if impl.endswith("naive") else compared > len(rows) // 6


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(fault: str) -> None:
    backend, _ = resolve("numpy/naive")
    rows = [check_random(backend, faulty(fault), seed) for seed in range(80)]
    assert sum(row.status == "wrong" for row in rows) >= 2


def test_everything_is_drawn() -> None:
    nodes = [random_node(seed) for seed in range(200)]
    counted = Counter(name for node in nodes for name in (*node.attributes, *node.inputs, *node.outputs))
    assert min(counted[name] for name in (*ATTRIBUTES, *INPUTS)) >= 10, counted
    masks = [node.inputs["attn_mask"] for node in nodes if "attn_mask" in node.inputs]
    assert {mask.ndim for mask in masks} == {1, 2, 3, 4}
    assert {mask.dtype.name for mask in masks} == {"bool", "float64", "float32", "float16", "bfloat16"}
    assert {node.inputs["Q"].ndim for node in nodes} == {3, 4}
    assert {node.attribute("qk_matmul_output_mode") for node in nodes} == {0, 1, 2, 3}


def test_a_seed_gives_the_same_node_again() -> None:
    first, second = random_node(11), random_node(11)
    assert (first.opset, dict(first.attributes), first.outputs) == (
        second.opset,
        dict(second.attributes),
        second.outputs,
    )
    assert all(array.tobytes() == second.inputs[name].tobytes() for name, array in first.inputs.items())


def ours(node: Node) -> dict[str, Any]:
    translation = translate(node)
    backend, naive = resolve("numpy/naive")
    return answer(
        node, translation, execute(backend, naive, translation.spec, translation.operands, translation.outputs)
    )


def close(outputs: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(np.allclose(outputs[name], other[name], rtol=1e-3, atol=1e-5) for name in other)


def test_agrees_with_the_function_body() -> None:
    def takes(node: Node) -> bool:
        """Types that the body's operators take together, without 16 bits, whose rounding is another matter."""
        wide = {node.inputs[name].dtype.name for name in ("Q", "V")} in ({"float32"}, {"float64"})
        return wide and node.attribute("softmax_precision", None) in (None, 1, 11)

    nodes = {seed: node for seed in range(WITH_BODY * 2) if takes(node := random_node(seed))}
    assert len(nodes) >= WITH_BODY
    assert [seed for seed, node in nodes.items() if not close(ours(node), evaluate_body(node))] == []


def drawn(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


QKV = {"Q": drawn(1, 2, 3, 4), "K": drawn(1, 2, 4, 4), "V": drawn(1, 2, 4, 4)}
QK = ("Y", "qk_matmul_output")
# Where onnx.reference and ONNX's own function body differ (docs/onnx.md); each with the node that shows it.
DEPARTURES = {
    "mode 0 is capped": Node(24, {"softcap": 0.5}, QKV, QK),
    "a mask of one row makes causal the first row's": Node(24, {"is_causal": 1}, QKV | {"attn_mask": drawn(1, 4)}),
    "opset 23 pads a mask of one key": Node(23, {}, QKV | {"attn_mask": drawn(3, 1)}),
    "a negative cap is no cap": Node(24, {"softcap": -0.5}, QKV),
}


@pytest.mark.parametrize("name", DEPARTURES)
def test_a_departure_of_the_reference_is_still_there_and_is_worked_around(name: str) -> None:
    node = DEPARTURES[name]
    body = evaluate_body(node)
    assert not close(evaluate(node), body), "onnx.reference now does what ONNX says: drop this departure"
    assert close(evaluate_as_intended(node), body)
    assert close(ours(node), body)


def test_the_reference_raises_for_a_causal_mask_of_one_axis() -> None:
    node = Node(24, {"is_causal": 1}, QKV | {"attn_mask": drawn(4)})
    with pytest.raises(ValueError, match="not enough values to unpack"):
        evaluate(node)
    assert close(evaluate_as_intended(node), evaluate_body(node))
    assert close(ours(node), evaluate_body(node))


def test_a_negative_scale_is_nan_in_onnx_and_a_scale_in_the_spec() -> None:
    node = Node(24, {"scale": -0.5}, QKV)
    assert np.isnan(evaluate(node)["Y"]).all()
    assert np.isnan(evaluate_body(node)["Y"]).all()
    assert np.isfinite(ours(node)["Y"]).all()
