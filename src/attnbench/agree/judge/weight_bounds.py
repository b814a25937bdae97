"""How far a row's weights can be off, key by key, however large the errors of its logits are.

To first order a weight errs by P δ. A key at −1e9, the commonest additive mask, has a δ of hundreds and a weight of
e^{−1e9}: what counts is neither of them but how large that weight can become, so that it is followed in the logarithm
(derivation in ``docs/agreement.md``). With δ the error of a logit and lse the logarithm of the normaliser:

    e(lse)   = Σ P δ                                          while every δ of the row is small
             = log Σ P e^{2δ} / 2                             else
    e(P)     = P ρ                                            while ρ = δ + e(lse) + roundings is small
             = min(1, e^{log P + 2ρ} − P) / 2                 else
    lo ≤ P̃ ≤ hi,  hi = P e^{2δ} / (P e^{2δ} + Σ_others P e^{−2δ}),  lo the other way round

The 2 is ``SLACK``: in an exponent it cannot be multiplied on afterwards. A sink is one more key, in the last column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attnbench.attention.arrays import Array

if TYPE_CHECKING:
    from attnbench.attention.oracle import HeadReference

SLACK = 2.0  # an element agrees within SLACK * E
FIRST_ORDER = 0.1  # above this δ the exponential is no longer linear


@dataclass(frozen=True)
class Keys:
    """Some rows' keys and, as the last column, the sink: weights, their logarithms and the errors of their logits."""

    weights: Array
    logs: Array
    delta: Array

    @property
    def near(self) -> Array:
        """Keys whose logit's error is small, with a weight that may be none."""
        return np.asarray((self.delta <= FIRST_ORDER) & np.isfinite(self.logs))

    @property
    def far(self) -> Array:
        """The other ones."""
        return np.asarray((self.delta > FIRST_ORDER) & np.isfinite(self.logs))

    @property
    def slack(self) -> Array:
        """What the errors may be at most, in the exponent."""
        return np.asarray(SLACK * self.delta)


@dataclass(frozen=True)
class WeightErrors:
    """Errors of the weights (T, S), of the sink's (T,), and of lse before its own rounding (T,)."""

    keys: Array
    sink: Array
    lse: Array


def keys_of(head: HeadReference, delta: Array, delta_sink: Array, sink: float, rows: Array | slice) -> Keys:
    """The keys of some rows; a weight below float64's smallest number still has a logarithm."""
    weights = np.concatenate([head.weights[rows], head.sink_weight[rows, None]], 1)
    logits = np.where(head.allowed[rows], head.logits[rows], -np.inf)
    logits = np.concatenate([logits, np.full((len(logits), 1), sink)], 1)
    lse = np.where(np.isfinite(head.lse[rows]), head.lse[rows], 0.0)[:, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        logs = np.where(weights > 0, np.log(weights), logits - lse)
    logs = np.where(np.isfinite(logits), logs, -np.inf)
    return Keys(weights, logs, np.concatenate([delta[rows], delta_sink[rows, None]], 1))


def lse_error(keys: Keys) -> Array:
    """How far the logarithm of the normaliser can be off, (T,)."""
    near = (keys.weights * np.where(keys.near, keys.delta, 0.0)).sum(1)
    if not keys.far.any():
        return np.asarray(near)
    coarse = np.where(keys.far.any(1), log_sum(keys.logs + keys.slack) / SLACK, 0.0)
    return np.asarray(np.maximum(near, coarse))


def weight_errors(keys: Keys, roundings: Array | float) -> WeightErrors:
    """Of kernels that normalise, or that take lse from the logit: a weight is off by its own error and by lse's.

    ``roundings`` is the relative error of the division and of the sum, (T,) or one number.
    """
    lse = lse_error(keys)
    relative = keys.delta + np.reshape(lse + roundings, (-1, 1))
    errors = keys.weights * np.minimum(relative, FIRST_ORDER)
    if (coarse := (relative > FIRST_ORDER) & np.isfinite(keys.logs)).any():
        with np.errstate(over="ignore"):
            largest = np.exp(np.minimum(keys.logs + SLACK * relative, 1.0)) - keys.weights
        errors = np.where(coarse, np.minimum(largest, 1.0) / SLACK, errors)
    return WeightErrors(errors[:, :-1], errors[:, -1], lse)


def weight_ranges(keys: Keys) -> tuple[Array, Array]:
    """The least and the largest weight that each key can have, where all add up to 1: both (T, S + 1)."""
    with np.errstate(over="ignore"):
        up, down = keys.logs + keys.slack, keys.logs - keys.slack
    return _share(down, up), _share(up, down)


def _share(logs: Array, others: Array) -> Array:
    """e^logs / (e^logs + Σ e^others) over the other keys."""
    with np.errstate(invalid="ignore", over="ignore"):
        share = 1 / (1 + np.exp(_log_sum_of_others(others) - logs))
    return np.where(np.isneginf(logs), 0.0, share)


def _log_sum_of_others(logs: Array) -> Array:
    """For each key, log Σ exp over the others; the largest of them is left out of its own sum, not subtracted."""
    rows, top = np.arange(len(logs)), np.argmax(logs, 1)
    shift = np.where(np.isfinite(logs[rows, top]), logs[rows, top], 0.0)[:, None]
    terms = np.exp(logs - shift)
    rest = terms.sum(1, keepdims=True) - terms
    terms[rows, top] = 0.0
    rest[rows, top] = terms.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(shift + np.log(rest))


def log_sum(logs: Array) -> Array:
    """log Σ exp over the last axis, −inf where there is nothing."""
    top = np.max(logs, axis=1, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(shift + np.log(np.exp(logs - shift[:, None]).sum(1)))
