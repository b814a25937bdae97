"""How far the loss of an output reaches back into the encoder, by the steps that lie between them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from attnbench.attention.arrays import Array

# A gradient that underflowed to nothing has a logarithm all the same.
SMALLEST = float(np.finfo(np.float64).tiny)


def steps_between(direction: str, outputs: int, source: int) -> Array:
    """Recurrent steps from each state of the encoder to each output (T, S): its own that are left, then the decoder's.

    ``direction`` is ``forward`` or ``backward``. 0 is the last state that the encoder makes, and the first output.
    """
    t, s = np.arange(outputs)[:, None], np.arange(source)[None, :]
    return t + (source - 1 - s if direction == "forward" else s)


def by_steps(norms: Mapping[str, Array]) -> Array:
    """The mean norm at each number of steps, over both directions, all pairs and examples; (T + S - 1,).

    ``norms`` are (B, T, S) by direction, as ``Learner.reach`` gives them.
    """
    _, outputs, source = next(iter(norms.values())).shape
    total, count = np.zeros(outputs + source - 1), np.zeros(outputs + source - 1)
    for direction, each in norms.items():
        between = steps_between(direction, outputs, source).ravel()
        np.add.at(total, between, each.astype(np.float64).mean(0).ravel())
        np.add.at(count, between, 1)
    return np.asarray(total / count)


def summary(stage: str, norms: Mapping[str, Array], places: Array, ends: int) -> dict[str, float]:
    """Metrics of one stage: ``STAGE.step7`` is the mean norm at 7 steps between.

    ``STAGE.fall``: decades from the mean of the nearest ``ends`` steps to that of the farthest. ``STAGE.right``: the
    mean norm at the ``places`` (B, T) that outputs come from, over the mean at all places.
    """
    mean = by_steps(norms)
    near, far = (max(float(part.mean()), SMALLEST) for part in (mean[:ends], mean[-ends:]))
    right = sum(
        float(np.take_along_axis(each, places[..., None], -1).mean(dtype=np.float64)) for each in norms.values()
    )
    everywhere = sum(float(each.mean(dtype=np.float64)) for each in norms.values())
    return {f"{stage}.step{step}": float(value) for step, value in enumerate(mean)} | {
        f"{stage}.fall": float(np.log10(near / far)),
        f"{stage}.right": right / max(everywhere, SMALLEST),
    }
