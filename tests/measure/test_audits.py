"""Audits: what is drawn, what travels, what is charged, and when somebody is accused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnbench.agree.judge.bounds import Units
from attnbench.agree.judge.verify import judge_a_head
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.attention.precision import Precision, default_precision, numpy_dtype
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends import shelf
from attnbench.backends.bind import inputs_of
from attnbench.measure.audits.charges import charged, evenly
from attnbench.measure.audits.judging import Judging
from attnbench.measure.audits.values import STRUCTURE, partly, renewed
from attnbench.measure.audits.verdict import EXPLAINED, FEWEST, Round, allowed, suspected, unexplained, unlike
from attnbench.suite import Cell
from attnbench.workers.protocol import Reply

PLAIN = Case(AttentionSpec(causal=True), Problem(B=2, Hq=4, Hkv=2, Tq=33, D=8, dtype="float32"), "backward")
MASKED = ("mask", "bias_minus_inf", "kv_lengths")
KINDS = [
    PLAIN,
    Case(AttentionSpec(), Problem(B=2, Hq=2, Tq=33, D=8, operands=MASKED)),
    Case(AttentionSpec(), Problem(B=2, Hq=2, Tq=48, D=8, dtype="bfloat16", operands=("segments", "sinks"))),
    Case(AttentionSpec(score="additive"), Problem(Hq=2, Tq=20, D=8), "backward"),
]


@pytest.mark.parametrize("case", KINDS, ids=lambda case: case.label())
def test_every_operand_is_new_and_what_is_allowed_hardly_changes(case: Case) -> None:
    base = inputs_of(case)
    new = renewed(case, base, seed=91)
    assert new.kind() == base.kind()
    for name, array in new.arrays().items():
        old = base.arrays()[name]
        if name in STRUCTURE:
            assert (array != old).sum() <= 1
        else:
            finite = np.isfinite(old.astype(float)) & (old != 0)
            assert (array != old)[finite].mean() > 0.9
            assert (np.isfinite(array.astype(float)) == np.isfinite(old.astype(float))).all()


@pytest.mark.parametrize("case", KINDS, ids=lambda case: case.label())
def test_a_part_is_one_head_or_row_of_one_operand(case: Case) -> None:
    base = inputs_of(case)
    for seed in range(20):
        part = partly(base, seed).arrays()
        changed = [name for name, array in base.arrays().items() if (array != part[name]).any()]
        assert len(changed) == 1
        differs = part[changed[0]] != base.arrays()[changed[0]]
        assert differs.mean() <= 1 / base.arrays()[changed[0]].shape[0] + 1e-9 or differs.ndim == 1


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_arrays_come_back_as_they_were(tmp_path: Path, dtype: str) -> None:
    arrays = {"a": np.arange(6).reshape(2, 3).astype(numpy_dtype(dtype)), "mask": np.array([[True], [False]])}
    shelf.put(tmp_path / "set", arrays)
    back = shelf.take(tmp_path / "set")
    assert {n: (a.dtype, a.shape, a.tobytes()) for n, a in back.items()} == {
        n: (a.dtype, a.shape, a.tobytes()) for n, a in arrays.items()
    }


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]\n", b'{"a": ["object", [1]]}\nx', b'{"a": ["float32", [9]]}\nx'])
def test_what_is_no_shelf_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "set").write_bytes(text)
    if text == b"{}":
        assert shelf.take(tmp_path / "set") == {}
        return
    with pytest.raises(shelf.ShelfError):
        shelf.take(tmp_path / "set")


def test_the_judge_knows_right_from_wrong_and_new_from_old(tmp_path: Path) -> None:
    from attnbench.backends.attend import resolve
    from attnbench.backends.bind import bind
    from attnbench.measure.audits.calls import audited

    cell = Cell("audits", {}, PLAIN, "numpy/naive")
    judging, kernel = Judging(), resolve("numpy/naive")
    status, _, _ = judging.draw(cell.to_dict(), str(tmp_path), seed=5, groups=2)
    assert status == "ok"
    steps = ["new1", "part1", "new0", "part0"]
    exact = {name: getattr(default_precision("float32"), name) for name in ("accumulate", "softmax", "exp_ulp")}
    for ahead in (False, True):
        call_ns, _, result = audited(bind(*kernel, inputs_of(PLAIN)), tmp_path, steps, ahead=ahead)
        assert len(call_ns) == len(steps)
        assert result is not None

        def judged(number: int, name: str) -> str:
            return judging.judge_answers(cell.id, str(tmp_path), [[f"answer-{number}", name]], exact, [])[0]

        assert [judged(n, name) for n, name in enumerate(steps)] == ["ok"] * 4
        assert judged(0, "new0") == judged(1, "new1") == judged(0, "hot") == "wrong"
    (tmp_path / "rest").write_bytes(b"other")
    assert judging.judge_answers(cell.id, str(tmp_path), [], exact, ["rest", "answer-0"])[0] == "wrong"


def test_gradients_of_one_key_head_are_judged_whole() -> None:
    problem = Problem(Hq=6, Hkv=3, Tq=40, S=48, D=16, dtype="float32")
    inputs = inputs_of(Case(AttentionSpec(causal=True, align="top_left"), problem, phase="backward"))
    grads = reference_vjp(*inputs.qkv, inputs.call, inputs.d_output, inputs.d_lse)
    rounded = {name: array.astype(np.float32) for name, array in grads.items()}
    units = Units.of(Precision(), "float32")

    def bad(given: dict[str, Any], seed: int) -> list[str]:
        return [judgement.tensor for judgement in judge_a_head(given, inputs, units, seed, 1 << 20) if not judgement.ok]

    assert not any(bad(rounded, seed) for seed in range(6))
    for name in "qkv":
        wrong = rounded | {name: rounded[name] * np.float32(1.01)}
        assert all(bad(wrong, seed) == [f"d_{name}"] for seed in range(6))
    zeroed = rounded["k"].copy()
    zeroed[0, 1] = 0
    assert {bool(bad(rounded | {"k": zeroed}, seed)) for seed in range(12)} == {True, False}  # by which head is drawn
    assert bad(rounded | {"k": zeroed[:, :2]}, 0) == ["d_k"]
    assert judge_a_head(rounded, inputs, units, 0, most=100) == ()


def rounds(*shares: float) -> list[Round]:
    return [Round(share * 1e-3, 1e-3, 0.9e-3) for share in shares]


def test_nobody_is_accused_by_few_rounds_or_by_rounds_that_disagree() -> None:
    assert not suspected(rounds(0.96))
    assert suspected(rounds(0.88))
    assert not suspected(rounds(0.8, 1.1))
    assert suspected(rounds(0.1, 2.5))  # more than all of its work does not make up for less
    assert unexplained(rounds(*[0.1] * (FEWEST - 1))) is None
    assert unexplained(rounds(0.5, 0.6, 0.7, 0.5, 0.9, 0.9, 1.0)) is None
    assert "1.00 ms on values that it had not seen" in (unexplained(rounds(*[0.1] * (FEWEST - 1), 1.2)) or "")


def test_the_shortest_times_of_all_rounds_may_explain_each_other() -> None:
    noisy = [Round(1e-3, 1.3e-3 - 0.05e-3 * i, 1.3e-3 - 0.05e-3 * (FEWEST - 1 - i)) for i in range(FEWEST)]
    assert all(round_.share < EXPLAINED for round_ in noisy[:2] + noisy[-2:])
    assert not suspected(noisy)
    assert unexplained(noisy) is None
    busy = [Round(0.1e-3, 1e-3, 1e-3), *[Round(0.1e-3, 0.1e-3, 0.1e-3, running=0.3)] * 2, *rounds(*[0.1] * 4)]
    assert suspected(busy)
    assert unexplained(busy)


# Rounds of honest kernels that were seen beside five busy processes on two processors, in ms: hot, new, part, running.
CROWDED = [
    [
        (1.916, 3.136, 1.873, 0.521), (1.960, 3.004, 1.796, 0.498), (1.867, 2.963, 1.767, 0.349),
        (1.839, 2.418, 1.760, 0.415), (1.950, 3.070, 1.821, 0.512), (1.900, 1.728, 2.403, 0.404),
        (1.874, 1.730, 1.748, 0.502),
    ],
    [
        (2.068, 1.752, 3.301, 0.546), (2.070, 2.014, 1.756, 0.499), (2.082, 3.195, 1.797, 0.532),
        (2.185, 1.833, 2.859, 0.475), (2.099, 3.037, 1.867, 0.513), (2.098, 1.997, 1.769, 0.482),
        (2.074, 2.903, 1.836, 0.487),
    ],
]  # fmt: skip


@pytest.mark.parametrize("seen", CROWDED)
def test_where_no_round_is_quiet_the_shortest_times_of_all_must_deny_it(seen: list[tuple[float, ...]]) -> None:
    honest = [Round(1e-3 * hot, 1e-3 * new, 1e-3 * part, 0.112e-3, running) for hot, new, part, running in seen]
    assert unexplained(honest) is None
    assert not suspected(honest)
    cheat = [replace(round_, burst_s=0.5 * round_.burst_s) for round_ in honest]
    assert suspected(cheat)
    assert unexplained(cheat)


def test_what_is_allowed_never_explains_a_large_gain() -> None:
    assert allowed(2**10, "cpu", ahead=True) < allowed(2**10, "cpu", ahead=False) < allowed(2**26, "cpu", ahead=False)
    round_ = Round(1e-3, 10e-3, 10e-3, allowed(2**30, "cpu", ahead=False))
    assert round_.share == pytest.approx(0.25)


def test_time_that_the_process_does_not_tell_is_charged_to_its_calls() -> None:
    def audit(told_ns: list[int], cpu_s: float, idle_cpu_s: float) -> list[float]:
        reply = Reply(1, "ok", value={"call_ns": told_ns}, took_s=1.0, cpu_s=cpu_s)
        return charged(reply, Reply(2, "ok", took_s=1.0, cpu_s=idle_cpu_s), len(told_ns), 1000, threads=1)

    assert audit([10_000_000] * 4, 0.045, 0.005) == [0.01] * 4
    assert audit([1000] * 4, 0.045, 0.005) == pytest.approx([0.01] * 4)
    assert audit([1000] * 4, 0.045, 9.0)[0] > 0.005  # however long an audit without calls is said to take
    assert audit([-5] * 4, 0.045, 0.005) == pytest.approx([0.01] * 4)


def test_one_call_that_works_for_all_the_others_is_shared_among_them() -> None:
    said = [0.08, *[1e-5] * 39]
    audited, idle = Reply(1, "ok", took_s=0.1, cpu_s=0.1), Reply(2, "ok", took_s=0.02, cpu_s=0.005)
    assert 0.0018 < evenly(said, audited, idle, 1000, threads=1) <= sum(said) / 40
    assert evenly(said, Reply(1, "ok", took_s=0.1, cpu_s=0.01), idle, 1000, threads=1) == 0.0  # it only waited


def test_bursts_that_count_are_those_beside_an_audit() -> None:
    beside = rounds(*[1.0] * FEWEST)
    assert unlike(0.9e-3, beside) is None
    assert unlike(0.5e-3, beside[:3]) is None
    assert "beside its audit" in (unlike(0.5e-3, beside) or "")
