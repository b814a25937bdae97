"""A day held to what was predicted of it: times over floors, kernels, and files that are missing or damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import pytest

from attnbench.day import archive, day, kernels_seen, predictions, wheels
from attnbench.day.comparison import PredictionComparison, text
from attnbench.day.kernels_seen import read_predictions
from attnbench.day.steps import STAGES, DayStep, steps
from attnbench.errors import ResultsError
from attnbench.measure.clock.named import device_of
from attnbench.results.schema import Gpu, Hardware
from attnbench.results.store import RunWriter
from attnbench.suite import Cell
from attnbench.workers.protocol import CRASHED, OK, Reply
from tests.program import Cli
from tests.results.synthetic import case_of, fingerprint, info, planned, write_run

IMPL = "triton/flash"
CELL = Cell("gpu", {"tokens": 512, "batch": 0}, case_of(512, causal=False), IMPL, device="cuda")
RUN = "20260102T030405Z-gpu-aaaaaa"
# At least 1 ms by products and 2 ms by bytes on an H200.
NEEDS = {"flops": 67e12 * 1e-3, "min_bytes": 4.8e12 * 2e-3, "exponentials": 1.0}
LAUNCH = {"kernel": "attend", "variant": "D=64", "grid": [8], "registers": 168, "spill_bytes": 0, "shared_bytes": 4096}


def gpu_run(out: Path, gpu: str = "NVIDIA H200", **times: Any) -> Path:
    """The run of one cell on a GPU."""
    machine = fingerprint(hardware=Hardware(architecture="x86_64", gpus=(Gpu(name=gpu),)))
    run = info(RUN, suites=("gpu",), axes={}, devices=("cuda",), implementations=(IMPL,), fingerprint=machine)
    ok = {"status": "ok", "reason": None, "error_ratio": 0.1, "n_samples": 9, "n_bursts": 3, "cache": "cold", **NEEDS}
    with RunWriter.create(out, run) as writer:
        writer.plan([planned(run, CELL)])
        writer.cell(planned(run, CELL, **ok, anchor_reason="none", **times))
        writer.finish()
    return out


def predicted(file: Path, *launches: dict[str, Any], case_id: str = CELL.case_id, arch: str = "sm_90") -> Path:
    """What a precheck has written before the day."""
    cases = [{"case_id": case_id, "label": "512", "status": "ok", "launches": list(launches)}]
    part = {"impl": IMPL, "part": "grids", "status": "ok", "detail": {"arch": arch, "cases": cases}}
    file.write_text(json.dumps({"rows": [], "parts": [part, {"part": "memory", "detail": {}}]}), encoding="utf-8")
    return file


# A time that is no number.
OF_WORDS = dict.fromkeys(("run", "impl", "label", "case_id", "state", "seconds", "floor_s", "limit", "verdict"), "ok")
IN_WORDS = json.dumps({"gpu": None, "data_sheet": None, "floors": [OF_WORDS], "kernels": [], "notes": []})


class Answering:
    """A session that answers what it was given."""

    reply = Reply(1, OK, None, {"launches": []})

    def __init__(self, *_: object) -> None:
        """Nothing is started."""

    def ask(self, *_: object, **__: object) -> Reply:
        return self.reply

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was started."""


def seen_there(monkeypatch: pytest.MonkeyPatch, reply: Reply) -> None:
    """What Triton says on the GPU that stands in."""
    monkeypatch.setattr(Answering, "reply", reply)
    monkeypatch.setattr(kernels_seen, "Session", Answering)


def compared(tmp_path: Path, **times: Any) -> PredictionComparison:
    runs = gpu_run(tmp_path / "runs", **(times or {"time_median_s": 3e-3}))
    return predictions.compare(runs, tmp_path / "predictions.json", tmp_path / "out.json", "gpu", "cuda", 60.0)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA H200 NVL", "H200"),
        ("NVIDIA H100 NVL", None),  # its memory is faster than that of the H100 that is known
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA L40S", None),
        ("", None),
    ],
)
def test_a_gpu_is_known_by_the_name_of_its_driver(model: str, name: str | None) -> None:
    device = device_of(model)
    assert (device and device.name) == name


@pytest.mark.parametrize(
    ("times", "verdicts"),
    [
        ({"time_median_s": 3e-3}, {"cold": "ok"}),
        ({"time_median_s": 1.9e-3}, {"cold": "clock"}),
        ({"time_median_s": 1.5e-3}, {"cold": "impossible"}),
        ({"time_median_s": 3e-3, "time_hot_median_s": 1.5e-3}, {"cold": "ok", "hot": "ok"}),
        ({"time_median_s": 3e-3, "time_graph_median_s": 5e-4}, {"cold": "ok", "graph": "impossible"}),
    ],
)
def test_a_time_that_is_faster_than_its_floor_is_named(
    times: dict[str, float], verdicts: dict[str, str], tmp_path: Path
) -> None:
    """Hot calls and graphs may find their bytes in the cache: only operations bound them."""
    comparison = compared(tmp_path, **times)
    assert {row.state: row.verdict for row in comparison.floors} == verdicts
    assert (comparison.gpu, comparison.data_sheet) == ("NVIDIA H200", "H200")
    assert ("FASTER THAN ITS FLOOR" in text(comparison)) == ("impossible" in verdicts.values())
    assert PredictionComparison.from_dict(json.loads((tmp_path / "out.json").read_text("utf-8"))) == comparison


def test_exponentials_may_be_computed_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NEEDS, "exponentials", 132 * 16 * 1.83e9 * 5e-3)
    (row,) = compared(tmp_path).floors
    assert (row.verdict, row.limit) == ("exponentials", "exponentials")
    assert row.floor_s == pytest.approx(5e-3)


def test_a_gpu_without_a_data_sheet_has_no_floor_and_that_is_said(tmp_path: Path) -> None:
    comparison = compared(tmp_path, gpu="NVIDIA L40S", time_median_s=1e-9)
    assert [row.verdict for row in comparison.floors] == ["unknown"]
    assert "no data sheet of NVIDIA L40S is known here" in text(comparison)


def test_a_kernel_as_predicted_and_one_that_spills_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted(tmp_path / "predictions.json", LAUNCH, LAUNCH | {"kernel": "merge"}, LAUNCH | {"kernel": "absent"})
    spilling = LAUNCH | {"kernel": "merge", "registers": 255, "spill_bytes": 8}
    seen_there(monkeypatch, Reply(1, OK, None, {"launches": [LAUNCH, spilling, LAUNCH | {"kernel": "new"}]}))
    comparison = compared(tmp_path)
    assert {row.kernel: row.differs for row in comparison.kernels} == {
        "attend": (),
        "merge": ("registers", "spill_bytes"),
        "absent": (),
    }
    printed = text(comparison)
    assert "168 → 255  0 → 8" in printed
    assert "it was not launched" in printed
    assert "launched besides, and not predicted: new" in printed
    assert printed.splitlines()[-1].endswith("2 kernels as they ran, 1 not as predicted")


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(1, CRASHED, "it ran out of memory"), "triton/flash 512: it ran out of memory"),
        (Reply(1, OK, None, {"launches": []}), "nothing was compiled here"),
    ],
)
def test_what_could_not_be_seen_is_said(
    reply: Reply, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted(tmp_path / "predictions.json", LAUNCH, arch="sm_80")
    seen_there(monkeypatch, reply)
    comparison = compared(tmp_path)
    assert comparison.kernels == ()
    assert any(said in note for note in comparison.notes)
    assert "the predictions are for sm_80, and this GPU is sm_90" in comparison.notes


def test_no_kernel_is_run_again_when_the_time_is_over_or_its_case_was_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_there(monkeypatch, Reply(1, CRASHED, "it was asked"))
    file = predicted(tmp_path / "predictions.json", LAUNCH)
    runs = gpu_run(tmp_path / "runs", time_median_s=3e-3)
    late = predictions.compare(runs, file, tmp_path / "out.json", "gpu", "cuda", -1.0)
    assert late.notes == ("triton/flash: no time was left for 1 of 1 cases",)
    other = predicted(tmp_path / "other.json", LAUNCH, case_id="another")
    assert predictions.compare(runs, other, tmp_path / "out.json", "gpu", "cuda", 9.0).notes == (
        "triton/flash: none of the cases that were predicted was measured here",
    )


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "\xff", '{"parts": 3}', '{"parts": [{"part": "grids", "detail": {"cases": [{}]}}]}'],
)
def test_predictions_that_are_damaged_are_refused_in_one_line(content: str, tmp_path: Path) -> None:
    file = tmp_path / "predictions.json"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(ResultsError, match="made before the day: attnbench precheck") as refused:
        read_predictions(file)
    assert len(str(refused.value).splitlines()) == 1
    assert any("made before the day" in note for note in compared(tmp_path).notes)


def step(out: Path, stage: str) -> list[DayStep]:
    """The step as a day plays it."""
    return [each for each in steps(STAGES[stage], out / "wheels", out) if each.name == "predictions"]


def test_the_report_of_a_day_shows_what_was_predicted(cli: Cli, tmp_path: Path) -> None:
    """Played as a step, with a run that was cut beside the whole one; a time that cannot be is a step that failed."""
    runs = gpu_run(tmp_path / "day" / "runs", time_median_s=1.5e-3)
    (runs / "cut").mkdir()
    (runs / "cut" / "run.json").write_text('{"run_', encoding="utf-8")
    a_day = day.Day(tmp_path, "cuda", 60)
    a_day.play(step(tmp_path, "cuda"), tmp_path)
    assert a_day.journal["steps"][0]["exit_code"] == 1
    (runs / "cut" / "run.json").unlink()
    a_day.keep()
    seen = cli("report", str(tmp_path / "day.tgz"), "-o", str(tmp_path / "page"))
    assert seen.code == 0, seen.err
    assert "FASTER THAN ITS FLOOR" in seen.out
    assert "cut was left out" in seen.out
    page = (tmp_path / "page" / "predictions.html").read_text("utf-8")
    assert "Times over their floors" in page
    assert "No kernel ran on a GPU" not in page
    document = cli("report", str(tmp_path / "day.tgz"), "-o", str(tmp_path / "page"), "--json").document
    assert document["predictions"][0]["floors"][0]["verdict"] == "impossible"


@pytest.mark.parametrize(
    "content",
    ['{"floors": [1', '{"floors": [1], "kernels": [], "notes": [], "gpu": null, "data_sheet": null}', IN_WORDS],
)
def test_a_damaged_comparison_leaves_the_report_as_it_is(content: str, cli: Cli, tmp_path: Path) -> None:
    write_run(tmp_path / "day" / "runs", bursts=4, lengths=(128,))
    a_day = day.Day(tmp_path, "cpu", 60)
    (tmp_path / "day" / archive.PREDICTIONS).write_text(content, encoding="utf-8")
    a_day.play([], tmp_path)
    seen = cli("report", str(tmp_path / "day.tgz"), "-o", str(tmp_path / "page"))
    assert seen.code == 0, seen.err
    assert "predictions.json of this day cannot be read" in seen.err
    assert not (tmp_path / "page" / "predictions.html").exists()


def test_where_nothing_was_timed_the_step_says_so(tmp_path: Path) -> None:
    (tmp_path / "day" / "runs").mkdir(parents=True)
    a_day = day.Day(tmp_path, "cpu", 60)
    a_day.play(step(tmp_path, "cpu"), tmp_path)
    assert a_day.journal["steps"][0]["exit_code"] == 5
    printed = (tmp_path / "day" / "texts" / "predictions.txt").read_text("utf-8")
    assert "no cell of suite smoke was timed on cpu" in printed
    assert "no predictions were carried" in printed


def test_predictions_are_carried_as_they_were_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written, to = predicted(tmp_path / "written.json", LAUNCH), tmp_path / "predictions.json"
    assert wheels.predict(to, "H100", written)
    assert to.read_bytes() == written.read_bytes()
    assert not wheels.predict(tmp_path / "none.json", "H100", tmp_path / "absent.json")
    assert not (tmp_path / "none.json").exists()
    assert "Type: attnbench precheck triton/flash triton/decode triton/additive --launches" in capsys.readouterr().err
