"""The adapter by itself: what each argument of an ONNX node means, in numbers that can be seen by eye."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attnbench.agree.onnx.node import Node, answer, full_mask, translate
from attnbench.attention.arrays import Array
from attnbench.backends.attend import resolve
from attnbench.backends.execute import execute
from attnbench.errors import SpecError


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


def seen(opset: int, tq: int, s: int, outputs: tuple[str, ...] = ("qk_matmul_output",), **given: Any) -> Array:
    """Which keys each query of batch entry 0, head 0 attends, as the support of the weights (mode 3)."""
    past = given.get("past_key")
    batch = 1 if "nonpad_kv_seqlen" not in given else len(given["nonpad_kv_seqlen"])
    inputs = {"Q": zeros(batch, 1, tq, 2), "K": zeros(batch, 1, s, 2), "V": zeros(batch, 1, s, 2)}
    inputs |= {name: value for name, value in given.items() if isinstance(value, np.ndarray)}
    if past is not None:
        inputs["past_value"] = past
    attributes = {name: value for name, value in given.items() if not isinstance(value, np.ndarray)}
    return run(Node(opset, attributes | {"qk_matmul_output_mode": 3}, inputs, outputs))["qk_matmul_output"] > 0


def run(node: Node) -> dict[str, Array]:
    translation = translate(node)
    backend, naive = resolve("numpy/naive")
    result = execute(backend, naive, translation.spec, translation.operands, translation.outputs)
    return answer(node, translation, result)


def test_without_a_cache_causal_is_top_left_however_many_keys_there_are() -> None:
    assert (seen(23, 2, 4, is_causal=1)[0, 0] == np.tri(2, 4, 0, bool)).all()


def test_with_a_past_the_queries_stand_behind_it() -> None:
    assert (seen(23, 2, 2, is_causal=1, past_key=zeros(1, 1, 3, 2))[0, 0] == np.tri(2, 5, 3, bool)).all()


def test_with_a_cache_outside_the_last_query_stands_at_the_last_key_of_its_own_batch_entry() -> None:
    got = seen(24, 2, 4, is_causal=1, nonpad_kv_seqlen=np.array([1, 3]))
    first = np.zeros((2, 4), bool)
    first[1, 0] = True  # a query more than keys: the first has none
    assert (got[0, 0] == first).all()
    assert (got[1, 0] == np.tri(2, 4, 1, bool)).all()


def test_windows_are_inclusive_and_follow_the_same_position() -> None:
    got = seen(25, 2, 2, past_key=zeros(1, 1, 3, 2), left_window_size=1, right_window_size=0)
    assert (got[0, 0] == [[0, 0, 1, 1, 0], [0, 0, 0, 1, 1]]).all()


@pytest.mark.parametrize("kind", [np.bool_, np.float32])
def test_from_opset_24_a_short_mask_is_padded_even_one_of_one_key(kind: Any) -> None:
    ones = np.ones((1, 1), kind)
    assert seen(24, 2, 3, attn_mask=ones)[0, 0].tolist() == [[True, False, False]] * 2
    assert seen(23, 2, 3, attn_mask=ones)[0, 0].all()  # before that it broadcasts


def test_a_long_enough_mask_stays_as_it_is() -> None:
    mask = np.ones((2, 3), bool)
    assert full_mask(Node(24, {}, {"Q": zeros(1, 1, 2, 2), "K": zeros(1, 1, 3, 2), "attn_mask": mask})) is mask


def test_packed_heads_stand_side_by_side() -> None:
    v = np.arange(6, dtype=np.float32).reshape(1, 1, 6)  # one key, 2 heads of 3
    node = Node(23, {"q_num_heads": 4, "kv_num_heads": 2}, {"Q": zeros(1, 1, 8), "K": zeros(1, 1, 4), "V": v})
    assert run(node)["Y"].tolist() == [[[0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5]]]


def test_the_present_is_the_past_and_then_the_new() -> None:
    inputs = {name: np.full((1, 1, n, 2), n, np.float32) for name, n in (("Q", 1), ("K", 1), ("V", 1))}
    inputs |= {name: np.full((1, 1, 2, 2), 7, np.float32) for name in ("past_key", "past_value")}
    outputs = run(Node(23, {}, inputs, ("Y", "present_key", "present_value")))
    assert outputs["present_key"][0, 0, :, 0].tolist() == [7, 7, 1]
    assert list(outputs) == ["Y", "present_key", "present_value"]


def test_a_negative_cap_is_the_cap_and_zero_is_none() -> None:
    inputs = {"Q": zeros(1, 1, 1, 2), "K": zeros(1, 1, 1, 2), "V": zeros(1, 1, 1, 2)}
    caps = [translate(Node(23, {"softcap": cap}, inputs)).spec.softcap for cap in (-2.0, 2.0, 0.0)]
    assert caps == [2.0, 2.0, None]


def test_a_softmax_in_float64_is_computed_in_float64_and_the_output_has_the_dtype_of_q() -> None:
    inputs = {"Q": zeros(1, 1, 1, 2), "K": zeros(1, 1, 1, 2), "V": zeros(1, 1, 1, 2)}
    node = Node(24, {"softmax_precision": 11}, inputs)
    assert translate(node).operands.q.dtype == np.float64
    assert run(node)["Y"].dtype == np.float32


def test_values_of_another_dtype_are_computed_in_one_that_holds_both() -> None:
    inputs = {"Q": zeros(1, 1, 1, 2), "K": zeros(1, 1, 1, 2), "V": np.full((1, 1, 1, 2), 1 + 2**-20, np.float64)}
    outputs = run(Node(24, {}, inputs, ("Y", "present_value")))
    assert outputs["Y"].dtype == np.float32
    assert outputs["Y"][0, 0, 0, 0] == np.float32(1 + 2**-20)
    assert outputs["present_value"].dtype == np.float64


WRONG = [
    (22, {}, {}, "opset 22 is not one of 23, 24, 25"),
    (23, {"left_window_size": 1}, {}, "opset 23 has no attribute 'left_window_size'"),
    (23, {}, {"nonpad_kv_seqlen": np.array([1])}, "opset 23 has no input 'nonpad_kv_seqlen'"),
    (24, {"causal": 1}, {}, "no attribute 'causal'"),
    (24, {}, {"past_key": zeros(1, 1, 1, 2)}, "come together"),
    (25, {"left_window_size": -2}, {}, "-1 (unbounded)"),
    (25, {"q_num_heads": 1}, {}, "inputs with 3 axes"),
    (24, {"q_num_heads": 3}, {}, "but Q has shape"),
    (24, {"qk_matmul_output_mode": 4}, {}, "is 0, 1, 2 or 3"),
    (24, {"softmax_precision": 7}, {}, "softmax_precision is one of"),
    (24, {}, {"attn_mask": np.ones((1, 1), np.int64)}, "bool or of Q's dtype"),
    (24, {}, {"attn_mask": np.ones((2, 1), bool)}, "does not broadcast"),
    (24, {}, {"Q": zeros(1, 1, 2)}, "3 axes or 4, all the same"),
    (24, {}, {"Q": zeros(1, 1, 3), "K": zeros(1, 1, 2), "V": zeros(1, 1, 2)}, "does not divide into 0 heads"),
    (24, {}, {"K": np.zeros((1, 1, 1, 2), np.float64)}, "have one dtype"),
    (24, {}, {"nonpad_kv_seqlen": np.array([2])}, "between 0 and 1"),
]


@pytest.mark.parametrize(("opset", "attributes", "inputs", "said"), WRONG)
def test_what_onnx_does_not_allow_is_a_spec_error(opset: int, attributes: Any, inputs: Any, said: str) -> None:
    whole = {"Q": zeros(1, 1, 1, 2), "K": zeros(1, 1, 1, 2), "V": zeros(1, 1, 1, 2)} | inputs
    with pytest.raises(SpecError) as error:
        run(Node(opset, attributes, whole))
    assert said in str(error.value)
