"""What is given: files of every format, layouts, dtypes, and what is said of input that is none."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnbench as ab
from attnbench.attention.arrays import Array
from attnbench.errors import SpecError, UsageError
from tests.explaining.faulty import BFLOAT16, arrays, attention
from tests.explaining.test_faults import save
from tests.program import Cli


def named(place: str = "") -> list[str]:
    """Options for arrays that are all in one file, or each at ``place`` with its name."""
    return [word for name in ("q", "k", "v", "out") for word in (f"--{name}", place.format(name))]


def write_safetensors(path: Path, saved: dict[str, Array]) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({name: tensor_of(torch, array) for name, array in saved.items()}, path)


def write_pt(path: Path, saved: dict[str, Array]) -> None:
    import torch

    torch.save({name: tensor_of(torch, array) for name, array in saved.items()}, path)


def tensor_of(torch: Any, array: Array) -> Any:
    bits = array.view(np.int16) if array.dtype == BFLOAT16 else array
    tensor = torch.from_numpy(bits.copy())
    return tensor.view(torch.bfloat16) if array.dtype == BFLOAT16 else tensor


WRITERS = {
    "all.npz": lambda path, saved: np.savez(path, **saved),
    "all.safetensors": write_safetensors,
    "all.pt": write_pt,
}


@pytest.mark.parametrize("file", WRITERS)
@pytest.mark.parametrize("dtype", [np.float32, BFLOAT16])
def test_several_arrays_in_one_file(file: str, dtype: Any, cli: Cli, tmp_path: Path) -> None:
    given = arrays(dtype=dtype)
    WRITERS[file](tmp_path / file, {**given, "out": attention(**given)})
    done = cli("explain", *named(file), "--json")
    assert done.code == 0, done.err
    assert done.document["dtype"] == np.dtype(dtype).name
    assert cli("explain", *named(file + ":{}")).code == 0


def test_numpys_own_bfloat16_is_read_and_said(cli: Cli, tmp_path: Path) -> None:
    given = arrays(dtype=BFLOAT16)
    done = cli("explain", *save(tmp_path, **given, out=attention(**given)))
    assert done.code == 0, done.err
    assert "read as bfloat16" in done.out


def test_what_was_computed_in_a_narrower_dtype_than_it_is_kept_in(cli: Cli, tmp_path: Path) -> None:
    given = arrays(dtype=BFLOAT16)
    saved = {name: array.astype(np.float32) for name, array in {**given, "out": attention(**given)}.items()}
    words = save(tmp_path, **saved)
    wide = cli("explain", *words)
    assert "if that was computed in, say so (--dtype bfloat16)" in wide.out
    assert wide.code != 0
    done = cli("explain", *words, "--dtype", "bfloat16", "--json")
    assert (done.code, done.document["dtype"]) == (0, "bfloat16")
    near = arrays()
    refused = cli("explain", *save(tmp_path, **near, out=attention(**near)), "--dtype", "bfloat16")
    assert refused.code == 2
    assert "out has values that bfloat16 has not" in refused.err


def test_layouts(cli: Cli, tmp_path: Path) -> None:
    given = arrays()
    saved = {**given, "out": attention(**given)}
    turned = {name: np.ascontiguousarray(array.swapaxes(1, 2)) for name, array in saved.items()}
    assert cli("explain", *save(tmp_path, **turned), "--layout", "bshd").code == 0
    packed = {name: array.reshape(*array.shape[:2], -1) for name, array in turned.items()}
    assert cli("explain", *save(tmp_path, **packed), "--layout", "packed", "--heads", "4", "--kv-heads", "2").code == 0
    done = cli("explain", *save(tmp_path, **packed), "--layout", "packed")
    assert done.code == 2
    assert "--layout packed needs --heads" in done.err


def test_sequences_one_behind_the_other(cli: Cli, tmp_path: Path) -> None:
    ends = np.array([0, 5, 5, 24], np.int32)
    long = arrays(B=1, Tq=24, S=24, Dv=16)
    rows = {name: np.ascontiguousarray(array[0].swapaxes(0, 1)) for name, array in long.items()}
    out = np.zeros_like(rows["q"])
    for start, end in pairwise(ends):
        one = {name: array[:, :, start:end] for name, array in long.items()}
        if end > start:
            out[start:end] = attention(**one, causal=True)[0].swapaxes(0, 1)
    words = [*save(tmp_path, **rows, out=out, cu_seqlens=ends), "--layout", "varlen", "--causal"]
    done = cli("explain", *words, "--align", "bottom_right", "--json")
    assert (done.code, done.document["arrays"]["output"]["elements"]) == (0, 24 * 4 * 16)
    across = np.ascontiguousarray(attention(**long, causal=True)[0].swapaxes(0, 1))
    words = [*save(tmp_path, **rows, out=across, cu_seqlens=ends), "--layout", "varlen", "--causal"]
    assert cli("explain", *words, "--align", "bottom_right").code == 1


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("turned", "laid out as (B, S, H, D)"),
        ("reshaped", "was only reshaped to (B, H, S, D)"),
        ("all", "all arrays lie as (B, S, H, D)"),
    ],
)
def test_another_layout_is_a_reading(how: str, sentence: str) -> None:
    given = arrays(Hkv=4, Tq=40)
    out = attention(**given)
    turned = np.ascontiguousarray(out.swapaxes(1, 2))
    if how == "all":
        given = {name: np.ascontiguousarray(array.swapaxes(1, 2)) for name, array in given.items()}
    found = ab.explain(turned.reshape(out.shape) if how == "reshaped" else turned, **given)
    assert found.exit_code == 3
    assert sentence in found.readings[0].sentence


class Planted:
    """What must never be made of a file."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('a pickle was run')",))


def test_a_pickle_is_refused_in_one_line(cli: Cli, tmp_path: Path) -> None:
    import torch

    words = save(tmp_path, **arrays())
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Planted()))
    np.save(tmp_path / "evil.npy", np.array([Planted()], object), allow_pickle=True)
    np.savez(tmp_path / "evil.npz", out=np.array([Planted()], object))
    torch.save({"out": [1, 2]}, tmp_path / "list.pt")
    for file in ("evil.pt", "evil.npy", "evil.npz", "list.pt"):
        done = cli("explain", *words, "--out", file)
        assert done.code == 2, file
        assert file in done.err.strip().splitlines()[-1]
        assert "Traceback" not in done.err


BAD = {
    "not there": (["--out", "nowhere.npy"], "--out: the file nowhere.npy is not there"),
    "no array of this name": (["--out", "many.npz"], "it has a, b. Type --out many.npz:NAME"),
    "another format": (["--out", "text.txt"], "is not one of .npy, .npz"),
    "damaged": (["--out", "text.npy"], "cannot be read as plain arrays"),
    "another shape": (["--out", "k.npy"], "out has shape"),
    "window": (["--window", "4"], "--window is LEFT,RIGHT"),
    "align": (["--causal"], "align"),
    "layout": (["--layout", "bsdh"], "did you mean"),
    "grad without cotangent": (["--grad", "dq=q.npy"], "--d-out"),
    "grad of nothing": (["--grad", "dx=q.npy", "--d-out", "out.npy"], "gradient 'x' is of no operand"),
    "grad without a file": (["--grad", "dq"], "--grad is NAME=FILE"),
    "score": (["--score", "dott"], "did you mean 'dot'?"),
    "a mask of numbers": (["--mask", "q.npy"], "mask is bool"),
    "scale": (["--scale", "1/dd"], "1/d"),
    "dtype": (["--dtype", "bf16"], "did you mean 'bfloat16'?"),
    "cumulative lengths": (["--cu-seqlens", "ends.npy"], "--layout varlen"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_said_in_one_line(what: str, cli: Cli, tmp_path: Path) -> None:
    given = arrays()
    words = save(tmp_path, **given, out=attention(**given))
    np.savez(tmp_path / "many.npz", a=given["q"], b=given["k"])
    np.save(tmp_path / "ends.npy", np.array([0, 24]))
    for name in ("text.txt", "text.npy"):
        (tmp_path / name).write_text("no array\n", "utf-8")
    more, sentence = BAD[what]
    done = cli("explain", *words, *more)
    assert done.code == 2, done.out
    assert sentence in done.err
    assert "Traceback" not in done.err


def test_from_python_words_are_checked_too() -> None:
    given = arrays()
    out = attention(**given)
    with pytest.raises(UsageError, match="did you mean 'causal'"):
        ab.explain(out, **given, is_causal=True)
    with pytest.raises(UsageError, match="causal besides it"):
        ab.explain(out, **given, spec=ab.AttentionSpec(), causal=True)
    with pytest.raises(SpecError, match="out is an array, got list"):
        ab.explain(out.tolist(), **given)
    with pytest.raises(SpecError, match="out has dtype float64, not float32"):
        ab.explain(out.astype(np.float64), **given)


def test_nothing_at_all_is_right() -> None:
    given = arrays(S=0)
    found = ab.explain(np.zeros((2, 4, 24, 12), np.float32), **given)
    assert found.ok
    assert ab.explain(np.ones((2, 4, 24, 12), np.float32), **given).exit_code == 1
    assert ab.explain(np.zeros((0, 4, 24, 12), np.float32), **arrays(B=0)).ok
