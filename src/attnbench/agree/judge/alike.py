"""Which terms of a sum are equal, or nearly so: their roundings are the same then, and do not cancel."""

from __future__ import annotations

import numpy as np

from attnbench.attention.arrays import Array

UNIFORM_TERMS = 0.25  # coefficient of variation below which roundings add up instead of cancelling
BY_CHANCE = 2  # so many terms may be the same by chance in the bits that are compared, where there are many terms
# Terms count as equal if so many bits of their fractions are the same, at least and at most: a product of matrices need
# not round equal rows alike.
FEWEST_BITS, MOST_BITS = 6, 40


def aligned_rows(terms: Array, allowed: Array) -> Array:
    """Rows whose terms hardly differ: there the roundings of a sequential sum are all the same."""
    count = np.maximum(np.count_nonzero(allowed, axis=1), 1)
    mean = np.where(allowed, terms, 0).sum(1) / count
    off = np.where(allowed, terms - mean[:, None], 0)
    spread = np.sqrt(np.einsum("ts,ts->t", off, off) / count)
    return np.asarray(spread <= UNIFORM_TERMS * np.abs(mean))


def alike_terms(terms: Array, u: float, copies: int = 1) -> Array:
    """√(Σ m²) of each row (T,), m counting its equal terms; that is √n where all of them differ.

    Equal keys have equal weights, whose roundings in a sequential sum are all the same: m of them err like m, and
    groups among each other like numbers of random sign. Terms count as equal that differ by less than the last place
    of a sum of n of them. A term of 0 rounds nothing. ``copies``: the sum goes over so many such rows, which may be
    equal as well, as those of the query heads of a group.
    """
    ordered, n = np.sort(_rounded(terms, u * copies), axis=1), terms.shape[1]
    first = np.ones(ordered.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = np.flatnonzero(first)
    count = np.diff(starts, append=ordered.size) * (ordered.ravel()[starts] != 0)
    squares = np.where(count > BY_CHANCE, copies * copies, copies) * np.square(count.astype(np.float64))
    return np.sqrt(np.bincount(starts // max(n, 1), weights=squares, minlength=len(terms)))


def root_of_groups(terms: Array, values: Array, u: float) -> Array:
    """√(Σ (Σ t w)²) (T, Dv) of weights (T, S) and values (S, Dv), the inner sum over equal weights; 0 without any.

    That is how far the output moves, in units of the weights' relative error, where that error is the same for equal
    weights and of random sign among different ones.
    """
    roots = np.zeros((len(terms), values.shape[1]))
    for row, keys in enumerate(_rounded(terms, u)):
        order = np.argsort(keys)
        starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
        if np.diff(starts, append=len(keys)).max(initial=0) > BY_CHANCE:
            sums = np.add.reduceat(terms[row][order, None] * values[order], starts, axis=0)
            roots[row] = np.sqrt(np.square(sums).sum(0))
    return roots


def _rounded(terms: Array, u: float) -> Array:
    """The terms as integers that are the same where terms are equal to about the last place of a sum of all."""
    bits = min(MOST_BITS, max(FEWEST_BITS, int(-np.log2(max(terms.shape[1], 1) * u))))
    shift = 52 - bits
    return np.asarray((np.ascontiguousarray(terms, np.float64).view(np.int64) + (1 << (shift - 1))) >> shift)
