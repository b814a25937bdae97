"""Exports of answers, tables and figures: nothing dropped, numbers in full, no text that runs or breaks out."""

import io
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from matplotlib.colors import to_hex

from attnbench.analysis.judged import VERDICTS_FILE, JudgedRun, judge_run
from attnbench.analysis.leading import all_standings
from attnbench.errors import MissingExtraError, ResultsError, UsageError
from attnbench.exchange.writers.export import export as for_a_tool
from attnbench.report.content import Report, collect
from attnbench.report.drawn.answers import STEPS, answer_figures
from attnbench.report.exports import comma, latex, workbook
from attnbench.report.exports import export as exporting
from attnbench.report.exports.export import FORMATS
from attnbench.report.exports.export import export as exported
from attnbench.report.exports.pictures import PICTURES, chosen
from attnbench.report.exports.rows import STANDING, cell_table, with_standing
from attnbench.report.figures import DrawnFigure
from attnbench.report.glance.spread import grid_tables, grid_text
from attnbench.report.html.page import STYLESHEET
from attnbench.report.html.templates import FOLDER
from attnbench.report.tables import Table
from attnbench.report.write import write_report
from attnbench.results import load
from attnbench.results.read import OF_RUN
from attnbench.show.svg import clean_svg
from attnbench.show.table import Column
from tests.report import suites
from tests.repository import REPOSITORY
from tests.results import synthetic

EVIL = "=cmd|' /C calc'!A0"
ODD = r"50%_of &#$~^\{}[x]*" + "\u4e2d"
FAILED = {
    ("numpy/naive", 512): ("oom", EVIL),
    ("jax/naive", 128): ("unsupported", "+1 is odd"),
    ("jax/naive", 512): ("unsupported", ODD),
}
OURS = {"smoke": suites.SMOKE}
IMPLS = ("numpy/naive", "torch/sdpa", "jax/naive", "jax/nn-xla")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write_run(tmp_path_factory.mktemp("r"), failed=FAILED, impls=IMPLS, bursts=8)


@pytest.fixture(scope="module")
def judged(run: Path) -> JudgedRun:
    return judge_run(run, lambda _: suites.SMOKE)


@pytest.fixture(scope="module")
def report(judged: JudgedRun) -> Report:
    return collect([judged], drawn=False)


@pytest.fixture(scope="module")
def drawn(judged: JudgedRun) -> Report:
    return collect([judged])


@pytest.fixture
def drawn_before(drawn: Report, monkeypatch: pytest.MonkeyPatch) -> Report:
    """The figures of the run, drawn once for all tests."""
    monkeypatch.setattr(exporting, "collect", lambda *_, **__: drawn)
    return drawn


def export(*given: Any, **how: Any) -> Any:
    return exported(*given, **how, suites=OURS)


def text_of(run: Path, to: str) -> str:
    return str(export(run, to).text)


# CSV


def test_csv_has_the_numbers_of_the_frame_bit_for_bit(run: Path, tmp_path: Path) -> None:
    export(run, "csv", tmp_path / "x.csv")
    frame = load(run)
    # As text first: the parser of an older pandas is wrong in the last bit by itself.
    read = pd.read_csv(tmp_path / "x.csv", dtype=str)
    assert len(read) == len(frame)
    assert list(read.columns) == [*frame.columns, *STANDING]
    numbers = [name for name in frame.columns if frame[name].dtype.kind == "f"]
    assert {"time_median_s", "error_ratio"} <= set(numbers)
    for name in numbers:
        assert read[name].map(float).equals(frame[name].astype(float)), name
    assert read["status"].tolist() == frame["status"].tolist()
    assert read["cell_id"].tolist() == frame["cell_id"].tolist()


def test_csv_is_of_rfc_4180_and_no_text_in_it_is_a_formula(run: Path, tmp_path: Path) -> None:
    export(run, "csv", tmp_path / "x.csv")
    data = (tmp_path / "x.csv").read_bytes()
    assert data.count(b"\r\n") == data.count(b"\n") == 1 + 16
    read = pd.read_csv(io.BytesIO(data))
    reasons = set(read["reason"].dropna())
    assert {f"'{EVIL}", "'+1 is odd", ODD} == reasons
    for text in ("=1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "\n=1"):
        assert comma.harmless(text) == f"'{text}"
    for value in ("1-2", "a=b", "", -1.5, None, "–"):
        assert comma.harmless(value) is value


def test_the_csv_files_of_a_report_hold_no_formula_either(run: Path, tmp_path: Path) -> None:
    write_report([run], tmp_path / "page", OURS)
    reasons = set(pd.read_csv(tmp_path / "page" / "cells.csv")["reason"].dropna())
    assert {f"'{EVIL}", "'+1 is odd", ODD} == reasons
    safe = comma.without_formulas(pd.DataFrame({"=claim": ["@x", "plain"], "value": [-1.5, 2.0]}))
    assert safe.to_dict("list") == {"'=claim": ["'@x", "plain"], "value": [-1.5, 2.0]}


def test_standings_are_those_of_the_grid(judged: JudgedRun, report: Report) -> None:
    frame = with_standing(judged)
    over = all_standings(judged.frame)
    grid = report.sections[0].grid
    assert grid is not None
    kinds = [cell.kind for row in grid.rows for cell in row.cells if cell.ratio is not None]
    assert sorted(frame["standing"].dropna()) == sorted(kinds)
    for cell, ratio, low, high in zip(frame["cell_id"], *(frame[name] for name in STANDING[:3]), strict=True):
        known = over.get(cell)
        if known is None:
            assert math.isnan(ratio)
        else:
            wanted = (1.0, 1.0, 1.0) if known.ratio is None else (known.ratio.value, known.ratio.low, known.ratio.high)
            assert (ratio, low, high) == wanted


# Excel


def book(judged: JudgedRun, report: Report, **how: Any) -> Any:
    return openpyxl.load_workbook(io.BytesIO(workbook.workbook(judged, report.runs[0], **how)))


def test_a_workbook_has_a_sheet_for_each_and_numbers_in_it(judged: JudgedRun, report: Report) -> None:
    read = book(judged, report, samples=True)
    assert read.sheetnames == ["answer", "grid", "cells", "conditions", "samples"]
    for sheet in read:
        assert sheet.freeze_panes == "A2"
        assert sheet.auto_filter.ref == sheet.dimensions
    cells = read["cells"]
    heads = [cell.value for cell in cells[1]]
    times = [row[heads.index("median time (s)")] for row in cells.iter_rows(min_row=2, values_only=True)]
    # openpyxl writes 16 digits, one less than a number may need.
    assert [value for value in times if value is not None] == pytest.approx(
        judged.frame["time_median_s"].dropna().tolist(), rel=1e-15, abs=0
    )
    assert cells.max_row == 1 + len(judged.frame)
    assert read["samples"].max_row == 1 + len(load(judged.folder, samples=True))
    assert read["answer"]["D2"].value == (report.sections[0].advice or pytest.fail("no advice")).sentence


def test_no_text_of_a_workbook_is_a_formula_or_an_error(judged: JudgedRun, report: Report) -> None:
    read = book(judged, report)
    texts = [cell for sheet in read for row in sheet for cell in row if isinstance(cell.value, str)]
    assert {cell.data_type for cell in texts} == {"s"}
    evil = [cell for cell in texts if cell.value == EVIL]
    assert len(evil) == 2
    assert all(cell.quotePrefix for cell in evil)


def test_a_sheet_holds_what_excel_cannot() -> None:
    long = "x" * 40_000
    sheet = pd.DataFrame({"a": [math.inf, -math.inf, 2**60, True, "a\x07b", long, None]})
    infinite, negative, whole, flag, bell, cut, _ = workbook._safe(sheet)["a"]
    assert (infinite, negative, whole, flag, bell) == ("inf", "-inf", str(2**60), True, r"a\x07b")
    assert len(cut) == workbook.MOST_SIGNS
    assert cut.endswith(" … (40,000 characters; all of them are in --to csv)")


@pytest.mark.parametrize("sign", ["\ufffe", "\uffff", "\ud800"])
def test_what_no_xml_may_hold_is_replaced(sign: str) -> None:
    assert workbook._held(f"text{sign}") == "text\ufffd"
    drawn = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1" width="1" height="1"><text>a{sign}</text></svg>'
    assert "<text>a\ufffd</text>" in clean_svg(drawn, "n", f"title{sign}", {})


def test_a_sheet_that_would_be_too_long_is_refused(
    judged: JudgedRun, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workbook, "MOST_ROWS", 30)
    assert book(judged, report)
    with pytest.raises(UsageError, match=r"the sheet samples would have .* rows, and Excel holds 30; leave out"):
        workbook.workbook(judged, report.runs[0], samples=True)


def test_without_openpyxl_it_is_one_clear_line(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"--to excel needs openpyxl.*pip install 'attnbench\[excel\]'"):
        export(run, "excel", tmp_path / "x.xlsx")
    assert list(tmp_path.iterdir()) == []


# LaTeX and Markdown


def test_what_means_something_to_latex_is_text() -> None:
    assert latex.escaped("a_b % & # $ ~ ^ \\ {}") == (
        r"a\_b \% \& \# \$ \textasciitilde{} \textasciicircum{} \textbackslash{} \{\}"
    )
    assert latex.escaped("--threads `x` [y] *") == r"{-}{-}threads \textasciigrave{}x\textasciigrave{} {[}y{]} {*}"
    assert latex.escaped("x" * 5000).endswith(r"x \ldots{} (5,000 characters; all of them are in {-}{-}to markdown)")
    assert latex.escaped("1 µs ∞ é 中\x1b") == r"1 $\mu$s $\infty$ é {[}U+4E2D{]}\textbackslash{}x1b"


def test_letters_that_the_first_fonts_of_latex_have_not_are_numbers() -> None:
    assert latex.escaped("é ő ż Ç ą Ę ŉ \u017f ŀ ĳ") == "é ő ż Ç " + " ".join(
        f"{{[}}U+{number}{{]}}" for number in ("0105", "0118", "0149", "017F", "0140", "0133")
    )


def test_latex_labels_of_two_runs_differ(run: Path) -> None:
    labels = re.findall(r"\\label\{(.*)\}", text_of(run, "latex"))
    assert len(set(labels)) == len(labels) >= 6
    assert all(label.startswith("tab:attnbench-20260102T030405Z-smoke-aaaaaa-") for label in labels)


def test_latex_tables_are_whole(run: Path) -> None:
    text = text_of(run, "latex")
    blocks = re.findall(r"\\begin\{table\}.*?\\end\{table\}", text, re.DOTALL)
    assert len(blocks) == text.count(r"\begin{table}") >= 6
    for block in blocks:
        for rule in ("toprule", "midrule", "bottomrule"):
            assert block.count(f"\\{rule}") == 1
        layout = re.search(r"\\begin\{tabular\}\{@\{\}(.*)@\{\}\}", block)
        assert layout is not None
        columns = len(re.sub(r"\{[^}]*\}", "", layout[1]))
        rows = [line for line in block.splitlines() if line.endswith(r"\tabularnewline")]
        for row in rows:
            spans = sum(int(span) - 1 for span in re.findall(r"\\multicolumn\{(\d+)\}", row))
            assert len(re.split(r"(?<!\\)&", row)) + spans == columns
        assert block.replace(r"\{", "").replace(r"\}", "").count("{") == block.replace(r"\{", "").replace(
            r"\}", ""
        ).count("}")
    assert latex.escaped(ODD) in text
    assert latex.escaped(EVIL) in text


def test_a_long_latex_table_has_parts_that_fit_a_page() -> None:
    short, long = (tuple((text,) for _ in range(90)) for text in ("x", "word " * 60))
    for rows, count in ((short, 3), (long, 10)):
        parts = list(latex._pages(Table("t", (Column("n"),), rows, ("",) * 90)))
        assert len(parts) >= count
        assert parts[0].title == f"t (part 1 of {len(parts)})"
        assert sum((part.rows for part in parts), ()) == rows


def test_a_wide_latex_table_has_parts_that_fit_a_line() -> None:
    columns = (Column("implementation"), *(Column(f"number {at}", right=True) for at in range(30)), Column("reason"))
    row = ("numpy/naive", *(str(at) for at in range(30)), "why " * 30)
    parts = list(latex._blocks(Table("t", columns, (row,), ("",))))
    assert len(parts) >= 3
    assert all(part.rows[0][0] == "numpy/naive" for part in parts)
    assert [text for part in parts for text in part.rows[0][1:]] == list(row[1:])
    assert parts[0].title == f"t (columns, part 1 of {len(parts)})"
    narrow = Table("t", columns[:2], (row[:2],), ("",))
    assert list(latex._blocks(narrow)) == [narrow]


def test_markdown_is_tables_with_every_cell(run: Path, report: Report) -> None:
    tokens = MarkdownIt().enable("table").parse(text_of(run, "markdown"))
    assert sum(token.type == "table_open" for token in tokens) >= 6
    text = " ".join(token.content for token in tokens if token.type == "inline")
    grid = report.sections[0].grid
    assert grid is not None
    (table,) = grid_tables(grid)
    for line in table.rows:
        assert all(word in text for word in line)
    assert (report.sections[0].advice or pytest.fail("no advice")).sentence in text
    assert EVIL in text.replace("\\|", "|")


@pytest.mark.parametrize("to", ["markdown", "csv", "latex"])
def test_cells_without_a_time_are_in_every_format_with_status_and_reason(run: Path, to: str) -> None:
    text = text_of(run, to)
    assert "oom" in text
    assert "unsupported" in text
    assert "1 is odd" in text


def test_a_grid_in_blocks_has_every_cell_once(report: Report) -> None:
    grid = report.sections[0].grid
    assert grid is not None
    (whole,) = grid_tables(grid)
    parts = list(grid_tables(grid, 2))
    heads = [column.name for part in parts for column in part.columns[2:]]
    assert heads == [column.name for column in whole.columns[2:]]
    for number, line in enumerate(whole.rows):
        assert line[2:] == tuple(text for part in parts for text in part.rows[number][2:])


# Figures


@pytest.mark.parametrize(("to", "begins"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_a_figure_is_a_file_of_its_kind_and_the_same_twice(
    run: Path, drawn_before: Report, tmp_path: Path, to: str, begins: bytes
) -> None:
    assert "smoke-errors" in [figure.name for figure in drawn_before.figures]
    files = [tmp_path / f"{name}.{to}" for name in ("a", "b")]
    for file in files:
        export(run, to, file, "smoke-errors")
    first, second = (file.read_bytes() for file in files)
    assert first == second
    assert first.startswith(begins)
    if to == "pdf":
        assert b"/FontFile2" in first
    if to == "svg":
        assert b"currentColor" not in first
        assert b"#040506" not in first


@pytest.mark.parametrize("to", ["svg", "png", "pdf"])
def test_the_grid_is_a_picture_with_every_cell(run: Path, drawn_before: Report, tmp_path: Path, to: str) -> None:
    files = [tmp_path / f"{name}.{to}" for name in ("a", "b")]
    for file in files:
        export(run, to, file, "smoke-grid")
    assert files[0].read_bytes() == files[1].read_bytes()
    if to != "svg":
        return
    grid = drawn_before.sections[0].grid
    assert grid is not None
    kept: list[Any] = []
    (figure,) = [one for one in answer_figures(drawn_before.runs[0]) if one.name == "smoke-grid"]
    assert figure.again is not None
    figure.again({}, kept.append)
    (place,) = kept[0].axes
    written = {tuple(int(at) for at in reversed(text.get_position())): text.get_text() for text in place.texts}
    cells = {(y, x): cell for y, row in enumerate(grid.rows) for x, cell in enumerate(row.cells)}
    assert {at: text.partition("\n")[0] for at, text in written.items()} == {
        at: grid_text(cell) for at, cell in cells.items()
    }
    heads = [text.get_text().replace("\n", "/", 1).replace("\n", "") for text in place.get_xticklabels()]
    assert heads == list(grid.impls)
    names = [text.get_text().replace("\n", " ") for text in place.get_yticklabels()]
    assert names == [f"{row.name} · {row.fastest}" for row in grid.rows]
    (mesh,) = place.collections
    mesh.update_scalarmappable()
    colours = [to_hex(colour) if colour[3] else None for colour in mesh.get_facecolors()]
    assert colours == [None if cell.ratio is None else STEPS[cell.step] for cell in cells.values()]


@pytest.mark.filterwarnings("error")
def test_a_grid_in_which_nothing_has_a_time_is_drawn_without_a_warning(tmp_path: Path) -> None:
    failed = {(impl, 128): ("oom", "no memory") for impl in IMPLS}
    run = synthetic.write_run(tmp_path / "r", failed=failed, impls=IMPLS, lengths=(128,))
    export(run, "svg", tmp_path / "grid.svg", "smoke-grid")
    assert (tmp_path / "grid.svg").read_text("utf-8").count("✕") >= len(IMPLS)


def test_the_colours_of_the_picture_are_those_of_the_page() -> None:
    css = (FOLDER / STYLESHEET).read_text("utf-8")
    assert tuple(re.findall(r"^\.r\d \{ background: light-dark\((#\w+),", css, re.MULTILINE)) == STEPS


def test_the_claims_are_a_picture_and_a_suite_may_have_a_figure_of_that_name(tmp_path: Path) -> None:
    run = suites.write_observed(tmp_path / "r")
    named = replace(suites.VARIANCE.story.figures[1], name="grid")
    shown = {"variance": replace(suites.VARIANCE, story=replace(suites.VARIANCE.story, figures=(named,)))}
    done = exported(run, "svg", tmp_path / "all", suites=shown)
    assert [file.stem for file, _ in done.files] == ["claims", "variance-grid"]
    text = (tmp_path / "all" / "claims.svg").read_text("utf-8")
    assert "Published claims, held against our intervals (95 %)" in text
    assert "Contradicted" in text
    assert "1 [0.995, 1], reproduced" in text
    (report,) = collect([judge_run(run, lambda _: suites.VARIANCE)], drawn=False).runs
    taken = replace(suites.VARIANCE.story.figures[1], name="claims")
    section = replace(report.sections[0], figures=(DrawnFigure("claims", taken.title, "", ""),))
    assert [one.name for one in answer_figures(replace(report, sections=(section,)))] == ["claims-answer"]


def test_a_process_with_another_order_of_sets_draws_the_same(run: Path, drawn_before: Report, tmp_path: Path) -> None:
    assert drawn_before.figures
    export(run, "svg", tmp_path / "here.svg", "smoke-time")
    code = "import sys; from pathlib import Path; from tests.report.test_exports import export; "
    code += "export(*sys.argv[1:3], Path(sys.argv[3]), sys.argv[4])"
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    words = [sys.executable, "-c", code, str(run), "svg", str(tmp_path / "there.svg"), "smoke-time"]
    subprocess.run(words, cwd=REPOSITORY, env=os.environ | {"PYTHONHASHSEED": seed}, check=True)
    assert (tmp_path / "here.svg").read_bytes() == (tmp_path / "there.svg").read_bytes()


def test_every_figure_of_the_page_goes_into_a_folder(run: Path, drawn_before: Report, tmp_path: Path) -> None:
    done = export(run, "svg", tmp_path / "new" / "folder")
    drawn = [figure for figure in drawn_before.figures if figure.svg]
    assert len(drawn) == 3
    grid = ("smoke-grid", "Time over the fastest of each case: smoke")
    assert [(file.stem, title) for file, title in done.files] == [grid, *((one.name, one.title) for one in drawn)]
    assert all(file.read_bytes().startswith(b"<?xml") for file, _ in done.files)


def test_the_only_figure_of_a_suite_is_a_file_without_its_name_and_the_grid_by_its_own(
    run: Path, drawn: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (of_run,) = drawn.runs
    section = replace(of_run.sections[0], figures=of_run.sections[0].figures[:1])
    report = replace(drawn, runs=(replace(of_run, sections=(section,)),))
    monkeypatch.setattr(exporting, "collect", lambda *_, **__: report)
    done = export(run, "svg", tmp_path / "x.svg")
    assert [title for _, title in done.files] == [section.figures[0].title]
    done = export(run, "svg", tmp_path / "x.svg", "smoke-grid")
    assert [title for _, title in done.files] == ["Time over the fastest of each case: smoke"]
    assert [figure.name for figure in chosen(report.runs[0], None)] == ["smoke-grid", section.figures[0].name]


WRONG = [
    ("svg", {}, "name where it goes: -o DIR"),
    ("excel", {}, "name where it goes: -o run.xlsx"),
    ("csv", {"figure": "smoke-time"}, "--figure chooses a figure, for --to svg, png, pdf; --to csv has none"),
    ("csv", {"samples": True}, "--samples adds a sheet to --to excel"),
    ("pdf", {"out": "d", "figure": "smoke-tme"}, "did you mean 'smoke-time'"),
    ("pdf", {"out": "x.pdf"}, "is one file, and there are .* add --figure NAME, or -o DIR"),
    ("pdf", {"out": "file.txt"}, "is a file; name a folder, or a file that ends in .pdf"),
    ("png", {"out": "plot.svg"}, "ends like a file of --to svg, and --to png was asked for"),
    ("csv", {"out": "x.tex"}, "ends like a file of --to latex, and --to csv was asked for"),
    ("pdf", {"out": "x.PDF"}, "is one file, and there are .* add --figure NAME, or -o DIR"),
    ("csv", {"out": "."}, "is a folder; --to csv writes a file"),
    ("latex", {"out": "no/x.tex"}, "there is no folder"),
]


@pytest.mark.parametrize(("to", "how", "message"), WRONG)
def test_wrong_usage_says_what_is_possible(
    run: Path, drawn_before: Report, tmp_path: Path, to: str, how: dict[str, Any], message: str
) -> None:
    assert drawn_before.figures
    (tmp_path / "file.txt").write_text("mine")
    if "out" in how:
        how = how | {"out": tmp_path / how["out"]}
    with pytest.raises((UsageError, ResultsError), match=message):
        export(run, to, **how)
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("name", OF_RUN)
def test_what_is_read_is_never_written_over(run: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is what is read"):
        export(run, "csv", run / name)
    with pytest.raises(UsageError, match="is what is read"):
        for_a_tool(run, "junit", run / name)


def test_the_file_of_verdicts_is_one_of_them() -> None:
    assert VERDICTS_FILE in OF_RUN


@pytest.mark.parametrize("to", FORMATS)
def test_a_run_in_which_nothing_was_measured_is_exported_all_the_same(to: str, tmp_path: Path) -> None:
    failed = {(impl, 128): ("unsupported", "no GPU") for impl in IMPLS}
    run = synthetic.write_run(tmp_path / "r", failed=failed, impls=IMPLS, lengths=(128,))
    if to in PICTURES:
        with pytest.raises(UsageError, match="this run has no figure"):
            export(run, to, tmp_path / "figures")
        assert not (tmp_path / "figures").exists()
    elif to == "excel":
        export(run, to, tmp_path / "x.xlsx")
        assert openpyxl.load_workbook(tmp_path / "x.xlsx")["cells"].max_row == 9
    else:
        assert "no GPU" in text_of(run, to)


def test_a_metric_called_like_a_column_takes_no_place_of_it(tmp_path: Path) -> None:
    judged = judge_run(suites.write_observed(tmp_path / "r"), lambda _: suites.VARIANCE)
    (suite,) = judged.suites
    odd = replace(suite, frame=suite.frame.rename(columns={"metric.variance": "metric.status"}))
    table = cell_table(replace(judged, suites=(odd,)))
    assert set(table["status"]) == {"ok"}
    assert table["metric status"].tolist() == suite.frame["metric.variance"].tolist()


def test_observed_cells_have_their_axes_and_numbers(tmp_path: Path) -> None:
    run = suites.write_observed(tmp_path / "r", failed="jax/naive")
    table = cell_table(judge_run(run, lambda _: suites.VARIANCE))
    assert len(table) == 24
    assert {"axis d", "axis scaled", "variance", "reason"} <= set(table.columns)
    assert "median time (s)" not in table.columns
