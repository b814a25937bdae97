"""Marks: what ran or was prechecked, of which code, and never as of today's where it was of older code."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from attnbench.errors import UsageError
from attnbench.tried.code import CodeName, code_of
from attnbench.tried.keeping import check_keepable, keep
from attnbench.tried.marks import GpuMark, mark, marks, untried
from attnbench.tried.record import GpuPrecheck, GpuRecord, GpuRecordError, GpuRun, records_in, text
from tests.program import Cli
from tests.tried.planted import Planted

OLD = CodeName("0" * 12, "0" * 12)
PRECHECKED = GpuPrecheck(
    "2026-11-29", ("sm_80", "sm_90", "sm_100"), ("machine code", "numerics", "memory"), (), {"triton": "3.9.0"}, OLD
)
RAN = GpuRun("NVIDIA H200", "2026-12-03", "580.1", {"torch": "2.13.0"}, "a-run", ("gpu",), 12, 0, OLD)
WHOLE = GpuRecord(PRECHECKED, (RAN, replace(RAN, device="NVIDIA A100", date="2026-12-02", failed=3)))


def today() -> CodeName:
    name = code_of("planted/mine")
    assert name is not None
    return name


def marked(record: GpuRecord) -> GpuMark:
    keep({"planted/mine": lambda _: record})
    of = mark("planted/mine")
    assert of is not None
    return of


@pytest.mark.parametrize(
    ("ran", "prechecked", "state", "short"),
    [
        (None, None, "never", "never tried"),
        (None, "today", "prechecked", "prechecked"),
        (None, "old", "changed", "prechecked, then changed"),
        ("today", None, "ran", "ran on NVIDIA H200"),
        ("today", "old", "ran", "ran on NVIDIA H200"),
        ("old", None, "changed", "ran on NVIDIA H200, then changed"),
        ("old", "today", "prechecked", "prechecked"),
        ("old", "old", "changed", "ran on NVIDIA H200, then changed"),
    ],
)
def test_a_mark_is_about_the_code_of_today(
    ran: str | None, prechecked: str | None, state: str, short: str, planted: Planted
) -> None:
    names = {"today": today(), "old": OLD}
    of = marked(
        GpuRecord(
            replace(PRECHECKED, code=names[prechecked]) if prechecked else None,
            (replace(RAN, code=names[ran]),) if ran else (),
        )
    )
    assert (of.state, of.short) == (state, short)
    assert ("2026-12-03, before its code changed" in of.text) == (ran == "old")
    planted.change("shared.py", "ONE = 1", "ONE = 2")
    after = mark("planted/mine")
    assert after is not None
    assert after.state == ("changed" if ran or prechecked else "never")
    assert after.record == of.record


def test_what_is_not_much_is_said(planted: Planted) -> None:
    shapes = replace(PRECHECKED, parts=("shapes",), code=today())
    assert marked(GpuRecord(shapes)).text == "prechecked 2026-11-29: shapes only"
    failing = marked(GpuRecord(None, (replace(RAN, failed=3, code=today()),)))
    assert failing.short == "ran on NVIDIA H200, 3 of 15 failed"
    assert planted.record().ran[0].failed == 3


@pytest.mark.usefixtures("planted")
def test_only_what_claims_a_gpu_has_a_mark() -> None:
    assert set(marks()) == {"planted/mine", "planted/other", "planted/gone"}
    assert mark("planted/plain") is None
    assert mark("somebody/else") is None


@pytest.mark.usefixtures("planted")
def test_a_sentence_names_what_no_gpu_is_known_to_have_run() -> None:
    sentence = untried(["planted/mine", "planted/plain", "file/kernel", "planted/mine"])
    assert sentence is not None
    assert "as they are now: planted/mine. Expect" in sentence
    assert untried(["planted/plain", "file/kernel"]) is None
    marked(GpuRecord(None, (replace(RAN, code=today()),)))
    assert untried(["planted/mine"]) is None


def test_a_record_survives_its_file(planted: Planted) -> None:
    marked(WHOLE)
    assert planted.record() == WHOLE
    assert text(records_in(planted.file)) == planted.file.read_text("utf-8")
    assert keep({"planted/mine": lambda record: record}) == []
    keep({"planted/mine": lambda _: GpuRecord()})
    assert records_in(planted.file) == {}


DROPPED: Any = object()


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("implementations",), [], 'no object "implementations"'),
        (("implementations", "planted/mine"), 3, "no object of prechecked and ran"),
        (("implementations", "planted/mine", "rann"), [], "no object of prechecked and ran"),
        (("implementations", "planted/mine", "ran"), {}, "no list of runs"),
        (("implementations", "planted/mine", "prechecked"), [], "in the place of date"),
        (("implementations", "planted/mine", "prechecked", "date"), "yesterday", "'yesterday' for 'date'"),
        (("implementations", "planted/mine", "prechecked", "parts"), "numerics", "for 'parts'"),
        (("implementations", "planted/mine", "prechecked", "part"), [], "did you mean 'parts'?"),
        (("implementations", "planted/mine", "prechecked", "code"), "abc", "in the place of files, code"),
        (("implementations", "planted/mine", "prechecked", "code"), DROPPED, "lacks the key 'code'"),
        (("implementations", "planted/mine", "prechecked", "versions"), {"torch": 2}, "for 'versions'"),
        (("implementations", "planted/mine", "ran", 0, "ok"), True, "True for 'ok'"),
        (("implementations", "planted/mine", "ran", 0, "failed"), -1, "-1 for 'failed'"),
    ],
)
def test_a_record_that_is_none_is_named_and_nothing_is_written_over_it(
    keys: tuple[str | int, ...], value: Any, said: str, planted: Planted, cli: Cli
) -> None:
    data = json.loads(text({"planted/mine": WHOLE}))
    place = data
    for key in keys[:-1]:
        place = place[key]
    if value is DROPPED:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    broken = json.dumps(data)
    planted.file.write_text(broken, "utf-8")
    with pytest.raises(GpuRecordError) as raised:
        records_in(planted.file)
    assert said in str(raised.value)
    assert "git checkout" in str(raised.value)
    done = cli("list", "--json")
    row = done.document["impls"][0]
    assert (done.code, row["gpu"]["state"], row["available"]) == (0, "unreadable", "yes")
    with pytest.raises(GpuRecordError):
        keep({"planted/mine": lambda _: WHOLE})
    assert planted.file.read_text("utf-8") == broken


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b"{"])
def test_a_file_of_something_else_is_no_record(content: bytes, planted: Planted) -> None:
    planted.file.write_bytes(content)
    with pytest.raises(GpuRecordError):
        check_keepable(["planted/mine"])


def test_a_record_is_kept_in_a_checkout_alone(planted: Planted) -> None:
    check_keepable(["planted/mine", "planted/plain"])
    with pytest.raises(UsageError, match="no backend announces file/kernel"):
        check_keepable(["planted/mine", "file/kernel"])
    (planted.folder.parent / ".git").rename(planted.folder.parent / "gone")
    with pytest.raises(UsageError, match=r"git does not keep it .*Install a clone in place, .* pip install -e"):
        check_keepable(["planted/mine"])


def test_the_list_shows_the_marks(planted: Planted, cli: Cli) -> None:
    marked(GpuRecord(replace(PRECHECKED, code=today())))
    lines = cli("list").out.splitlines()
    assert lines[0].split("  ")[-1].strip() == "reason"
    assert "on a GPU" in lines[0]
    assert "prechecked" in next(line for line in lines if line.startswith("planted/mine"))
    assert "never tried" in next(line for line in lines if line.startswith("planted/other"))
    rows = {row["implementation"]: row["gpu"] for row in cli("list", "--json").document["impls"]}
    assert rows["planted/plain"] is None
    assert rows["planted/mine"]["prechecked"]["architectures"] == ["sm_80", "sm_90", "sm_100"]
    assert rows["planted/other"] == {
        "state": "never",
        "short": "never tried",
        "text": "never tried",
        "prechecked": None,
        "ran": [],
    }
    planted.change("shared.py", "ONE = 1", "ONE = 2")
    assert "prechecked, then changed" in cli("list").out


class _NoRows:
    """Of a check that is not made."""

    rows = ()
    note = ""
    interrupted = False


def test_a_check_on_a_gpu_says_what_is_not_known_to_have_run(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attnbench.workers.devices.nowhere", lambda *_: None)
    monkeypatch.setattr("attnbench.interface.agreeing.check_features", lambda *_, **__: _NoRows())
    done = cli("check", "numpy/naive", "torch/sdpa-cudnn", "--device", "cuda")
    line = next(line for line in done.err.splitlines() if "not known to have run" in line)
    assert "as they are now: torch/sdpa-cudnn. Expect to find faults" in line
    assert "not known to have run" not in cli("check", "torch/naive", "--device", "cpu").err
    assert "not known to have run" not in cli("check", "torch/naive", "--device", "cuda", "--quiet").err


def test_a_run_on_a_gpu_says_it_too() -> None:
    from attnbench.interface.running import _planned
    from attnbench.measure.run.plan import make_plan

    plan = make_plan(["gpu"], patterns=["torch/sdpa-cudnn"], probe=False)
    lines: list[str] = []
    _planned(lines.append)(replace(plan, refused={}))
    assert [
        line for line in lines if line.startswith("not known to have run on a GPU as they are now: torch/sdpa-cudnn.")
    ]
    lines.clear()
    _planned(lines.append)(replace(plan, refused={cell.id: "no GPU here" for cell in plan.cells}))
    assert not [line for line in lines if "not known" in line]
