"""No right method is faster than its floor: what is counted, what is not, and a kernel that has not done the work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest

from attnbench.api.suites import AttentionSpec, Case, Problem, Story, TimedSuite
from attnbench.backends import discover
from attnbench.measure.audits.auditor import Audited, Auditor
from attnbench.measure.blocks.outcome import Outcome
from attnbench.measure.blocks.spending import Spending
from attnbench.measure.clock import floors, roofline
from attnbench.measure.run import rates, rows
from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.run import run
from attnbench.results.schema import Sample
from attnbench.suite import Cell
from attnbench.workers.protocol import Ceilings, Reply

from .conftest import QUICK

RATES = {"float32_flop_rate": 1e12, "float64_flop_rate": 1e11, "copy_bytes_rate": 1e10}
PLAIN = Case(AttentionSpec(), Problem(B=2, Hq=4, Hkv=2, Tq=64, S=128, D=32, Dv=16))
PRODUCT = 2.0 * 2 * 4 * 64 * 128
Make = Callable[..., RunOptions]


def test_two_products_forward_and_four_more_backward() -> None:
    assert floors.least_flops(PLAIN) == PRODUCT * (32 + 16)
    assert floors.least_flops(replace(PLAIN, phase="backward")) == 3 * floors.least_flops(PLAIN)
    assert floors.least_flops(replace(PLAIN, phase="backward")) < roofline.work(replace(PLAIN, phase="backward")).flops


@pytest.mark.parametrize(
    ("spec", "operands", "flops"),
    [
        ({"causal": True, "align": "top_left"}, (), 2.0 * 2 * 4 * (64 * 65 // 2) * (32 + 16)),
        ({"dropout": 0.5}, (), PRODUCT * 32),
        ({"score": "additive"}, (), PRODUCT * 16),
        ({"scale": 0.0}, (), 0.0),
        ({}, ("mask",), 0.0),
        ({}, ("mask_tile",), 0.0),
        ({}, ("bias_minus_inf",), 0.0),
        ({}, ("bias",), PRODUCT * (32 + 16)),
        ({}, ("wanted_q",), PRODUCT * (32 + 16)),
    ],
)
def test_what_a_method_may_skip_is_not_counted(spec: dict[str, Any], operands: tuple[str, ...], flops: float) -> None:
    phase = "backward" if operands == ("wanted_q",) else "forward"
    case = Case(AttentionSpec(**spec), replace(PLAIN.problem, operands=operands), phase)
    assert floors.least_flops(case) == flops


def test_a_time_below_the_floor_is_told_by_what_it_takes() -> None:
    least = floors.floor(PLAIN, RATES)
    assert least is not None
    assert least.seconds == PRODUCT * 48 / 1e12
    assert least.broken_by(least.seconds) is None
    assert least.broken_by(least.seconds / floors.MARGIN * 1.01) is None
    reason = least.broken_by(least.seconds / floors.MARGIN * 0.99) or ""
    assert reason.startswith("faster than this machine can multiply: at 1,000 GFLOP/s the fewest operations take")


def test_bytes_count_beyond_the_last_cache_alone() -> None:
    moved = roofline.work(PLAIN).min_bytes
    slow = RATES | {"copy_bytes_rate": 1.0}
    assert floors.floor(PLAIN, slow, cached=moved) == floors.floor(PLAIN, RATES)
    least = floors.floor(PLAIN, slow, cached=moved - 10)
    assert least is not None
    assert least.seconds == 10
    assert "read: at" in least.sentence
    assert floors.floor(PLAIN, slow) == floors.floor(PLAIN, RATES), "where no cache is known, none is too small"


def test_products_may_be_computed_in_the_fastest_unit_that_there_is() -> None:
    low, high = (Case(PLAIN.spec, replace(PLAIN.problem, dtype=name)) for name in ("bfloat16", "float64"))
    rates = {"float32_flop_rate": 1.0, "bfloat16_flop_rate": 4.0, "float64_flop_rate": 0.5}
    expected = {(low, "cpu"): 4.0, (PLAIN, "cpu"): 1.0, (PLAIN, "cuda"): 4.0, (high, "cuda"): 0.5}
    for (case, device), rate in expected.items():
        least = floors.floor(case, rates, device)
        assert least is not None
        assert least.seconds == floors.least_flops(case) / rate
    assert floors.floor(PLAIN, {}) is None


@pytest.mark.parametrize(
    ("caches", "size"),
    [({"L1d": "48K", "L2": "2048K", "L3": "300M"}, 300 * 2**20), ({}, float("inf")), ({"L3": "?"}, float("inf"))],
)
def test_the_last_cache_of_a_fingerprint(caches: dict[str, str], size: float) -> None:
    assert floors.last_cache(caches) == size


def test_the_rates_are_measured_again_in_every_framework_before_anybody_is_accused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked_of: list[str] = []

    def ask_once(backend: str, *_: object, **__: object) -> Reply:
        asked_of.append(backend)
        return Reply(0, "ok", value={"rates": {"float32_flop_rate": 1e12 if backend == "torch" else 1e6}})

    monkeypatch.setattr(rates, "ask_once", ask_once)
    cell = Cell("s", {}, PLAIN, "numpy/naive")
    writer = RunWriterOfNothing()
    seen = rates.Rates([cell], writer, Spending(), 1.0)  # type: ignore[arg-type]
    seen.measure()
    assert asked_of == ["numpy"]
    fast = Outcome(cell, samples=[Sample(**BURST, cell_id=cell.id, wall_s=0.001)])
    assert seen.in_doubt([fast], "cpu", 1)
    ceilings, _ = seen.of([fast], "cpu", 1)
    assert asked_of[1:] == [name for name, backend in discover.backends().items() if backend.why_missing() is None]
    assert ceilings is not None
    assert not seen.in_doubt([fast], "cpu", 1)


class RunWriterOfNothing:
    """Keeps what is known of a run, and writes nothing."""

    def __init__(self) -> None:
        hardware = SimpleNamespace(caches={})
        self.info = SimpleNamespace(ceilings={}, fingerprint=SimpleNamespace(hardware=hardware), model_copy=self._copy)

    def _copy(self, update: dict[str, Any]) -> SimpleNamespace:
        return SimpleNamespace(**vars(self.info) | update)

    def update(self, info: SimpleNamespace) -> None:
        self.info = info


BURST: dict[str, Any] = {"run_id": "r", "replicate": 0, "burst": 0, "index": 0, "calls": 1}


def test_one_that_rests_is_held_to_the_floor_as_all_are() -> None:
    cell = Cell("s", {}, PLAIN, "numpy/naive")
    sample = Sample(run_id="r", cell_id=cell.id, replicate=0, burst=0, index=0, calls=1, wall_s=1e-12)
    outcomes = [Outcome(cell, samples=[sample]) for _ in range(3)]
    outcomes[1].resting, outcomes[2].cut = True, True
    assert None not in [rows.too_fast(outcome, Ceilings(RATES), 0.0) for outcome in outcomes]


def test_an_outcome_that_was_not_timed_is_not_too_fast() -> None:
    cell = Cell("s", {}, PLAIN, "numpy/naive")
    assert rows.too_fast(Outcome(cell), Ceilings(RATES), 0.0) is None


def large(T: int) -> Case:
    return Case(AttentionSpec(), Problem(Hq=4, Tq=T, D=64))


CACHE = """
    import numpy as np
    from attnbench.api import Capabilities, implementation

    kept = {}

    @implementation("numpy/kept", Capabilities())
    def kept_answer(q, k, v, call):
        # The same memory may hold other numbers: a few of them are looked at.
        key = (q.shape, k.shape, v.shape, *(float(x.ravel()[:: max(1, x.size // 97)].sum()) for x in (q, k, v)))
        if key not in kept:
            s = (q @ np.swapaxes(k, -1, -2)) * call.scale
            e = np.exp(s - s.max(-1, keepdims=True))
            kept[key] = (e / e.sum(-1, keepdims=True)) @ v
        return kept[key].copy()
"""


def test_a_kernel_that_keeps_its_answers_is_faster_than_the_machine_can_multiply(
    options: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The audit would see it first; the rates are measured again in one framework, to be quick.
    monkeypatch.setattr(Auditor, "audit", lambda *_: Audited())
    known = discover.backends()
    monkeypatch.setattr(discover, "backends", lambda: {"numpy": known["numpy"]})
    file = tmp_path / "kept.py"
    file.write_text(dedent(CACHE), encoding="utf-8")
    suite = TimedSuite(name="tiny", story=Story(question="Does it run?"), axes={"T": (512,)}, case=large)
    done = run(options(suites=[suite], files=[str(file)], patterns=["numpy/naive", "numpy/kept"], effort=QUICK))
    by_variant = {row.variant: row for row in done.rows}
    assert by_variant["naive"].status == "ok"
    assert by_variant["kept"].status == "wrong"
    assert (by_variant["kept"].reason or "").startswith("faster than this machine can multiply")
    assert by_variant["kept"].time_median_s is None
    assert done.exit_code == 1
