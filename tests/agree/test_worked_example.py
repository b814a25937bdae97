"""The worked example of docs/agreement.md: each of its numbers is what the code that judges kernels gives."""

from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import pytest

from attnbench.agree.judge.array import error_ratios
from attnbench.agree.judge.bounds import Units, column_sums, logit_error, output_bound
from attnbench.attention.call import Call, Operands, prepare
from attnbench.attention.oracle import HeadReference, heads
from attnbench.attention.precision import Precision, default_precision, numpy_dtype
from attnbench.attention.spec import AttentionSpec
from tests.repository import DOCS

TEXT = (DOCS / "agreement.md").read_text("utf-8")
EXAMPLE = TEXT.partition("## A worked example")[2].partition("\n## ")[0]


def worked(dtype: str) -> tuple[HeadReference, Call]:
    """One query of 2, keys of 0 and 1, values of -1 and 1, a scale of 1."""
    q, k, v = (np.array(numbers, numpy_dtype(dtype)).reshape(1, 1, -1, 1) for numbers in ([2], [0, 1], [-1, 1]))
    q, k, v, call = prepare(AttentionSpec(scale=1.0), Operands(q, k, v))
    ((_, _, head),) = heads(q.astype(np.float64), k.astype(np.float64), v.astype(np.float64), call)
    return head, call


def bound(dtype: str, precision: Precision | None = None) -> float:
    head, call = worked(dtype)
    return float(output_bound(head, call, 0, Units.of(precision or default_precision(dtype), dtype))[0, 0])


def last_number(row: str) -> float:
    """The last number of the row of the table of steps that begins like this."""
    (line,) = (line for line in EXAMPLE.splitlines() if line.startswith(f"| {row}"))
    return float(re.findall(r"[\d.]+(?:e-\d+)?", line.split("|")[-2])[-1])


def close(said: float, computed: float) -> bool:
    """Whether a number is right in the digits with which it is said: at least three."""
    return said == pytest.approx(computed, rel=5e-3)


def test_the_truth_and_the_weights_are_as_said() -> None:
    head, _ = worked("bfloat16")
    assert [f"{weight:.4f}" for weight in head.weights[0]] == ["0.1192", "0.8808"]
    assert f"{head.output[0, 0]:.6f}" == "0.761594"
    assert "P = (0.1192, 0.8808)" in EXAMPLE
    assert "= 0.761594" in EXAMPLE
    assert "The right answer is 0.761594." in TEXT


def test_the_steps_are_those_of_the_bound() -> None:
    head, call = worked("bfloat16")
    units = Units.of(default_precision("bfloat16"), "bfloat16")
    u, o, sums = units.accumulate, float(head.output[0, 0]), column_sums(head)
    delta = logit_error(head, call, units)[0]
    assert list(delta / u) == pytest.approx([6, 12])
    assert "δ = 6 u for the first key, 12 u for the second" in EXAMPLE
    assert f"{delta[0]:.2e} and {delta[1]:.2e}".replace("e-0", "e-") in EXAMPLE
    steps = {
        "what this does to o": float(np.sqrt((head.weights[0] * delta**2).sum()) * sums.spread[0, 0]),
        "the sums of P·v": float(units.growth(2)) * u * (float(sums.absolute[0, 0]) + o),
        "the divisions": 4 * u * o,
        "the rounding to bfloat16": units.output * o,
    }
    assert {row for row, value in steps.items() if not close(last_number(row), value)} == set()
    assert sum(steps.values()) == pytest.approx(bound("bfloat16"), rel=1e-6)
    assert close(last_number("**E**"), bound("bfloat16"))


def test_the_other_bounds_are_as_said() -> None:
    said = {
        f"2 E = {2 * bound('bfloat16'):.5f} is allowed",
        f"had the output been float32, E would be {bound('float32'):.2e}".replace("e-0", "e-"),
        f"three times as much: E = {bound('bfloat16', Precision(p_cast='bfloat16')):.5f}",
    }
    assert {sentence for sentence in said if sentence not in EXAMPLE} == set()
    assert f"the bound allows {2 * bound('bfloat16'):.5f}" in TEXT


def test_the_table_at_the_top_judges_as_the_code_does() -> None:
    truth = worked("bfloat16")[0].output
    rows = re.findall(r"^\| (0\.\d+),[^|]*\| ([\d.]+) \| ([\d.]+) \| (right|wrong) \|$", TEXT, re.MULTILINE)
    assert len(rows) == 3
    answers = np.array([float(row[0]) for row in rows])
    stored = answers.astype(ml_dtypes.bfloat16).astype(np.float64)
    assert stored == pytest.approx(answers, abs=1e-6)  # numbers that bfloat16 has, in six digits
    assert np.diff(stored) == pytest.approx(2.0**-8)
    expected = np.full(3, float(truth[0, 0]))
    ratios = error_ratios(stored, expected, np.full(3, bound("bfloat16")), "bfloat16")
    for (_, error, ratio, word), value, got in zip(rows, stored, ratios, strict=True):
        assert (error, ratio) == (f"{abs(value - expected[0]):.6f}", f"{got:.2f}")
        assert word == ("right" if got <= 1 else "wrong")
