"""The training loop that every framework shares: fixed steps, a curve, and the parameters that validation chose.

The order of the batches, the drawing of the parameters and the choosing are here, in NumPy; one update is the
learner's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.inputs import stream
from attnbench.attention.precision import numpy_dtype
from attnbench.backends.learning import Learner

Batch = Mapping[str, Array]
Shapes = Mapping[str, tuple[int, ...]]


def drawn_parameters(
    seed: int, shapes: Shapes, deviations: Mapping[str, float], dtype: str = "float32"
) -> dict[str, Array]:
    """Normal parameters, a stream for each name; ``deviations`` are standard deviations by name, 0 where none is.

    Two arms that have a parameter of the same name and shape in common get the same values, up to its deviation.
    """
    return {
        name: (stream(seed, f"parameter.{name}").standard_normal(shape) * deviations.get(name, 0.0)).astype(
            numpy_dtype(dtype)
        )
        for name, shape in shapes.items()
    }


def count(parameters: Mapping[str, Array]) -> int:
    """How many numbers the parameters are."""
    return sum(array.size for array in parameters.values())


@dataclass(frozen=True)
class CurvePoint:
    """One point of a learning curve: after ``step`` updates, the mean loss since the last point, and the accuracy."""

    step: int
    loss: float
    accuracy: float


@dataclass
class Training:
    """What became of a training: its curve, the step that validation chose, the seconds of the updates alone."""

    curve: list[CurvePoint] = field(default_factory=list)
    chosen: int = 0
    best: float = -1.0
    train_s: float = 0.0
    finite: bool = True

    def metrics(self) -> dict[str, float]:
        """``train_s``, ``chosen_step``, ``finite``, and the curve as ``loss.step200`` and ``validation.step200``."""
        numbers = {"train_s": self.train_s, "chosen_step": float(self.chosen), "finite": float(self.finite)}
        for point in self.curve:
            if math.isfinite(point.loss):
                numbers[f"loss.step{point.step}"] = point.loss
            numbers[f"validation.step{point.step}"] = point.accuracy
        return numbers


def fit(learner: Learner, batches: Sequence[Batch], validate: Callable[[Learner], float], every: int) -> Training:
    """Train on the batches in order, one step each, and leave the learner with the parameters that validated best.

    ``validate`` gives an accuracy; of equal ones the first is kept. A loss that is no number ends the training.
    """
    training, losses, kept = Training(), [], learner.parameters()
    start = time.perf_counter()
    for step, batch in enumerate(batches, start=1):
        losses.append(learner.step(batch))
        if step % every and step != len(batches):
            continue
        loss = float(np.mean([float(number) for number in losses]))
        training.train_s += time.perf_counter() - start
        accuracy, losses = validate(learner), []
        training.curve.append(CurvePoint(step, loss, accuracy))
        if accuracy > training.best:
            training.best, training.chosen, kept = accuracy, step, learner.parameters()
        if not math.isfinite(loss):
            training.finite = False
            break
        start = time.perf_counter()
    learner.load(kept)
    return training


def aligned_mass(weights: Array, places: Array, lengths: Array) -> float:
    """The mean weight on the right place of the source, over the tokens that count: (n, T, S), (n, T), (n,).

    Uniform weights have 1/length of it.
    """
    counts = np.arange(places.shape[1]) < lengths[:, None]
    return float(np.take_along_axis(weights, places[..., None], -1)[..., 0][counts].mean())


def token_accuracy(answered: Array, target: Array, lengths: Array) -> float:
    """The share of tokens that are right, over those that count: (n, T), (n, T), (n,)."""
    counts = np.arange(target.shape[1]) < lengths[:, None]
    return float((answered == target)[counts].mean())
