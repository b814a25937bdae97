"""What the semantics probe compares a native kernel with: textbook attention and its known variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from attnbench.attention.arrays import Array

# The variants differ by tenths; the coarsest kernel compared here works in float32 or TF32.
TOLERANCE = 5e-3


class Attended(NamedTuple):
    """output (B, Hq, Tq, Dv) and lse (B, Hq, Tq) in float64."""

    output: Array
    lse: Array


def attend(
    q: Array,
    k: Array,
    v: Array,
    allowed: Array | None = None,
    *,
    bias: Array | None = None,
    cap: float | None = None,
    cap_last: bool = False,
) -> Attended:
    """Dot-product attention with the scale 1/√D, in float64; ``cap_last`` caps after the bias, as the spec does not.

    Beside the oracle because the oracle knows only the conventions of the spec.
    """
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    logits = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[3])
    added = 0.0 if bias is None else bias.astype(np.float64)
    if cap is None:
        logits = logits + added
    else:
        logits = cap * np.tanh((logits + added) / cap) if cap_last else cap * np.tanh(logits / cap) + added
    if allowed is not None:
        logits = np.where(allowed, logits, -np.inf)
    largest = logits.max(-1, keepdims=True)
    weights = np.exp(logits - largest)
    total = weights.sum(-1, keepdims=True)
    return Attended(weights / total @ v, (largest + np.log(total))[..., 0])


def lower(tq: int, s: int, offset: int = 0) -> Array:
    """The allowed set (tq, s) of a causal mask whose first row sees ``offset`` + 1 keys."""
    return np.arange(s)[None, :] <= np.arange(tq)[:, None] + offset


def close(got: Array, expected: Array) -> bool:
    """Same shape, and equal within the tolerance; NaN equals nothing."""
    return got.shape == expected.shape and bool(np.allclose(got.astype(np.float64), expected, TOLERANCE, TOLERANCE))


def first_match(got: Array, known: Mapping[str, Array], otherwise: str) -> str:
    """The name of the convention that ``got`` follows."""
    return next((word for word, expected in known.items() if close(got, expected)), otherwise)


def classify_row(output: Array, q: Array, k: Array, v: Array, row: int) -> str:
    """What became of a row without keys, and whether the other rows are those of plain attention."""
    plain = attend(q, k, v).output
    if output.shape != plain.shape:
        return "something else"
    got = output[:, :, row]
    known = {
        "0": np.zeros(got.shape),
        "mean of all values": v.astype(np.float64).mean(2),
        "as if unmasked": plain[:, :, row],
    }
    word = "NaN" if np.isnan(got).all() else first_match(got, known, "something else")
    others = np.arange(q.shape[2]) != row
    return word if close(output[:, :, others], plain[:, :, others]) else f"{word}, and other rows change"
