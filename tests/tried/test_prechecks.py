"""``attnbench precheck --record``: what passed is kept beside the code, and what did not is not, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from attnbench.errors import EXIT_NOTHING_MEASURED, EXIT_OK
from attnbench.precheck import parts
from attnbench.precheck.question import PrecheckQuestion
from attnbench.precheck.rows import KernelRow, PartRow, PrecheckRow
from attnbench.tried.marks import mark
from attnbench.tried.prechecks import SHAPES_ALONE
from attnbench.tried.record import GpuPrecheck
from tests.dropins import GOOD
from tests.program import Cli
from tests.repository import REPOSITORY
from tests.tried.planted import Planted

CODE = KernelRow("planted/mine", "attend", "sm_90", "ok", compiled=True)
CODES = [replace(CODE, arch=arch) for arch in ("sm_80", "sm_90", "sm_100")]
NOT_COMPILED = replace(CODE, arch="sm_80", status="unknown", compiled=False, reason="no compiler")
MEMORY = PartRow("planted/mine", "memory", "ok", "causal")
UNTOLD_MEMORY = PartRow("planted/mine", "memory", "unknown", reason="nobody watches")
NUMBERS = PartRow("planted/mine", "numerics", "ok", "causal")
LAUNCHES = PartRow("planted/mine", "launches", "ok", "attend")
SHAPES = PartRow("planted/mine", "lowers", "ok", "cuda", detail={"by": SHAPES_ALONE})
SOME_SHAPES = replace(SHAPES, detail=SHAPES.detail | {"untold": [{"feature": "mask"}]})
WRONG = PartRow("planted/mine", "memory", "wrong", "attend", "race: two programs")
LOST = PartRow("planted/mine", "numerics", "lost", reason="it took too long")
UNTOLD = PartRow("planted/mine", "numerics", "unknown", reason="it is not interpreted")
UNKNOWN = PartRow("planted/mine", "lowers", "unknown", reason="nothing is installed")


@pytest.fixture
def finding(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have the command find these rows, and perhaps do something meanwhile."""

    def find(*rows: PrecheckRow, meanwhile: Callable[[], None] = lambda: None) -> None:
        def part(impl: str, question: PrecheckQuestion) -> Iterator[PrecheckRow]:
            del question
            meanwhile()
            yield from (row for row in rows if row.impl == impl)

        monkeypatch.setattr(parts.precheck, "__defaults__", (None, (part,)))

    return find


@pytest.mark.parametrize(
    ("rows", "kept", "unknown", "short"),
    [
        ([*CODES, NUMBERS, LAUNCHES, MEMORY], ("machine code", "numerics", "memory"), (), "prechecked"),
        ([*CODES, NUMBERS, UNKNOWN, MEMORY], ("machine code", "numerics", "memory"), ("lowers",), "prechecked"),
        ([*CODES, NUMBERS], ("machine code", "numerics"), ("memory",), "prechecked: memory not told"),
        ([CODE, NUMBERS, MEMORY], ("machine code", "numerics", "memory"), (), "prechecked for sm_90"),
        ([CODE, NOT_COMPILED, NUMBERS, MEMORY], ("machine code", "numerics", "memory"), ("machine code",),
         "prechecked for sm_90"),
        ([NUMBERS, UNTOLD_MEMORY], ("numerics",), ("memory",), "prechecked: memory not told"),
        ([SHAPES], ("shapes",), (), "prechecked: shapes only"),
        ([SOME_SHAPES], ("shapes",), ("shapes",), "prechecked: shapes only"),
        ([*CODES, UNTOLD], ("machine code",), ("numerics", "memory"), "prechecked: machine code only"),
    ],
)  # fmt: skip
def test_what_passed_is_kept(
    rows: Sequence[PrecheckRow], kept: tuple[str, ...], unknown: tuple[str, ...], short: str,
    planted: Planted, finding: Callable[..., None], cli: Cli,
) -> None:  # fmt: skip
    finding(*rows)
    done = cli("precheck", "planted/mine", "--record", "--json")
    compiled = CODE in rows
    part = compiled and (MEMORY not in rows or NOT_COMPILED in rows)  # something of a kernel was not told at all
    assert done.code == (EXIT_NOTHING_MEASURED if part else EXIT_OK)
    assert (done.document["recorded"], done.document["not_recorded"]) == (["planted/mine"], {})
    entry = planted.record().prechecked
    assert entry is not None
    assert (entry.parts, entry.unknown) == (kept, unknown)
    assert entry.architectures == tuple(row.arch for row in rows if isinstance(row, KernelRow) and row.compiled)
    of = mark("planted/mine")
    assert of is not None
    assert (of.state, of.short) == ("prechecked", short)
    assert f"written: {planted.file}" in done.err


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([CODE, NUMBERS, WRONG], "memory is wrong"),
        ([CODE, NUMBERS, LOST], "numerics was lost"),
        ([UNKNOWN], "nothing of it could be told: nothing is installed"),
        ([LAUNCHES], "nothing of it could be told"),
        ([], "nothing of it could be told: no part of the precheck is about it"),
    ],
)
def test_what_did_not_pass_is_not(
    rows: Sequence[PrecheckRow], why: str, planted: Planted, finding: Callable[..., None], cli: Cli
) -> None:
    finding(*rows)
    done = cli("precheck", "planted/mine", "--record", "--json")
    assert done.document["recorded"] == []
    assert done.document["not_recorded"]["planted/mine"].startswith(why)
    assert not planted.file.exists()


def test_a_fault_takes_back_the_pass_of_the_same_code_alone(
    planted: Planted, finding: Callable[..., None], cli: Cli
) -> None:
    finding(CODE, NUMBERS, PartRow("planted/other", "numerics", "ok"))
    cli("precheck", "planted/*", "--record")
    before = planted.record("planted/other")
    assert before.prechecked is not None
    finding(CODE, LOST)
    assert cli("precheck", "planted/mine", "--record", "--json").document["withdrawn"] == []
    planted.change("shared.py", "ONE = 1", "ONE = 2")
    finding(CODE, WRONG)
    assert cli("precheck", "planted/mine", "--record", "--json").document["withdrawn"] == []
    assert planted.record().prechecked is not None
    planted.change("shared.py", "ONE = 2", "ONE = 1")
    done = cli("precheck", "planted/mine", "--record", "--json")
    assert done.document["withdrawn"] == ["planted/mine"]
    assert planted.record().prechecked is None
    assert planted.record("planted/other") == before


def test_one_architecture_asked_for_alone_takes_nothing_away(
    planted: Planted, finding: Callable[..., None], cli: Cli
) -> None:
    def recorded(*rows: PrecheckRow) -> GpuPrecheck:
        finding(*rows)
        cli("precheck", "planted/mine", "--record")
        entry = planted.record().prechecked
        assert entry is not None
        return entry

    recorded(CODES[2], NUMBERS)
    entry = recorded(CODE, MEMORY, UNTOLD)
    assert entry.architectures == ("sm_90", "sm_100")
    assert (set(entry.parts), entry.unknown) == ({"machine code", "numerics", "memory"}, ())
    assert recorded(NOT_COMPILED, CODE, NUMBERS, MEMORY).unknown == ("machine code",)
    assert recorded(*CODES).unknown == ()
    planted.change("shared.py", "ONE = 1", "ONE = 2")
    entry = recorded(CODE, NUMBERS)
    assert (entry.architectures, entry.parts, entry.unknown) == (("sm_90",), ("machine code", "numerics"), ("memory",))


def test_code_that_changes_meanwhile_has_not_passed(planted: Planted, finding: Callable[..., None], cli: Cli) -> None:
    finding(CODE, NUMBERS, meanwhile=lambda: planted.change("shared.py", "ONE = 1", "ONE = 2"))
    done = cli("precheck", "planted/mine", "--record")
    assert "not recorded: planted/mine: its code changed while it was prechecked" in done.err
    assert not planted.file.exists()


def test_without_being_asked_nothing_is_kept(planted: Planted, finding: Callable[..., None], cli: Cli) -> None:
    finding(CODE, NUMBERS)
    assert "recorded" not in cli("precheck", "planted/mine", "--json").document
    assert not planted.file.exists()


def test_where_nothing_can_be_kept_nothing_is_begun(
    planted: Planted, finding: Callable[..., None], cli: Cli, tmp_path: Path
) -> None:
    finding(CODE, meanwhile=lambda: pytest.fail("it was begun"))
    assert "--roofline alone prechecks nothing" in cli("precheck", "--roofline", "H100", "--record").err
    (tmp_path / "mine.py").write_text(dedent(GOOD), "utf-8")
    done = cli("precheck", "--impls", tmp_path / "mine.py", "--record")
    assert done.code == 2
    assert "a record stands beside the code of a backend" in done.err
    (planted.folder.parent / ".git").rename(planted.folder.parent / "gone")
    assert "git does not keep it (fatal: " in cli("precheck", "planted/mine", "--record").err


def test_what_tells_shapes_alone_says_so() -> None:
    """The words are those of PyTorch's adapter."""
    assert f'"{SHAPES_ALONE}"' in (REPOSITORY / "impls" / "torch_backend" / "adapter.py").read_text("utf-8")
