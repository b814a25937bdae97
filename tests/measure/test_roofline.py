import itertools

import pytest

from attnbench.api.suites import AttentionSpec, Case, Problem
from attnbench.attention.call import prepare
from attnbench.attention.inputs import draw
from attnbench.attention.oracle import reference
from attnbench.measure.clock import roofline
from attnbench.workers.protocol import Ceilings


def counted(case: Case, offset: int) -> int:
    """Allowed pairs by looking at each."""
    p, spec = case.problem, case.spec
    left, right = spec.window or (None, None)
    pairs = 0
    for i, j in itertools.product(range(p.Tq), range(p.S)):
        distance = j - (i + offset)
        allowed = not (spec.causal and distance > 0)
        allowed = allowed and (left is None or distance >= -left) and (right is None or distance <= right)
        pairs += allowed
    return pairs * p.B


@pytest.mark.parametrize("align", ["top_left", "bottom_right"])
@pytest.mark.parametrize(("tq", "s"), [(5, 5), (3, 8), (8, 3)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [None, (2, 0), (0, 1), (None, 2), (3, None)])
def test_allowed_pairs_are_those_one_counts(
    window: tuple[int | None, int | None] | None, causal: bool, tq: int, s: int, align: str
) -> None:
    case = Case(AttentionSpec(causal=causal, window=window, align=align), Problem(B=2, Tq=tq, S=s))
    offset = s - tq if align == "bottom_right" else 0
    assert roofline.allowed(case)[0] == counted(case, offset)


def test_work_of_plain_attention() -> None:
    p = Problem(B=2, Hq=4, Hkv=2, Tq=8, S=16, D=32, Dv=64)
    work = roofline.work(Case(AttentionSpec(), p))
    assert work.flops == 2 * 2 * 4 * 8 * 16 * (32 + 64)
    assert work.min_bytes == 4 * (2 * 4 * 8 * (32 + 64) + 2 * 2 * 16 * (32 + 64))


def test_backward_costs_two_and_a_half_forwards_more() -> None:
    forward, backward = (Case(AttentionSpec(), Problem(Tq=8), phase) for phase in ("forward", "backward"))
    assert roofline.work(backward).flops == 3.5 * roofline.work(forward).flops


def test_a_drawn_offset_and_a_cache_are_counted_where_they_stand() -> None:
    cached = Case(AttentionSpec(causal=True), Problem(Tq=1, S=9, operands=("past",)), "decode")
    assert roofline.allowed(cached) == (9, 9)
    drawn = Case(AttentionSpec(causal=True), Problem(B=3, Tq=4, S=9, operands=("offsets",)))
    assert 0 <= roofline.allowed(drawn)[0] <= 3 * 4 * 9


def test_the_fraction_is_of_the_binding_ceiling() -> None:
    case = Case(AttentionSpec(), Problem(Tq=8))
    work = roofline.work(case)
    far = {"float32_flop_rate": 1e30, "float64_flop_rate": 1.0, "copy_bytes_rate": 1e30, "exp_rate": 1e30}
    for name, least, limit in (
        ("float32_flop_rate", work.flops, "product"),
        ("copy_bytes_rate", work.min_bytes, "copy"),
        ("exp_rate", work.exponentials, "exp"),
    ):
        columns = roofline.columns(case, 4.0, Ceilings(far | {name: least}))
        assert (columns["roofline_fraction"], columns["roofline_limit"]) == (pytest.approx(0.25), limit)
    assert "flop_rate" not in roofline.columns(case, None, Ceilings(far))


def test_without_a_ceiling_of_its_dtype_there_is_no_fraction() -> None:
    rates = {"float32_flop_rate": 8.0, "copy_bytes_rate": 1.0}
    assert "roofline_fraction" not in roofline.columns(
        Case(AttentionSpec(), Problem(dtype="float64")), 1.0, Ceilings(rates)
    )
    # 16-bit products are held against those in float32 where these are faster.
    half = Case(AttentionSpec(), Problem(dtype="bfloat16"))
    slow = Ceilings(rates | {"bfloat16_flop_rate": 2.0, "copy_bytes_rate": 1e30})
    assert roofline.columns(half, 1.0, slow)["roofline_fraction"] == roofline.work(half).flops / 8


def test_exponentials_are_the_softmax_and_every_tanh() -> None:
    p = Problem(B=1, Hq=2, Hkv=2, Tq=3, S=5, Da=7)
    assert roofline.work(Case(AttentionSpec(), p)).exponentials == 2 * 15
    assert roofline.work(Case(AttentionSpec(softcap=2.0), p)).exponentials == 2 * 15 * 2
    assert roofline.work(Case(AttentionSpec(score="additive"), p)).exponentials == 2 * 15 * 8


def test_the_better_of_two_frameworks_is_the_ceiling() -> None:
    assert Ceilings({"a": 1.0, "b": 5.0}).better(Ceilings({"b": 2.0, "c": 3.0})).rates == {"a": 1.0, "b": 5.0, "c": 3.0}


def looked_at(case: Case) -> tuple[int, int]:
    """Pairs and keys by the oracle's own allowed set (Hq = 1, so that it is that of the batch entry)."""
    q, k, v, call = prepare(case.spec, draw(case.spec, case.problem))
    allowed = reference(q, k, v, call).allowed[:, 0]
    return int(allowed.sum()), int(allowed.any(1).sum())


@pytest.mark.parametrize(
    ("spec", "operands"),
    [
        ({}, ("kv_lengths",)),
        ({"causal": True, "align": "bottom_right"}, ("kv_lengths", "q_lengths")),
        ({"causal": True, "window": (3, 0), "align": "top_left"}, ("q_lengths",)),
        ({}, ("segments",)),
        ({"causal": True, "align": "top_left"}, ("segments", "kv_lengths")),
        ({"causal": True}, ("offset_negative",)),
        ({"causal": True}, ("offsets_negative",)),
        ({"causal": True, "window": (4, 0)}, ("past",)),
        ({}, ("kv_lengths_edges", "q_lengths_edges", "segments_edges")),
        ({"causal": True}, ("offsets_edges", "kv_lengths_edges")),
        ({"causal": True}, ("offset_minus_2",)),
    ],
)
def test_lengths_segments_and_offsets_are_counted_as_what_is_needed(
    spec: dict[str, object], operands: tuple[str, ...]
) -> None:
    for seed in range(4):
        case = Case(AttentionSpec(**spec), Problem(B=3, Tq=9, S=13, D=4, seed=seed, operands=operands))  # type: ignore[arg-type]
        assert roofline.allowed(case) == looked_at(case)


def test_a_bias_is_read_where_a_pair_is_allowed_and_shared_ones_once() -> None:
    def bytes_of(**more: object) -> float:
        case = Case(AttentionSpec(causal=True), Problem(B=2, Hq=3, Tq=8, D=4, **more))  # type: ignore[arg-type]
        return roofline.work(case).min_bytes

    plain = bytes_of()
    assert bytes_of(operands=("bias",)) - plain == 4 * 2 * 3 * 36
    assert bytes_of(operands=("bias_heads",)) - plain == 4 * 3 * 64
    assert bytes_of(operands=("mask",)) - plain == 2 * 3 * 36
    assert bytes_of(operands=("bias_low",)) - plain == 4 * 2 * 3 * 36
    assert bytes_of(operands=("bias_low_keys",)) - plain == 4 * 2 * 8
    assert bytes_of(operands=("bias_batch",)) - plain == 4 * 2 * 64
    assert bytes_of(operands=("bias_rows",)) == bytes_of(operands=("bias_shared",)) == plain + 4 * 8
    assert bytes_of(operands=("mask_batch",)) == bytes_of(operands=("mask_single",)) == plain + 2 * 36
    assert (bytes_of(operands=("mask_pairs",)) - plain, bytes_of(operands=("mask_head_keys",)) - plain) == (64, 48)
    assert bytes_of(operands=("bias_pairs",)) - plain == 4 * 64
    assert bytes_of(operands=("bias_head_keys",)) - plain == 4 * 24
    assert bytes_of(operands=("mask_tile",)) - plain == 2 * 3 * 36
    assert (bytes_of(operands=("mask_shared",)) - plain, bytes_of(operands=("mask_rows",)) - plain) == (8, 16)
    # One k and v for both batch entries.
    assert bytes_of(operands=("layout_expanded",)) - plain == -4 * 8 * 3 * (4 + 4)
