import itertools

import pytest

from attnbench.api import AttentionSpec, Case, Problem
from attnbench.measure import roofline
from attnbench.measure.protocol import Ceilings


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
    compute_bound = Ceilings(sgemm_flop_rate=work.flops, dgemm_flop_rate=1.0, copy_bytes_rate=1e30)
    assert roofline.columns(case, 2.0, compute_bound)["roofline_fraction"] == pytest.approx(0.5)
    memory_bound = Ceilings(sgemm_flop_rate=1e30, dgemm_flop_rate=1.0, copy_bytes_rate=work.min_bytes)
    assert roofline.columns(case, 4.0, memory_bound)["roofline_fraction"] == pytest.approx(0.25)
    assert "flop_rate" not in roofline.columns(case, None, memory_bound)
