"""The cases of ``attnbench check`` have power: a kernel that forgets the feature, or gets it slightly wrong, is seen.

For each case some wrong readings of its feature are answered exactly, by the oracle, and the answer is judged as if a
kernel had given it. Every one must lie at least ten times farther from the truth than what agrees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.cases.by_feature import FEATURES, CheckCase, check_cases
from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands
from attnbench.attention.inputs import draw, draw_cotangents
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from tests.agree.judging import moved

POWER = 10.0
ALL = check_cases("float32", deep=True)
BACKWARD = [check_case.case for check_case in ALL if check_case.case.phase == "backward"]
# Without those that are tried once more without their backward pass.
CASES = [
    check_case
    for check_case in ALL
    if replace(check_case.case, phase="backward") not in BACKWARD or check_case.case.phase == "backward"
]
Wrong = tuple[str, AttentionSpec, Operands]


def _with(o: Operands, name: str, array: Array | None) -> Operands:
    changed: dict[str, Any] = {name: array}
    return replace(o, **changed)


def _scale_a_little_off(spec: AttentionSpec, o: Operands) -> Wrong:
    return "scale 1/√(D + 1)", replace(spec, scale=1 / np.sqrt(o.q.shape[3] + 1)), o


def _without_last_key(spec: AttentionSpec, o: Operands) -> Wrong:
    return "last key dropped", spec, replace(o, mask=np.arange(o.k.shape[2]) < o.k.shape[2] - 1)


def _sizes(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    yield _without_last_key(spec, o)
    if o.k.shape[2] > 1:
        yield "first key dropped", spec, replace(o, mask=np.arange(o.k.shape[2]) > 0)
        yield _scale_a_little_off(spec, o)


def _inputs(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    yield _without_last_key(spec, o)
    if np.abs(o.q).max() < 1000:  # one-hot rows do not read the scale
        yield _scale_a_little_off(spec, o)
    yield "heads swapped", spec, replace(o, v=o.v[:, ::-1])


def _scale(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    yield "scale missing", replace(spec, scale=None), o
    if isinstance(spec.scale, float) and spec.scale:
        yield "scale by its size", replace(spec, scale=spec.scale * 1.01), o


def _head_scale(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    assert isinstance(spec.scale, tuple)
    yield "scale of the first head for all", replace(spec, scale=spec.scale[0]), o
    yield "heads in reverse", replace(spec, scale=spec.scale[::-1]), o


def _log_n(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    yield "ln n forgotten", replace(spec, scale=None), o
    yield "all keys counted", replace(spec, scale=float(np.log(o.k.shape[2]) / np.sqrt(o.q.shape[3]))), o


def _offset_of(spec: AttentionSpec, o: Operands) -> Any:
    if o.offset is not None:
        return o.offset
    return o.k.shape[2] - o.q.shape[2] if spec.align == "bottom_right" else 0


def _positions(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    plain, offset = replace(spec, align=None), _offset_of(spec, o)
    if spec.causal:
        yield "causal forgotten", replace(plain, causal=False), replace(o, offset=offset)
    for step in (-1, 1):
        yield f"positions {step:+d}", plain, replace(o, offset=offset + step)
    if spec.align is not None:
        yield (
            "the other corner",
            plain,
            replace(o, offset=0 if spec.align == "bottom_right" else o.k.shape[2] - o.q.shape[2]),
        )
    if isinstance(offset, np.ndarray):
        yield "offset of the first entry for all", plain, replace(o, offset=int(offset[0]))


def _window(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    yield from _positions(spec, o)
    yield "window forgotten", replace(spec, window=None), o
    assert spec.window is not None
    left, right = spec.window
    for step in (-1, 1):
        if left is not None:
            yield f"left side {step:+d}", replace(spec, window=(left + step, right)), o
        if right is not None and not spec.causal:
            yield f"right side {step:+d}", replace(spec, window=(left, right + step)), o


def _mask(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    assert o.mask is not None
    yield "mask forgotten", spec, replace(o, mask=None)
    yield "polarity", spec, replace(o, mask=~o.mask)
    if spec.causal:
        yield "causal forgotten beside the mask", replace(spec, causal=False), o
    if o.mask.ndim == 4 and o.mask.shape[0] > 1:
        yield "mask of batch 0 for all", spec, replace(o, mask=o.mask[:1])
    if o.mask.ndim == 4 and o.mask.shape[1] > 1:
        yield "mask of head 0 for all", spec, replace(o, mask=o.mask[:, :1])


def _bias(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    assert o.bias is not None
    yield "bias forgotten", spec, replace(o, bias=None)
    if o.bias.shape[0] > 1:
        yield "bias of batch 0 for all", spec, replace(o, bias=o.bias[:1])
    if o.bias.shape[1] > 1:
        yield "bias of head 0 for all", spec, replace(o, bias=o.bias[:, :1])
    if np.isinf(o.bias).any():
        yield "minus infinity read as 0", spec, replace(o, bias=np.where(np.isinf(o.bias), np.float32(0), o.bias))


def _lengths(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    for name in ("kv_lengths", "q_lengths"):
        lengths = getattr(o, name)
        if lengths is not None:
            longest = o.k.shape[2] if name == "kv_lengths" else o.q.shape[2]
            yield f"{name} forgotten", spec, _with(o, name, None)
            yield f"{name} of the first entry for all", spec, _with(o, name, np.full_like(lengths, lengths[0]))
            yield f"{name} + 1", spec, _with(o, name, np.minimum(lengths + 1, longest))
            yield f"{name} - 1", spec, _with(o, name, np.maximum(lengths - 1, 0))


def _segments(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    assert o.kv_segments is not None
    yield "segments forgotten", spec, replace(o, q_segments=None, kv_segments=None)
    yield "segments one key late", spec, replace(o, kv_segments=np.roll(o.kv_segments, 1, 1))


def _nan_isolation(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    if spec.causal:
        yield "causal forgotten", replace(spec, causal=False), o
    else:
        yield "kv_lengths forgotten", spec, replace(o, kv_lengths=None)
        yield "q_lengths forgotten", spec, replace(o, q_lengths=None)


def _nan_reached(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    for name in "qkv":
        array = getattr(o, name)
        if np.isnan(array).any():
            yield f"NaN in {name} read as 0", spec, _with(o, name, np.nan_to_num(array))
            yield f"NaN all over {name}", spec, _with(o, name, np.full_like(array, np.nan))


def _gqa(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    heads, shared = o.q.shape[1], o.k.shape[1]
    if shared > 1:
        tiled = np.arange(heads) % shared
        yield "tile instead of repeat", spec, replace(o, k=o.k[:, tiled], v=o.v[:, tiled])
        yield "heads reversed", spec, replace(o, k=o.k[:, ::-1], v=o.v[:, ::-1])
    yield _without_last_key(spec, o)


def _softcap(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    assert spec.softcap is not None
    yield "cap forgotten", replace(spec, softcap=None), o
    yield "cap doubled", replace(spec, softcap=2 * spec.softcap), o


def _without(name: str) -> Callable[[AttentionSpec, Operands], Iterator[Wrong]]:
    def wrong(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
        yield f"{name} forgotten", spec, _with(o, name, None)
        yield f"{name} in reverse", spec, _with(o, name, getattr(o, name)[::-1].copy())

    return wrong


def _dropout(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    assert o.keep is not None
    yield "dropout forgotten", replace(spec, dropout=0.0), replace(o, keep=None)
    yield "polarity", spec, replace(o, keep=~o.keep)
    yield "not rescaled", replace(spec, dropout=1e-12), o


def _plain(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    yield _scale_a_little_off(spec, o)


def _cache(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    assert o.past_k is not None
    assert o.past_v is not None
    past = o.past_k.shape[2]
    k, v = np.concatenate([o.past_k, o.k], 2), np.concatenate([o.past_v, o.v], 2)
    joined = replace(o, past_k=None, past_v=None, k=k, v=v)
    yield "offset forgotten", spec, replace(joined, offset=0)
    yield "offset + 1", spec, replace(joined, offset=past + 1)
    yield "offset - 1", spec, replace(joined, offset=past - 1)
    behind = replace(joined, k=np.roll(k, -past, 2), v=np.roll(v, -past, 2), offset=past)
    yield "cache behind the new keys", spec, behind


def _learned(spec: AttentionSpec, o: Operands) -> Iterator[Wrong]:
    params = o.params
    assert params is not None
    yield "parameters of head 0 for all", spec, replace(o, params={n: p[:1] for n, p in params.items()})
    for name, param in params.items():
        yield f"{name} changed by 1 %", spec, replace(o, params={**params, name: param * np.float32(1.01)})
    if spec.score == "general":
        yield "W transposed", spec, replace(o, params={"W": np.swapaxes(params["W"], 1, 2)})
    if spec.score == "concat":
        halves = np.split(params["W"], 2, 1)
        yield "halves swapped", spec, replace(o, params={**params, "W": np.concatenate(halves[::-1], 1)})
    if spec.softcap is not None:
        yield "cap forgotten", replace(spec, softcap=None), o


WRONG: dict[str, Callable[[AttentionSpec, Operands], Iterator[Wrong]]] = {
    "sizes": _sizes, "inputs": _inputs, "scale": _scale, "head_scale": _head_scale, "log_n": _log_n,
    "causal": _positions, "batch_offset": _positions, "window": _window, "mask": _mask, "bias": _bias,
    "lengths": _lengths, "segments": _segments, "nan_isolation": _nan_isolation, "nan_reached": _nan_reached,
    "gqa": _gqa, "softcap": _softcap,
    "sinks": _without("sinks"), "slopes": _without("slopes"), "dropout": _dropout, "lse": _plain, "stages": _plain,
    "cache": _cache, "layout": _plain,
    "general": _learned, "additive": _learned, "concat": _learned, "cosine": _learned,
}  # fmt: skip


def name_of(check_case: CheckCase) -> str:
    return f"{check_case.feature}-{check_case.case.label().replace(' ', '_')}"


def test_every_feature_of_the_table_has_wrong_readings() -> None:
    assert set(WRONG) == set(FEATURES)


@pytest.mark.parametrize("check_case", CASES, ids=name_of)
def test_a_wrong_reading_of_the_feature_is_far_outside_the_bound(check_case: CheckCase) -> None:
    case = check_case.case
    tried = 0
    for what, spec, operands in WRONG[check_case.feature](case.spec, draw(case.spec, case.problem)):
        ratios = moved(case, spec, operands)
        forward = max(ratio for name, ratio in ratios.items() if not name.startswith("d_"))
        backward = max((ratio for name, ratio in ratios.items() if name.startswith("d_")), default=np.inf)
        assert max(forward, backward) >= POWER, f"{what} moves nothing by more than {ratios}"
        tried += 1
        if case.problem.distribution == "huge" and case.problem.S == 2:
            continue  # one-hot rows, there for overflow: a saturated softmax passes hardly any gradient
        assert backward >= POWER, f"{what} moves no gradient by more than {ratios}"
        assert forward >= 5, f"{what} moves no output by more than {ratios}"
    assert tried


@pytest.mark.parametrize("check_case", CASES, ids=name_of)
def test_the_right_answer_lies_within_the_bound(check_case: CheckCase) -> None:
    assert (
        max(moved(check_case.case, check_case.case.spec, draw(check_case.case.spec, check_case.case.problem)).values())
        <= 1
    )


def cases_of(feature: str) -> list[Case]:
    return [check_case.case for check_case in CASES if check_case.feature == feature]


@pytest.mark.parametrize("case", [case for case in cases_of("lse") if case.gradients], ids=Case.label)
def test_a_cotangent_of_lse_that_is_ignored_is_seen(case: Case) -> None:
    d_lse = draw_cotangents(case)[1]
    assert d_lse is not None
    ratios = moved(case, case.spec, draw(case.spec, case.problem), d_lse=0 * d_lse)
    assert min(ratios["d_q"], ratios["d_k"]) >= POWER
    assert max(ratios["output"], ratios["lse"]) <= 1


@pytest.mark.parametrize("case", [check_case.case for check_case in CASES if check_case.case.outputs], ids=Case.label)
def test_every_output_that_is_asked_for_moves_by_itself(case: Case) -> None:
    for what, spec, operands in _plain(case.spec, draw(case.spec, case.problem)):
        ratios = moved(case, spec, operands)
        assert min(ratios[name] for name in case.outputs) >= POWER, what


def test_stages_cannot_be_taken_for_each_other() -> None:
    case = next(case for case in cases_of("stages") if case.spec.softcap)
    operands = draw(case.spec, case.problem)
    uncapped = moved(case, replace(case.spec, softcap=None), operands)
    assert uncapped["capped"] >= POWER
    assert uncapped["scores"] <= 1
    without_bias = moved(case, case.spec, replace(operands, bias=None))
    assert without_bias["logits"] >= POWER
    assert without_bias["capped"] <= 1
    without_mask = moved(case, case.spec, replace(operands, mask=None))
    assert without_mask["logits"] == np.inf
    assert without_mask["weights"] >= POWER


@pytest.mark.parametrize("case", cases_of("gqa"), ids=Case.label)
def test_gradients_of_the_first_head_of_a_group_alone_are_seen(case: Case) -> None:
    d_output = draw_cotangents(case)[0]
    d_output[:, np.arange(case.problem.Hq) % (case.problem.Hq // case.problem.Hkv) > 0] = 0
    ratios = moved(case, case.spec, draw(case.spec, case.problem), d_output)
    assert min(ratios["d_k"], ratios["d_v"]) >= POWER


def test_an_answer_kept_from_an_earlier_call_of_the_same_shape_is_seen() -> None:
    first, second = cases_of("sizes")[:2]
    assert replace(second.problem, seed=first.problem.seed, operands=()) == first.problem
    assert moved(second, first.spec, draw(first.spec, first.problem))["output"] >= POWER


def test_cotangents_are_zero_in_places_where_others_are_not() -> None:
    cases = [check_case.case for check_case in CASES if "zero_cotangent" in check_case.case.problem.operands]
    assert {case.outputs for case in cases} == {(), ("lse",)}
    for case in cases:
        d_output, d_lse = draw_cotangents(case)
        silent = (d_output == 0).all(-1)
        assert silent.any()
        assert not silent.all()
        assert d_lse is None or (d_lse[silent] != 0).all()
        assert silent.all(-1).any() == (case.problem.B > 1)  # a whole head


def test_offsets_lie_before_the_first_key_too() -> None:
    drawn = [draw(case.spec, case.problem).offset for case in cases_of("causal") + cases_of("batch_offset")]
    numbers = [offset for offset in drawn if isinstance(offset, int)]
    assert min(numbers) < 0 < max(numbers)
    far = next(offset for offset in drawn if isinstance(offset, np.ndarray) and offset[0] < -(65 + 33))
    assert far[1:].min() > -33  # and some of the others do


@pytest.mark.parametrize("kind", ["mask_dead_rows", "nan_cotangent", "garbage", "nan"])
def test_dead_rows_and_poison_are_really_there(kind: str) -> None:
    cases = [check_case.case for check_case in CASES if kind in check_case.case.problem.operands]
    assert cases
    for case in cases:
        operands = draw(case.spec, case.problem)
        if kind == "mask_dead_rows":
            assert operands.mask is not None
            assert (~operands.mask.any(-1)).any()
        elif kind == "nan_cotangent":
            assert np.isnan(draw_cotangents(case)[0]).any()
        else:
            clean = draw(case.spec, replace(case.problem, operands=tuple(set(case.problem.operands) - {kind})))
            assert not np.array_equal(clean.k, operands.k, equal_nan=True)
            assert moved(case, case.spec, clean)["output"] <= 1


def test_sizes_lie_on_both_sides_of_the_edges_of_tiles() -> None:
    problems: list[Problem] = [case.problem for case in cases_of("sizes")]
    lengths = {p.S for p in problems} | {p.Tq for p in problems}
    assert {1, 15, 16, 17, 31, 33, 64, 65, 127, 129, 257} <= lengths
    assert {p.D for p in problems} >= {1, 3, 8, 40, 64, 128}
    assert any(p.S % 32 == 1 for p in problems)
