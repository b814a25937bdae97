"""A plan as files: the cells of a local run, what each block asks of a machine, and in which order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnbench.api.suites import AttentionSpec, Case, Problem
from attnbench.dispatch import layout
from attnbench.dispatch.blocks import Blocks, read_block, read_order
from attnbench.dispatch.folder import read_plan
from attnbench.dispatch.listing import in_arrays, in_ranges
from attnbench.dispatch.needs import laid_out
from attnbench.errors import EXIT_USAGE, ResultsError
from attnbench.measure.run.plan import make_plan
from attnbench.suite import Cell
from tests.program import Cli


def timed(T: int, device: str = "cpu", threads: int = 1) -> list[Cell]:
    case = Case(AttentionSpec(), Problem(Hq=2, Tq=T, D=8))
    return [Cell("timed", {"T": T}, case, "numpy/naive", device, threads)]


def observed(seed: int, arm: str) -> list[Cell]:
    return [Cell("seen", {"seed": seed, "arm": arm}, None, "numpy/naive")]


def test_the_plan_has_the_blocks_and_cells_of_a_run(cli: Cli, tmp_path: Path) -> None:
    typed = ("smoke", "-a", "T=128,256", "--impl", "numpy/*", "--threads", "1", "--threads", "2")
    done = cli("dispatch", "plan", *typed, "-o", "plan", "--json")
    assert done.code == 0
    local = make_plan(["smoke"], patterns=["numpy/*"], overrides=["T=128,256"], devices=["cpu"], threads=[1, 2])
    plan = read_plan(tmp_path / "plan")
    order = read_order(tmp_path / "plan", plan)
    blocks = [read_block(tmp_path / "plan", plan, order.ids[number]) for number in order.planned]
    assert [block.cell_ids for block in blocks] == [tuple(cell.id for cell in cells) for cells in local.blocks()]
    assert [block.id for block in blocks] == [cells[0].block_id for cells in local.blocks()]
    assert (done.document["blocks"], done.document["cells"]) == (len(blocks), len(local.cells))
    listed = cli("dispatch", "list", "plan", "--json").document["blocks"]
    assert [block["number"] for block in listed] == list(range(len(blocks)))
    assert {block["needs"]["threads"] for block in listed} == {1, 2}
    assert all(block["needs"]["packages"] == ["numpy"] and block["needs"]["memory_bytes"] > 0 for block in listed)
    kinds = done.document["kinds"]
    assert [(kind["first"], kind["last"]) for kind in kinds] == [
        (0, len(blocks) // 2 - 1),
        (len(blocks) // 2, len(blocks) - 1),
    ]


def test_the_longest_come_first_within_a_kind_of_machine() -> None:
    blocks = [timed(16), timed(64, "cuda"), timed(32), timed(16, "cuda"), timed(64, threads=2), timed(48)]
    order = laid_out(blocks, {"cuda": {"gpu": "h100"}})
    assert [block.place for block in order] == [5, 2, 0, 1, 3, 4]
    assert order[3].needs.labels == {"gpu": "h100"}
    assert order[0].needs.labels == {}


def test_every_arm_of_a_seed_comes_before_the_next_seed() -> None:
    blocks = [observed(seed, arm) for arm in "ab" for seed in (7, 3, 5)]
    seeds = [block.cells[0].point["seed"] for block in laid_out(blocks, {})]
    assert seeds == [7, 7, 3, 3, 5, 5]


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 9), min_size=1),
    st.integers(1, 5),
    st.sampled_from([("cpu",), ("cpu", "cuda")]),
    st.randoms(use_true_random=False),
)
def test_whenever_a_fleet_is_stopped_no_arm_is_a_block_ahead_of_another(
    sizes: dict[str, int], seeds: int, devices: tuple[str, ...], draw: Random
) -> None:
    """Arms of unlike sizes, so that the longest first pulls against the balance, planned in any order."""

    def block(suite: str, arm: str, seed: int, device: str) -> list[Cell]:
        case = Case(AttentionSpec(), Problem(Hq=1, Tq=8 * sizes[arm], D=8, seed=seed)) if suite == "timed" else None
        return [Cell(suite, {"arm": arm, "seed": seed}, case, "numpy/naive", device)]

    kinds = [(suite, device) for suite in ("timed", "seen") for device in devices]
    blocks = [block(suite, arm, seed, device) for suite, device in kinds for arm in sizes for seed in range(seeds)]
    draw.shuffle(blocks)
    counts = {kind: dict.fromkeys(sizes, 0) for kind in kinds}
    sizes_before: dict[tuple[str, str, int], int] = {}
    for one in laid_out(blocks, {}):
        cell = one.cells[0]
        mine = counts[cell.suite, cell.device]
        mine[cell.point["arm"]] += 1
        assert max(mine.values()) - min(mine.values()) <= 1
        if cell.suite == "timed":
            of_seed = (cell.suite, cell.device, cell.point["seed"])
            assert sizes[cell.point["arm"]] <= sizes_before.get(of_seed, sizes[cell.point["arm"]])
            sizes_before[of_seed] = sizes[cell.point["arm"]]


def test_a_budget_is_shared_by_the_cells(cli: Cli, tmp_path: Path) -> None:
    typed = ("smoke", "-a", "T=128,256", "--impl", "numpy/naive", "--budget", "90s", "-o", "plan")
    done = cli("dispatch", "plan", *typed)
    plan = read_plan(tmp_path / "plan")
    blocks = Blocks(tmp_path / "plan", plan)
    for block in map(blocks.numbered, range(len(blocks))):
        assert block.budget_s == pytest.approx(90 * len(block.cells) / plan.cells)
    assert f"gives each cell {90 / plan.cells:.3g} s" in done.out
    assert "--budget 90s" in " ".join(plan.asked.typed)
    wrong = cli("dispatch", "plan", "smoke", "--budget", "soon", "-o", "other")
    assert (wrong.code, "a duration is a number above 0" in wrong.err) == (EXIT_USAGE, True)


def test_a_folder_that_is_not_empty_is_left_as_it_is(cli: Cli, small_plan: Callable[..., Path]) -> None:
    folder = small_plan()
    before = (folder / "plan.json").read_bytes()
    done = cli("dispatch", "plan", "smoke", "-o", folder)
    assert done.code == EXIT_USAGE
    assert "holds a plan already; nothing is overwritten" in done.err
    assert (folder / "plan.json").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("smok",), "did you mean 'smoke'"),
        ((), "name a suite"),
        (("smoke", "--label", "gpu"), "write NAME=VALUE"),
        (("smoke", "--label", "cude:gpu=x"), "did you mean 'cuda'"),
        (("smoke", "--label", "gpu=a", "--label", "gpu=b"), "gpu is a already"),
        (("smoke", "--seed", "-1"), "from 0 on"),
        (("smoke", "--hold", "torch"), "write NAME=VERSION"),
        (("smoke", "--impls", "nowhere.py"), "no such file"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    words: tuple[str, ...], said: str, cli: Cli, tmp_path: Path
) -> None:
    done = cli("dispatch", "plan", *words, "-o", "plan")
    assert done.code == EXIT_USAGE
    assert said in done.err
    assert not (tmp_path / "plan").exists()


@pytest.mark.parametrize("send", [True, False])
def test_a_file_of_ones_own_is_the_planned_one_or_the_worker_is_refused(
    send: bool, cli: Cli, tmp_path: Path, dropin: Callable[..., str]
) -> None:
    file = Path(dropin())
    asked = ("smoke", "-a", "T=128", "--impl", "numpy/good", "--impls", file, "-o", "plan")
    assert cli("dispatch", "plan", *asked, *(["--send-files"] if send else [])).code == 0
    (kept,) = read_plan(tmp_path / "plan").files
    there = tmp_path / "plan" / str(kept.sent) if send else file
    assert there.read_bytes() == file.read_bytes()
    assert list((tmp_path / "plan" / "files").rglob("*.py")) == ([there] if send else [])
    there.write_text(there.read_text() + "# more\n")
    changed = cli("dispatch", "work", "plan", "--block", "0")
    assert (changed.code, "is not the file that was planned" in changed.err) == (EXIT_USAGE, True)
    there.unlink()
    gone = cli("dispatch", "work", "plan", "--block", "0")
    assert (gone.code, "is not here" in gone.err) == (EXIT_USAGE, True)


@pytest.mark.parametrize("send", [True, False])
def test_a_file_beside_the_planned_ones_is_refused(
    send: bool, cli: Cli, tmp_path: Path, dropin: Callable[..., str]
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    Path(dropin()).rename(mine / "kernel.py")
    asked = ("smoke", "-a", "T=128", "--impl", "numpy/good", "--impls", mine, "-o", "plan")
    assert cli("dispatch", "plan", *asked, *(["--send-files"] if send else [])).code == 0
    place = tmp_path / "plan" / "files" / "0" if send else mine
    (place / "more.py").write_text("raise SystemExit")
    done = cli("dispatch", "work", "plan", "--block", "0")
    assert (done.code, "more.py was not there when the plan was made" in done.err) == (EXIT_USAGE, True)


def test_a_file_that_travelled_is_no_link(cli: Cli, tmp_path: Path, dropin: Callable[..., str]) -> None:
    asked = ("smoke", "-a", "T=128", "--impl", "numpy/good", "--impls", dropin(), "--send-files", "-o", "plan")
    assert cli("dispatch", "plan", *asked).code == 0
    (sent,) = (tmp_path / "plan" / "files" / "0").iterdir()
    sent.rename(tmp_path / "elsewhere.py")
    sent.symlink_to(tmp_path / "elsewhere.py")
    done = cli("dispatch", "work", "plan", "--block", "0")
    assert (done.code, "is a link" in done.err) == (EXIT_USAGE, True)


@pytest.mark.parametrize("sent", ["/etc/passwd", "files/0/../../../x.py", "../x.py", "files/x.py"])
def test_no_file_leads_out_of_the_folder(sent: str, cli: Cli, unmeasured: Path) -> None:
    plan = json.loads((unmeasured / "plan.json").read_text())
    plan["files"][0]["sent"] = sent
    (unmeasured / "plan.json").write_text(json.dumps(plan))
    done = cli("dispatch", "work", unmeasured, "--block", "0")
    assert (done.code, "plan.json is damaged" in done.err) == (EXIT_USAGE, True)


@pytest.mark.parametrize("made", ["/../../../away", "2026-99-01T00:00:00Z", "2026-01-01T00:00:00"])
def test_the_time_of_a_plan_names_folders_and_is_a_time(made: str, cli: Cli, measured: Path) -> None:
    plan = json.loads((measured / "plan.json").read_text())
    (measured / "plan.json").write_text(json.dumps(plan | {"made": made}))
    done = cli("dispatch", "merge", measured, "--out", "runs")
    assert (done.code, "plan.json is damaged" in done.err) == (EXIT_USAGE, True)


def test_no_block_stands_twice_in_the_order(cli: Cli, measured: Path) -> None:
    order = json.loads((measured / "order.json").read_text())
    order["ids"][1] = order["ids"][0]
    (measured / "order.json").write_text(json.dumps(order))
    done = cli("dispatch", "merge", measured, "--out", "runs")
    assert (done.code, "order.json is damaged" in done.err) == (EXIT_USAGE, True)


def test_a_block_that_was_changed_is_refused(cli: Cli, small_plan: Callable[..., Path]) -> None:
    folder = small_plan()
    file = folder / "blocks.jsonl"
    file.write_text(file.read_text().replace('"impl":"numpy/naive"', '"impl":"numpy/other"', 1))
    done = cli("dispatch", "work", folder, "--block", "0")
    assert (done.code, "is damaged" in done.err) == (EXIT_USAGE, True)


def test_ranges_are_written_as_schedulers_take_them() -> None:
    assert in_ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
    assert in_ranges([]) == ""
    assert in_arrays([0, 1, 999, 1000, 2001, 2002], 1000) == [(0, "0-1,999"), (1000, "0"), (2000, "1-2")]
    assert in_arrays([], 7) == []


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--each",), "type: --missing --each"),
        (("--array-size", "9"), "type: --missing --array-size 9"),
        (("--missing", "--array-size", "0"), "--array-size is 1 or more"),
        (("--missing", "--each", "--array-size", "9"), "give one of them"),
    ],
)
def test_a_list_that_cannot_be_written_is_said(typed: tuple[str, ...], said: str, cli: Cli, unmeasured: Path) -> None:
    done = cli("dispatch", "list", unmeasured, *typed)
    assert (done.code, said in done.err) == (EXIT_USAGE, True)


def test_what_is_missing_is_written_for_loops_and_for_arrays(cli: Cli, unmeasured: Path, measured: Path) -> None:
    assert cli("dispatch", "list", unmeasured, "--missing", "--each").out == "0\n1\n2\n"
    assert cli("dispatch", "list", unmeasured, "--missing", "--array-size", "2").out == "0 0-1\n2 0\n"
    assert cli("dispatch", "list", measured, "--missing", "--each").out == ""
    assert cli("dispatch", "list", measured, "--missing", "--array-size", "2").out == ""


@pytest.mark.parametrize("spoil", [str.upper, lambda _: "", lambda text: text * 2])
def test_blocks_that_are_not_those_of_the_order_are_refused(spoil: Any, cli: Cli, unmeasured: Path) -> None:
    file = unmeasured / "blocks.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([spoil(lines[0]), *lines[1:]]) + "\n")
    done = cli("dispatch", "work", unmeasured, "--block", "0" if spoil(lines[0]) != lines[0] * 2 else "1")
    assert (done.code, "blocks.jsonl is damaged: line " in done.err) == (EXIT_USAGE, True)


@pytest.mark.parametrize("end", [None, 10**9, 10**19])
def test_blocks_that_were_cut_are_said_to_be(end: int | None, cli: Cli, unmeasured: Path) -> None:
    order, file = json.loads((unmeasured / "order.json").read_text()), unmeasured / "blocks.jsonl"
    if end is None:
        file.write_bytes(file.read_bytes()[:-9])
    else:
        (unmeasured / "order.json").write_text(json.dumps(order | {"at": [*order["at"][:-1], end]}))
    done = cli("dispatch", "work", unmeasured, "--block", "2")
    assert (done.code, "blocks.jsonl is damaged: it ends before line 3 does" in done.err) == (EXIT_USAGE, True)


@pytest.mark.parametrize("column", ["at", "cells", "suite", "kind", "memory_bytes", "planned", "needs", "suites"])
def test_an_order_that_does_not_fit_is_refused(column: str, cli: Cli, unmeasured: Path) -> None:
    order = json.loads((unmeasured / "order.json").read_text())
    order[column] = order[column][:-1]
    (unmeasured / "order.json").write_text(json.dumps(order))
    done = cli("dispatch", "list", unmeasured)
    assert (done.code, "order.json is damaged" in done.err) == (EXIT_USAGE, True)


@pytest.mark.parametrize("there", [False, True])
def test_what_fails_half_way_leaves_nothing_in_the_way(
    there: bool, small_plan: Callable[..., Path], tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        (tmp_path / "plan" / "blocks.jsonl").write_text("{")
        raise ResultsError("no space left on the disk")

    if there:
        (tmp_path / "plan").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "write_blocks", full)
        with pytest.raises(ResultsError, match="no space left"):
            small_plan()
    assert (tmp_path / "plan").exists() == there
    assert read_plan(small_plan()).blocks == 1
