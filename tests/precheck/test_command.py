"""``attnbench precheck``: rows, words, exit status and page, of parts that stand in for the real ones."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.commands.app import main
from attnbench.precheck import parts
from attnbench.precheck.question import PrecheckQuestion
from attnbench.precheck.rows import KernelRow, PartRow, Prechecked, PrecheckRow
from attnbench.precheck.shown import sentence, text
from tests.precheck.planted import GOOD, NAME, write

GOOD_ROW = KernelRow(
    "torch/naive", "forward", "sm_90", "ok", compiled=True, registers=128, spill_bytes=0, shared_bytes=49152
)
SPILLING = KernelRow(
    "torch/naive", "forward", "sm_80", "wrong", compiled=True, reason="it spills registers", spill_bytes=8
)
RACE = PartRow("torch/naive", "memory", "wrong", "forward, Out", "race: two programs")
UNKNOWN = PartRow("torch/naive", "numerics", "unknown", reason="not interpreted")
LOST = PartRow("torch/naive", "numerics", "lost", reason="it took too long")
NUMBERS = PartRow("torch/naive", "numerics", "ok", "sizes")
MEMORY = PartRow("torch/naive", "memory", "ok")
UNTOLD = PartRow("torch/naive", "memory", "unknown", reason="no case ran to its end")
LOWERED = PartRow("torch/flex", "lowers", "ok", "cuda")
NOT_HERE = PartRow("jax/nn-cudnn", "lowers", "unknown", "cuda", "cuDNN only where it is installed")
NO_CODE = KernelRow("torch/naive", "forward", "sm_100", "unknown", compiled=True, reason="ptxas says nothing")


def stand_in(monkeypatch: pytest.MonkeyPatch, *rows: PrecheckRow) -> None:
    """The command finds these rows."""

    def part(impl: str, question: PrecheckQuestion) -> Iterator[PrecheckRow]:
        del impl, question
        yield from rows

    monkeypatch.setattr(parts.precheck, "__defaults__", (None, (part,)))


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([GOOD_ROW, NUMBERS, MEMORY], 0),
        ([GOOD_ROW, NUMBERS, MEMORY, UNKNOWN, LOWERED, NOT_HERE], 0),
        ([LOWERED, NOT_HERE], 0),
        ([GOOD_ROW], 5),
        ([GOOD_ROW, UNKNOWN, MEMORY], 5),
        ([GOOD_ROW, NUMBERS, UNTOLD], 5),
        ([GOOD_ROW, NO_CODE, NUMBERS, MEMORY], 5),
        ([GOOD_ROW, SPILLING], 1),
        ([GOOD_ROW, RACE, LOST], 1),
        ([GOOD_ROW, LOST], 4),
        ([UNKNOWN], 5),
        ([], 5),
    ],
)
def test_the_exit_status_says_what_was_found(
    rows: list[PrecheckRow], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, *rows)
    assert main(["precheck", "torch/naive", "--json", "--quiet"]) == code
    printed = capsys.readouterr()
    assert printed.err == ""
    document = json.loads(printed.out)
    assert document["exit_code"] == code
    assert [row["arch"] for row in document["rows"]] == [row.arch for row in rows if isinstance(row, KernelRow)]
    for row in document["rows"]:
        assert isinstance(row["compiled"], bool)
        assert isinstance(row["tensor_core"], bool)


def test_what_is_wrong_is_named_for_people(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    stand_in(monkeypatch, GOOD_ROW, SPILLING, RACE, UNKNOWN)
    assert main(["precheck", "torch/naive"]) == 1
    printed = capsys.readouterr().out
    assert "torch/naive forward sm_80: WRONG: it spills registers" in printed
    assert "torch/naive memory forward, Out: WRONG: race: two programs" in printed
    assert "48 KiB" in printed
    last = printed.splitlines()[-1]
    untold = "not told at all, so that nothing may be concluded: torch/naive (numerics)"
    assert last == f"1 ok; 2 WRONG; 1 not known; {untold}"


def test_the_last_line_names_what_is_not_known() -> None:
    partly = sentence(Prechecked.of([GOOD_ROW, NUMBERS, MEMORY, UNKNOWN, NOT_HERE]))
    assert partly == "3 ok; 2 not known; not known: torch/naive (numerics), jax/nn-cudnn (lowers)"
    many = [replace(NOT_HERE, impl=f"jax/{number}") for number in range(9)]
    assert sentence(Prechecked.of(many)).endswith("jax/5 (lowers), 3 more")
    document = Prechecked.of([GOOD_ROW, NO_CODE]).to_dict()
    assert [each["part"] for each in document["untold"]] == ["machine code for sm_100", "numerics", "memory"]


def test_the_page_says_the_same_and_asks_for_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(
        monkeypatch,
        SPILLING,
        PartRow("torch/naive", "numerics", "ok", "<b>", detail={"error_ratio": {"float16": 0.5}, "cases": 3}),
    )
    page = tmp_path / "page.html"
    assert main(["precheck", "torch/naive", "-o", str(page), "--quiet"]) == 1
    written = page.read_text("utf-8")
    assert "it spills registers" in written
    assert "largest error ratio 0.50" in written
    assert "http" not in written.replace("http-equiv", "")
    assert "<script" not in written


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--arch", "sm_91"], "did you mean 'sm_90'?"),
        (["--arch", "sm_90,"], ""),
        (["nothing/here"], "no implementation matches"),
        (["--timeout", "0"], "--timeout"),
        (["-o", "."], "is a folder"),
        (["--impls", "not-there.py"], "not-there.py"),
    ],
)
def test_what_cannot_be_asked_is_said(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch, GOOD_ROW, NUMBERS, MEMORY)
    assert main(["precheck", *words]) == (2 if said else 0)
    assert said in capsys.readouterr().err


def test_without_triton_every_architecture_is_a_row_that_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attnbench.precheck.kernels.importlib.util.find_spec", lambda _name: None)
    found = parts.precheck(PrecheckQuestion([NAME], [write(tmp_path, GOOD)], ["sm_80", "sm_90"]))
    assert [(row.arch, row.compiled, row.status) for row in found.rows] == [
        ("sm_80", False, "unknown"),
        ("sm_90", False, "unknown"),
    ]
    assert "pip install 'attnbench[triton]'" in str(found.rows[0].reason)
    assert found.exit_code == 5


def test_a_kernel_without_triton_is_nobodys_business() -> None:
    found = parts.precheck(PrecheckQuestion(["numpy/naive"]), parts=parts.PARTS[:1])
    assert (found.exit_code, found.parts[0].status) == (5, "unknown")
    assert "launches no kernel" in text(found)


def test_rows_survive_their_dictionaries() -> None:
    answer = Prechecked.of([SPILLING, RACE])
    document = json.loads(json.dumps(answer.to_dict()))
    assert KernelRow.from_dict(document["rows"][0]) == SPILLING
    assert PartRow.from_dict({**document["parts"][0], "newer": 1}) == RACE


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("fault", ["", "mask", "load", "race", "spill"])
def test_the_whole_command_names_a_planted_fault(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planted = {
        "": ("", "", "0 WRONG"),
        "mask": ("<= rows[:, None] + offset", "< rows[:, None] + offset", "numerics causal: WRONG"),
        "load": ("mask=(cols[None, :] < S)", "mask=(cols[None, :] <= S)", "out of bounds read"),
        "race": ("Out + bh * soh", "Out + (bh // 2) * soh", "race: two programs"),
        "spill": ("num_stages=num_stages,", "num_stages=num_stages, maxnreg=72,", "it spills registers"),
    }
    before, after, named = planted[fault]
    kernel = GOOD.replace(before, after) if before else GOOD
    code = main(["precheck", "--impls", write(tmp_path, kernel), "--arch", "sm_90"])
    printed = capsys.readouterr().out
    assert code == (1 if fault else 0), printed
    assert named in printed or not fault
