"""The suites speed, memory, decode, masks, threads and gpu: cells, refusals, sentences, figures, and tiny real runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from attnbench.errors import UsageError
from attnbench.measure.run.plan import make_plan
from attnbench.report.figures import draw
from attnbench.report.palette import Palette
from attnbench.suite import Cell
from tests.program import Cli
from tests.suites import helpers, modelled
from tests.wording import any_says, says

NAMES = ("speed", "memory", "decode", "masks", "threads", "gpu")
TWO_THREADS = {"threads": (1, 2)}


def more_of(name: str) -> dict[str, Any]:
    return TWO_THREADS if name == "threads" else {}


@pytest.mark.parametrize("name", NAMES)
def test_every_case_is_valid_and_asked_once_and_short_ones_come_first(name: str) -> None:
    cases = [case for _, case in helpers.suite(name).cases() if case]
    assert len({case.id for case in cases}) == len(cases)
    longest = [max(case.problem.Tq, case.problem.S) for case in cases]
    assert name == "threads" or longest == sorted(longest)
    assert helpers.suite(name).story.method.endswith(".")
    assert helpers.suite(name).story.limits.endswith(".")


# A level that is not among the axis' own, and one that is no level.
OTHER: dict[str, tuple[str, str | None]] = {
    "tokens": ("40", "x"),
    "shape": ("gpt2", "gtp2"),
    "phase": ("train", "training"),
    "score": ("additive", "concat"),
    "dtype": ("float16", "float61"),
    "batch": ("3", "two"),
    "kind": ("alibi", "alibis"),
    "heads": ("2", "2.5"),
    "head_size": ("8", ""),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_axis_can_be_overridden_and_misuse_is_clear(name: str) -> None:
    suite = helpers.suite(name)
    for axis in suite.axes:
        good, bad = OTHER[axis]
        plan = modelled.plan_of(name, overrides=[f"{axis}={good}"])
        assert {str(cell.point[axis]) for cell in plan.cells} == {good}
        with pytest.raises((UsageError, ValueError)) as raised:
            modelled.plan_of(name, overrides=[f"{axis}={bad}"])
        assert type(raised.value).__module__ == "attnbench.errors", f"{axis}={bad}: {raised.value!r}"


def test_speed_asks_about_all_it_says() -> None:
    points = [point for point, _ in helpers.suite("speed").cases()]
    assert len(points) == 14
    assert {p["tokens"] for p in points if p["shape"] == "h4-d64"} == {128, 512, 2048, 8192}
    cases = [case for _, case in helpers.suite("speed").cases() if case]
    assert {case.phase for case in cases} == {"forward", "backward"}
    assert {case.problem.D for case in cases} == {64, 128}
    assert {case.spec.causal for case in cases} == {True, False}
    assert any(case.problem.Hkv < case.problem.Hq for case in cases)
    assert {case.problem.dtype for case in cases} == {"float32", "bfloat16"}


def test_what_the_user_chooses_is_not_thinned() -> None:
    plan = modelled.plan_of("speed", overrides=["shape=llama-3-8b", "tokens=4096", "phase=decode", "dtype=bfloat16"])
    (case,) = {cell.case for cell in plan.cells}
    assert case is not None
    assert (case.phase, case.problem.Tq, case.problem.S, case.problem.Hkv) == ("decode", 1, 4096, 8)
    plan = modelled.plan_of("speed", overrides=["tokens=300"])
    assert {cell.point["shape"] for cell in plan.cells} == set(helpers.suite("speed").axes["shape"])


def test_memory_refuses_what_does_not_fit_as_rows_and_measures_what_is_named() -> None:
    plan = modelled.plan_of("memory")
    refused = {cell.impl for cell in plan.cells if cell.id in plan.refused}
    assert refused == {
        "numpy/naive", "torch/naive", "torch/sdpa-math", "jax/naive", "jax/nn-xla", "onnxruntime/attention"
    }  # fmt: skip
    assert {cell.point["tokens"] for cell in plan.cells if cell.id in plan.refused} == {32768}
    reason = next(iter(plan.refused.values()))
    assert "4 GiB per head" in reason
    assert "--impl" in reason
    assert not modelled.plan_of("memory", patterns=["numpy/naive"]).refused
    assert modelled.plan_of("memory", patterns=["numpy/*"]).refused


def test_speed_finds_what_was_put_in(tmp_path: Path) -> None:
    frame = modelled.frame_of(tmp_path, "speed")
    sentences = helpers.sentences(helpers.suite("speed"), frame)
    assert any_says(sentences, "No clear winner", "torch/sdpa, torch/sdpa-flash")
    assert any_says(sentences, "h4-d64, prefill", "power of the tokens", "longer half", "torch/sdpa 2.00")
    assert any_says(sentences, "h4-d64-causal, 2048 tokens", "bfloat16", "as long as float32", "numpy/naive 2 [1.92,")
    assert any_says(sentences, "train", "as long as prefill", "numpy/naive 3.5")


def test_memory_tells_squares_from_lines(tmp_path: Path) -> None:
    growth, highest, *_, shortfall = helpers.sentences(helpers.suite("memory"), modelled.frame_of(tmp_path, "memory"))
    assert says(growth, "h1-d64, prefill", "peak", "power of the tokens")
    assert says(growth, "numpy/naive 1.99")
    assert says(growth, "torch/sdpa-flash 1.00")
    assert says(highest, "numpy/naive 770 MiB", "8192 tokens", "3 arrays of scores")
    refused = ("numpy/naive 1", "jax/naive 1", "jax/nn-xla 1", "onnxruntime/attention 1", "torch/naive 1")
    assert says(shortfall, "6 of 84 cells", *refused, "torch/sdpa-math 1", "unsupported", "stores all scores")


def test_decode_holds_time_against_bytes(tmp_path: Path) -> None:
    sentences = helpers.sentences(helpers.suite("decode"), modelled.frame_of(tmp_path, "decode"))
    assert any_says(sentences, "32768 tokens", "h8-2-d128-causal", "0.25 of the bytes of h8-d128-causal")
    assert any_says(sentences, "highest rate", "a cache was read")
    assert any_says(sentences, "h8-d128-causal", "time grows", "power of the tokens")


def test_masks_hold_time_against_work(tmp_path: Path) -> None:
    frame = modelled.frame_of(tmp_path, "masks")
    suite = helpers.suite("masks")
    sentences = helpers.sentences(suite, frame)
    assert any_says(sentences, "causal (prefill, 1024 tokens)", "0.5 of the operations of plain attention")
    assert any_says(sentences, "dense-mask (prefill, 1024 tokens)", "as many operations as plain attention")
    assert any_says(sentences, "take a window", "leaves out a tenth of the time or more in: jax/blocked, jax/naive")
    assert any_says(sentences, "does not support softcap")
    slow = frame.assign(time_low_s=frame["time_low_s"].where(frame["point.kind"] != "window", 1.0))
    slow = slow.assign(time_median_s=slow["time_median_s"].where(slow["point.kind"] != "window", 1.01))
    slow = slow.assign(time_high_s=slow["time_high_s"].where(slow["point.kind"] != "window", 1.02))
    assert any_says(helpers.sentences(suite, slow), "window", "a tenth of the time or more in: none of them")


def test_threads_find_the_speedup_and_who_gains_nothing(tmp_path: Path) -> None:
    def seconds(cell: Cell) -> float:
        return 0.01 if cell.impl == "numpy/naive" else modelled.time_of(cell)

    frame = modelled.frame_of(tmp_path, "threads", seconds=seconds, **TWO_THREADS)
    sentences = helpers.sentences(helpers.suite("threads"), frame)
    assert any_says(sentences, "prefill, 2048 tokens", "2 threads", "as fast as with one", "numpy/blocked 1.6 [1.54,")
    assert any_says(sentences, "numpy/blocked 1.6 [1.54, 1.66]")
    assert any_says(sentences, "No gain", "in any case: numpy/naive.")
    alone = helpers.sentences(helpers.suite("threads"), frame[frame["threads"] == 1])
    assert says(alone[-1], "Only one number of threads", "nothing", "scaling")


def test_threads_go_in_powers_of_two_to_the_cores() -> None:
    counts = __import__(helpers.timing("threads").case.__module__, fromlist=["counts"]).counts
    assert [counts(n) for n in (1, 2, 6, 16)] == [(1,), (1, 2), (1, 2, 4, 6), (1, 2, 4, 8, 16)]


def test_gpu_finds_the_highest_rate(tmp_path: Path) -> None:
    said = helpers.sentences(helpers.suite("gpu"), modelled.frame_of(tmp_path, "gpu"))
    assert said[0].startswith("The highest rate is 0.025 TFLOP/s: torch/sdpa")
    totals = {
        case.problem.B * case.problem.Tq for _, case in helpers.suite("gpu").cases() if case and case.problem.Tq > 1
    }
    assert totals == {16384}


def test_gpu_asks_the_additive_score_of_one_size_and_of_no_model(tmp_path: Path) -> None:
    suite = helpers.suite("gpu")
    asked = [case for point, case in suite.cases() if case and point["score"] == "additive"]
    assert [(case.spec.score, case.phase) for case in asked] == [("additive", "forward"), ("additive", "backward")]
    assert {(case.problem.B, case.problem.Hq, case.problem.Tq, case.problem.Da) for case in asked} == {
        (32, 32, 512, 64)
    }
    plan = modelled.plan_of("gpu")
    taken = {cell.impl for cell in plan.cells if cell.point["score"] == "additive" and cell.id not in plan.refused}
    assert {"triton/additive", "torch/compiled", "jax/blocked"} <= taken
    assert not {"torch/naive", "cupy/naive"} & taken, "64 GiB of hidden units"
    long = modelled.plan_of("gpu", overrides=["tokens=2048,4096", "phase=prefill,train"])
    assert {cell.point["score"] for cell in long.cells} == {"dot"}
    of_a_model = modelled.plan_of("gpu", overrides=["shape=gpt2", "tokens=512"])
    assert {cell.point["score"] for cell in of_a_model.cells} == {"dot"}
    said = helpers.sentences(suite, modelled.frame_of(tmp_path, "gpu"))
    assert any_says(said, "h32-d64, 512 tokens, prefill, additive, bfloat16")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_measured_is_said_and_nothing_breaks(name: str, tmp_path: Path) -> None:
    frame = modelled.frame_of(tmp_path, name, keep=lambda _: False, **more_of(name))
    said = helpers.sentences(helpers.suite(name), frame)
    assert f"{len(frame)} of {len(frame)} cells have no numbers" in said[-1]
    for figure in helpers.suite(name).story.figures:
        assert "could not be drawn" not in draw(figure, frame, Palette()).caption, figure.name


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_drawn(name: str, tmp_path: Path) -> None:
    frame = modelled.frame_of(tmp_path, name, **more_of(name))
    for figure in helpers.suite(name).story.figures:
        drawn = draw(figure, frame, Palette())
        assert drawn.svg.startswith("<svg"), f"{figure.name}: {drawn.caption}"


def test_the_gpu_suite_is_refused_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from attnbench.workers import devices

    monkeypatch.setattr(devices, "devices_of", lambda _: ("cpu",))
    plan = make_plan(["gpu"])
    assert {cell.device for cell in plan.cells} == {"cuda"}
    assert {cell.id for cell in plan.cells} == set(plan.refused)
    assert "device cuda is not there; torch has cpu" in plan.refused.values()
    monkeypatch.setattr(devices, "devices_of", lambda _: None)
    silent = make_plan(["gpu"])
    assert not {reason for reason in silent.refused.values() if "is not there" in reason}


def test_a_framework_is_asked_for_its_devices() -> None:
    from attnbench.workers.devices import devices_of

    assert devices_of("numpy") == ("cpu",)


def test_tiny_cells_are_really_measured(cli: Cli) -> None:
    done = cli(
        *("run", "speed", "memory", "masks", "--shape", "whisper-large/cross", "--tokens", "3", "--phase", "prefill"),
        *("--dtype", "float32", "-a", "kind=plain,window", "--impl", "numpy/naive", "--budget", "40s", "--json"),
    )
    assert done.code == 0, done.err
    assert [(cell["suite"], cell["status"]) for cell in done.document["cells"]] == [
        *(("speed", "ok"), ("memory", "ok")),
        *(("masks", "ok"), ("masks", "ok")),
    ]
    assert Path(done.document["report"]).is_file()


def test_no_gpu_is_exit_5(cli: Cli) -> None:
    done = cli("run", "gpu", "--shape", "gpt2", "--tokens", "64", "--impl", "numpy/naive", "--json")
    assert done.code == 5
    assert {cell["status"] for cell in done.document["cells"]} == {"unsupported"}
    assert "numpy has cpu" in done.document["cells"][0]["reason"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["speed", "--shape", "lama-3-8b"], "did you mean 'llama-3-8b'?"),
        (["speed", "--shape", "gemma-2-9b"], "gemma-2-9b/local, gemma-2-9b/global"),
        (["speed", "--phase", "decoding"], "did you mean 'decode'?"),
        (["speed", "--dtype", "float61"], "did you mean 'float64'?"),
        (["speed", "--tokens", "0"], "--tokens is 1 or more"),
        (["speed", "--shape", "gpt2", "-a", "shape=gpt2"], "give one of them"),
        (["masks", "--shape", "gpt2"], "suites that have it: decode, gpu, memory, speed, threads"),
        (["decode", "--phase", "train"], "has no axis 'phase'"),
        (["masks", "--phase", "decode"], "attnbench run decode"),
    ],
)
def test_misuse_says_what_is_possible(arguments: list[str], said: str, cli: Cli) -> None:
    done = cli("run", *arguments)
    assert done.code == 2
    assert said in done.err


def test_shapes_are_listed(cli: Cli) -> None:
    rows = cli("list", "shapes", "--json").document["shapes"]
    (llama,) = [row for row in rows if row["shape"] == "llama-3-8b"]
    assert llama["heads"] == "32/8"
    assert "n_kv_heads = 8" in llama["fields"]
    assert "llama-3-8b" in cli("list", "shapes").out


def test_costs_over_a_base_pair_cells_that_differ_in_one_axis() -> None:
    from attnbench.analysis.costs import growth, over_base

    rows = [
        {"impl": impl, "device": "cpu", "threads": 1, "status": "ok", "point.kind": kind, "point.T": t}
        | {"time_median_s": s, "time_low_s": 0.9 * s, "time_high_s": 1.1 * s, "peak_bytes": 4.0}
        for impl, kind, t, s in (("a", "x", 1, 2.0), ("a", "y", 1, 3.0), ("a", "y", 2, 5.0), ("b", "y", 1, 7.0))
    ]
    ratios = over_base(pd.DataFrame(rows), "point.kind", "x")
    assert len(ratios) == 1
    assert ratios["time_ratio"].iloc[0] == pytest.approx(1.5)
    assert ratios["low"].iloc[0] == pytest.approx(1.5 * 0.9 / 1.1)
    frame = pd.DataFrame({"point.tokens": [1, 2, 4, 8, 16], "c": [9.0, 9.0, 16.0, 64.0, 256.0]})
    assert growth(frame, "c") == pytest.approx(2.0)
    assert growth(frame.iloc[:1], "c") is None
