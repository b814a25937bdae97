"""What the pages say of GPUs: as the records and the code of today have it, however the code has changed since."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnbench.tried.code import code_of
from attnbench.tried.keeping import keep
from attnbench.tried.marks import mark, marks
from attnbench.tried.record import GpuPrecheck, GpuRecord, GpuRun
from tests.docs import gpu_page
from tests.tried.planted import plant


def test_the_pages_show_the_marks_of_today() -> None:
    for page, text in gpu_page.pages().items():
        assert text == page.read_text("utf-8"), gpu_page.AGAIN


def test_no_sentence_says_otherwise() -> None:
    assert gpu_page.untrue() == []


def test_code_that_changes_is_no_longer_prechecked_on_the_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = plant(tmp_path, monkeypatch)
    code = code_of("planted/mine")
    assert code is not None
    told = ("machine code", "numerics", "memory")
    entry = GpuPrecheck("2026-11-29", ("sm_90",), told, ("offsets", "numerics"), {"x": "1"}, code)
    keep({"planted/mine": lambda _: GpuRecord(entry)})
    about = "sm\\_90, machine code, numbers in part; not told: offsets; x 1"
    about = about.replace("numbers in part", "numbers in part, memory")
    only = "for sm_90: offsets not told"
    text = f"prechecked 2026-11-29 {only}".replace("_", "\\_")
    assert f"| `planted/mine` | {text} | {about} |" in gpu_page.marked()
    assert f"* Passed the precheck as it is now, and has never run: `planted/mine` ({only})." in gpu_page.listed()
    planted.change("shared.py", "ONE = 1", "ONE = 2")
    assert "| `planted/mine` | prechecked 2026-11-29, before its code changed |  |" in gpu_page.marked()
    assert "* Passed the precheck before its code changed, and has never run: `planted/mine`." in gpu_page.listed()
    shown = gpu_page.marked()
    planted.change("shared.py", "ONE = 2", "ONE = 3")
    assert gpu_page.marked() == shown, "the pages change once, and not with every change of code"


def test_a_gpu_that_ran_something_makes_sentences_untrue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, monkeypatch)
    code = code_of("planted/mine")
    assert code is not None
    run = GpuRun("NVIDIA H200", "2026-12-03", "580.1", {}, "a-run", ("gpu", "smoke"), 12, 0, code)
    keep({"planted/mine": lambda _: GpuRecord(None, (run,))})
    assert "12 ok, of gpu, smoke; driver 580.1; a-run" in gpu_page.marked()
    assert "* Has run on a GPU as it is now: `planted/mine`." in gpu_page.listed()
    of = mark("planted/mine")
    assert of is not None
    wrong = gpu_page.untrue({**marks(), "triton/flash": of})
    assert len(wrong) == len(gpu_page.SENTENCES)
    assert "has run planted/mine, triton/flash" in wrong[0]


def test_a_sentence_that_is_gone_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_page, "SENTENCES", (gpu_page.Sentence(gpu_page.GPU, "it never rains on a GPU"),))
    assert "is gone, and no GPU has run anything of it" in gpu_page.untrue({})[0]
