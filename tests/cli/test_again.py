"""``attnbench check``: one fault is one block, and every command that it prints shows the disagreement again."""

from __future__ import annotations

import shlex
from pathlib import Path

from attnbench.agree.check.rows import CheckRow
from attnbench.checking.examining import AFTER
from attnbench.interface.checks.blocks import blocks
from attnbench.interface.checks.table import report
from tests.cli.dropins import HEAD
from tests.program import Cli

# One kernel that is wrong in many ways: each kind of row has another kind of command.
KERNEL = (
    HEAD
    + """
import os
from attnbench.errors import UnsupportedError

np.seterr(all="ignore")
STEP = [0]

@implementation("numpy/many", Capabilities(dtypes=("float32",), causal=True, window=True))
def attend(q, k, v, call):
    STEP[0] += 1  # not deterministic
    if call.spec.window:
        raise UnsupportedError("no window is taken")  # a false declaration
    if v.shape[2] == v.shape[3] and (v[0, 0] == np.eye(v.shape[2])).all():
        os._exit(3)  # the probes crash
    s = np.einsum("bhtd,bhsd->bhts", q, k) * call.scale
    if call.spec.causal:  # one key too wide
        s = np.where(np.arange(k.shape[2]) <= np.arange(q.shape[2])[:, None] + call.offset + 1, s, -np.inf)
    top = s.max(-1, keepdims=True)
    p = np.exp(s - np.where(np.isinf(top), 0, top))
    z = p.sum(-1, keepdims=True)
    p = p * (1 + 2e-7 * (STEP[0] % 2)) / np.where(z == 0, 1, z)
    return np.einsum("bhts,bhsd->bhtd", p, v).astype(q.dtype)
"""
)
FEATURES = "causal,window,probes,deterministic"


def commands(text: str) -> list[str]:
    return [line.partition("again: ")[2] for line in text.splitlines() if line.strip().startswith("again: ")]


def test_every_command_that_is_printed_shows_it_again(cli: Cli, tmp_path: Path) -> None:
    """Of a value, a crash, a refusal and a question; printed in the text and in each row of the document."""
    (tmp_path / "my kernel.py").write_text(KERNEL)
    done = cli(
        "check", "--quick", "--impls", "my kernel.py", "--features", FEATURES, "--dtype", "float32",
        "--require", "deterministic", "--timeout", "60", "--json",
    )  # fmt: skip
    assert done.code == 1
    rows = done.document["rows"]
    wrong = [row for row in rows if row["status"] == "wrong"]
    assert {"crash", "declaration", "required", "value"} <= {row["fault"] for row in wrong}
    text = report([CheckRow.from_dict(row) for row in rows])
    printed = commands(text)
    assert len(printed) == text.count("\nWRONG ")
    every = dict.fromkeys([*printed, *(row["again"] for row in wrong)])
    for again in every:
        words = shlex.split(again)
        assert words[:2] == ["attnbench", "check"]
        assert words[3:5] == ["--impls", "my kernel.py"]
        shown = cli(*words[1:], "--json")
        assert shown.code == 1, (again, shown.out, shown.err)
        same = [row for row in shown.document["rows"] if row["status"] == "wrong"]
        origin = next((row for row in wrong if row["again"] == again), None)
        assert origin is None or origin["fault"] in {row["fault"] for row in same}, again


# It answers wrongly where the call before had more keys: no case by itself shows that.
KEEPING = (
    HEAD
    + """
KEPT = [0]

@implementation("numpy/keeping", Capabilities(dtypes=("float32",)))
def attend(q, k, v, call):
    before, KEPT[0] = KEPT[0], k.shape[2]
    s = np.einsum("bhtd,bhsd->bhts", q, k) * call.scale
    p = np.exp(s - s.max(-1, keepdims=True))
    o = np.einsum("bhts,bhsd->bhtd", p / p.sum(-1, keepdims=True), v).astype(q.dtype)
    return o * 2 if before > k.shape[2] else o
"""
)


def test_what_takes_an_earlier_call_is_shown_again_with_it(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "keeping.py").write_text(KEEPING)
    done = cli("check", "--quick", "--impls", "keeping.py", "--features", "sizes", "--json")
    (row,) = (row for row in done.document["rows"] if row["status"] == "wrong")
    assert row["diagnosis"] == {"kind": "state", "evidence": AFTER}
    assert len(row["smallest_case"]) == 2
    shown = cli(*shlex.split(row["again"])[1:], "--json")
    assert shown.code == 1
    assert [row["status"] for row in shown.document["rows"]] == ["ok", "wrong"]


# Blocks


def row(feature: str, dtype: str, *, fault: str = "value", **more: object) -> CheckRow:
    told = {"reason": f"{feature} in {dtype} is off", "failing": "Tq=4", "again": f"attnbench check {feature}", **more}
    return CheckRow("numpy/mine", feature, dtype, "cpu", "wrong", 1, fault=fault, **told)  # type: ignore[arg-type]


CAUSAL = {"kind": "causal", "evidence": "the causal mask is one key too wide"}
UNKNOWN = {"kind": "unknown", "evidence": "no known fault explains it"}


def test_rows_of_one_diagnosis_are_one_block_with_the_best_case() -> None:
    rows = [
        row("causal", "float32", diagnosis=CAUSAL, smallest_case=["causal Tq=22 D=16"]),
        row("gqa", "float32", diagnosis=CAUSAL, smallest_case=["causal Tq=2"], condition="Tq 2 is wrong, 3 agrees"),
        row("causal", "bfloat16"),
    ]
    (block,) = blocks(rows)
    assert block.splitlines() == [
        "WRONG numpy/mine (value): causal: the causal mask is one key too wide",
        "  touches: causal, gqa in float32",
        "  fails in the same way, and was not taken apart: causal in bfloat16",
        "  first: gqa float32: gqa in float32 is off",
        "  smallest case: causal Tq=2",
        "  condition: Tq 2 is wrong, 3 agrees",
        "  again: attnbench check gqa",
    ]


def test_other_faults_stand_in_blocks_of_their_own() -> None:
    """Another diagnosis, another property, another kernel; what has two that are alike is put to neither."""
    mask = {"kind": "mask", "evidence": "the mask is ignored"}
    rows = [
        row("causal", "float32", diagnosis=CAUSAL),
        row("mask", "float32", diagnosis=mask),
        row("sizes", "float32", fault="nan"),
        row("bias", "float32"),
        row("probes", "float32", fault="probes", failing=None),
        row("rule_3", "float32", fault="rule_3", failing=None),
    ]
    found = blocks(rows)
    assert len(found) == len(rows)
    assert found[0].startswith("WRONG numpy/mine causal float32 (value): causal in float32 is off")


def test_rows_of_which_nothing_is_known_are_one_block_for_each_property() -> None:
    rows = [row(name, dtype, diagnosis=UNKNOWN) for name, dtype in (("causal", "float32"), ("bias", "float64"))]
    rows.append(row("gqa", "float64"))
    (block,) = blocks(rows)
    assert "touches: causal in float32; bias in float64" in block
    assert "not taken apart: gqa in float64" in block
    assert "diagnosis: unknown: no known fault explains it" in block
