"""The Triton backend, interpreted on the CPU: few small cases, since each takes the interpreter most of a second."""

from __future__ import annotations

import ast
from dataclasses import replace

import numpy as np
import pytest

import attnbench as ab
from attnbench.api.suites import AttentionSpec, Problem
from attnbench.backends.discover import backend
from attnbench.precheck.triton.interpreted import FORWARD, REVERSED, in_order, watch
from attnbench.precheck.triton.regions import Regions
from tests.impls.against_oracle import check_both_ways, check_forward, fresh_process

if (why := backend("triton").why_missing()) is not None:
    pytest.skip(why, allow_module_level=True)

SMALL = Problem(B=1, Hq=2, Hkv=1, Tq=35, S=50, D=5, Dv=3, dtype="float32", seed=4)
BOTTOM = AttentionSpec(causal=True, align="bottom_right")
GRADIENTS = {
    "positions": (replace(BOTTOM, window=(20, None)), replace(SMALL, operands=("sinks",))),
    "lengths": (BOTTOM, replace(SMALL, B=2, Hq=1, operands=("q_lengths", "kv_lengths", "segments"))),
    "added": (
        AttentionSpec(softcap=2.0, align="top_left"),
        replace(SMALL, operands=("bias_minus_inf", "slopes", "mask_dead_rows")),
    ),
    "half": (AttentionSpec(scale=(0.3, -0.2)), replace(SMALL, dtype="float16")),
}


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several tiles each way, so that edges and middles of the keys are walked over."""
    from attnbench.impls.triton_backend import tiles

    def of(kernel: str, q: object, v: object, rules: object) -> tiles.TileSize:
        del q, v, rules
        return tiles.TileSize(16, 32 if kernel == "keys" else 16, 4, 1, 16, 16)

    monkeypatch.setattr(tiles, "of", of)


@pytest.mark.parametrize(("spec", "problem"), GRADIENTS.values(), ids=GRADIENTS)
def test_flash_agrees_with_the_oracle_both_ways(spec: AttentionSpec, problem: Problem) -> None:
    check_both_ways("triton/flash", spec, problem)


@pytest.mark.parametrize("shape", [(1, 1, 1, 50), (1, 2, 35, 1), (1, 1, 1, 1), (2, 1, 35, 50)])
def test_the_gradient_of_a_bias_is_summed_over_what_shares_it(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(2, h, t, 4)).astype(np.float32) for h, t in ((2, 35), (1, 50), (1, 50)))
    bias, d_output = (rng.normal(size=size).astype(np.float32) for size in (shape, q.shape))
    d_lse = np.abs(d_output).sum(-1)  # without it the gradients of a row are 0 in sum
    each = (ab.vjp(q, k, v, d_output, d_lse, impl=impl, bias=bias) for impl in ("triton/flash", "numpy/naive"))
    seen, expected = (gradients["bias"] for gradients in each)
    np.testing.assert_allclose(seen, expected, atol=1e-5 * np.abs(expected).max())


def test_decode_merges_parts_as_if_they_were_one() -> None:
    spec = replace(BOTTOM, window=(60, None), softcap=2.0)
    problem = replace(SMALL, Hq=6, Hkv=2, Tq=3, S=100, operands=("sinks", "bias", "kv_lengths", "slopes"))
    check_forward("triton/decode", spec, replace(problem, B=2), ("lse",))


def low_bias(tq: int, keys: int) -> np.ndarray:
    """A row of the lowest number, one of a low number that has a few larger ones, and one with an ordinary key."""
    lowest = np.finfo(np.float32).min
    bias = np.full((1, 1, tq, keys), lowest, np.float32)
    bias[..., 1, :5] = -3e38
    bias[..., 2, -1] = 0.5
    return bias


def test_a_row_whose_bias_is_the_lowest_number_attends_to_all_its_keys() -> None:
    # As libraries write the mask of padding. Over ln 2, the units of kernels, that number would be -inf.
    rng = np.random.default_rng(2)
    q, k, v = (rng.normal(size=(1, h, t, 8)).astype(np.float32) for h, t in ((2, 3), (1, 40), (1, 40)))
    for impl in ("triton/flash", "triton/decode"):
        out = ab.attend(q, k, v, impl=impl, bias=low_bias(3, 40), outputs=("lse",))
        rows = v[:, :, :].mean(2), v[:, :, :5].mean(2), v[:, :, -1]
        for row, expected in enumerate(rows):
            np.testing.assert_allclose(out.output[:, :, row], np.repeat(expected, 2, 1), rtol=1e-5, atol=1e-7)
        assert np.isfinite(out.lse).all()
    d_output = rng.normal(size=q.shape).astype(np.float32)
    each = (ab.vjp(q, k, v, d_output, impl=impl, bias=low_bias(3, 40)) for impl in ("triton/flash", "numpy/naive"))
    seen, expected_gradients = each
    for name, gradient in expected_gradients.items():
        np.testing.assert_allclose(seen[name], gradient, rtol=1e-4, atol=1e-5 * np.abs(gradient).max(), err_msg=name)


def test_a_nan_beside_a_bias_is_seen_in_lse() -> None:
    q = np.ones((1, 1, 3, 8), np.float32)
    q[..., 1, :] = np.nan
    for impl in ("triton/flash", "triton/decode"):
        out = ab.attend(q, np.ones_like(q), np.ones_like(q), impl=impl, bias=low_bias(3, 3), outputs=("lse",))
        assert np.isnan(out.lse[0, 0]).tolist() == [False, True, False]


def test_a_row_that_does_not_exist_has_the_sink_for_its_lse() -> None:
    x = np.ones((1, 1, 5, 4), np.float32)
    given = {"q_lengths": np.array([2], np.int32), "sinks": np.array([0.5], np.float32)}
    for impl in ("triton/flash", "triton/decode"):
        out = ab.attend(x, x, x, impl=impl, outputs=("lse",), **given)
        np.testing.assert_allclose(out.lse[0, 0, 2:], 0.5, rtol=1e-6)
        assert not out.output[0, 0, 2:].any()


def test_a_sink_of_minus_infinity_is_none_in_a_row_without_a_key_too() -> None:
    x = np.ones((1, 1, 3, 4), np.float32)
    given = {"q_lengths": np.array([2], np.int32), "sinks": np.array([-np.inf], np.float32)}
    assert ab.vjp(x, x, x, x, impl="triton/flash", **given)["sinks"] == 0


def test_positions_as_far_as_the_spec_has_them() -> None:
    x = np.ones((1, 1, 3, 4), np.float32)
    far = AttentionSpec(causal=True, window=(2**30, 2**30))
    for offset, seen in ((2**30, True), (-(2**30), False), (np.array([2**30]), True), (np.array([-(2**30)]), False)):
        for impl in ("triton/flash", "triton/decode"):
            output = ab.attend(x, x, x, impl=impl, spec=far, offset=offset).output
            assert (output == 1).all() if seen else not output.any()


def test_the_same_call_has_the_same_bits() -> None:
    rng = np.random.default_rng(1)
    q, k, v = (rng.normal(size=(1, h, 40, 8)).astype(np.float16) for h in (2, 1, 1))
    seen = []
    for order in (FORWARD, REVERSED):  # sums by atomics would come in another order
        with watch(Regions(), in_order(order)):
            seen.append(ab.vjp(q, k, v, q, impl="triton/flash"))
    for name in "qkv":
        np.testing.assert_array_equal(seen[0][name], seen[1][name])


def test_what_it_takes_on_the_cpu_has_reasons() -> None:
    x = np.zeros((1, 1, 1025, 4), np.float32)
    with pytest.raises(ab.UnsupportedError, match="interpreter runs the kernel step by step"):
        ab.attend(x, x, x, impl="triton/flash")
    with pytest.raises(ab.UnsupportedError, match="interpreter multiplies bfloat16 wrongly"):
        ab.attend(*[x[:, :, :2].astype("bfloat16")] * 3, impl="triton/flash")
    with pytest.raises(ab.UnsupportedError, match="triton/flash takes more queries"):
        ab.attend(x[:, :, :65], x[:, :, :2], x[:, :, :2], impl="triton/decode")


LAUNCHED = """
from attnbench.agree.cases.case_text import case_from_text
from attnbench.backends.attend import load_backend
from attnbench.backends.bind import bind_case
from attnbench.backends.discover import load_implementation
from attnbench.precheck.triton.launches import LaunchRecorder, call_once
from attnbench.precheck.triton.standin import standing_in

cases = {
    "flash": "backward B=1 Hq=1 Tq=64 S=64 D=128 dtype=float16",
    "decode": "B=1 Hq=1 Tq=1 S=64 D=64 dtype=float32",
}
recorder = LaunchRecorder()
for name, case in cases.items():
    with standing_in("sm_90", call_once), recorder.recording():
        implementation = load_implementation(f"triton/{name}", [])
        bind_case(load_backend("triton"), implementation, case_from_text(case), "cpu").result()
said = {}
for launch in recorder.launches:
    parts = [part.partition("=") for part in launch.says.split(", ")]
    said[launch.name] = [int(value) for name, _, value in parts if name.startswith(("BLOCK_M", "BLOCK_N", "num_"))]
print(said)
"""


def test_a_precheck_compiles_the_tiles_that_a_gpu_is_given() -> None:
    from attnbench.impls.triton_backend.table import TABLE

    half, wide = TABLE[90]["half"], TABLE[90]["wide"]
    kernels = {
        "attend_tile": half["forward"][128],
        "gradients_of_queries": half["queries"][128],
        "gradients_of_keys": half["keys"][128],
        "attend_part": wide["decode"][64],
    }
    said = ast.literal_eval(fresh_process(LAUNCHED, TRITON_INTERPRET="0"))
    assert {name: tuple(said[name]) for name in kernels} == kernels


def test_nothing_is_left_in_the_environment_of_a_user() -> None:
    program = (
        "import os; from attnbench.backends.discover import backend; "
        "print(backend('triton').load().devices(), repr(os.environ['TRITON_INTERPRET']))"
    )
    assert fresh_process(program, TRITON_INTERPRET="") == "('cpu',) ''"


def test_triton_that_is_imported_as_a_compiler_is_told() -> None:
    program = (
        "import triton, triton.language; from attnbench.errors import UsageError\n"
        "try:\n    import attnbench.impls.triton_backend.importing\nexcept UsageError as error:\n    print(error)"
    )
    said = fresh_process(program, TRITON_INTERPRET="")
    assert said.startswith("Triton is imported already in this process, as a compiler")
    assert said.endswith("start another process, with TRITON_INTERPRET=1 python YOUR_PROGRAM")
