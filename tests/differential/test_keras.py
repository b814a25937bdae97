"""Keras' attention on NumPy against the naive implementations, and the differences that docs/differential.md states."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands
from attnbench.attention.spec import AttentionSpec
from tests.differential.comparing import NAIVE, difference, produce

pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="needs Keras, which the test extra brings")


@dataclass(frozen=True)
class Reading:
    """How a result of Keras reads in our words: the spec, and the operands by their names in the file."""

    spec: AttentionSpec = field(default_factory=AttentionSpec)
    operands: tuple[str, ...] = ()


TOP_LEFT: dict[str, Any] = {"causal": True, "align": "top_left"}
OPS = {
    "plain": Reading(),
    "scaled": Reading(AttentionSpec(scale=0.3)),
    "causal": Reading(AttentionSpec(**TOP_LEFT)),
    "masked": Reading(operands=("mask",)),
    "biased": Reading(operands=("bias",)),
    "everything": Reading(AttentionSpec(scale=0.3, **TOP_LEFT), ("mask", "bias")),
}
ADDITIVE = {
    "plain": Reading(AttentionSpec(score="additive")),
    "masked": Reading(AttentionSpec(score="additive"), ("kv_lengths",)),
    "causal": Reading(AttentionSpec(score="additive", **TOP_LEFT)),
    "everything": Reading(AttentionSpec(score="additive", **TOP_LEFT), ("kv_lengths",)),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Array]]:
    """What Keras computed, by file and by name."""
    folder = tmp_path_factory.mktemp("keras")
    produce("produce_keras", folder)
    return {name: dict(np.load(folder / f"{name}.npz")) for name in ("ops", "additive")}


def ops_operands(of: dict[str, Array], *names: str) -> Operands:
    given: dict[str, Any] = {name: of[name] for name in ("q", "k", "v", *names)}
    return Operands(**given)


def additive_operands(of: dict[str, Array], *names: str, w: Array | None = None) -> Operands:
    """Keras adds q and k as they are: both projections are identities, and there is no shift."""
    d = of["q"].shape[2]
    eye = np.eye(d, dtype=np.float32)[None]
    weights = of["w"] if w is None else w
    params = {"Wq": eye, "Wk": eye, "b": np.zeros((1, d), np.float32), "v": weights[None]}
    q, k, v = (of[name][:, None] for name in "qkv")
    return Operands(q, k, v, params=params, kv_lengths=of["lengths"] if names else None)


@pytest.mark.parametrize("impl", NAIVE)
@pytest.mark.parametrize("name", OPS)
def test_dot_product_attention(name: str, impl: str, found: dict[str, dict[str, Array]]) -> None:
    of, reading = found["ops"], OPS[name]
    judged = difference(impl, reading.spec, ops_operands(of, *reading.operands), of[name])
    assert judged.ok, judged.sentence()


@pytest.mark.parametrize("impl", NAIVE)
@pytest.mark.parametrize("name", ADDITIVE)
def test_additive_attention(name: str, impl: str, found: dict[str, dict[str, Array]]) -> None:
    of, reading = found["additive"], ADDITIVE[name]
    judged = difference(impl, reading.spec, additive_operands(of, *reading.operands), of[name][:, None])
    assert judged.ok, judged.sentence()


@pytest.mark.parametrize("impl", NAIVE)
def test_additive_attention_without_weights(impl: str, found: dict[str, dict[str, Array]]) -> None:
    of = found["additive"]
    operands = additive_operands(of, w=np.ones_like(of["w"]))
    judged = difference(impl, AttentionSpec(score="additive"), operands, of["unscaled"][:, None])
    assert judged.ok, judged.sentence()


# A comparison that cannot fail would show nothing.
WRONG = [("causal", AttentionSpec(causal=True, align="bottom_right")), ("scaled", AttentionSpec())]


@pytest.mark.parametrize(("name", "spec"), WRONG)
def test_another_reading_would_be_seen(name: str, spec: AttentionSpec, found: dict[str, dict[str, Array]]) -> None:
    of = found["ops"]
    assert not difference("numpy/naive", spec, ops_operands(of), of[name]).ok


# Where they differ, as docs/differential.md says.


def test_keras_gives_a_row_without_keys_the_mean_of_all_values(found: dict[str, dict[str, Array]]) -> None:
    of = found["ops"]
    np.testing.assert_allclose(of["dead_row"][0, :, 2], of["v"][0].mean(1), rtol=1e-5)
    judged = difference("numpy/naive", AttentionSpec(), dead(of), of["dead_row"])
    assert judged.fault == "value"


def dead(of: dict[str, Array]) -> Operands:
    return Operands(of["q"], of["k"], of["v"], mask=of["dead"])


def test_additive_attention_attends_padding_where_there_is_nothing_else(found: dict[str, dict[str, Array]]) -> None:
    of = found["additive"]
    # It subtracts 1e9 from masked scores, which leaves all keys of such a row, almost or quite equal.
    row = of["dead"][0]
    assert np.isfinite(row).all()
    assert row.any()
