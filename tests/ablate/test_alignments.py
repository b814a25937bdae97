"""The weights of a few examples as metrics of a cell, and back as a frame with letters on its axes."""

import numpy as np
import pandas as pd

from attnbench.ablate import alignments
from tests.suites import helpers

RNG = np.random.default_rng(0)
WEIGHTS = RNG.dirichlet(np.ones(4), (2, 5))
READ = np.array([[0, 1, 2, 0], [2, 2, 0, 0]])
WRITTEN = np.array([[3, 2, 0, 0, 0], [1, 1, 3, 0, 0]])
LENGTHS, OUTPUTS = [4, 2], [2, 3]


def frame() -> pd.DataFrame:
    metrics = alignments.metrics(WEIGHTS, READ, WRITTEN, LENGTHS, OUTPUTS)
    rows = [helpers.row("torch/naive", {"seed": 0, "arm": arm}, metrics) for arm in ("dot", "scaled")]
    rows.append(helpers.row("torch/naive", {"seed": 1, "arm": "dot"}, {"accuracy": 1.0}))
    return pd.DataFrame(rows)


def test_every_weight_that_counts_comes_back_with_its_letters() -> None:
    table = alignments.table(frame(), "abc", "wxyz")
    assert list(table["example"].unique()) == ["abca", "cc"]
    assert list(table["arm"].unique()) == ["dot", "scaled"]
    assert len(table) == 2 * (4 * 2 + 2 * 3)
    for row in table.to_dict("records"):
        n = row["number"]
        assert row["letter"] == "abc"[READ[n, row["source"]]]
        assert row["answer"] == "wxyz"[WRITTEN[n, row["output"]]]
        assert abs(row["weight"] - WEIGHTS[n, row["output"], row["source"]]) <= 0.5 * 10**-alignments.DECIMALS + 1e-12


def test_a_frame_without_weights_is_an_empty_table() -> None:
    bare = pd.DataFrame([helpers.row("torch/naive", {"seed": 1, "arm": "dot"}, {"accuracy": 1.0})])
    table = alignments.table(bare, "abc", "wxyz")
    assert table.empty
    assert "weight" in table
