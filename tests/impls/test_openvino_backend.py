"""The OpenVINO backend: its arithmetic against the oracle, its threads, its silence, and what it refuses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import attnbench as ab
from attnbench.api import AttentionSpec
from attnbench.api.suites import Case, Problem
from attnbench.backends.attend import resolve
from attnbench.backends.bind import bind, inputs_of
from attnbench.backends.discover import load_implementation
from attnbench.measure.clock.memory import peak_of_call
from tests.impls.against_oracle import check_forward, fresh_process

pytest.importorskip("attnbench.impls.openvino_backend.silent", reason="the openvino extra is not installed")

SMALL = Problem(B=2, Hq=4, Hkv=2, Tq=7, S=9, D=8, Dv=3, seed=1)
TOP, BOTTOM = (AttentionSpec(causal=True, align=align) for align in ("top_left", "bottom_right"))


@pytest.mark.parametrize(
    "spec", [AttentionSpec(scale=-0.3), AttentionSpec(scale=0.0), TOP], ids=["plain", "0", "causal"]
)
@pytest.mark.parametrize("sizes", [{}, {"Hkv": 4}, {"Tq": 65, "S": 129, "D": 192, "Dv": 64}], ids=["", "mha", "large"])
def test_agrees_with_the_oracle(sizes: dict[str, Any], spec: AttentionSpec) -> None:
    check_forward("openvino/sdpa", spec, replace(SMALL, **sizes))


MASKED = {
    "bottom right": (BOTTOM, ()),
    "a mask with rows without a key": (AttentionSpec(), ("mask_dead_rows",)),
    "a mask and a bias of each head": (TOP, ("mask_heads", "bias_minus_inf")),
    "lengths and segments": (BOTTOM, ("q_lengths", "kv_lengths_edges", "segments")),
    "window, slopes, offsets": (AttentionSpec(window=(3, 0)), ("slopes", "offsets")),
}


@pytest.mark.parametrize(("spec", "operands"), MASKED.values(), ids=MASKED)
@pytest.mark.parametrize("sizes", [{}, {"Tq": 63, "S": 64, "D": 192, "Dv": 192}], ids=["small", "D 192"])
def test_a_mask_is_that_of_the_spec(sizes: dict[str, Any], spec: AttentionSpec, operands: tuple[str, ...]) -> None:
    check_forward("openvino/sdpa", spec, replace(SMALL, **sizes, operands=operands))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bits_are_computed_in_float32(dtype: str) -> None:
    check_forward("openvino/sdpa", BOTTOM, replace(SMALL, Tq=63, S=64, D=192, Dv=192, dtype=dtype, operands=("mask",)))


@pytest.mark.parametrize(
    ("name", "feature", "why"),
    [("sdpa", "float64", "in float32"), ("sdpa", "softcap", "no cap")],
)
def test_says_why_it_lacks_something(name: str, feature: str, why: str) -> None:
    assert why in load_implementation(f"openvino/{name}").capabilities.lacks[feature]


def test_the_import_sends_nothing_and_leaves_python_as_it_was() -> None:
    program = """
import sys, attnbench
from attnbench.impls.openvino_backend.silent import openvino
from openvino.tools import ovc
print(type(ovc.telemetry).__module__, 'openvino_telemetry' in sys.modules)
"""
    assert fresh_process(program) == "openvino.tools.ovc.telemetry_stub False"


def test_threads_are_those_that_the_plugin_gives() -> None:
    program = """
from attnbench.backends.discover import backend
adapter = backend('openvino').load()
for n in (1, 2):
    with adapter.limited(n):
        print(adapter.threads()['inference'])
with adapter.limited(4096):
    print(adapter.threads()['inference'] < 4096)
"""
    first, second, fewer = fresh_process(program).split()
    assert (first, fewer) == ("1", "True")
    assert second in {"1", "2"}  # it gives no more than there are processors


def test_a_model_is_the_compiled_phase_and_takes_other_values() -> None:
    inputs = inputs_of(Case(TOP, SMALL, "forward"))
    binding = bind(*resolve("openvino/sdpa"), inputs)
    assert binding.bound.compile_s > 0
    first = binding.answer().output.output
    other = binding.on(inputs.with_values(v=2 * inputs.v)).answer().output.output
    np.testing.assert_allclose(other, 2 * first, rtol=1e-5)
    assert not np.may_share_memory(first, binding.answer().output.output)


def test_an_array_that_cannot_be_written_is_taken_and_left_alone() -> None:
    q = np.ones((1, 2, 3, 4), np.float32)
    q.flags.writeable = False
    np.testing.assert_allclose(ab.attend(q, q, q, impl="openvino/sdpa").output, q)


def test_what_a_call_stores_is_weighed_with_it() -> None:
    case = Case(AttentionSpec(), Problem(Hq=4, Tq=1024, D=32, operands=("mask",)), "forward")
    binding = bind(*resolve("openvino/sdpa"), inputs_of(case))
    scores = 4 * 1024 * 1024 * 4
    assert (peak_of_call(binding).peak_bytes or 0) > scores
