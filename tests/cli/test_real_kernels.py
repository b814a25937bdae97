"""``attnbench check`` of kernels as they are: what they refuse, how they are differentiated, whether bits repeat."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from attnbench.backends import discover
from attnbench.checking.examining import check_given
from attnbench.checking.features import CheckOptions, check, check_randomly
from tests.cli.dropins import HEAD, RIGHT
from tests.program import Cli

Write = Callable[[str], Path]

# One causal alignment; the others are refused.
BOTTOM_RIGHT = (
    HEAD
    + """
from attnbench.api import UnsupportedError

@implementation("numpy/corner", Capabilities(causal=True DECLARED))
def attend(q, k, v, call):
    s = np.einsum("bhtd,bhsd->bhts", q, k) * call.scale
    if call.spec.causal:
        if call.offset != k.shape[2] - q.shape[2]:
            raise UnsupportedError("the last query stands at the last key")
        s = np.where(np.tri(q.shape[2], k.shape[2], call.offset, dtype=bool), s, -np.inf)
    top = s.max(-1, keepdims=True)
    p = np.exp(s - np.where(np.isinf(top), 0, top))
    total = p.sum(-1, keepdims=True)
    return np.einsum("bhts,bhsd->bhtd", p / np.where(total == 0, 1, total), v).astype(q.dtype)
"""
)
NEVER = RIGHT.replace("Capabilities()", "Capabilities(mask=True)").replace(
    "    s = np",
    """    if call.mask is not None:
        from attnbench.api import UnsupportedError
        raise UnsupportedError("no masks in this build")
    s = np""",
)
SHUFFLED = RIGHT.replace(
    "    s = np",
    """    order = np.random.default_rng().permutation(k.shape[2])
    k, v = k[:, :, order], v[:, :, order]
    s = np""",
)
CHECKPOINTED = """
import torch
from torch.utils.checkpoint import checkpoint
from attnbench.api import Capabilities, implementation

def plain(q, k, v, scale):
    return torch.softmax(q @ k.transpose(-1, -2) * scale, -1) @ v

@implementation("torch/saving", Capabilities(gradients=True))
def attend(q, k, v, call):
    return checkpoint(plain, q, k, v, call.scale, use_reentrant=True)
"""
PROCESSES = RIGHT.replace(
    "    s = np",
    """    import os, pathlib
    with open(pathlib.Path(__file__).with_suffix(".pids"), "a") as file:
        print(q.dtype, os.getpid(), file=file)
    s = np""",
)
SOME = ("--dtype", "float32,float64", "--features", "sizes,causal,mask,deterministic,batch_invariant")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a drop-in file and return its path."""

    def written(source: str) -> Path:
        file = tmp_path / "mine.py"
        file.write_text(source)
        return file

    return written


def test_what_a_kernel_refuses_is_counted_and_fails_nothing(cli: Cli, write: Write) -> None:
    done = cli("check", "--quick", "--impls", write(BOTTOM_RIGHT.replace(" DECLARED", "")), *SOME)
    assert done.code == 0, done.out
    assert "refused by the kernel: the last query stands at the last key" in done.out
    assert "to declare that: alignments=('bottom_right',)" in done.out
    assert "all that was compared agrees; " in done.out
    assert "cases refused by the kernel itself." in done.out


def test_what_is_declared_is_not_asked(cli: Cli, write: Write) -> None:
    file = write(BOTTOM_RIGHT.replace(" DECLARED", ", alignments=('bottom_right',)"))
    done = cli("check", "--quick", "--impls", file, *SOME, "--json")
    assert done.code == 0
    rows = done.document["rows"]
    assert {row["refused"] for row in rows} == {0}
    (causal,) = [row for row in rows if (row["feature"], row["dtype"]) == ("causal", "float32")]
    assert 0 < causal["cases"] < causal["asked"]
    assert "does not support queries at top_left; its alignments are bottom_right" in causal["left_out"]


def test_a_given_case_that_is_refused_is_unsupported(cli: Cli, write: Write) -> None:
    file = write(BOTTOM_RIGHT.replace(" DECLARED", ""))
    case = "causal align=top_left Tq=4 S=8"
    done = cli("check", "--impls", file, "--case", case, "--json")
    assert done.code == 5
    (row,) = done.document["rows"]
    assert (row["status"], row["refused"], row["reason"]) == ("unsupported", 1, "the last query stands at the last key")


def test_a_feature_of_which_nothing_is_taken_is_a_false_declaration(cli: Cli, write: Write) -> None:
    done = cli("check", "--quick", "--impls", write(NEVER), *SOME)
    assert done.code == 1
    assert "WRONG numpy/mine mask float32 (declaration): declares mask=True and float32, and refuses all" in done.out
    assert "no masks in this build; to declare that: leave mask=True out" in done.out


def test_random_cases_that_are_refused_are_counted(cli: Cli, write: Write) -> None:
    done = cli("check", "--impls", write(NEVER), "--random", "30", "--dtype", "float32")
    assert done.code == 0, done.out
    assert "refused by the kernel itself: no masks in this build" in done.out


@pytest.mark.skipif(find_spec("torch") is None, reason="the torch extra is not installed")
def test_a_checkpoint_agrees_forward_and_backward(cli: Cli, write: Write) -> None:
    done = cli("check", "--quick", "--impls", write(CHECKPOINTED), "--features", "sizes,deterministic", "--json")
    assert done.code == 0, done.out
    rows = [row for row in done.document["rows"] if row["feature"] == "sizes"]
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert all(row["gradient_ratio"] is not None for row in rows)


def test_other_bits_on_every_call_are_said_and_can_be_forbidden(cli: Cli, write: Write) -> None:
    file = write(SHUFFLED)
    done = cli("check", "--quick", "--impls", file, *SOME)
    assert done.code == 0, done.out
    assert "numpy/mine deterministic float32: no (a fault only where --require asks for it): output[" in done.out
    done = cli("check", "--quick", "--impls", file, "--features", "sizes", "--require", "deterministic", "--json")
    assert done.code == 1
    rows = [row for row in done.document["rows"] if row["feature"] == "deterministic"]
    assert {(row["status"], row["fault"], row["answer"]) for row in rows} == {("wrong", "required", "no")}
    assert all(row["reason"].startswith("deterministic is required: output[") for row in rows)


def test_a_requirement_that_is_met_changes_nothing_and_one_without_an_answer_is_unmet(cli: Cli, write: Write) -> None:
    file = write(RIGHT)
    done = cli("check", "--quick", "--impls", file, "--features", "sizes", "--require", "deterministic", "--json")
    assert done.code == 0
    assert {row["answer"] for row in done.document["rows"] if row["feature"] == "deterministic"} == {"yes"}
    silent = RIGHT.replace("Capabilities()", "Capabilities(limits=(Limit('Tq', 'long ones', at_least=5000),))")
    file = write(silent.replace("import Capabilities", "import Limit, Capabilities"))
    done = cli("check", "--quick", "--impls", file, "--features", "sizes", "--require", "deterministic,batch-invariant")
    assert done.code == 1
    assert "deterministic is required: numpy/mine Tq = 32 is below 5000" in done.out
    assert "batch-invariant is required" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--require", "determinism"), "did you mean 'deterministic'?"),
        (("--require", "deterministic", "--random", "3"), "--require would say nothing beside --random"),
    ],
)
def test_a_requirement_that_makes_no_sense_is_one_line(cli: Cli, arguments: tuple[str, ...], said: str) -> None:
    done = cli("check", "numpy/naive", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1


@pytest.mark.parametrize("more", [(), ("--random", "3"), ("--case", "causal Tq=4"), ("--json",)])
def test_a_device_that_is_not_there_is_one_line(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    monkeypatch.setattr("attnbench.workers.devices.devices_of", lambda _: ("cpu",))
    done = cli("check", "torch/naive", "numpy/naive", "--device", "cuda", *more)
    assert done.code == 5
    said = "device cuda is not there, so that nothing is checked on it: numpy has cpu; torch has cpu"
    assert said in done.err + done.out
    assert len((done.err + done.out).strip().splitlines()) == (5 if more == ("--json",) else 1)


def test_a_device_that_one_framework_has_is_asked_and_the_others_rows_say_why_not(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    """The parent is told that there is a GPU, so that the worker is asked, which has none."""
    monkeypatch.setattr("attnbench.workers.devices.devices_of", lambda _: ("cpu", "cuda"))
    file = write(CHECKPOINTED.replace("gradients=True", "gradients=True, devices=('cpu', 'cuda')"))
    done = cli("check", "--impls", file, "--device", "cuda", "--json")
    (row,) = done.document["rows"]
    assert (done.code, row["status"]) == (5, "unsupported")
    assert row["reason"] == "device cuda is not there; torch has cpu"


def test_dtypes_that_are_apart_have_processes_of_their_own(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    real = discover.backend

    def apart(name: str) -> Any:
        return dataclasses.replace(real(name), apart=("float64",))

    def processes(file: Path) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for line in file.with_suffix(".pids").read_text().splitlines():
            dtype, pid = line.split()
            found.setdefault(dtype, set()).add(pid)
        file.with_suffix(".pids").unlink()
        return found

    file = write(PROCESSES)
    options = CheckOptions(("numpy/mine",), (str(file),), ("float64", "float32"), ("sizes", "scale"), depth="quick")
    cases = ["B=2", "B=2 dtype=float64", "B=3"]
    ways: list[Callable[[], object]] = [
        lambda: check(options),
        lambda: check_randomly(options, 12),
        lambda: check_given(options, cases),
    ]
    for way in ways:
        monkeypatch.setattr(discover, "backend", real)
        way()
        shared = processes(file)
        monkeypatch.setattr(discover, "backend", apart)
        way()
        own = processes(file)
        assert set(own) == set(shared) == {"float64", "float32"}
        assert not own["float64"] & own["float32"]
    assert shared["float64"] == shared["float32"], "or else the test shows nothing"


def test_all_random_cases_are_judged_once_where_dtypes_are_apart(monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    options = CheckOptions(("numpy/mine",), (str(write(RIGHT)),), ("float64", "float32"))
    (together,) = check_randomly(options, 12)
    real = discover.backend
    monkeypatch.setattr(discover, "backend", lambda name: dataclasses.replace(real(name), apart=("float64",)))
    (split,) = check_randomly(options, 12)
    assert (split.cases, split.unsupported, split.error_ratio) == (
        together.cases,
        together.unsupported,
        together.error_ratio,
    )


def test_float64_is_apart_in_jax() -> None:
    info = discover.backend("jax")
    assert [info.kind_of(dtype) for dtype in ("float64", "float32", "bfloat16")] == ["float64", "", ""]
