"""The PyTorch backend against the oracle, in the edge cases, and its adapter."""

import ast
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.declare.explain import with_precision
from attnbench.agree.judge.arithmetic import precision_of
from attnbench.agree.judge.selection import SHARE
from attnbench.agree.judge.trial import trial
from attnbench.api import AttentionOutput, AttentionSpec, UnsupportedError
from attnbench.api.suites import Problem, draw
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.backends.attend import resolve
from attnbench.backends.discover import backend, load_implementation
from tests.impls.against_oracle import bound_pair, check, fresh_process, load, observe

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

DTYPES = ("float64", "float32", "bfloat16", "float16")
SDPA = ("torch/sdpa", "torch/sdpa-math", "torch/sdpa-flash")
SMALL = Problem(B=2, Hq=4, Hkv=2, Tq=7, S=9, D=5, Dv=3, Da=4, seed=1)
NAN = float("nan")

SPECS = {
    "dot": AttentionSpec(),
    "general": AttentionSpec(score="general"),
    "additive": AttentionSpec(score="additive", softcap=1.0),
    "concat": AttentionSpec(score="concat"),
    "cosine": AttentionSpec(score="cosine"),
    "head scale": AttentionSpec(scale=(0.1, -0.2, 0.0, 1.0)),
    "log n": AttentionSpec(scale="log_n", causal=True, align="bottom_right"),
    "softcap": AttentionSpec(softcap=2.0),
    "top left": AttentionSpec(causal=True, align="top_left"),
    "window": AttentionSpec(window=(3, 2), align="bottom_right"),
    "dropout": AttentionSpec(dropout=0.3),
}
OPERANDS = {
    "nothing": (),
    "dead rows and sinks": ("mask_dead_rows", "sinks"),
    "minus infinity, lengths and segments": ("bias_minus_inf", "q_lengths", "kv_lengths", "segments"),
    "slopes, offsets and a bias of keys": ("slopes", "offsets", "bias_keys"),
}


def placed(spec: AttentionSpec, operands: tuple[str, ...]) -> AttentionSpec:
    return replace(spec, align=None) if "offsets" in operands else spec


@pytest.mark.parametrize("operands", OPERANDS.values(), ids=OPERANDS)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_naive_agrees_with_the_oracle_on_the_whole_spec(
    spec: AttentionSpec, operands: tuple[str, ...], dtype: str
) -> None:
    check("torch/naive", placed(spec, operands), replace(SMALL, dtype=dtype, operands=operands))


RESTRICTIONS = {
    "plain": (AttentionSpec(), ()),
    "scale": (AttentionSpec(scale=-0.3), ()),
    "scale-0-causal": (AttentionSpec(scale=0.0, causal=True, align="top_left"), ()),
    "top left": (AttentionSpec(causal=True, align="top_left"), ()),
    "bottom right": (AttentionSpec(causal=True, align="bottom_right"), ()),
    "window": (AttentionSpec(window=(3, 0), align="bottom_right"), ()),
    "dead rows": (AttentionSpec(), ("mask_dead_rows",)),
    "lengths": (AttentionSpec(causal=True, align="bottom_right"), ("q_lengths", "kv_lengths", "segments")),
    "slopes": (AttentionSpec(causal=True), ("slopes", "offsets")),
    "bias": (AttentionSpec(), ("bias_minus_inf",)),
    "bias of keys": (AttentionSpec(causal=True), ("bias_keys", "slopes", "offset")),
}


@pytest.mark.parametrize(("spec", "operands"), RESTRICTIONS.values(), ids=RESTRICTIONS)
@pytest.mark.parametrize("dv", [3, 5, 8])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SDPA)
def test_sdpa_agrees_with_the_oracle(
    name: str, dtype: str, dv: int, spec: AttentionSpec, operands: tuple[str, ...]
) -> None:
    if name == "torch/sdpa-flash" and any(kind.startswith("bias") for kind in operands):
        reason = load_implementation(name).capabilities.lacks["bias"]
        assert "no gradient" in reason
        return
    check(name, spec, replace(SMALL, dtype=dtype, Dv=dv, operands=operands), extra=False)


@pytest.mark.parametrize("name", SDPA)
def test_blocks_of_512_keys_that_are_wholly_masked_disturb_nothing(name: str) -> None:
    problem = Problem(B=1, Hq=2, Tq=33, S=1100, D=16)
    check(name, AttentionSpec(window=(40, 0), align="bottom_right"), problem, extra=False)


@pytest.mark.parametrize(
    ("name", "causal", "kernels"),
    [
        ("torch/sdpa", True, {"aten::_scaled_dot_product_flash_attention_for_cpu"}),
        ("torch/sdpa-flash", False, {"aten::_scaled_dot_product_flash_attention_for_cpu"}),
        ("torch/sdpa-math", True, {"aten::_scaled_dot_product_attention_math"}),
    ],
)
def test_a_held_kernel_is_the_one_that_runs(name: str, causal: bool, kernels: set[str]) -> None:
    spec = AttentionSpec(causal=causal)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        observe(name, spec, draw(spec, Problem(Hq=2, Tq=8, D=8)))
    ran = {event.key for event in profile.key_averages()}
    assert {key for key in ran if key.startswith("aten::_scaled_dot_product")} == kernels


@pytest.mark.parametrize(
    ("spec", "operands", "causal_and_mask"),
    [
        (AttentionSpec(causal=True), (), (True, False)),
        (AttentionSpec(causal=True), ("mask",), (False, True)),
        (AttentionSpec(causal=True), ("offset",), (False, True)),
        (AttentionSpec(), (), (False, False)),
    ],
)
def test_a_plain_causal_call_is_measured_without_a_mask(
    spec: AttentionSpec, operands: tuple[str, ...], causal_and_mask: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = __import__("attnbench.impls.torch_backend.sdpa", fromlist=["sdpa"])
    seen: list[tuple[bool, bool]] = []
    kernel = module.scaled_dot_product_attention

    def record(*args: Any, **kwargs: Any) -> Any:
        seen.append((kwargs["is_causal"], kwargs["attn_mask"] is not None))
        return kernel(*args, **kwargs)

    monkeypatch.setattr(module, "scaled_dot_product_attention", record)
    observe("torch/sdpa", spec, draw(spec, Problem(Hq=2, Tq=8, D=8, operands=operands, seed=3)))
    assert seen == [causal_and_mask]


def cosine_gradient(q: Any) -> Any:
    spec = AttentionSpec(score="cosine")
    operands = draw(spec, Problem(Hq=1, Tq=2, S=3, D=2))
    return observe("torch/naive", spec, replace(operands, q=q), np.ones((1, 1, 2, 2), np.float32))


def test_cosine_neither_overflows_nor_underflows() -> None:
    direction = np.array([[[[3.0, 4.0], [-1.0, 2.0]]]], np.float32)
    plain, large, small = (cosine_gradient(direction * np.float32(s)) for s in (1.0, 1e30, 1e-11))
    np.testing.assert_allclose(large.outputs["output"], plain.outputs["output"], rtol=1e-5)
    np.testing.assert_allclose(small.outputs["output"], plain.outputs["output"], rtol=1e-5)
    np.testing.assert_allclose(large.gradients["q"] * 1e30, plain.gradients["q"], rtol=1e-3, atol=1e-5)


def test_cosine_below_the_floor_divides_by_the_floor() -> None:
    tiny = np.array([[[[3e-17, 4e-17], [0.0, 0.0]]]], np.float32)
    seen = cosine_gradient(tiny)
    d_output = np.ones((1, 1, 2, 2), np.float32)
    expected = reference_vjp(seen.q, seen.k, seen.v, seen.call, d_output)["q"]
    assert np.abs(expected).min() > 1e10  # a gradient of order one, divided by 1e-12
    np.testing.assert_allclose(seen.gradients["q"], expected, rtol=1e-4)


def test_an_unused_operand_has_a_zero_gradient() -> None:
    _, grads = bound_pair("torch", lambda q, k, v, call: q * 2)  # noqa: ARG005
    assert {n: float(grad.sum()) for n, grad in grads.items()} == {"q": 8.0, "k": 0.0, "v": 0.0}


def test_a_detached_output_is_refused_rather_than_given_zero_gradients() -> None:
    with pytest.raises(UnsupportedError, match="does not reach the output of torch/mine"):
        bound_pair("torch", lambda q, k, v, call: q.detach())  # noqa: ARG005
    with pytest.raises(UnsupportedError, match="does not reach the lse of torch/mine"):
        bound_pair("torch", lambda q, k, v, call: AttentionOutput(q * 2, lse=q.detach()[..., 0]), d_lse=True)  # noqa: ARG005


def test_threads_are_set_and_reported_by_the_pools_themselves() -> None:
    adapter, _ = load("torch/naive")
    before = adapter.threads()["intra_op"]
    try:
        adapter.set_threads(3)
        assert adapter.threads()["intra_op"] == torch.get_num_threads() == 3
        assert adapter.threads()["libgomp"] == 3
    finally:
        adapter.set_threads(before)


def test_the_environment_of_a_worker_bounds_the_pool() -> None:
    # One thread, because PyTorch starts no more than there are cores, whatever the variables say.
    program = "from attnbench.backends.discover import backend; print(backend('torch').load().threads())"
    threads = ast.literal_eval(fresh_process(program, **backend("torch").process_environment(1)))
    assert threads["intra_op"] == threads["libgomp"] == 1


def test_float32_products_are_never_tf32() -> None:
    torch.set_float32_matmul_precision("high")
    load("torch/naive")
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(
    "case",
    [
        "scale=-1.3 Hq=2 Hkv=1 Tq=2 S=1 D=1 dtype=float64 operands=layout_transposed",
        "Tq=1 D=1 dtype=float64 seed=1297402234 operands=layout_step",
    ],
)
def test_the_flash_kernel_takes_one_element_a_head(case: str) -> None:
    assert trial(*resolve("torch/sdpa-flash"), case_from_text(case)).status == "ok"


def test_gradients_that_are_added_to_in_16_bits_are_declared() -> None:
    sums = "backward causal window=[null,0] Tq=4097 S=384 D=160 Da=16 dtype=float16 seed=339730779"
    case = case_from_text(f"{sums} operands=layout_expanded,offset_minus_2,wanted_kv")
    adapter, flash = resolve("torch/sdpa-flash")
    assert trial(adapter, flash, case, share=SHARE).status == "ok"
    once = replace(precision_of(flash, "float16", "cpu"), stored_sums=None)
    judgement = trial(adapter, with_precision(flash, "float16", "cpu", once), case, share=SHARE)
    assert (judgement.status, judgement.fault) == ("wrong", "value")
