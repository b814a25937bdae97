"""``attnbench run --workload`` from end to end: two planted kernels, a small run, and one line for what is none."""

import re
from pathlib import Path
from textwrap import dedent

import pytest

import attnbench as ab
from attnbench.workloads import answers
from tests.program import Cli

# Each does its work four times over in the stage that it is not made for: repeated work, and no sleep.
PLANTED = """
    import numpy as np
    from attnbench.api import Capabilities, implementation

    ABLE = Capabilities(causal=True)

    def attend(q, k, v, call, times):
        for _ in range(times):
            s = q @ k.swapaxes(-1, -2) * np.float32(call.scale)
            at = np.arange(s.shape[-2])[:, None] + call.offset
            s = np.where(np.arange(s.shape[-1]) <= at, s, -np.inf) if call.spec.causal else s
            e = np.exp(s - s.max(-1, keepdims=True))
            out = (e / e.sum(-1, keepdims=True)) @ v
        return out

    @implementation("numpy/for-prefill", ABLE)
    def for_prefill(q, k, v, call):
        return attend(q, k, v, call, 4 if q.shape[2] == 1 else 1)

    @implementation("numpy/for-decode", ABLE)
    def for_decode(q, k, v, call):
        return attend(q, k, v, call, 1 if q.shape[2] == 1 else 4)
"""


def planted(folder: Path) -> Path:
    """The file of the two kernels."""
    file = folder / "planted.py"
    file.write_text(dedent(PLANTED), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--workload", "8y 2q2k"), ">>>8y 2q2k<<<: an item is [COUNTx] QUERIESqKEYS"),
        (("--workload", ""), "an empty workload"),
        (("--workload", "chatt"), "did you mean 'chat'"),
        (("--workload", "1q64", "--shape", "llama-9"), "unknown shape 'llama-9'"),
        (("--workload", "1q64", "--resume", "X"), "a run that is resumed has its own workload"),
        (("--workload", "1q64", "--tokens", "64"), "--tokens: workload has no axis 'tokens'"),
        (
            ("--workload", "1q1000000k", "--impl", "numpy/naive"),
            "nobody can serve it here: its inputs and outputs alone",
        ),
    ],
)
def test_what_cannot_be_served_is_one_line_before_anything_runs(
    cli: Cli, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = cli("run", *words, "--quiet")
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not list((tmp_path / "results").glob("*"))


def test_named_workloads_are_listed(cli: Cli) -> None:
    rows = cli("list", "workloads", "--json").document["workloads"]
    assert {"chat", "retrieval", "short-prompts", "speculative"} <= {row["workload"] for row in rows}
    assert all(row["source"].startswith("https://") and row["in words"] for row in rows)
    assert "Kwon et al. 2023" in cli("list", "workloads").out


def test_a_small_run_says_what_it_read_and_answers(cli: Cli, tmp_path: Path) -> None:
    words = ("--workload", "3x 1q32", "--impl", "numpy/naive", "-a", "way=each", "--budget", "10s")
    done = cli("run", *words, "--json")
    assert done.code == 0, done.err
    assert "3 sequences: 1 query over 32 keys, decode" in done.err
    (answer,) = done.document["workload"]
    assert (answer["best"], answer["calls"], answer["no_flip"]) == (
        "numpy/naive",
        {"decode": 3},
        "the mix has decode alone",
    )
    (folder,) = (tmp_path / "results").iterdir()
    assert [mine.single for mine in answers(ab.load(folder))] == ["numpy/naive"]
    page = (tmp_path / "reports" / folder.name / "report.md").read_text(encoding="utf-8")
    assert "Best for this mix: numpy/naive alone" in page


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize(
    ("mix", "best"), [("6x 96q96, 2x 1q64", "for-prefill"), ("1x 96q96, 400x 1q256", "for-decode")]
)
def test_two_planted_kernels_on_both_sides_of_the_flip(cli: Cli, tmp_path: Path, mix: str, best: str) -> None:
    file = planted(tmp_path)
    words = ("--impls", file, "--impl", "numpy/for-*", "--shape", "h4-d64-causal", "-a", "way=each")
    done = cli("run", "--workload", mix, *words, "--quiet")
    assert done.code == 0, done.err
    first = done.out.splitlines()[0]
    assert "numpy/for-prefill for prefill with numpy/for-decode for decode" in first
    assert f"the best single one, numpy/{best}" in first
    assert re.search(r"flips at a share of prefill of .* %\] of the calls", done.out)
