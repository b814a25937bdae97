"""The arms of the encoder–decoder: a fixed context vector or attention, with parameters matched in number."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from attnbench.ablate.training import Shapes, drawn_parameters
from attnbench.attention.arrays import Array
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.learning import EncoderDecoder, score_shapes
from attnbench.errors import UsageError, not_one_of

EMBEDDING = 32
# The arm whose number of parameters the others come as near to as an even number of units allows.
REFERENCE, UNITS = "dot", 64


@dataclass(frozen=True)
class DecoderArm:
    """One way for the decoder to see the source; ``reversed_source``: the encoder reads it backwards.

    ``size`` is that of the attention: of q and k, which a dot product then has projections for, or of the hidden layer
    of an additive score; without one it is that of the states.
    """

    context: str
    score: str | None = None
    scale: float | str | None = None
    reversed_source: bool = False
    size: int | None = None

    @property
    def projected(self) -> bool:
        """Whether projections stand before the attention."""
        return self.size is not None and self.score == "dot"

    @property
    def spec(self) -> AttentionSpec | None:
        """The attention of the arm."""
        return None if self.score is None else AttentionSpec(score=self.score, scale=self.scale)


ARMS = {
    "state": DecoderArm("state"),
    "input": DecoderArm("input"),
    "input, reversed": DecoderArm("input", reversed_source=True),
    "additive": DecoderArm("attention", "additive"),
    "dot": DecoderArm("attention", "dot", "none"),
    "scaled": DecoderArm("attention", "dot"),
    "general": DecoderArm("attention", "general"),
}
FIXED = tuple(name for name, arm in ARMS.items() if arm.score is None)
ATTENTION = tuple(name for name in ARMS if name not in FIXED)


def arm(name: str) -> DecoderArm:
    """An arm by name; ``UsageError`` for another name."""
    if name not in ARMS:
        raise UsageError(not_one_of("arm", name, ARMS))
    return ARMS[name]


def shapes(decoder: DecoderArm, units: int, symbols: int, answers: int | None = None) -> dict[str, tuple[int, ...]]:
    """The shapes of every parameter with ``units`` decoder units; see ``attnbench.backends.learning.EncoderDecoder``.

    ``answers`` is the number of symbols that are written, where these are others than the ``symbols`` that are read.
    """
    half, fixed = units // 2, units if decoder.context == "input" else 0
    written = symbols if answers is None else answers
    parameters: dict[str, tuple[int, ...]] = {
        "embed.source": (symbols, EMBEDDING),
        "embed.target": (written + 1, EMBEDDING),
        **_gru("encoder", EMBEDDING, half),
        **_gru("backward", EMBEDDING, half),
        **_gru("decoder", EMBEDDING + fixed, units),
        "bridge.W": (units, units),
        "bridge.b": (units,),
        "readout.W": (units if decoder.context == "state" else 2 * units, units),
        "readout.b": (units,),
        "out.W": (units, written),
        "out.b": (written,),
    }
    if decoder.spec is None:
        return parameters
    if decoder.size is not None and decoder.projected:
        parameters |= {"attend.Wq": (units, decoder.size), "attend.Wk": (units, decoder.size)}
    return parameters | score_shapes(decoder.spec, units, decoder.size)


def _gru(name: str, inputs: int, units: int) -> dict[str, tuple[int, ...]]:
    wide = 3 * units
    return {f"{name}.Wx": (wide, inputs), f"{name}.Wh": (wide, units), f"{name}.bx": (wide,), f"{name}.bh": (wide,)}


def size(parameters: Shapes) -> int:
    """How many numbers parameters of these shapes are."""
    return sum(math.prod(shape) for shape in parameters.values())


def matched_units(
    decoder: DecoderArm, symbols: int, like: DecoderArm, units: int = UNITS, answers: int | None = None
) -> int:
    """The even number of units with which an arm is nearest in size to the arm ``like`` with ``units`` units."""
    target = size(shapes(like, units, symbols, answers))
    return min(range(4, 4 * units, 2), key=lambda n: abs(size(shapes(decoder, n, symbols, answers)) - target))


def build(
    name: str,
    seed: int,
    symbols: int,
    *,
    answers: int | None = None,
    units: int = UNITS,
    dtype: str = "float32",
    attention_size: int | None = None,
) -> tuple[EncoderDecoder, dict[str, Array]]:
    """The model of an arm and its first parameters: weights of variance 1/fan-in, embeddings of 1, biases 0.

    With an ``attention_size`` every arm is matched in number of parameters to ``REFERENCE`` with that size.
    """
    chosen, like = (replace(decoder, size=attention_size) for decoder in (arm(name), ARMS[REFERENCE]))
    shapes_of_all = shapes(chosen, matched_units(chosen, symbols, like, units, answers), symbols, answers)
    deviations = {name: _deviation(name, shape) for name, shape in shapes_of_all.items()}
    return EncoderDecoder(chosen.context, chosen.spec, chosen.projected), drawn_parameters(
        seed, shapes_of_all, deviations, dtype
    )


def _deviation(name: str, shape: tuple[int, ...]) -> float:
    if name.startswith("embed."):
        return 1.0
    if name.endswith((".b", ".bx", ".bh")):
        return 0.0
    fan_in = shape[-1] if name.endswith((".Wx", ".Wh", "score.v")) else shape[-2]
    return 1.0 / math.sqrt(fan_in)


def as_read(name: str, batch: dict[str, Array]) -> dict[str, Array]:
    """The batch as an arm reads it: for a reversed source the symbols of each source in the other order."""
    if not arm(name).reversed_source:
        return batch
    source = np.zeros_like(batch["source"])
    for length in np.unique(batch["lengths"]):
        rows = batch["lengths"] == length
        source[rows, :length] = batch["source"][rows, :length][:, ::-1]
    return {**batch, "source": source}
