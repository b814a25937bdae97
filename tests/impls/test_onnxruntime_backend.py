"""The onnxruntime backend: its graphs, its threads, its arithmetic against the oracle, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from attnbench.api import AttentionSpec
from attnbench.api.suites import Case, Problem
from attnbench.backends.attend import load_backend, resolve
from attnbench.backends.bind import bind, inputs_of
from attnbench.backends.discover import load_implementation
from tests.impls.against_oracle import check_forward, fresh_process

pytest.importorskip("onnxruntime", reason="the onnxruntime extra is not installed")

SMALL = Problem(B=2, Hq=4, Hkv=2, Tq=7, S=9, D=8, Dv=3, seed=1)
ALIKE = replace(SMALL, Hkv=4)
CACHED = Problem(B=1, Hq=4, Hkv=2, Tq=3, S=9, D=8, Dv=8, seed=1)
TOP, BOTTOM = (AttentionSpec(causal=True, align=align) for align in ("top_left", "bottom_right"))

CASES = {
    "plain": (AttentionSpec(scale=-0.3), ()),
    "the node's own causal rule": (TOP, ()),
    "bottom right by lengths": (BOTTOM, ("kv_lengths",)),
    "bottom right of both lengths": (BOTTOM, ("q_lengths", "kv_lengths", "segments", "bias_minus_inf")),
    "window, slopes, offsets": (AttentionSpec(window=(3, 0)), ("slopes", "offsets", "mask_dead_rows")),
    "no scale": (AttentionSpec(scale=0.0), ("mask_heads", "bias_low")),
}


@pytest.mark.parametrize(("spec", "operands"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("name", ["attention", "attention-23", "mha"])
def test_agrees_with_the_oracle(name: str, spec: AttentionSpec, operands: tuple[str, ...]) -> None:
    check_forward(f"onnxruntime/{name}", spec, replace(ALIKE if name == "mha" else SMALL, operands=operands))


@pytest.mark.parametrize("spec", [TOP, replace(BOTTOM, softcap=1.5)])
@pytest.mark.parametrize("name", ["attention", "attention-23"])
def test_every_stage_is_that_of_the_spec(name: str, spec: AttentionSpec) -> None:
    problem = replace(SMALL, operands=("mask", "kv_lengths"))
    check_forward(f"onnxruntime/{name}", spec, problem, ("scores", "capped", "logits", "weights"))


@pytest.mark.parametrize("operands", [(), ("mask", "sinks"), ("segments",)])
@pytest.mark.parametrize(("name", "dtype"), [("gqa", "float32"), ("gqa-f16", "float16")])
def test_the_cache_of_grouped_queries_agrees(name: str, dtype: str, operands: tuple[str, ...]) -> None:
    spec = replace(BOTTOM, window=(4, None), softcap=2.0)
    check_forward(f"onnxruntime/{name}", spec, replace(CACHED, dtype=dtype, operands=operands))


def test_half_precision_stores_its_logits_in_float16() -> None:
    check_forward("onnxruntime/attention-f16", TOP, replace(SMALL, dtype="float16", operands=("mask",)))


@pytest.mark.parametrize("operands", [(), ("mask",)])
def test_queries_before_the_first_key_are_0(operands: tuple[str, ...]) -> None:
    check_forward("onnxruntime/gqa", BOTTOM, replace(CACHED, Tq=9, S=3, operands=operands))


@pytest.mark.parametrize(
    ("name", "feature", "why"),
    [
        ("attention", "float64", "takes the root of the scale in float32"),
        ("attention", "bfloat16", "no kernel for it"),
        ("mha", "softcap", "no cap"),
        ("gqa", "top_left", "behind its cache"),
        ("attention-f16", "bias", "below -65,504"),
    ],
)
def test_says_why_it_lacks_something(name: str, feature: str, why: str) -> None:
    assert why in load_implementation(f"onnxruntime/{name}").capabilities.lacks[feature]


@pytest.mark.parametrize("name", ["attention", "attention-23", "mha", "gqa"])
def test_what_is_written_is_a_model_that_onnx_accepts(name: str) -> None:
    onnx = pytest.importorskip("onnx", reason="the onnx extra is not installed")
    from attnbench.impls.onnxruntime_backend.adapter import Adapter
    from attnbench.impls.onnxruntime_backend.graph import Graph

    problem = replace(CACHED, Hkv=4) if name == "mha" else CACHED
    inputs = inputs_of(Case(BOTTOM, replace(problem, operands=("bias", "mask")), "forward"))
    graph = Graph()
    outputs = Adapter().described(graph, load_implementation(f"onnxruntime/{name}"), *inputs.qkv, inputs.call)
    model = onnx.load_from_string(graph.serialized(outputs))
    onnx.checker.check_model(model)
    kinds = {node.op_type for node in model.graph.node}
    assert kinds & {"Attention", "MultiHeadAttention", "GroupQueryAttention"}
    assert [i.name for i in model.graph.input] == ["q", "k", "v", "mask", "bias"]


@pytest.mark.parametrize("number", [0, 1, 127, 128, -1, 2**40])
def test_numbers_are_written_as_onnx_reads_them(number: int) -> None:
    onnx = pytest.importorskip("onnx", reason="the onnx extra is not installed")
    from attnbench.impls.onnxruntime_backend import wire

    read = onnx.AttributeProto.FromString(wire.attribute("x", (number, 3)))
    assert onnx.helper.get_attribute_value(read) == [number, 3]


def test_threads_are_those_of_a_new_session() -> None:
    adapter = load_backend("onnxruntime")
    for threads in (1, 2, 3):
        with adapter.limited(threads):
            assert adapter.threads() == {"intra_op": threads}


AFTER_A_CALL = """
import time, numpy, attnbench
q = numpy.ones((1, 8, 256, 64), numpy.float32)
for _ in range(5):
    attnbench.attend(q, q, q, impl="onnxruntime/attention", threads=2)
used = time.process_time()
time.sleep(0.05)
print(time.process_time() - used)
"""


def test_no_thread_spins_after_a_call() -> None:
    assert float(fresh_process(AFTER_A_CALL)) < 0.01  # 0.03 if they may


def test_what_was_bound_with_other_threads_is_not_used_again() -> None:
    adapter = load_backend("onnxruntime")
    seen = []
    for threads in (1, 2):
        with adapter.limited(threads):
            seen.append(adapter.settings())
    assert seen[0] != seen[1]


def test_a_session_is_the_compiled_phase_and_takes_other_values() -> None:
    inputs = inputs_of(Case(TOP, SMALL, "forward"))
    binding = bind(*resolve("onnxruntime/attention"), inputs)
    assert binding.bound.compile_s > 0
    first = binding.answer().output.output
    other = binding.on(inputs.with_values(v=2 * inputs.v)).answer().output.output
    np.testing.assert_allclose(other, 2 * first, rtol=1e-5)
    assert not np.may_share_memory(first, binding.answer().output.output)


def test_the_card_imports_nothing() -> None:
    program = (
        "import sys, attnbench.impls.onnxruntime_backend as b; print(b.BACKEND.names(), 'onnxruntime' in sys.modules)"
    )
    assert fresh_process(program).endswith("False")
