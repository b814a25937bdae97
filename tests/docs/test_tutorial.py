"""The notebooks of docs/tutorial run from top to bottom; what their text claims they assert themselves."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.repository import DOCS

NOTEBOOKS = sorted((DOCS / "tutorial").glob("*.ipynb"))
LARGEST = 300_000


def executed(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """The notebook with its outputs, executed in this folder."""
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}})
    return client.execute()


@pytest.mark.slow
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)  # a kernel draws into the notebook, wherever tests draw
    notebook = executed(nbformat.read(file, as_version=4), tmp_path)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert sum("assert " in source for source in code) >= 5
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 5
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_what_is_committed_can_be_read_on_a_page(file: Path) -> None:
    text = file.read_text("utf-8")
    assert len(text.encode()) < LARGEST
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs
    assert not any(output.output_type == "error" for output in outputs)
    assert "/tmp/" not in text  # noqa: S108  (no path of the machine that made it)


def test_a_claim_that_does_not_hold_is_seen(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell("slope = 2.0"), nbformat.v4.new_code_cell("assert slope < 1.1")]
    with pytest.raises(CellExecutionError, match="AssertionError"):
        executed(nbformat.v4.new_notebook(cells=cells), tmp_path)
