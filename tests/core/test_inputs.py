from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from attnbench.attention.call import Operands, prepare
from attnbench.attention.checked import param_shapes
from attnbench.attention.inputs import default_params, draw, draw_cotangents, stream
from attnbench.attention.oracle import reference
from attnbench.attention.precision import DTYPES, SMALLEST_NORMAL, numpy_dtype
from attnbench.attention.problem import DISTRIBUTIONS, OPERAND_GROUPS, OPERAND_KINDS, Case, Problem
from attnbench.attention.spec import SCORES, AttentionSpec

SIZES: dict[str, Any] = {"B": 2, "Hq": 4, "Hkv": 2, "Tq": 33, "S": 65, "D": 16, "Dv": 8}
RICH = ("bias", "mask", "kv_lengths", "q_lengths", "segments", "sinks", "slopes", "offsets")
PLAIN = AttentionSpec()
PINNED_NORMALS = [-0.21986011292859325, -0.06166214286281243, -0.8946729111328322]


def digest(operands: Operands) -> str:
    """Of every bit of every operand."""
    sha = hashlib.sha256()
    for name, array in sorted(operands.arrays().items()):
        sha.update(f"{name} {array.dtype} {array.shape} ".encode() + array.tobytes())
    return sha.hexdigest()


CODE = """
from attnbench.attention.inputs import draw
from attnbench.attention.problem import Problem
from attnbench.attention.spec import AttentionSpec
from tests.core.test_inputs import RICH, SIZES, digest
print(digest(draw(AttentionSpec("additive", dropout=0.5), Problem(**SIZES, dtype="bfloat16", operands=RICH))))
"""


def test_another_process_draws_the_same_bits() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    root = __file__.rpartition("/tests/")[0]
    child = subprocess.run(
        [sys.executable, "-c", CODE], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    digested = digest(draw(AttentionSpec("additive", dropout=0.5), Problem(**SIZES, dtype="bfloat16", operands=RICH)))
    assert child.stdout.strip() == digested


def test_the_values_are_pinned() -> None:
    # NumPy promises PCG64's bits, and these are stored with every result that they explain.
    np.testing.assert_allclose(stream(0, "q").standard_normal(3), PINNED_NORMALS, rtol=1e-15)


@pytest.mark.parametrize("kind", sorted(set(OPERAND_KINDS) - {*OPERAND_GROUPS["poison"], "past", "layout_expanded"}))
def test_one_more_operand_leaves_the_others_alone(kind: str) -> None:
    plain, more = (draw(PLAIN, Problem(**SIZES, operands=kinds)).arrays() for kinds in ((), (kind,)))
    for name, array in plain.items():
        np.testing.assert_array_equal(more[name], array, err_msg=name)


def test_a_score_or_a_dtype_does_not_change_the_draw() -> None:
    plain, other = draw(PLAIN, Problem(**SIZES)), draw(AttentionSpec("cosine", dropout=0.5), Problem(**SIZES))
    np.testing.assert_array_equal(plain.q, other.q)
    exact = draw(PLAIN, Problem(**SIZES, dtype="float64"))
    for dtype in DTYPES:
        np.testing.assert_array_equal(
            draw(PLAIN, Problem(**SIZES, dtype=dtype)).k, exact.k.astype(numpy_dtype(dtype)), err_msg=dtype
        )


def test_seeds_and_operands_have_streams_of_their_own() -> None:
    first, other = draw(PLAIN, Problem(S=16)), draw(PLAIN, Problem(S=16, seed=1))
    assert not np.isclose(first.q, other.q).any()
    assert not np.isclose(first.q, first.k).any()
    assert not np.isclose(first.k, first.v).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_every_distribution_is_finite_in_every_dtype(distribution: str, dtype: str) -> None:
    operands = draw(PLAIN, Problem(**SIZES, dtype=dtype, distribution=distribution))
    for name in "qkv":
        array = getattr(operands, name)
        assert array.dtype == numpy_dtype(dtype)
        assert np.isfinite(array.astype(np.float64)).all()
        assert (array != 0).mean() > 0.98, f"{name} was lost in rounding"


def wide(distribution: str) -> Operands:
    return draw(PLAIN, Problem(B=2, Hq=4, Tq=64, S=128, D=32, dtype="float64", distribution=distribution))


def test_distributions_do_what_they_say() -> None:
    normal = wide("normal")
    for name in "qkv":
        array = getattr(normal, name)
        assert abs(array.mean()) < 5 / np.sqrt(array.size)
        assert abs(array.std() - 1) < 5 / np.sqrt(array.size)
    np.testing.assert_array_equal(wide("peaky").q, 8 * normal.q)
    np.testing.assert_array_equal(wide("peaky").k, normal.k)
    np.testing.assert_array_equal(wide("huge").q, 1000 * normal.q)
    np.testing.assert_array_equal(wide("large_mean").v, 100 + normal.v)
    uniform = wide("uniform")
    assert all(getattr(uniform, name).min() >= 0 and getattr(uniform, name).max() < 1 for name in "qkv")
    assert abs(uniform.q.mean() - 0.5) < 0.01


def test_huge_logits_lie_beyond_the_range_of_exp() -> None:
    q, k = wide("huge").q, wide("huge").k
    logits = q @ np.swapaxes(k, -1, -2) / np.sqrt(32)
    assert (logits.max(-1) > 89).mean() > 0.9  # exp(89) overflows float32
    assert (logits.max(-1) > 710).mean() > 0.5  # exp(710) overflows float64


def test_outliers_stand_in_one_channel_of_queries_and_keys() -> None:
    outliers, normal = wide("outliers"), wide("normal")
    factors = {name: getattr(outliers, name) / getattr(normal, name) for name in "qkv"}
    channels = {int(np.argmax(factors[name][0, 0, 0])) for name in "qk"}
    assert len(channels) == 1
    for name in "qk":
        others = np.delete(factors[name], channels.pop() if name == "k" else min(channels), axis=-1)
        np.testing.assert_allclose(others, 1)
        assert np.isclose(factors[name].max(), np.sqrt(30))
    np.testing.assert_allclose(factors["v"], 1)


def test_near_ties_are_near_and_no_ties() -> None:
    k = wide("near_ties").k
    spread = k.std(2) / k.std()
    assert 0 < spread.min() <= spread.max() < 0.01


@pytest.mark.parametrize("dtype", DTYPES)
def test_denormal_values_lie_below_the_smallest_normal_number(dtype: str) -> None:
    v = np.abs(draw(PLAIN, Problem(**SIZES, dtype=dtype, distribution="denormal")).v.astype(np.float64))
    assert (v < SMALLEST_NORMAL[dtype]).mean() > 0.99
    assert v.max() > 0


def test_masks_forbid_something_and_not_everything() -> None:
    for kind in ("mask", "mask_keys"):
        mask = draw(PLAIN, Problem(**SIZES, operands=(kind,))).mask
        assert mask is not None
        assert 0.5 < mask.mean() < 0.9
    dead = draw(PLAIN, Problem(**SIZES, operands=("mask_dead_rows",))).mask
    assert dead is not None
    assert (~dead[::3]).all()
    assert dead[1::3].any(-1).all()


def test_poison_stands_exactly_where_no_key_and_no_query_is() -> None:
    for kind, is_poison in (("nan", np.isnan), ("garbage", lambda x: x == 1e4)):
        operands = draw(PLAIN, Problem(**SIZES, operands=("kv_lengths", "q_lengths", kind), seed=1))
        assert operands.kv_lengths is not None
        assert operands.q_lengths is not None
        lengths = {"q": operands.q_lengths, "k": operands.kv_lengths, "v": operands.kv_lengths}
        for name, limit in lengths.items():
            array = getattr(operands, name)
            beyond = np.arange(array.shape[2])[None, :] >= limit[:, None]
            expected = np.broadcast_to(beyond[:, None, :, None], array.shape)
            np.testing.assert_array_equal(is_poison(array), expected, err_msg=name)
            assert expected.any()
    masked = draw(PLAIN, Problem(**SIZES, operands=("mask_keys", "nan")))
    assert masked.mask is not None
    np.testing.assert_array_equal(np.isnan(masked.v[:, 0, :, 0]), ~masked.mask[:, 0, 0])
    last = draw(PLAIN, Problem(**SIZES, operands=("nan_last_key",)))
    assert np.isnan(last.k[:, :, -1]).all()
    assert not np.isnan(last.k[:, :, :-1]).any()


def test_cotangents() -> None:
    problem = Problem(**SIZES, dtype="bfloat16", operands=("mask_dead_rows", "q_lengths", "nan_cotangent"))
    d_output, d_lse = draw_cotangents(Case(PLAIN, problem, "backward", ("lse",)))
    assert d_lse is not None
    assert (d_output.shape, d_output.dtype.name) == ((2, 4, 33, 8), "bfloat16")
    assert (d_lse.shape, d_lse.dtype.name) == ((2, 4, 33), "float32")
    call = prepare(PLAIN, draw(PLAIN, problem))[3]
    dead = np.zeros((2, 33), bool)
    dead[:, ::3] = True
    dead |= np.arange(33)[None] >= call.q_lengths[:, None]
    np.testing.assert_array_equal(np.isnan(d_output.astype(np.float32))[:, 0, :, 0], dead)
    assert draw_cotangents(Case(PLAIN, problem, "backward"))[1] is None


def test_keep_has_the_probability_asked_for() -> None:
    keep = draw(AttentionSpec(dropout=0.25), Problem(**SIZES)).keep
    assert keep is not None
    assert abs(keep.mean() - 0.75) < 5 * np.sqrt(0.25 * 0.75 / keep.size)


def test_the_cache_is_the_beginning_of_the_same_keys() -> None:
    whole, split = draw(PLAIN, Problem(**SIZES)), draw(PLAIN, Problem(**SIZES, operands=("past",)))
    assert split.past_k is not None
    assert split.past_v is not None
    np.testing.assert_array_equal(np.concatenate([split.past_k, split.k], 2), whole.k)
    np.testing.assert_array_equal(np.concatenate([split.past_v, split.v], 2), whole.v)
    assert split.k.shape[2] == 33


@pytest.mark.parametrize("score", SCORES)
def test_parameters_keep_scores_of_order_one(score: str) -> None:
    spec = AttentionSpec(score)
    params = default_params(spec, heads=3, d=64, hidden=48)
    assert {n: p.shape[1:] for n, p in params.items()} == param_shapes(score, 64, 48)
    problem = Problem(Hq=3, Tq=32, S=32, D=64, Da=48)
    drawn = draw(spec, problem)
    result = reference(*prepare(spec, drawn, ("scores",)))
    assert 0.2 < result.scores.std() < 10


def test_slopes_are_those_of_alibi() -> None:
    slopes = draw(PLAIN, Problem(Hq=8, operands=("slopes",))).slopes
    assert slopes is not None
    assert slopes.tolist() == [2.0**-n for n in range(1, 9)]
