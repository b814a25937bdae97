"""``attnbench check`` for authors of kernels: kind of fault, smallest case, a command that fails again, JUnit."""

from __future__ import annotations

import shlex
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.program import Cli
from tests.proofs import part

KERNEL = """
import numpy as np
from attnbench.api import AttentionOutput, Capabilities, implementation

CAN = Capabilities(dtypes=("float32",), causal=True, mask=True, bias=True, softcap=True, gqa=True, lse=True)
KEPT = {}

def lse_of(top, total):
    with np.errstate(divide="ignore"):
        return (top + np.log(total))[..., 0]

@implementation("numpy/mine", CAN)
def attend(q, k, v, call):
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    s = q @ np.swapaxes(k, -1, -2) * np.float32(call.scale)
    if call.spec.softcap:
        s = call.spec.softcap * np.tanh(s / call.spec.softcap)
    if call.bias is not None:
        s = s + call.bias
    allowed = np.ones(s.shape, bool)
    if call.spec.causal:
        allowed &= np.arange(k.shape[2]) <= np.arange(q.shape[2])[:, None] + call.offset
    if call.mask is not None:
        allowed &= call.mask
    s = np.where(allowed, s, -np.inf).astype(np.float32)
    top = s.max(-1, keepdims=True)
    top = np.where(np.isinf(top), 0, top)
    terms = np.exp(s - top)
    total = terms.sum(-1, keepdims=True)
    out = ((terms / np.where(total == 0, 1, total)) @ v).astype(q.dtype)
    return AttentionOutput(out, lse=lse_of(top, total) if call.wants("lse") else None)
"""

# name: (what is replaced, by what, the kind, a word of the evidence)
FAULTS = {
    "scale": ("np.float32(call.scale)", "np.float32(call.scale * 0.992)", "scale", "0.992"),
    "causal": ("+ call.offset", "+ call.offset + 1", "causal", "one key too wide"),
    "alignment": ("+ call.offset", "+ k.shape[2] - q.shape[2]", "alignment", "bottom right"),
    "tail": (
        "    if call.mask is not",
        "    if k.shape[2] % 32 == 1 and k.shape[2] > 1:\n        allowed[..., -1] = False\n    if call.mask is not",
        "tail",
        "S % 32 == 1",
    ),
    "heads": ("np.repeat(k, group, 1)", "np.tile(k, (1, group, 1, 1))", "heads", "of the keys, query head h reads"),
    "mask": ("allowed &= call.mask", "allowed &= ~call.mask", "mask", "inverted"),
    "softcap": ("call.spec.softcap * np.tanh", "np.tanh", "softcap", "without c"),
    "bias": ("s = s + call.bias", "s = s", "bias", "ignored"),
    "dead row": ("np.where(total == 0, 1, total)", "total", "dead row", "NaN"),
    "overflow": ("    top = np.where(np.isinf(top), 0, top)", "    top = np.zeros_like(top)", "overflow", "no maximum"),
    "lse": ("np.log(total)", "np.log2(total)", "lse", "base 2"),
    "state": ("    return Att", "    out = KEPT.setdefault(out.shape, out)\n    return Att", "state", "earlier result"),
    "unwritten": ("    return Attention", "    out[:, :, 32:] = 0\n    return Attention", "state", "rows from 32 on"),
}  # fmt: skip


# Running the printed command takes a process; these cover one case and a sequence, forward and lse.
EXECUTED = ("scale", "causal", "tail", "mask", "lse", "state")
# The features whose cases show it, where that is not its name.
SHOWN_BY = {
    "scale": "sizes",
    "alignment": "causal",
    "tail": "sizes,causal",
    "heads": "gqa",
    "dead row": "causal,mask",
    "overflow": "sizes,inputs",
    "state": "sizes",
    "unwritten": "sizes",
}


def planted(name: str) -> str:
    old, new, _, _ = FAULTS[name]
    source = KERNEL.replace(old, new)
    assert source != KERNEL
    quiet = "np.seterr(all='ignore')\n"
    return source.replace("KEPT = {}", f"KEPT = {{}}\n{quiet}")


@pytest.mark.parametrize("name", part(sorted(FAULTS), ("scale", "tail", "overflow", "dead row", "state")))
def test_a_fault_is_diagnosed_shrunk_and_shown_again(cli: Cli, tmp_path: Path, name: str) -> None:
    """The kind and its evidence; and the printed command, executed, exits 1."""
    file = tmp_path / "mine.py"
    file.write_text(planted(name))
    done = cli("check", "--quick", "--impls", file, "--features", SHOWN_BY.get(name, name), "--json")
    assert done.code == 1
    rows = [row for row in done.document["rows"] if row["diagnosis"]]
    assert rows
    kinds = {row["diagnosis"]["kind"] for row in rows}
    assert FAULTS[name][2] in kinds
    assert kinds <= {FAULTS[name][2], "unknown"}
    row = next(row for row in rows if row["diagnosis"]["kind"] == FAULTS[name][2])
    assert FAULTS[name][3] in row["diagnosis"]["evidence"]
    assert row["smallest_case"]
    words = shlex.split(row["again"])
    assert words[:2] == ["attnbench", "check"]
    assert words.count("--case") == len(row["smallest_case"])
    if name in EXECUTED:
        again = cli(*words[1:])
        assert again.code == 1, again.out


def test_a_right_drop_in_gets_no_diagnosis(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(KERNEL)
    done = cli("check", "--quick", "--impls", "mine.py", "--features", "sizes,causal,gqa,mask,softcap,lse", "--json")
    assert done.code == 0, done.out
    assert not any(row["diagnosis"] or row["again"] for row in done.document["rows"])


def test_the_text_names_kind_case_and_command(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(planted("mask"))
    done = cli("check", "--quick", "--impls", "mine.py", "--features", "mask")
    assert done.code == 1
    assert "diagnosis: mask: the mask's polarity is inverted" in done.out
    assert "smallest case: Tq=1 D=1 operands=mask" in done.out
    assert "again: attnbench check numpy/mine --impls mine.py --case 'Tq=1 D=1 operands=mask'" in done.out


def test_a_case_of_ones_own(cli: Cli) -> None:
    done = cli("check", "numpy/naive", "--case", "backward causal Hq=4 Hkv=2 Tq=9 dtype=float64", "--json")
    assert done.code == 0
    (row,) = done.document["rows"]
    assert (row["feature"], row["dtype"], row["status"]) == ("case", "float64", "ok")
    assert row["gradient_ratio"] is not None


@pytest.mark.parametrize("case", ["tq=3", "{}", "causal Tq=1 S=2 align=left"])
def test_a_bad_case_is_one_clear_line(cli: Cli, case: str) -> None:
    done = cli("check", "numpy/naive", "--case", case)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1


def test_junit(cli: Cli, tmp_path: Path) -> None:
    """Well-formed, one test case for each row, counted as it says."""
    (tmp_path / "mine.py").write_text(planted("mask"))
    (tmp_path / "out").mkdir()
    features = "sizes,mask,dropout"
    done = cli("check", "--quick", "--impls", "mine.py", "--features", features, "--junit", "out/check.xml", "--json")
    root = ET.parse(tmp_path / "out/check.xml").getroot()  # noqa: S314  (our own file)
    cases = list(root.iter("testcase"))
    rows = done.document["rows"]
    assert len(cases) == len(rows) == int(root.get("tests", "0"))
    assert {case.get("classname") for case in cases} == {"numpy/mine"}
    assert len(list(root.iter("failure"))) == sum(row["status"] == "wrong" for row in rows) == 1
    assert len(list(root.iter("skipped"))) == sum(row["status"] == "unsupported" for row in rows)
    (failure,) = root.iter("failure")
    assert "polarity is inverted" in (failure.text or "")
    assert "again: attnbench check" in (failure.text or "")
