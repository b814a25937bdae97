"""What is held out is wrong where its sentence says, right elsewhere, and the twins are sound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the torch extra is not installed")

from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.judge.trial import trial
from attnbench.agree.mutants.conditional.recipes import BY_FEATURE
from attnbench.attention.call import Operands
from attnbench.attention.precision import DTYPES
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import load_backend
from tests.agree import held_out
from tests.agree.held_out import HeldOut, of_numpy, of_torch
from tests.agree.judging import judged

# Where each can be seen: a case, or a sequence of which the last is wrong.
SHOWN: dict[str, list[str]] = {
    "numpy/TileStartForgotten": ["causal Tq=260 D=8"],
    "numpy/GroupOfFive": ["Hq=10 Hkv=2 Tq=5"],
    "numpy/WindowRightFalsy": ["window=[2,0] Tq=9"],
    "numpy/EmptySequenceMean": ["B=4 Tq=3 S=2 operands=kv_lengths"],
    "numpy/OneQuerySeesAll": ["causal align=top_left Tq=1 S=9"],
    "numpy/LastOfManyKeys": ["Tq=1 S=3100 D=8"],
    "numpy/HeadsBeyondTwentyFour": ["Hq=26 Tq=3"],
    "numpy/MaskOfTheSeventh": ["B=8 Tq=5 operands=mask"],
    "numpy/QueryGradientOfCausalBfloat16": ["backward causal Tq=17 dtype=bfloat16"],
    "numpy/KeyGradientOfGroupsFloat16": ["backward Hq=6 Hkv=2 Tq=9 dtype=float16"],
    "numpy/WindowBesideSoftcap": ["softcap=2.0 window=[2,2] Tq=17"],
    "numpy/BiasBesideKeyMask": ["Tq=9 operands=bias,mask_keys"],
    "numpy/NegativeOffsetOfOneEntry": ["causal B=3 Tq=9 operands=offsets_negative"],
    "numpy/OffsetInEightBits": ["causal align=bottom_right Tq=3 S=203"],
    "numpy/SegmentOfLastKey": ["B=2 Tq=17 operands=segments"],
    "numpy/HeadSizeCut": ["Tq=5 D=170"],
    "numpy/WideValuesInBfloat16": ["Tq=5 D=8 Dv=16"],
    "numpy/CausalMaskKept": ["causal align=top_left Tq=5 S=9", "causal align=bottom_right Tq=5 S=9"],
    "numpy/LseBesideMask": ["Tq=50 operands=mask outputs=lse"],
    "numpy/LseBaseTwoIn16Bits": ["Tq=5 dtype=float16 outputs=lse"],
    "numpy/LargeCapForgotten": ["softcap=30 Tq=9 D=64 distribution=peaky"],
    "numpy/ScaleFalsy": ["scale=0.0 Tq=1 S=9"],
    "numpy/QueryLengthOnTileEdge": ["B=40 Tq=33 S=5 operands=q_lengths"],
    "numpy/DeadRowsOfLastTile": ["Tq=70 S=9 operands=mask_dead_rows"],
    "numpy/HiddenTileCounts": ["Tq=9 S=33 operands=mask"],
    "numpy/KeyBiasGradientOfOneHead": ["backward Hq=6 Tq=5 operands=bias_keys"],
    "numpy/ValueGradientOfOddSize": ["backward Tq=5 D=8 Dv=6"],
    "numpy/LongSumInBfloat16": ["Tq=2 S=1600 dtype=bfloat16"],
    "numpy/SlopesOfOddHeadCounts": ["Hq=3 Tq=9 operands=slopes"],
    "numpy/TallCausalGradient": ["backward causal align=bottom_right Tq=9 S=3"],
    "numpy/CausalGroupsOfManyQueries": ["causal Hq=4 Hkv=2 Tq=540"],
    "numpy/OtherSizeReusesBuffer": ["Tq=3 S=9", "Tq=3 S=2"],
    "torch/values_cut_in_float16": ["backward Hq=8 Hkv=2 Tq=5 dtype=float16"],
    "torch/tril_of_negative_offset": ["causal align=bottom_right Tq=90 S=20"],
    "torch/filled_with_the_smallest": ["B=3 Tq=7 operands=mask_dead_rows"],
    "torch/window_left_of_zero": ["causal window=[0,2] Tq=9"],
    "torch/bias_of_rows_cut": ["backward Tq=5 S=60 operands=bias_keys"],
    "torch/last_chunk_of_heads": ["Hq=16 Hkv=8 Tq=5"],
}
BY_HAND = {"numpy/LowBiasOverflows", "numpy/SinkClipped"}
KERNELS = {one.name: one for one in (*of_numpy(), *of_torch())}


def test_there_are_enough_of_them() -> None:
    faulty = {name for name, one in KERNELS.items() if not one.sound}
    assert faulty == {*SHOWN, *BY_HAND}
    assert len(faulty) >= 30
    assert len(KERNELS) - len(faulty) >= 10
    assert all(one.says.endswith(".") for one in KERNELS.values())


@pytest.mark.parametrize("name", SHOWN)
def test_each_is_wrong_where_it_says_and_right_elsewhere(name: str) -> None:
    one = KERNELS[name].make()
    backend = load_backend(one.backend)
    *before, last = [case_from_text(text) for text in SHOWN[name]]
    assert trial(backend, one, case_from_text("backward B=2 Hq=2 Tq=9 D=8")).status == "ok"
    for case in before:
        assert trial(backend, one, case).status == "ok"
    failed = trial(backend, one, last)
    assert failed.status == "wrong"
    assert failed.fault != "exception", failed.reason


def _operands(**more: Any) -> Operands:
    q = np.random.default_rng(0).standard_normal((1, 2, 5, 8)).astype(np.float32)
    return replace(Operands(q, q[:, :, ::-1].copy(), q + 1), **more)


def test_a_low_bias_overflows() -> None:
    bias = np.zeros((1, 1, 5, 5), np.float32)
    one = KERNELS["numpy/LowBiasOverflows"].make()
    assert judged(one, AttentionSpec(), _operands(bias=bias))["output"].ok
    bias[..., 2:] = np.finfo(np.float32).min
    assert not judged(one, AttentionSpec(), _operands(bias=bias))["output"].ok


def test_a_large_sink_is_clipped() -> None:
    one = KERNELS["numpy/SinkClipped"].make()
    assert judged(one, AttentionSpec(), _operands(sinks=np.full(2, 5, np.float32)))["output"].ok
    assert not judged(one, AttentionSpec(), _operands(sinks=np.full(2, 12, np.float32)))["output"].ok


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name, one in KERNELS.items() if one.sound])
def test_the_twins_are_sound(name: str, dtype: str) -> None:
    """In small cases of what they declare; the program asks the whole check."""
    one = KERNELS[name].make()
    declared = [feature for feature in BY_FEATURE if getattr(one.capabilities, feature, False) is True]
    cases = [case.with_problem(dtype=dtype) for feature in ("sizes", *declared) for case in BY_FEATURE[feature]]
    found = [trial(load_backend(one.backend), one, case) for case in cases]
    assert {"ok"} <= {each.status for each in found} <= {"ok", "unsupported"}, [each.reason for each in found]


def test_gradients_that_are_stored_before_they_are_added_may_underflow_each() -> None:
    """PyTorch rounds the gradient of each query head of a group to float16, and then adds them."""
    one = KERNELS["torch/sound_groups"].make()
    case = (
        "backward scale=none Hq=12 Hkv=3 Tq=1 S=511 D=96 Dv=192 dtype=float16 seed=564728876 "
        "operands=layout_padded,wanted_qkv,zero_cotangent"
    )
    found = trial(load_backend("torch"), one, case_from_text(case))
    assert found.status == "ok", found.reason


@dataclass(frozen=True)
class Fake:
    """A kernel whose outcome is given."""

    name: str
    sound: bool
    found_in: str | None
    says: str = "What is wrong."

    def found(self) -> str | None:
        return self.found_in


@pytest.mark.parametrize(
    ("kernels", "status", "last"),
    [
        ([Fake("a", False, "mask"), Fake("b", True, None)], 0, "found 1 of 1 faults; accused 0 of 1 sound ones"),
        ([Fake("a", False, None), Fake("b", True, None)], 1, "found 0 of 1 faults; accused 0 of 1 sound ones"),
        ([Fake("a", False, "mask"), Fake("b", True, "x")], 1, "found 1 of 1 faults; accused 1 of 1 sound ones"),
    ],
)
def test_the_program_counts(
    kernels: list[HeldOut],
    status: int,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(held_out, "BACKENDS", {"numpy": lambda: kernels})
    assert held_out.main([]) == status
    assert capsys.readouterr().out.splitlines()[-1] == last
