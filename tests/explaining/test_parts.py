"""Gradients, lse, layouts and padding: what is not judged is never within rounding, and what is named is true."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnbench as ab
from attnbench.attention.arrays import Array
from attnbench.errors import UsageError
from attnbench.explaining import judging
from tests.explaining.faulty import BFLOAT16, arrays, attention
from tests.explaining.test_faults import save
from tests.program import Cli


def turned(array: Array) -> Array:
    """Heads and tokens exchanged."""
    return np.ascontiguousarray(array.swapaxes(1, 2))


def with_gradients(given: dict[str, Any]) -> dict[str, Any]:
    """An output of causal attention, lse and gradients, all right."""
    spec = ab.AttentionSpec(causal=True, align="top_left")
    answer = ab.attend(**given, spec=spec, outputs=("lse",))
    d_output = np.random.default_rng(5).standard_normal(answer.output.shape).astype(np.float32)
    grads = ab.vjp(**given, d_output=d_output, spec=spec)
    return {"out": answer.output, "spec": spec, "lse": answer.lse, "grads": dict(grads), "d_output": d_output}


def test_gradients_that_cannot_be_judged_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    given = arrays()
    everything = with_gradients(given)
    everything["grads"]["q"] = np.full_like(given["q"], np.nan)
    monkeypatch.setattr(judging, "GRADIENTS_WHOLE", 100)
    with pytest.raises(UsageError, match=r"up to 100 pairs .* this one has 7,680: save a smaller call, or leave out"):
        ab.explain(**given, **everything)
    rest = {name: array for name, array in everything.items() if name not in ("grads", "d_output")}
    assert ab.explain(**given, **rest).ok


def test_the_finest_arithmetic_that_explains_is_named() -> None:
    given = arrays(dtype=BFLOAT16)
    found = ab.explain(attention(**given, low_weights=True), **given)
    assert (found.exit_code, found.arithmetic) == (0, "weights rounded to bfloat16 before P·V")


def test_a_part_of_the_batch_is_said_to_be_a_part() -> None:
    given = arrays(B=40, Hq=8, Tq=1, S=1024, D=4, Dv=4)
    found = ab.explain(attention(**given, scale=1 / 16), **given)
    assert found.exit_code == 3
    assert "readings were tried on 1 of 1 queries of 2 of 40 batch entries: the call is large" in " ".join(found.notes)


def test_parts_of_one_explanation_are_no_alternatives() -> None:
    given = arrays()
    everything = with_gradients(given)
    lse = everything["lse"] / np.float32(np.log(2))
    grads = {**everything["grads"], "v": 2 * everything["grads"]["v"]}
    found = ab.explain(**given, **{**everything, "lse": lse, "grads": grads})
    assert [(reading.array, reading.sentence) for reading in found.readings] == [
        ("lse", "lse is in base 2"),
        ("d_v", "the gradient of v is 2 times the right one"),
    ]
    assert "do not tell apart" not in repr(found)
    assert "fits (lse): lse is in base 2" in repr(found)
    assert [reading["array"] for reading in found.to_dict()["readings"]] == ["lse", "d_v"]


@pytest.mark.parametrize(
    ("layout", "in_other", "sentence"),
    [
        ("bhsd", "out", "the output is laid out as (B, S, H, D) instead of (B, H, S, D)"),
        ("bshd", "out", "the output is laid out as (B, H, S, D) instead of (B, S, H, D)"),
        ("bhsd", "qkv", "all arrays but the output lie as (B, S, H, D), not as (B, H, S, D): the layout is bshd"),
        ("bshd", "qkv", "all arrays but the output lie as (B, H, S, D), not as (B, S, H, D): the layout is bhsd"),
        ("bshd", "all", "all arrays lie as (B, H, S, D), not as (B, S, H, D): the layout is bhsd"),
    ],
)
def test_the_sentence_on_a_layout_is_true(layout: str, in_other: str, sentence: str) -> None:
    given = arrays(Hkv=4, Tq=40)
    out = attention(**given)
    if (layout == "bshd") != (in_other in ("qkv", "all")):
        given = {name: turned(array) for name, array in given.items()}
    if (layout == "bshd") != (in_other in ("out", "all")):
        out = turned(out)
    found = ab.explain(out, **given, layout=layout)
    assert found.exit_code == 3
    assert found.readings[0].sentence.startswith(sentence)


def test_gradients_come_from_one_file(cli: Cli, tmp_path: Path) -> None:
    given = arrays()
    everything = with_gradients(given)
    grads = everything["grads"]
    np.savez(
        tmp_path / "call.npz",
        **given,
        **{name: everything[name] for name in ("out", "lse")},
        d_out=everything["d_output"],
        dq=grads["q"],
        d_k=grads["k"],
        odd=grads["v"],
    )
    words = [word for name in ("q", "k", "v", "out", "lse", "d-out") for word in (f"--{name}", "call.npz")]
    words += ["--causal", "--align", "top_left", "--grad", "q=call.npz", "--grad", "dk=call.npz"]
    done = cli("explain", *words, "--grad", "dv=call.npz:odd", "--json")
    assert done.code == 0, done.err
    assert list(done.document["arrays"]) == ["output", "lse", "d_q", "d_k", "d_v"]
    missing = cli("explain", *words, "--grad", "dv=call.npz")
    assert missing.code == 2
    assert "holds no array 'dv' or 'd_v'" in missing.err
    assert "Type --grad dv=call.npz:NAME" in missing.err


def test_a_parameter_comes_from_a_file_with_several(cli: Cli, tmp_path: Path) -> None:
    given = arrays(Hkv=4, Dv=16)
    spec = ab.AttentionSpec(score="general")
    params = ab.default_params(spec, heads=4, d=16, hidden=8, seed=0, dtype="float32")
    out = ab.attend(**given, spec=spec, params=params).output
    np.savez(tmp_path / "call.npz", **given, **params, out=out)
    words = [word for name in ("q", "k", "v", "out") for word in (f"--{name}", "call.npz")]
    words += [word for name in params for word in ("--param", f"{name}=call.npz")]
    done = cli("explain", *words, "--score", "general")
    assert done.code == 0, done.err


def test_a_cotangent_of_lse_without_gradients_is_said(cli: Cli, tmp_path: Path) -> None:
    given = arrays()
    out = attention(**given)
    done = cli("explain", *save(tmp_path, **given, out=out, d_lse=out[..., 0].copy()))
    assert done.code == 2
    assert "d_lse is what gradients are taken of, and none is given" in done.err


def test_lse_in_a_wider_dtype_than_was_computed_in_is_cast_as_the_rest_is() -> None:
    given = arrays()
    answer = ab.attend(**given, outputs=("lse",))
    wide = {name: array.astype(np.float64) for name, array in given.items()}
    out, lse = answer.output.astype(np.float64), answer.lse.astype(np.float64)
    assert ab.explain(out, **wide, lse=lse, dtype="float32").ok
    with pytest.raises(ab.AttnbenchError, match="lse has values that float32 has not"):
        ab.explain(out, **wide, lse=lse + 1e-12, dtype="float32")


def test_padding_is_no_part_of_any_mean_or_count() -> None:
    ends = np.array([0, 3, 40], np.int32)
    given = arrays(B=1, Tq=40, S=40, Dv=16)
    rows = {name: np.ascontiguousarray(array[0].swapaxes(0, 1)) for name, array in given.items()}
    out, grads = np.zeros_like(rows["q"]), {name: np.zeros_like(array) for name, array in rows.items()}
    d_output = np.random.default_rng(5).standard_normal(out.shape).astype(np.float32)
    for start, end in pairwise(ends):
        one = {name: array[:, :, start:end] for name, array in given.items()}
        out[start:end] = attention(**one)[0].swapaxes(0, 1)
        of_one = ab.vjp(**one, d_output=np.ascontiguousarray(d_output[start:end].swapaxes(0, 1)[None]))
        for name, grad in grads.items():
            grad[start:end] = of_one[name][0].swapaxes(0, 1)
    other = out + np.float32(1)
    words: dict[str, Any] = {"layout": "varlen", "cu_seqlens": ends, "grads": grads, "d_output": d_output}
    found = ab.explain(out, **rows, other=other, **words)
    assert found.ok
    assert found.nearer is not None
    assert found.nearer.other_rms == pytest.approx(1, rel=1e-3)
    assert {name: found.arrays[name].elements for name in ("d_q", "d_k")} == {
        "d_q": rows["q"].size,
        "d_k": rows["k"].size,
    }
