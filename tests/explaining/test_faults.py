"""Saved faults of many kinds: the command names each, with exit status 3, and what is right ends with 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnbench as ab
from attnbench.attention.arrays import Array
from tests.explaining.faulty import arrays, attention
from tests.program import Cli

RNG = np.random.default_rng(7)
MASK = RNG.random((2, 1, 24, 40)) < 0.6
BIAS = RNG.standard_normal((4, 24, 40)).astype(np.float32)
LENGTHS = np.array([40, 29], np.int32)
SINKS = RNG.standard_normal(4).astype(np.float32)
TOP_LEFT = {"causal": True, "align": "top_left"}

# What was asked for (the words of the spec), what the kernel did otherwise (switches), and what is said.
FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "corner": (TOP_LEFT, {"causal": True, "corner": "bottom_right"}, "aligned bottom right"),
    "scale of 1/D": ({}, {"scale": 1 / 16}, "the scale is 1/D"),
    "another scale": ({}, {"scale": 0.3}, "the scale is 1.2 times the one asked for"),
    "no scale": ({}, {"scale": 1.0}, "the scale is missing"),
    "root of Dv": ({}, {"scale": 12**-0.5}, "the scale is 1/√Dv"),
    "polarity": ({"mask": MASK}, {"mask": ~MASK}, "the mask's polarity is inverted"),
    "heads": ({}, {"tiled": True}, "query head h reads kv head h % Hkv"),
    "weights": ({}, {"low_weights": True}, "the weights are rounded to bfloat16 before P·V"),
    "logits": ({}, {"low_logits": True}, "logits are rounded to bfloat16"),
    "window": ({"window": (6, 2), "align": "top_left"}, {"window": (5, 2)}, "one key too narrow on the left"),
    "no softcap": ({"softcap": 2.0}, {}, "softcap is ignored"),
    "softcap last": (
        {"softcap": 2.0, **TOP_LEFT},
        {"softcap": 2.0, "causal": True, "cap_last": True},
        "softcap is applied after the mask",
    ),
    "not causal": (TOP_LEFT, {}, "the causal mask is ignored"),
    "bias": ({"bias": BIAS}, {"bias": BIAS, "bias_scaled": True}, "bias is added before the scale"),
    "sinks": ({"sinks": SINKS}, {}, "the sinks are ignored"),
    "padding": ({"kv_lengths": LENGTHS}, {}, "kv_lengths is ignored"),
    "two at once": (
        TOP_LEFT,
        {"causal": True, "corner": "bottom_right", "scale": 1 / 16},
        "the scale is 1/D; and alig",
    ),
    "and a rounding": (TOP_LEFT, {"low_weights": True}, "is ignored; and the weights are rounded to bfloat16"),
}
FILED = ("mask", "bias", "sinks", "kv_lengths")


def save(folder: Path, **saved: Array) -> list[str]:
    """Save arrays and return the options that name them."""
    words = []
    for name, array in saved.items():
        np.save(folder / f"{name}.npy", array)
        words += [f"--{name.replace('_', '-')}", f"{name}.npy"]
    return words


def options(folder: Path, asked_for: dict[str, Any]) -> list[str]:
    """The words of the spec as options, with operands in files."""
    words = save(folder, **{name: asked_for[name] for name in FILED if name in asked_for})
    words += ["--causal"] if asked_for.get("causal") else []
    words += ["--window", ",".join(map(str, asked_for["window"]))] if "window" in asked_for else []
    return words + [
        w for name in ("align", "softcap") if name in asked_for for w in (f"--{name}", str(asked_for[name]))
    ]


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_named(kind: str, cli: Cli, tmp_path: Path) -> None:
    asked_for, done_instead, sentence = FAULTS[kind]
    given = arrays()
    words = [*save(tmp_path, **given, out=attention(**given, **done_instead)), *options(tmp_path, asked_for)]
    done = cli("explain", *words, "--json")
    assert done.code == done.document["exit_code"] == 3, done.err
    sentences = [reading["sentence"] for reading in done.document["readings"]]
    assert any(sentence in text for text in sentences), sentences
    assert len(sentences) <= 4  # what these arrays do not tell apart, and no more


@pytest.mark.parametrize("kind", ["corner", "polarity", "window", "softcap last", "bias", "sinks", "padding"])
def test_what_is_right_is_within_rounding(kind: str, cli: Cli, tmp_path: Path) -> None:
    asked_for = FAULTS[kind][0]
    given = arrays()
    right = {name: value for name, value in asked_for.items() if name != "align"}
    words = [*save(tmp_path, **given, out=attention(**given, **right)), *options(tmp_path, asked_for)]
    done = cli("explain", *words)
    assert done.code == 0, done.out
    assert "2,304 of 2,304 elements are within rounding" in done.out


def test_what_nothing_explains_is_said_with_its_place(cli: Cli, tmp_path: Path) -> None:
    given = arrays()
    out = attention(**given)
    out[1, 2, 3, 4] += 1
    done = cli("explain", *save(tmp_path, **given, out=out))
    assert done.code == 1
    assert "output: 2,303 of 2,304" in done.out
    assert "worst at batch entry 1, head 2, query 3, feature 4" in done.out
    assert "fits" not in done.out


def test_a_nan_is_no_number(cli: Cli, tmp_path: Path) -> None:
    given = arrays()
    out = attention(**given)
    out[0, 0, 5] = np.nan
    done = cli("explain", *save(tmp_path, **given, out=out), "--json")
    assert done.code == 1
    array = done.document["arrays"]["output"]
    assert (array["ratio"], array["elements"] - array["within"]) == ("inf", 12)


def test_a_part_that_is_wrong_is_named_by_its_place() -> None:
    given = arrays()
    out = attention(**given, causal=True)
    out[:, :, 16:] = attention(**given)[:, :, 16:]
    found = ab.explain(out, **given, causal=True, align="top_left")
    assert found.exit_code == 3
    assert "from query 16 on: the causal mask is ignored" in [reading.sentence for reading in found.readings]


def test_a_large_call_is_judged_in_part_and_says_so() -> None:
    given = arrays(B=2, Tq=740, S=740, Hq=4, Hkv=2)  # just above 2²² pairs
    found = ab.explain(attention(**given, causal=True), **given, causal=True)
    assert found.exit_code == 0
    assert any(note.startswith("judged are") for note in found.notes)
    wrong = ab.explain(attention(**given, causal=True, scale=1 / 16), **given, causal=True)
    assert (wrong.exit_code, wrong.readings[0].sentence) == (3, "the scale is 1/D")
    assert any(note.startswith("readings were tried on") for note in wrong.notes)
