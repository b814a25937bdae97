"""docs/implementations.md: up to date with what is declared, and its second part is what a saved run measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from attnbench.backends.discover import backends, load_implementation
from attnbench.errors import UsageError
from attnbench.results.read import read_cells, read_info
from tests.docs import implementations_page as page
from tests.docs import slower_page, write
from tests.repository import DOCS, REPOSITORY

RUN = REPOSITORY / "results" / "2026-11-22-amd-epyc-2-cores-smoke-sample"


def rows(text: str) -> list[str]:
    """The lines about implementations, each of them with its table's columns."""
    return [line for line in text.splitlines() if line.startswith(("| `", "- `"))]


def test_what_is_declared_stands_on_the_page() -> None:
    text = page.PAGE.read_text("utf-8")
    body = page.declared()
    assert set(rows(body)) <= set(rows(text)), "run `python -m tests.docs.write implementations`"
    if all(map(page.is_readable, backends().values())):
        assert page.filled(text, page.DECLARED, body) == text, "run `python -m tests.docs.write implementations`"


def test_a_declaration_that_changes_changes_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    before = page.declared(["numpy/blocked"])
    honest = load_implementation("numpy/blocked")
    other = replace(honest.capabilities, causal=False, lacks={"causal": "no | for a reason"})
    monkeypatch.setattr(page, "load_implementation", lambda _: replace(honest, capabilities=other))
    after = page.declared(["numpy/blocked"])
    assert rows(before)[1] != rows(after)[1]
    assert rows(after)[1].startswith("| `numpy/blocked` | – |")
    assert "no `causal`: no \\| for a reason" in after


def test_without_a_framework_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    info = replace(backends()["numpy"], requires="no_such_module", extra=None)
    monkeypatch.setattr(page, "backends", lambda: {"numpy": info})
    with pytest.raises(UsageError, match="not all are here: no_such_module is not installed"):
        page.complete()


def test_a_run_becomes_a_table_of_each_case() -> None:
    text = page.measured(RUN)
    info, cells = read_info(RUN), read_cells(RUN)
    timed = [cell for cell in cells if cell.status == "ok"]
    assert f"Measured by run `{info.run_id}`" in text
    assert len(rows(text)) == len(timed)
    cell = next(cell for cell in timed if cell.impl == "numpy/naive" and cell.dtype == "float32" and cell.flop_rate)
    rate = info.ceilings["sgemm_flop_rate.threads1"]
    assert page.rate_of_products(cell, info) == rate
    assert f" {(cell.flop_rate or 0) / rate:.0%} |" in text


def test_a_run_without_times_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "read_cells", lambda _: [cell for cell in read_cells(RUN) if cell.status != "ok"])
    with pytest.raises(UsageError, match="has no timed cell"):
        page.measured(RUN)


def test_a_run_is_named_for_its_page_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        write.main(["shapes", "--run", str(tmp_path)])
    assert "implementations --run FOLDER" in capsys.readouterr().err


def test_a_run_is_written_into_its_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = tmp_path / "implementations.md"
    copy.write_text(page.PAGE.read_text("utf-8"), "utf-8")
    monkeypatch.setattr(page, "PAGE", copy)
    write.implementations_measured(RUN)
    text = copy.read_text("utf-8")
    assert "GFLOP/s" in text
    declared = text.partition("<!-- measured")[0]
    assert declared == (DOCS / "implementations.md").read_text("utf-8").partition("<!-- measured")[0]


def test_where_ours_are_slower_is_split_by_the_roofline(monkeypatch: pytest.MonkeyPatch) -> None:
    product, exp = "float32_flop_rate.cpu.threads1", "exp_rate.cpu.threads1"
    info = read_info(RUN).model_copy(update={"ceilings": {product: 1e11, exp: 1e9}})
    timed = [cell for cell in read_cells(RUN) if cell.status == "ok" and cell.dtype == "float32"]
    ours = next(cell for cell in timed if cell.impl == "numpy/blocked")
    other = next(cell for cell in timed if cell.block_id == ours.block_id and cell.impl == "torch/sdpa")
    ours = ours.model_copy(update={"time_median_s": 4e-3, "flops": 1e8, "exponentials": 1e6})
    other = other.model_copy(update={"time_median_s": 2.5e-3, "flops": 1e8, "exponentials": 1e6})
    monkeypatch.setattr(slower_page, "read_info", lambda _: info)
    monkeypatch.setattr(slower_page, "read_cells", lambda _: [ours, other])
    assert "| 1.60 | 1.00 ms | 1.00 ms | 50% | 20% |" in slower_page.behind(RUN)
    monkeypatch.setattr(slower_page, "read_cells", lambda _: [ours.model_copy(update={"time_median_s": 2e-3}), other])
    assert "`numpy/blocked` (0.80 × `torch/sdpa`)" in slower_page.behind(RUN)


def test_a_run_without_ours_or_without_others_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        slower_page, "read_cells", lambda _: [cell for cell in read_cells(RUN) if cell.impl == "torch/sdpa"]
    )
    with pytest.raises(UsageError, match="no case that was measured of ours"):
        slower_page.behind(RUN)
