"""The commands of a page's cells as a reader copies them: each measures its cell, in a shell elsewhere."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import attnbench as ab
from attnbench.errors import EXIT_INCONCLUSIVE, EXIT_NOTHING_MEASURED, EXIT_OK
from attnbench.report import write_report
from attnbench.report.html.records import data_table
from attnbench.results import load
from attnbench.results.read import read_info
from tests.program import Cli

MINE = '''from attnbench.api import Capabilities, implementation


@implementation("numpy/mine", Capabilities(causal=True))
def attend(q, k, v, call):
    """The formula."""
    import numpy as np

    scores = np.einsum("bhtd,bhsd->bhts", q, k) * call.scale
    if call.spec.causal:
        queries, keys = scores.shape[-2:]
        scores = np.where(np.arange(keys) <= np.arange(queries)[:, None] + call.offset, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bhts,bhsd->bhtd", weights / weights.sum(-1, keepdims=True), v)
'''
CAUGHT: Any = {"capture_output": True, "text": True}
# Under its budget a timed cell may not be reached: that it is the same cell is what is asked of it.
BUDGET = {"timed": "--budget 1s", "observed": ""}
TYPED = {
    "timed": [
        "smoke",
        "-a",
        "setting=forward",
        "-a",
        "T=128",
        "--impls",
        "my files/mine one.py",
        "--impl",
        "numpy/mine",
    ],
    "observed": [
        "score-variance",
        "-a",
        "d=4",
        "-a",
        "scale=none",
        "-a",
        "distribution=normal",
        "--impl",
        "numpy/naive",
    ],
}


def shell(line: str, folder: Path) -> None:
    """Run a line as somebody types it there; its program is the one of this Python."""
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(["sh", "-c", line], check=False, cwd=folder, env=os.environ | {"PATH": paths}, **CAUGHT)
    assert done.returncode in (EXIT_OK, EXIT_INCONCLUSIVE, EXIT_NOTHING_MEASURED), done.stderr


@pytest.mark.parametrize("kind", TYPED)
def test_the_command_of_a_cell_measures_that_cell_where_the_same_files_are(kind: str, tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    (here / "my files").mkdir(parents=True)
    (here / "my files" / "mine one.py").write_text(MINE)
    shutil.copytree(here, elsewhere)  # as in another clone of a repository
    shell(" ".join(["attnbench run", *(f"'{word}'" for word in TYPED[kind]), BUDGET[kind]]), here)
    (run,) = (here / "results").glob("2*")
    page = write_report([run], tmp_path / "page").read_text("utf-8")
    (text,) = re.findall('<script type="application/json" id="data">(.*)</script>', page)
    (table,) = json.loads(text)["tables"]
    at = [column["key"] for column in table["columns"]].index("again")
    shell(f"{table['values'][table['rows'][0][at]]} {BUDGET[kind]}", elsewhere)
    (again,) = (elsewhere / "results").glob("2*")
    columns = ["cell_id", "impl", "case_label", *(["status"] if kind == "observed" else [])]
    assert load(again)[columns].to_dict("records") == load(run)[columns].head(1).to_dict("records")


# One cell of each kind; of a workload, which is measured whole, all of one implementation.
KINDS: dict[str, dict[str, Any]] = {
    "memory": {"suites": "memory", "axes": {"tokens": 64, "phase": "prefill"}},
    "decode": {"suites": "decode", "axes": {"tokens": 64, "shape": "h4-d64", "batch": 1, "dtype": "float32"}},
    "training": {"suites": "scaling", "axes": {"d": 4, "lr": 0.001, "seed": 0, "arm": "unscaled", "steps": 2}},
    "workload": {"workload": "2x64q64"},
}
SHORT = {"budget": "0.2s"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_of_every_kind_of_cell_plans_that_cell(kind: str, cli: Cli, tmp_path: Path) -> None:
    short = {} if kind == "training" else SHORT  # it is observed, and has two steps
    run = ab.run(**KINDS[kind], **short, impl="numpy/naive", out=tmp_path / "first").folder
    frame = load(run)
    table = data_table(read_info(run), frame, "cells")
    at = [column.key for column in table.columns].index("again")
    line = table.cells[-1][at]
    assert isinstance(line, str)
    program, *words = shlex.split(line)
    assert program == "attnbench"
    cli(*words, *(f"--{name}={value}" for name, value in short.items()), "--quiet", "--out", tmp_path / "second")
    (again,) = (tmp_path / "second").iterdir()
    same = ["cell_id", "impl", "case_label", "device", "threads"]
    expected = frame if kind == "workload" else frame.tail(1)
    assert load(again)[same].to_dict("records") == expected[same].to_dict("records")
