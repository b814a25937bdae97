"""``torch/varlen`` on the CPU: PyTorch's own varlen_attn and its autograd, over stand-ins for the two CUDA kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.check.rows import check_feature
from attnbench.agree.judge.trial import trial
from attnbench.api import AttentionSpec, Call, Implementation, UnsupportedError
from attnbench.api.backends import Backend
from attnbench.api.suites import Case, Operands, Problem
from attnbench.attention.call import prepare
from attnbench.attention.oracle import reference
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.attention.precision import numpy_dtype
from attnbench.backends.attend import resolve
from attnbench.backends.bind import Binding, Inputs, bind
from attnbench.precheck.lowering import lowered
from tests.impls.against_oracle import fresh_process, same

torch = pytest.importorskip("torch", reason="the torch extra is not installed")

SMALL = Problem(B=3, Hq=4, Hkv=2, Tq=12, S=12, D=10, Dv=6, dtype="float16", seed=2)
BOTTOM = AttentionSpec(causal=True, align="bottom_right")


@pytest.fixture(scope="module", autouse=True)
def _kernels() -> Iterator[None]:
    from tests.impls.standin.flash import kernels_on_the_cpu

    with kernels_on_the_cpu():
        yield


def on_the_cpu() -> tuple[Backend, Implementation]:
    adapter, honest = resolve("torch/varlen")
    lacks = {name: why for name, why in honest.capabilities.lacks.items() if name != "cpu"}
    can = replace(honest.capabilities, devices=("cpu",), lacks=lacks)
    return adapter, replace(honest, capabilities=can)


def binding_to(spec: AttentionSpec, operands: Operands, d_output: Any = None) -> Binding:
    return bind(*on_the_cpu(), Inputs(*prepare(spec, operands), d_output=d_output))


def held(spec: AttentionSpec, operands: Operands) -> Any:
    """Both ways against the oracle; the output in NumPy."""
    d_output = np.random.default_rng(7).normal(size=(*operands.q.shape[:3], operands.v.shape[3]))
    d_output = d_output.astype(operands.q.dtype)
    binding = binding_to(spec, operands, d_output)
    q, k, v, call = prepare(spec, operands)
    answer = binding.answer()
    same("output", answer.output.output, reference(q, k, v, call).output, call.dtype)
    for name, gradient in reference_vjp(q, k, v, call, d_output, None).items():
        same(name, answer.grads[name], gradient, call.dtype)
    return answer.output.output


def drawn(lengths: Mapping[str, Any] | None = None, problem: Problem = SMALL) -> Operands:
    rng, dtype, p = np.random.default_rng(problem.seed), numpy_dtype(problem.dtype), problem
    shapes = ((p.Hq, p.Tq, p.D), (p.Hkv, p.S, p.D), (p.Hkv, p.S, p.Dv))
    q, k, v = (rng.normal(size=(p.B, *shape)).astype(dtype) for shape in shapes)
    arrays: dict[str, Any] = {name: np.array(value, np.int32) for name, value in (lengths or {}).items()}
    return Operands(q, k, v, **arrays)


@pytest.mark.parametrize(
    ("feature", "dtype"),
    [
        *((feature, "float16") for feature in ("inputs", "causal", "gqa", "scale", "layout")),
        *((feature, "bfloat16") for feature in ("sizes", "window", "lengths", "cache")),
    ],
)
def test_the_cases_of_a_check_agree(feature: str, dtype: str) -> None:
    # In 16 bits the one case of these that is tried by itself is at an offset, or has a mask.
    row = check_feature(*on_the_cpu(), feature, dtype, deep=feature in ("causal", "gqa"))
    assert row.status == "ok", row
    assert row.cases


FOUND: dict[str, tuple[AttentionSpec, Problem, dict[str, Any]]] = {
    "whole": (AttentionSpec(), SMALL, {}),
    "keys that end early": (AttentionSpec(), SMALL, {"kv_lengths": [3, 12, 7]}),
    "queries that end early": (AttentionSpec(), SMALL, {"q_lengths": [3, 12, 7]}),
    "no keys, no queries": (AttentionSpec(), SMALL, {"q_lengths": [5, 0, 7], "kv_lengths": [0, 5, 9]}),
    "nothing at all": (AttentionSpec(), SMALL, {"q_lengths": [0, 4, 0], "kv_lengths": [3, 0, 0]}),
    "self-attention of a padded batch": (
        AttentionSpec(causal=True),
        SMALL,
        {"q_lengths": [3, 12, 7], "kv_lengths": [3, 12, 7]},
    ),
    "a cache of each": (BOTTOM, replace(SMALL, Tq=4), {"q_lengths": [4, 1, 2], "kv_lengths": [9, 12, 2]}),
    "queries before the first key": (BOTTOM, SMALL, {"q_lengths": [12, 5, 9], "kv_lengths": [3, 5, 1]}),
    "a window": (replace(BOTTOM, window=(3, None)), SMALL, {"q_lengths": [12, 5, 2], "kv_lengths": [12, 7, 12]}),
    # Beyond the longest sequence of keys, where the kernel takes a window for none.
    "a wide window to the right": (
        AttentionSpec(window=(None, 6), align="bottom_right"),
        SMALL,
        {"q_lengths": [12, 12, 9], "kv_lengths": [3, 2, 5]},
    ),
    "a scale below 0": (AttentionSpec(causal=True, scale=-0.3), SMALL, {}),
    "a scale of 0": (AttentionSpec(causal=True, scale=0.0), SMALL, {}),
    "one query over a cache": (AttentionSpec(causal=True), replace(SMALL, Tq=1), {"kv_lengths": [3, 12, 7]}),
}


@pytest.mark.parametrize(("spec", "problem", "lengths"), FOUND.values(), ids=FOUND)
def test_sequences_are_found_and_put_back(spec: AttentionSpec, problem: Problem, lengths: dict[str, Any]) -> None:
    offset = problem.S - 1 if problem.Tq == 1 else None
    held(spec, replace(drawn(lengths, problem), offset=offset))


def test_what_a_token_holds_that_is_in_no_sequence_reaches_nothing() -> None:
    lengths = {"q_lengths": [3, 0, 7], "kv_lengths": [5, 5, 9]}
    clean, dirty = drawn(lengths), drawn(lengths)
    dirty.q[0, :, 3:] = dirty.k[0, :, 5:] = dirty.v[2, :, 9:] = dirty.k[1] = np.nan
    np.testing.assert_array_equal(held(AttentionSpec(), clean), held(AttentionSpec(), dirty))


def test_a_cotangent_of_a_query_without_a_key_comes_through_to_nothing() -> None:
    operands = drawn({"q_lengths": [12, 5, 9], "kv_lengths": [3, 5, 1]})
    d_output = np.ones((3, 4, 12, 6), np.float16)
    d_output[0, :, :9] = d_output[2, :, :8] = d_output[1, :, 5:] = np.nan
    grads = binding_to(BOTTOM, operands, d_output).answer().grads
    assert all(np.isfinite(grad).all() for grad in grads.values())


REFUSED = {
    "keys alone end early": (
        AttentionSpec(causal=True),
        {"kv_lengths": [3, 12, 7]},
        "batch entry 0 has 12",
    ),
    "a window from the left": (
        AttentionSpec(window=(2, 0)),
        {"q_lengths": [2, 3, 4], "kv_lengths": [2, 3, 5]},
        'batch entry 2 has 4 queries and 5 keys at offset 0, .* give align="bottom_right"',
    ),
}


@pytest.mark.parametrize(("spec", "lengths", "words"), REFUSED.values(), ids=REFUSED)
def test_other_positions_are_refused(spec: AttentionSpec, lengths: dict[str, Any], words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        binding_to(spec, drawn(lengths))


def test_lengths_are_looked_at_when_bound_and_again_when_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    from attnbench.impls.torch_backend import varlen

    found: list[object] = []
    honest = varlen.Tokens.between

    def between(*given: Any) -> varlen.Tokens:
        found.append(given[0])
        return honest(*given)

    monkeypatch.setattr(varlen.Tokens, "between", between)
    operands = drawn({"q_lengths": [3, 12, 7], "kv_lengths": [5, 12, 9]})
    binding = binding_to(AttentionSpec(), operands)
    assert len(found) == 2
    first = binding.answer().output.output
    binding.answer()
    assert len(found) == 2
    binding.native.call.kv_lengths.copy_(torch.tensor([4, 12, 9]))
    second = binding.answer().output.output
    assert len(found) == 4
    assert (first[0] != second[0]).any()
    np.testing.assert_array_equal(first[1:], second[1:])


def test_called_by_itself_it_finds_the_sequences_each_time() -> None:
    adapter, kernel = on_the_cpu()
    q, k, v, call = prepare(AttentionSpec(), drawn({"kv_lengths": [3, 12, 7]}))
    q_native, k_native, v_native = (adapter.to_native(x) for x in (q, k, v))
    output = kernel(q_native, k_native, v_native, call.map_arrays(adapter.to_native))
    same("output", adapter.to_numpy(output), reference(q, k, v, call).output, "float16")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda tokens, x, _: tokens.taken(x, x.shape[3]), "multiple of 8"),
        (lambda tokens, x, width: tokens.taken(x, width).float(), "fp16 and bf16"),
    ],
)
def test_the_stand_in_refuses_what_the_kernel_refuses(fault: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from attnbench.impls.torch_backend import varlen

    honest = varlen.Tokens

    class Faulty(honest):  # type: ignore[misc,valid-type]
        def taken(self, x: Any, width: int) -> Any:
            return fault(super(), x, width)

    monkeypatch.setattr(varlen, "Tokens", Faulty)
    with pytest.raises(RuntimeError, match=words):
        binding_to(AttentionSpec(), drawn()).answer()


def test_a_mask_is_wrong_where_the_alignment_is_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    from attnbench.impls.torch_backend import varlen

    monkeypatch.setattr(varlen, "refuse_other_positions", lambda *_: None)
    adapter, kernel = on_the_cpu()
    case = Case(AttentionSpec(causal=True), replace(SMALL, operands=("kv_lengths",)), "forward")
    assert trial(adapter, kernel, case).status == "wrong"


def test_shapes_are_told_without_values_where_lengths_need_none() -> None:
    adapter, _ = resolve("torch/varlen")
    summary = lowered(adapter, "torch/varlen", [], "bfloat16")
    assert summary["failed"] == []
    assert {"sizes", "scale", "window", "cache"} <= set(summary["features"])
    assert {each["feature"] for each in summary["untold"]} == {"lengths"}
    assert "without values" in summary["untold"][0]["reason"]


def test_what_is_declared_is_read_without_triton() -> None:
    """As a compiler it would be in the way of the Triton backend's interpreter."""
    loaded = "from attnbench.backends.discover import load_implementation as load; load('torch/varlen')"
    assert fresh_process(f"import sys; {loaded}; print('triton' in sys.modules)") == "False"


def test_what_it_lacks_has_reasons() -> None:
    _, kernel = resolve("torch/varlen")

    def why(spec: AttentionSpec, operands: Operands, device: str = "cuda", outputs: tuple[str, ...] = ()) -> str:
        call: Call = prepare(spec, operands, outputs)[3]
        return kernel.unsupported(call.needs(device)) or ""

    assert "PyTorch has its kernel for CUDA alone" in why(AttentionSpec(), drawn(), "cpu")
    assert "takes no gradient of the lse" in why(AttentionSpec(), drawn(), outputs=("lse",))
    assert "queries at" in why(AttentionSpec(causal=True), replace(drawn({}, replace(SMALL, S=20)), offset=3))
    segments = {"q_segments": np.zeros((3, 12), np.int32), "kv_segments": np.zeros((3, 12), np.int32)}
    assert "given as batch entries with lengths" in why(AttentionSpec(), drawn(segments))
