"""How far attention is an alignment, and what of it would be there by chance: measures and their controls.

The controls go through the same functions as the weights themselves: *uniform* weights say what looking nowhere gives,
weights whose outputs are *permuted* what looking at the same places at other times gives. A permutation keeps every
row of weights, and with it how sharp they are and which places they prefer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnbench.ablate.training import aligned_mass
from attnbench.attention.arrays import Array
from attnbench.attention.inputs import stream

# Centres of weights nearer to each other than this are at one place: rounding has no direction.
TIE = 1e-4


def uniform(weights: Array, lengths: Array) -> Array:
    """Weights of 1/length over the source of each example: (n, T, S), (n,)."""
    within = np.arange(weights.shape[2]) < lengths[:, None]
    return np.broadcast_to((within / lengths[:, None])[:, None], weights.shape)


def permuted(weights: Array, outputs: Array, seed: int) -> Array:
    """The rows of each example in another order, of the first ``outputs`` (n,) of them; the rest stays."""
    random = stream(seed, "alignment.permuted")
    keys = random.random(weights.shape[:2])
    counts = np.arange(weights.shape[1]) < outputs[:, None]
    order = np.where(counts, keys, np.inf).argsort(1, kind="stable")
    return np.take_along_axis(weights, order[..., None], 1)


def near_mass(weights: Array, places: Array, lengths: Array) -> float:
    """The mean weight on the right place and the one on each side of it; shapes as for ``aligned_mass``."""
    padded = np.pad(weights, ((0, 0), (0, 0), (1, 1)))
    wide = padded[..., :-2] + weights + padded[..., 2:]
    return aligned_mass(wide, places, lengths)


def monotone(weights: Array, outputs: Array) -> float:
    """Kendall's tau (a) of the outputs and the centres of their weights, the mean over examples: (n, T, S), (n,).

    1 where what is read moves forward with every output, -1 where it moves backward, 0 where it does not move or has
    no order. An example with one output has none, and does not count; 0 where none counts.
    """
    centres = weights.astype(np.float64) @ np.arange(weights.shape[2])
    taus = []
    for row, count in zip(centres, outputs.tolist(), strict=True):
        if count > 1:
            later, earlier = np.tril_indices(count, -1)
            moved = row[later] - row[earlier]
            taus.append(np.where(np.abs(moved) < TIE, 0.0, np.sign(moved)).mean())
    return float(np.mean(taus)) if taus else 0.0


def with_controls(name: str, weights: Array, places: Array, lengths: Array, seed: int) -> dict[str, float]:
    """``aligned.NAME``, ``near.NAME`` and ``monotone.NAME``, and the first and the last of them with controls.

    ``aligned_uniform``, ``aligned_permuted``, ``monotone_permuted``; ``aligned_other`` holds the weights of an
    example against the places of the next one, which tells an order that is always the same from one that follows
    the content. ``weights`` (n, T, S), ``places`` (n, T) the right ones, ``lengths`` (n,).
    """
    mixed = permuted(weights, lengths, seed)
    return {
        f"aligned.{name}": aligned_mass(weights, places, lengths),
        f"aligned_uniform.{name}": aligned_mass(uniform(weights, lengths), places, lengths),
        f"aligned_permuted.{name}": aligned_mass(mixed, places, lengths),
        f"aligned_other.{name}": aligned_mass(weights, np.roll(places, 1, 0), lengths),
        f"near.{name}": near_mass(weights, places, lengths),
    } | order(name, weights, lengths.tolist(), seed)


def order(name: str, weights: Array, outputs: Sequence[int], seed: int) -> dict[str, float]:
    """``monotone.NAME``, and with the first ``outputs`` of each example permuted ``monotone_permuted.NAME``."""
    counts = np.asarray(outputs)
    mixed = permuted(weights, counts, seed)
    return {f"monotone.{name}": monotone(weights, counts), f"monotone_permuted.{name}": monotone(mixed, counts)}
