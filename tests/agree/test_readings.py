"""Readings that name a tile, an edge, a head, a low bias, a dead row or a constant: named, and never for another.

Every fault is diagnosed alone; what is named is what was planted, and the other faults get other words.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.diagnose.condition import condition
from attnbench.agree.diagnose.doctor import UNKNOWN, Diagnosis
from attnbench.agree.diagnose.examine import examine
from attnbench.agree.diagnose.kind import diagnose
from attnbench.agree.eager.attention import Eager, Softmax
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call
from attnbench.attention.problem import Case
from attnbench.backends.attend import load_backend
from attnbench.errors import SpecError

BACKEND = load_backend("numpy")
SIZES = "B=2 Hq=2 D=6"


class TileOfQueries(Eager):
    """Forgets the start of a tile of 16 queries."""

    def allowed(self, call: Call) -> Array:
        right = super().allowed(call)
        if not call.spec.causal:
            return right
        index = np.arange(call.sizes.Tq) % 16
        stands = index[None, None, :, None] + np.reshape(call.offset, (-1, 1, 1, 1))
        return np.broadcast_to(np.arange(call.sizes.S) <= stands, right.shape)


class MaskedFromQuery(Eager):
    """Looks at the mask in the first 20 queries only."""

    def allowed(self, call: Call) -> Array:
        right = super().allowed(call)
        if call.mask is None:
            return right
        right = right.copy()
        right[:, :, 20:] = super().allowed(replace(call, mask=None))[:, :, 20:]
        return right


class KeysCut(Eager):
    """Reads the first 11 keys only."""

    def allowed(self, call: Call) -> Array:
        return super().allowed(call) & (np.arange(call.sizes.S) < 11)


class NextHead(Eager):
    """Query heads read other key/value heads than theirs: a map without a name."""

    def heads_of_keys(self, k: Array, call: Call) -> Array:
        return k[:, [1, 0, 0, 1][: call.sizes.Hq]] if call.sizes.Hkv == 2 else super().heads_of_keys(k, call)

    def heads_of_values(self, v: Array, call: Call) -> Array:
        return v[:, [1, 0, 0, 1][: call.sizes.Hq]] if call.sizes.Hkv == 2 else super().heads_of_values(v, call)


class ModuloHeads(Eager):
    """Query head h reads h % Hkv."""

    def heads_of_keys(self, k: Array, call: Call) -> Array:
        return k[:, np.arange(call.sizes.Hq) % call.sizes.Hkv]

    def heads_of_values(self, v: Array, call: Call) -> Array:
        return v[:, np.arange(call.sizes.Hq) % call.sizes.Hkv]


class LowBias(Eager):
    """A bias that times log2 e is beyond the dtype becomes −inf, and a row of them is 0/0."""

    def add_bias(self, capped: Array, call: Call) -> Array:
        if call.bias is None:
            return super().add_bias(capped, call)
        low = call.bias.astype(np.float64) < -np.finfo(call.bias.dtype).max * np.log(2)
        return np.where(low, -np.inf, super().add_bias(capped, call))

    def softmax(self, logits: Array, allowed: Array, sink: Array) -> Softmax:
        right = super().softmax(logits, allowed, sink)
        lost = (np.isneginf(logits) | ~allowed).all(-1, keepdims=True) & allowed.any(-1, keepdims=True)
        return right._replace(weights=np.where(lost, np.nan, right.weights))


class RightSideIgnored(Eager):
    """A right side of 0 is taken for none."""

    def allowed(self, call: Call) -> Array:
        left, right = call.spec.window or (None, None)
        spec = replace(call.spec, window=None if left is None else (left, right or None))
        return super().allowed(replace(call, spec=spec))


class DeadRowMean(Eager):
    """A row without a key is the mean of all values."""

    def dead_rows(self, output: Array, allowed: Array, v: Array) -> Array:
        return np.where(allowed.any(-1, keepdims=True), output, v.mean(-2, keepdims=True))


class Lse(Eager):
    """The lse in another base, or with a number added."""

    def __init__(self, times: float = 1.0, plus: float = 0.0) -> None:
        self.times, self.plus = times, plus

    def softmax(self, logits: Array, allowed: Array, sink: Array) -> Softmax:
        right = super().softmax(logits, allowed, sink)
        return right._replace(lse=right.lse * self.times + self.plus)


class OneQuery(Eager):
    """Causality is skipped where there is one query."""

    def allowed(self, call: Call) -> Array:
        spec = replace(call.spec, causal=call.spec.causal and call.sizes.Tq > 1)
        return super().allowed(replace(call, spec=spec))


# The kernel, a case that it fails, the kind, and words of the evidence.
FAULTS = {
    "tile": (TileOfQueries(), f"causal {SIZES} Tq=40", "tile", "in tiles of 16 queries the tile's start is forgotten"),
    "from a query": (
        MaskedFromQuery(), f"{SIZES} Tq=37 S=9 operands=mask", "mask", "from query 20 on: the mask is ignored"
    ),
    "keys": (KeysCut(), f"{SIZES} Tq=5 S=29", "tail", "keys from 11 on are never read"),
    "heads": (NextHead(), "B=2 Hq=4 Hkv=2 D=6 Tq=5 S=7", "heads", "key/value heads [1, 0, 0, 1] instead of"),
    "modulo": (ModuloHeads(), "B=2 Hq=4 Hkv=2 D=6 Tq=5 S=7", "heads", "reads kv head h % Hkv"),
    "low bias": (LowBias(), f"{SIZES} Tq=9 S=7 operands=bias_low", "bias overflow", "becomes −inf times log2 e"),
    "window": (
        RightSideIgnored(), f"window=[9000,0] align=top_left {SIZES} Tq=9 S=17", "window",
        "the right side of the window is ignored",
    ),
    "dead row": (DeadRowMean(), f"{SIZES} Tq=9 S=7 operands=kv_lengths_edges seed=2", "dead row", "mean of all values"),
    "base 2": (Lse(times=1 / np.log(2)), f"{SIZES} Tq=9 S=7 outputs=lse", "lse", "lse is in base 2"),
    "ln 2 added": (Lse(plus=float(np.log(2))), f"{SIZES} Tq=9 S=7 outputs=lse", "lse", "+0.6931 (ln 2) is added"),
    "number added": (Lse(plus=-3.25), f"{SIZES} Tq=9 S=7 outputs=lse", "lse", "-3.25 is added"),
    "one query": (OneQuery(), f"causal align=top_left {SIZES} Tq=1 S=9", "causal", "the causal mask is ignored"),
}  # fmt: skip


def diagnosed(kernel: Eager, text: str, seconds: float = 5.0) -> Diagnosis:
    return diagnose(BACKEND, kernel.implementation("planted"), case_from_text(text), seconds=seconds)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_planted_fault_is_named_by_its_number(name: str) -> None:
    kernel, text, kind, words = FAULTS[name]
    diagnosis = diagnosed(kernel, text)
    assert diagnosis.kind == kind, diagnosis
    assert words in diagnosis.evidence
    others = {more for other, (_, _, _, more) in FAULTS.items() if other != name} - {words}
    assert not [more for more in others if more in diagnosis.evidence]


@pytest.mark.parametrize("name", ["tile", "heads", "low bias", "window", "ln 2 added", "number added"])
def test_a_sound_kernel_is_given_none_of_them(name: str) -> None:
    assert diagnosed(Eager(), FAULTS[name][1]).kind == UNKNOWN


class Scattered(Eager):
    """An lse with a number of its own for every row, and heads that mix: no constant, no map."""

    def softmax(self, logits: Array, allowed: Array, sink: Array) -> Softmax:
        right = super().softmax(logits, allowed, sink)
        return right._replace(lse=right.lse + 0.01 * np.arange(right.lse.shape[-1]))

    def heads_of_keys(self, k: Array, call: Call) -> Array:
        right = super().heads_of_keys(k, call)
        return (right + right[:, ::-1]) / 2 if call.sizes.Hkv > 1 else right


@pytest.mark.parametrize("text", [FAULTS["ln 2 added"][1] + " Hkv=1", FAULTS["heads"][1]])
def test_what_only_resembles_a_reading_is_unknown(text: str) -> None:
    assert diagnosed(Scattered(), text).kind == UNKNOWN


def test_a_large_case_is_taken_apart_by_a_plainer_one_that_fails_alike() -> None:
    """Too large as it stands, with values and operands that hide it: the same is named, and where it begins."""
    text = "scale=-1.3 causal B=3 Hq=3 Tq=400 S=130 D=24 distribution=large_mean operands=layout_transposed,offset"
    examination = examine(BACKEND, TileOfQueries().implementation("planted"), case_from_text(text), seconds=20.0)
    assert examination.diagnosis.kind == "tile", examination.diagnosis
    assert "in tiles of 16 queries" in examination.diagnosis.evidence
    assert examination.condition is not None
    assert "16 agrees" in examination.condition
    assert examination.cases[0].problem.Tq == 17


# Which sizes

PLAIN = case_from_text("Tq=40 S=20")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda p: p.Tq > 33, "Tq: wrong at every size tried from 34 to 640 (34, 35, 40, 41, 80, "),
        (lambda p: p.Tq == 40, "Tq 40 is wrong, 39 and 41 agree"),
        (lambda p: 10 < p.S <= 50, "S: wrong at every size tried from 11 to 50"),
        (lambda p: p.Tq >= 40 and p.S <= 20, "S: wrong at every size tried from 1 to 20"),
        (lambda p: p.S > 1, None),
        (lambda p: p.S >= 1, None),
        (lambda p: p.S not in (30, 40), None),
    ],
)
def test_a_condition_names_the_sizes_next_to_each_other(wrong: object, words: str | None) -> None:
    sentence = condition(PLAIN, lambda case: wrong(case.problem))  # type: ignore[operator]
    assert (sentence is None) if words is None else (sentence is not None and words in sentence), sentence


def test_a_size_that_cannot_be_asked_does_not_agree() -> None:
    """Refused, or wrong in another way: nothing is said of it, as of what is no question of the spec."""

    def fails(case: Case) -> bool | None:
        return True if case.problem.Tq > 33 else None

    assert condition(PLAIN, fails) is None

    def raises(case: Case) -> bool | None:
        if case.problem.Tq <= 33:
            msg = "no such size"
            raise SpecError(msg)
        return True

    assert condition(PLAIN, raises) is None


def test_lengths_that_must_be_equal_change_together() -> None:
    case = case_from_text("causal Tq=40")
    sentence = condition(case, lambda resized: resized.problem.S > 8)
    assert sentence is not None
    assert sentence.startswith("Tq = S: wrong at every size tried from 9 to")
    assert "8 agrees" in sentence
