"""The implementations agree with the oracle on operands at the boundaries, forward and backward, in every dtype."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.judge.trial import trial
from attnbench.attention.inputs_edges import EDGES
from attnbench.attention.oracle import reference
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.attention.precision import DTYPES
from attnbench.attention.problem import OPERAND_GROUPS, Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import resolve
from attnbench.backends.bind import bind, inputs_of

SIZES: dict[str, Any] = {"B": 2, "Hq": 2, "Hkv": 1, "Tq": 19, "S": 19, "D": 8}
FINITE = ("bias_low", "bias_low_keys")
TOGETHER = (
    ("mask_batch", "bias_batch", "kv_lengths_edges", "sinks_edges"),
    ("mask_shared", "bias_shared", "q_lengths_edges", "offset_minus_1"),
    ("mask_rows", "bias_rows", "segments_edges", "offset_minus_2"),
    ("mask_pairs", "bias_head_keys"),
    ("mask_head_keys", "bias_pairs"),
    ("mask_single", "offset_beyond"),
    ("mask_tile", "offsets_edges"),
    ("offset_below", "sinks_edges"),
)
# Of what is told apart by a bias near -1e4 some 1e-3 is lost in float32, and at -65504 some 4e-3.
CLOSE = {"float64": 1e-11, "float32": 4e-3, "bfloat16": 4e-2, "float16": 1e-2}


def case_of(dtype: str, *operands: str, causal: bool = True, lse: bool = True) -> Case:
    problem = Problem(**SIZES, dtype=dtype, operands=operands)
    return Case(AttentionSpec(causal=causal), problem, "backward", ("lse",) if lse else ())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kinds", TOGETHER, ids="+".join)
@pytest.mark.parametrize("name", ["numpy/naive", "torch/naive"])
def test_naive_ones_agree(name: str, kinds: tuple[str, ...], dtype: str) -> None:
    pytest.importorskip(name.partition("/")[0])
    judgement = trial(*resolve(name), case_of(dtype, *kinds))
    assert judgement.status == "ok", judgement.reason


def test_every_kind_is_tried() -> None:
    assert {*FINITE, *(kind for kinds in TOGETHER for kind in kinds)} == set(EDGES)


def test_a_compiled_one_agrees() -> None:
    pytest.importorskip("jax")
    judgement = trial(*resolve("jax/naive"), replace(case_of("float32", *TOGETHER[0]), phase="forward"))
    assert judgement.status == "ok", judgement.reason


@pytest.mark.parametrize("layout", OPERAND_GROUPS["layout"])
@pytest.mark.parametrize("name", ["numpy/blocked", "torch/sdpa", "torch/sdpa-flash", "torch/chunked"])
def test_fast_ones_agree_wherever_their_arrays_lie(name: str, layout: str) -> None:
    pytest.importorskip(name.partition("/")[0])
    backend, kernel = resolve(name)
    judgement = trial(backend, kernel, case_of("float32", layout, lse=kernel.capabilities.lse))
    assert judgement.status == "ok", judgement.reason


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", FINITE)
@pytest.mark.parametrize("name", ["numpy/naive", "numpy/blocked", "torch/naive", "torch/sdpa-math"])
def test_low_finite_biases_have_one_answer_and_its_gradients(name: str, kind: str, dtype: str) -> None:
    """Held to the oracle by plain closeness: what a bias like this leaves of the scores is left in float32 too.

    A backward pass that computes its weights from lse alone does not have it: beside the dtype's lowest number the
    sum of the row is lost, and every weight is 1.
    """
    pytest.importorskip(name.partition("/")[0])
    backend, kernel = resolve(name)
    for causal in (False, True) if kind == "bias_low" else (True,):
        case = case_of(dtype, kind, causal=causal, lse=kernel.capabilities.lse)
        inputs = inputs_of(case)
        answer = bind(backend, kernel, inputs).answer()
        exact = {"output": reference(*inputs.qkv, inputs.call).output}
        exact |= reference_vjp(*inputs.qkv, inputs.call, inputs.d_output, inputs.d_lse)
        got = {"output": answer.output.output, **answer.grads}
        assert set(got) == set(exact)
        for tensor, array in got.items():
            np.testing.assert_allclose(
                array.astype(np.float64), exact[tensor], rtol=CLOSE[dtype], atol=CLOSE[dtype], err_msg=tensor
            )
