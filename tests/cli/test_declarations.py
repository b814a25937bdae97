"""The plainest kernels of each framework, with the words that somebody reads who checks one for the first time."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.program import Cli

NUMPY = """
import numpy as np
from attnbench.api import Capabilities, implementation

@implementation("numpy/mine", Capabilities())
def attend(q, k, v, call):
    scores = q @ k.swapaxes(-1, -2) * q.dtype.type(call.scale)
    terms = np.exp(scores - scores.max(-1, keepdims=True))
    return terms / terms.sum(-1, keepdims=True) @ v
"""
# No guard for rows without a key, which a softmax over −inf alone makes NaN.
TORCH = """
import torch
from attnbench.api import Capabilities, Precision, implementation

@implementation("torch/mine", Capabilities(dtypes=("float32", "bfloat16"), causal=True))
def attend(q, k, v, call):
    scores = q @ k.mT * call.scale
    if call.spec.causal:
        position = torch.arange(q.shape[2])[:, None] + call.offset
        scores = scores.masked_fill(torch.arange(k.shape[2]) > position, float("-inf"))
    return torch.softmax(scores, -1) @ v
"""
JAX = """
import jax
from attnbench.api import Capabilities, implementation

@implementation("jax/mine", Capabilities(dtypes=("float32", "bfloat16")))
def attend(q, k, v, call):
    return jax.nn.softmax(q @ k.swapaxes(-1, -2) * call.scale, -1) @ v
"""
FLUSHING = """
import numpy as np
from attnbench.api import Capabilities, Precision, implementation

@implementation("numpy/mine", Capabilities(dtypes=("float32",)))
def attend(q, k, v, call):
    scores = q @ k.swapaxes(-1, -2) * q.dtype.type(call.scale)
    terms = np.exp(scores - scores.max(-1, keepdims=True))
    output = terms / terms.sum(-1, keepdims=True) @ v
    return np.where(np.abs(output) < np.finfo(np.float32).tiny, 0, output).astype(q.dtype)
"""


TRIED = "with it the one case whose values disagree in float32 agrees, and rule_2, rule_3 and probes hold"


def blocks(text: str) -> list[list[str]]:
    """The lines of each block, numbers left out."""
    return [part.splitlines() for part in text.strip().split("\n\n")]


def block(text: str, head: str) -> list[str]:
    """The one block that begins so."""
    (found,) = (lines for lines in blocks(text) if lines[0].startswith(head))
    return found


def test_numpy_agrees_with_nothing_declared(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(NUMPY)
    done = cli("check", "--quick", "--impls", "mine.py", "--features", "sizes,inputs,scale")
    assert done.code == 0, done.out
    assert "all that was compared agrees. Covered" in blocks(done.out)[-1][0]


def test_the_line_that_is_printed_makes_it_pass_and_the_last_line_says_on_what(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FLUSHING)
    asked = ("check", "--quick", "--impls", "mine.py", "--features", "sizes,inputs")
    done = cli(*asked)
    assert done.code == 1
    lines = block(done.out, "WRONG")
    assert lines[0] == (
        "WRONG numpy/mine float32 in inputs: an arithmetic that is not declared explains it: subnormals become 0"
    )
    assert lines[1].startswith("  first: output: is 0 where the oracle is ")
    assert lines[2:5] == [
        "  case: backward B2 H3 T33 S65 D16/8 float32 denormal",
        f"  diagnosis: declaration: {TRIED}",
        '  if it is meant, write in its Capabilities: precision={"float32": Precision(flush=True)}',
    ]
    assert ": 1 of 5 rows disagree, all explained by an arithmetic that is not declared. " in blocks(done.out)[-1][0]
    again = cli(*shlex.split(lines[5].removeprefix("  again: attnbench ")))
    assert again.code == 1
    written = lines[4].rpartition("Capabilities: ")[2]
    (tmp_path / "mine.py").write_text(FLUSHING.replace('dtypes=("float32",)', f'dtypes=("float32",), {written}'))
    (tmp_path / "mine.py").rename(tmp_path / "declared.py")
    passed = cli("check", "--quick", "--impls", "declared.py", *asked[4:])
    assert passed.code == 0, passed.out
    assert (
        "all that was compared agrees; float32 rests on a declared arithmetic: subnormals become 0. Covered"
        in (blocks(passed.out)[-1][0])
    )


def test_what_is_explained_is_in_the_rows_of_json(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FLUSHING)
    done = cli("check", "--quick", "--impls", "mine.py", "--features", "inputs", "--json")
    (row,) = (row for row in done.document["rows"] if row["status"] == "wrong")
    assert row["diagnosis"]["kind"] == "declaration"
    assert row["declaration"]["line"] == 'precision={"float32": Precision(flush=True)}'
    assert [one["fault"] for one in row["disagreements"]] == ["value"]


def test_only_the_cases_that_a_declaration_explains_are_said_to_be_explained(cli: Cli, tmp_path: Path) -> None:
    """With 24 queries the same kernel answers one infinity besides."""
    infinite = FLUSHING.replace(
        "    return np.where(", "    output[0, 0, -1, 0] += np.inf if q.shape[2] == 24 else 0\n    return np.where("
    )
    (tmp_path / "mine.py").write_text(infinite)
    cases = [f"--case=forward B=1 Hq=2 Tq={tq} S=65 D=16 distribution=denormal" for tq in (17, 24)]
    done = cli("check", "numpy/mine", "--impls", "mine.py", *cases, "--json")
    first, second = done.document["rows"]
    assert first["diagnosis"]["kind"] == "declaration"
    assert "with it 1 of 2 cases whose values disagree in float32 agrees, and" in first["diagnosis"]["evidence"]
    assert (second["fault"], second["declaration"]) == ("inf", None)
    assert second["diagnosis"]["kind"] != "declaration"


@pytest.mark.skipif(find_spec("torch") is None, reason="the torch extra is not installed")
def test_torch_in_float32_and_bfloat16_and_causal_by_masked_fill(cli: Cli, tmp_path: Path) -> None:
    """float32 agrees; bfloat16 rounds logits and P; and a row without a key is a softmax over nothing."""
    (tmp_path / "mine.py").write_text(TORCH)
    done = cli("check", "--quick", "--impls", "mine.py", "--features", "sizes,causal")
    assert done.code == 1
    lines = block(done.out, "WRONG torch/mine bfloat16 in sizes")
    # Of the few cases of --quick the one alone may explain all; at the usual depth it takes the other.
    told = {"logits stored in bfloat16": "logits", "softmax in bfloat16": "softmax"}
    begin, _, words = lines[0].rpartition(": ")
    assert begin.endswith("in sizes: an arithmetic that is not declared explains it")
    written = f'precision={{"bfloat16": Precision({told[words]}="bfloat16")}}'
    assert f"  if it is meant, write in its Capabilities: {written}" in lines
    lines = block(done.out, "WRONG torch/mine (nan): dead row: a row without a key is NaN")
    assert "  touches: causal in float32" in lines
    assert "  fails in the same way, and was not taken apart: causal in bfloat16" in lines
    assert any(
        line.startswith("  first: causal float32: output: is NaN where the oracle has a number") for line in lines
    )
    (sizes,) = (line for line in blocks(done.out)[0] if line.startswith("sizes"))
    assert "WRONG" not in sizes.split()[1]


def test_jax_in_float32_and_bfloat16(cli: Cli, tmp_path: Path) -> None:
    """float32 agrees, since XLA and not the kernel flushes; bfloat16 stores its logits."""
    (tmp_path / "mine.py").write_text(JAX)
    sizes = "B=2 Hq=3 Tq=33 S=65 Dv=8"
    tiny, huge = sizes, f"{sizes} distribution=huge dtype=bfloat16"
    done = cli("check", "jax/mine", "--impls", "mine.py", "--case", tiny, "--case", huge)
    assert done.code == 1
    assert "  declares for float32: subnormals become 0, as in all of jax" in blocks(done.out)[0]
    lines = block(done.out, "WRONG")
    assert lines[0].endswith(
        "bfloat16 in case 2: an arithmetic that is not declared explains it: logits stored in bfloat16"
    )
    assert '  if it is meant, write in its Capabilities: precision={"bfloat16": Precision(logits="bfloat16")}' in lines
    last = blocks(done.out)[-1][0]
    assert "; float32 rests on a declared arithmetic: subnormals become 0, as in all of jax. Covered" in last
