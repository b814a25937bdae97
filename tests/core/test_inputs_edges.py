"""Operands at the boundaries are what they are said to be, in every dtype; who ignores them answers something else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands, prepare
from attnbench.attention.inputs import draw, draw_cotangents, drawn
from attnbench.attention.inputs_edges import EDGES
from attnbench.attention.oracle import Reference, reference
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.attention.precision import DTYPES, LARGEST, numpy_dtype
from attnbench.attention.problem import OPERAND_GROUPS, Case, Problem
from attnbench.attention.spec import AttentionSpec

PLAIN, CAUSAL = AttentionSpec(), AttentionSpec(causal=True)
SIZES: dict[str, Any] = {"B": 3, "Hq": 4, "Hkv": 2, "Tq": 33, "S": 65, "D": 8}
SEEDS = range(12)


def operand(kind: str, name: str, **changes: Any) -> Any:
    """One drawn operand."""
    return getattr(draw(PLAIN, Problem(**{**SIZES, **changes}, operands=(kind,))), name)


def float64(kind: str, name: str, **changes: Any) -> Array:
    array: Array = operand(kind, name, **changes).astype(np.float64)
    return array


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", EDGES)
def test_floats_have_the_dtype_and_are_finite(kind: str, dtype: str) -> None:
    for name, array in draw(PLAIN, Problem(**SIZES, dtype=dtype, operands=(kind,))).arrays().items():
        if array.dtype.kind in "biu":
            continue
        assert array.dtype == numpy_dtype(dtype), name
        assert np.isfinite(array.astype(np.float64)).all() or name == "sinks", name


def test_masks_of_every_broadcast() -> None:
    shapes = {"mask_batch": (3, 1, 33, 65), "mask_shared": (1, 1, 1, 65), "mask_rows": (3, 1, 33, 1)}
    shapes |= {"mask_single": (3, 1, 33, 65), "mask_tile": (3, 4, 33, 65)}
    shapes |= {"mask_pairs": (1, 1, 33, 65), "mask_head_keys": (3, 4, 1, 65)}
    for kind, shape in shapes.items():
        mask = operand(kind, "mask")
        assert (mask.shape, mask.dtype) == (shape, bool), kind
    assert 0.6 < operand("mask_batch", "mask").mean() < 0.8


def test_biases_of_every_broadcast() -> None:
    shapes = {"bias_batch": (3, 1, 33, 65), "bias_shared": (1, 1, 1, 65), "bias_rows": (1, 1, 33, 1)}
    shapes |= {"bias_pairs": (1, 1, 33, 65), "bias_head_keys": (1, 4, 1, 65)}
    for kind, shape in shapes.items():
        bias = float64(kind, "bias")
        assert bias.shape == shape, kind
        assert 0.5 < bias.std() < 1.5, kind


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mask_of_few_is_neither_empty_nor_full(seed: int) -> None:
    for kind, axis in (("mask_shared", -1), ("mask_rows", 2)):
        mask = operand(kind, "mask", Tq=2, S=2, seed=seed)
        assert (mask.sum(axis) == 1).all(), kind
        assert operand(kind, "mask", Tq=1, S=1, seed=seed).all(), kind


def test_mask_single_has_one_key_in_each_row_and_not_always_the_same() -> None:
    mask = operand("mask_single", "mask")
    assert (mask.sum(-1) == 1).all()
    assert len(np.unique(mask.argmax(-1))) > 20


def test_mask_tile_has_a_tile_of_keys_and_one_of_rows_that_are_empty() -> None:
    mask = operand("mask_tile", "mask")
    assert not mask[..., 32:64].any()
    assert not mask[:, :, 16:32].any()
    assert mask[..., :16, :32].any((2, 3)).all()
    assert mask[..., :16, 64:].any()
    short = operand("mask_tile", "mask", Tq=9, S=20)
    assert not short[..., :10].any()
    assert not short[:, :, :3].any()
    assert short[:, :, 3:, 10:].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_bias_low_is_low_in_single_keys_and_in_whole_rows(dtype: str) -> None:
    lowest, low = -LARGEST[dtype], -4000.0
    bias = float64("bias_low", "bias", dtype=dtype)
    assert bias.shape == (3, 4, 33, 65)
    whole = (bias < low).all(-1)
    assert whole.any(-1).all()  # in every head
    assert 0.1 < whole.mean() < 0.35
    single = bias[~whole]
    assert 0.2 < (single < low).mean() < 0.3
    assert (single == lowest).mean() > 0.06
    assert ((single < low) & (single > -21000)).mean() > 0.06
    around = (single < -4.9e8) & (single > -2.1e9)
    assert around.mean() > 0.06 or dtype == "float16"
    assert len(np.unique(single[around])) > 20 or dtype == "float16"  # never one constant
    at_the_end = (bias[whole] == lowest).all(-1)
    assert 0.2 < at_the_end.mean() < 0.8
    near = bias[whole][~at_the_end]
    assert (near > -21000).all()
    assert (np.ptp(near, axis=-1) < 8 + 2 * 128).all()  # N(0, 1), in steps of up to 128
    if dtype in ("float64", "float32"):
        assert np.allclose(near.std(-1), 1, atol=0.4)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("tq", "s"), [(1, 1), (2, 1), (2, 2), (5, 3), (40, 4)])
def test_bias_low_leaves_every_other_row_an_ordinary_key_of_its_first(tq: int, s: int, seed: int) -> None:
    bias = float64("bias_low", "bias", Tq=tq, S=s, seed=seed)
    low = bias < -4000
    whole = low.all(-1)
    assert whole.any(-1).all() or tq == 1
    first = np.arange(s) <= np.arange(tq)[:, None]
    alike = (bias == -LARGEST["float32"]).all(-1) | ((bias > -21000) & low).all(-1)
    assert (np.any(~low & first, axis=-1) | (whole & alike)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(3))
def test_bias_low_keys_is_low_in_some_keys_of_every_entry(seed: int, dtype: str) -> None:
    low = float64("bias_low_keys", "bias", dtype=dtype, seed=seed) < -4000
    assert low.shape == (3, 1, 1, 65)
    assert 0.1 < low.mean() < 0.4
    few = float64("bias_low_keys", "bias", dtype=dtype, seed=seed, S=2) < -4000
    assert (few.sum(-1) == 1).all()
    assert not (float64("bias_low_keys", "bias", dtype=dtype, seed=seed, S=1) < -4000).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_at_the_end_of_the_dtype_weighs_its_keys_alike(dtype: str) -> None:
    """In float16 its lowest number takes in no score: there they weigh as if it had no bias."""
    bias = float64("bias_low", "bias", dtype=dtype)
    rows = (bias == -LARGEST[dtype]).all(-1)
    operands = draw(PLAIN, Problem(**SIZES, dtype=dtype, operands=("bias_low",)))
    weights = reference(*prepare(PLAIN, operands)).weights[rows]
    unbiased = reference(*prepare(PLAIN, replace(operands, bias=None))).weights[rows]
    np.testing.assert_allclose(weights, unbiased if dtype == "float16" else 1 / 65, rtol=1e-9)


def test_offsets_stand_before_at_and_behind_the_keys() -> None:
    assert (operand("offset_minus_1", "offset"), operand("offset_minus_2", "offset")) == (-1, -2)
    below = {operand("offset_below", "offset", seed=seed) for seed in range(40)}
    beyond = {operand("offset_beyond", "offset", seed=seed) for seed in range(40)}
    assert (min(below), max(below), len(below)) == (-50, -41, 10)
    assert (min(beyond), max(beyond), len(beyond)) == (66, 75, 10)
    edges = operand("offsets_edges", "offset", B=7).tolist()
    assert {0, -1, -2, 65 - 33, -16} < set(edges)
    assert (-50 <= min(edges) <= -41, 66 <= max(edges) <= 75) == (True, True)
    assert len({operand("offsets_edges", "offset", B=1, seed=seed)[0] for seed in range(60)}) > 6


@pytest.mark.parametrize(
    ("kind", "name", "size"), [("q_lengths_edges", "q_lengths", "Tq"), ("kv_lengths_edges", "kv_lengths", "S")]
)
def test_lengths_stand_on_edges(kind: str, name: str, size: str) -> None:
    seen = set()
    for seed in SEEDS:
        lengths = operand(kind, name, B=6, seed=seed, **{size: 300})
        assert {0, 1, 299, 300} < set(lengths.tolist())
        seen |= set(lengths.tolist())
        short = operand(kind, name, B=6, seed=seed, **{size: 2})
        assert set(short.tolist()) == {0, 1, 2}
        assert operand(kind, name, B=6, seed=seed, **{size: 0}).tolist() == [0] * 6
    assert seen >= {256, 257, 288, 289}
    assert len({operand(kind, name, B=1, seed=seed)[0] for seed in range(30)}) > 3


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("tq", "s"), [(33, 65), (65, 65), (20, 20), (7, 300), (200, 9), (6, 4)])
def test_segments_have_one_key_cross_a_tile_and_have_none(tq: int, s: int, seed: int) -> None:
    ids = drawn(Problem(B=3, Tq=tq, S=s, seed=seed, operands=("segments_edges",)), "segments")
    for queries, keys in zip(ids["q_segments"], ids["kv_segments"], strict=True):
        assert (np.diff(queries) >= 0).all()
        assert (np.diff(keys) >= 0).all()
        assert (keys == 1).sum() == 1
        assert (queries == 1).any()
        assert (queries == 3).any()
        assert not (keys == 3).any()
        across = np.flatnonzero(keys == 2)
        if s >= 18:
            assert any(edge - 1 in across and edge in across for edge in range(16, s, 16))
        assert (queries == 2).any()
        if tq == s:
            same = queries != 3
            np.testing.assert_array_equal(queries[same], keys[same])


@pytest.mark.parametrize("size", [0, 1, 2, 3])
def test_segments_of_few(size: int) -> None:
    ids = [drawn(Problem(Tq=size, S=size, seed=seed, operands=("segments_edges",)), "segments") for seed in range(40)]
    assert {drawn["q_segments"].shape for drawn in ids} == {(1, size)} == {drawn["kv_segments"].shape for drawn in ids}
    assert len({id_ for drawn in ids for id_ in drawn["q_segments"].ravel().tolist()}) == (5 if size else 0)


def test_sinks_are_none_large_small_and_zero_in_turn() -> None:
    sinks = operand("sinks_edges", "sinks", Hq=5, Hkv=1).tolist()
    assert sorted(sinks[:4]) == [-np.inf, -30, 0, 30]
    assert sinks[4] == sinks[0]
    assert len({operand("sinks_edges", "sinks", Hq=1, Hkv=1, seed=seed)[0] for seed in range(40)}) == 4


def test_the_poison_stands_where_masks_leave_nothing() -> None:
    for kind in ("mask_shared", "mask_tile", "mask_rows"):
        operands = draw(PLAIN, Problem(**SIZES, operands=(kind, "nan")))
        assert operands.mask is not None
        mask = np.broadcast_to(operands.mask, (3, 4, 33, 65))
        np.testing.assert_array_equal(np.isnan(operands.k[:, 0, :, 0]), ~mask.any((1, 2)), err_msg=kind)
        np.testing.assert_array_equal(np.isnan(operands.v[:, 1, :, 0]), ~mask.any((1, 2)), err_msg=kind)
        np.testing.assert_array_equal(np.isnan(operands.q[..., 0]), ~mask.any(-1), err_msg=kind)
        assert np.isnan(operands.q).any() or np.isnan(operands.k).any()
    for kind in ("kv_lengths_edges", "q_lengths_edges"):
        operands = draw(PLAIN, Problem(**SIZES, operands=(kind, "garbage")))
        array, lengths = (operands.k, operands.kv_lengths) if kind[0] == "k" else (operands.q, operands.q_lengths)
        assert lengths is not None
        np.testing.assert_array_equal(array[:, 0, :, 0] == 1e4, np.arange(array.shape[2]) >= lengths[:, None])


@pytest.mark.parametrize("kind", ["mask_rows", "mask_tile", "q_lengths_edges", "segments_edges"])
def test_the_cotangent_of_rows_without_a_key_is_nan(kind: str) -> None:
    problem = Problem(**SIZES, operands=(kind, "nan_cotangent"))
    d_output, _ = draw_cotangents(Case(PLAIN, problem, "backward"))
    dead = ~reference(*prepare(PLAIN, draw(PLAIN, problem))).allowed.any(-1)
    assert dead.any()
    assert not dead.all()
    np.testing.assert_array_equal(np.isnan(d_output[..., 0]), dead)


def answered(kind: str, dtype: str) -> tuple[Reference, Reference]:
    """The oracle's answer, and the one where the operand is ignored."""
    spec = CAUSAL if kind in OPERAND_GROUPS["offset"] else PLAIN
    operands = draw(spec, Problem(**SIZES, dtype=dtype, operands=(kind,)))
    group = next(group for group, kinds in OPERAND_GROUPS.items() if kind in kinds)
    names = ("q_segments", "kv_segments") if group == "segments" else (group,)
    ignored: Operands = replace(operands, **dict.fromkeys(names, 0 if group == "offset" else None))
    return reference(*prepare(spec, operands)), reference(*prepare(spec, ignored))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", EDGES)
def test_who_ignores_it_gives_another_answer(kind: str, dtype: str) -> None:
    right, other = answered(kind, dtype)
    assert np.isfinite(right.output).all()
    with np.errstate(invalid="ignore"):
        moved = np.abs(right.output - other.output).max((1, 2, 3))
        lse = np.nan_to_num(np.abs(right.lse - other.lse), nan=0.0, posinf=9.0)
    if kind == "bias_rows":  # the same for all keys of a row
        assert moved.max() < 1e-9
        assert np.median(lse) > 0.3
        return
    assert (moved > 0.1).sum() >= (1 if kind in ("kv_lengths_edges", "q_lengths_edges", "offsets_edges") else 3)
    assert lse.max() > 0.1


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sink_of_minus_infinity_is_none_in_the_oracle(dtype: str) -> None:
    """In values, in every gradient, and in rows without a key."""
    problem = Problem(B=2, Hq=2, Tq=5, S=7, D=4, dtype=dtype, operands=("mask_dead_rows", "bias"))
    case = Case(PLAIN, problem, "backward", ("lse",))
    operands = draw(PLAIN, problem)
    none = replace(operands, sinks=np.full(2, -np.inf).astype(numpy_dtype(dtype)))
    given, expected = (reference(*prepare(PLAIN, drawn, ("lse",))) for drawn in (none, operands))
    for name in ("output", "lse", "weights"):
        np.testing.assert_array_equal(getattr(given, name), getattr(expected, name))
    grads, without = (
        reference_vjp(*prepare(PLAIN, drawn, ("lse",)), *draw_cotangents(case)) for drawn in (none, operands)
    )
    np.testing.assert_array_equal(grads.pop("sinks"), 0)
    for name, grad in without.items():
        np.testing.assert_array_equal(grads[name], grad)
