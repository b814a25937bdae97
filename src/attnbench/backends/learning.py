"""Training a small model around an implementation: what a backend's learner is given, and what it gives back.

The model is described here and its parameters are drawn by the harness, so that every framework starts from the same
arrays; a backend builds it from its own operations (``train.py`` beside its adapter) with the attention inside called
through the common interface. The loop around it (batches, validation, curves) is the harness's, in ``ablate``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, Operands, prepare
from attnbench.attention.checked import param_shapes
from attnbench.attention.precision import numpy_dtype
from attnbench.errors import UnsupportedError, UsageError, not_one_of

if TYPE_CHECKING:
    from jaxtyping import Shaped

    from attnbench.attention.spec import AttentionSpec
    from attnbench.backends.implementation import Implementation

Arrays = Mapping[str, Array]

OPTIMISERS = ("adam", "sgd")
CONTEXTS = ("attention", "input", "state")
SCORE = "score."


@dataclass(frozen=True)
class Optimiser:
    """How parameters move. ``adam``: β = (0.9, 0.999), ε = 1e-8 (Kingma 2015); ``sgd``: without momentum.

    ``clip`` bounds the norm of the whole gradient.
    """

    name: str = "adam"
    lr: float = 1e-3
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.name not in OPTIMISERS:
            raise UsageError(not_one_of("optimiser", self.name, OPTIMISERS))


@dataclass(frozen=True)
class Retrieval:
    """Heads that are asked for the value beside a key: K keys, V values, model size M, head size d, value size Dv.

    Parameters: ``embed.keys`` (K, M), ``embed.values`` (V, M), ``Wv`` (M, Dv), ``Wo`` (Dv, V), ``bo`` (V,), and
    ``score.NAME`` with a leading axis of one head. A slot is the sum of its two embeddings over √2, the query the
    embedding of its key. ``projected``: ``Wq`` and ``Wk`` (M, d) stand before the attention; otherwise the score does
    it with its own parameters (additive). A batch holds integers: ``keys`` and ``values`` (B, slots), ``query`` and
    ``target`` (B,). Loss: mean cross-entropy. ``predict`` gives ``tokens`` (B,).

    ``heads`` h above 1 (``projected`` alone): ``Wq`` and ``Wk`` are (M, h·d), ``Wv`` (M, h·Dv), ``Wo`` (h·Dv, V), head
    by head. Where A keys are asked for at once, ``query`` and ``target`` are (B, A): the query is their embeddings
    side by side, so that ``Wq`` has A·M rows, and ``Wo`` and ``bo`` have A·V columns.
    """

    spec: AttentionSpec
    projected: bool = True
    heads: int = 1

    def __post_init__(self) -> None:
        if self.heads > 1 and not self.projected:
            msg = f"a Retrieval of {self.heads} heads has projected=True: its heads are columns of Wq and Wk"
            raise UsageError(msg)


@dataclass(frozen=True)
class EncoderDecoder:
    """A bidirectional GRU that reads and a GRU that writes, with a fixed context vector or with attention.

    ``context``: ``state`` (the last states of the encoder start the decoder, and nothing else reaches it),
    ``input`` (these states stand at every input and every output of the decoder besides), ``attention`` (what
    ``spec`` attends to among the encoder's states stands at every output). Parameters, with V tokens (those that
    are read may be others in number than those that are written), embedding size E, H decoder units, and H/2 units
    for each direction of the encoder: ``embed.source`` (V, E), ``embed.target`` (V + 1, E), the last row being the
    start; GRUs ``encoder``, ``backward`` and ``decoder`` with ``.Wx`` (3U, in), ``.Wh`` (3U, U), ``.bx`` and
    ``.bh`` (3U,), gates in the order reset, update, new; ``bridge.W`` (H, H) and ``bridge.b``; ``readout.W`` (H or
    2H, H) and ``readout.b``; ``out.W`` (H, V) and ``out.b``; ``score.NAME``. ``projected``: ``attend.Wq`` and
    ``attend.Wk`` (H, n) stand before the attention, n being its size; otherwise the states are q and k themselves.

    A batch holds integers: ``source`` (B, S), ``lengths`` (B,), ``target`` (B, S), of which the first ``lengths``
    count; ``target_lengths`` (B,) where a target is not as long as its source. Loss: mean cross-entropy over the tokens
    that count. ``predict`` decodes greedily for S steps: ``tokens`` (B, S) and, with attention, ``weights`` (B, S, S).
    """

    context: str
    spec: AttentionSpec | None = None
    projected: bool = False

    def __post_init__(self) -> None:
        if self.context not in CONTEXTS:
            raise UsageError(not_one_of("context", self.context, CONTEXTS))
        if (self.context == "attention") != (self.spec is not None):
            msg = "an EncoderDecoder has a spec where its context is 'attention', and only there"
            raise UsageError(msg)


Model = Retrieval | EncoderDecoder


class Learner(ABC):
    """A model in one framework while it learns; NumPy in, and NumPy out but for the loss of a step."""

    @abstractmethod
    def step(self, batch: Arrays) -> Any:
        """One update; the loss before it, native, since to read it may mean to wait (``float`` reads it)."""

    @abstractmethod
    def predict(self, batch: Arrays) -> dict[str, Shaped[Array, " ..."]]:
        """What the model answers; see the model for the names."""

    @abstractmethod
    def parameters(self) -> dict[str, Shaped[Array, " ..."]]:
        """A copy of every parameter by name."""

    @abstractmethod
    def load(self, parameters: Arrays) -> None:
        """Put other values in the place of the parameters; the optimiser's own state stays."""

    def reach(self, batch: Arrays) -> dict[str, Shaped[Array, " ..."]]:
        """How much of the loss of each output reaches each state of the encoder, on every way there is.

        ``forward`` and ``backward`` (B, T, S): the norm of ∂loss_t/∂h_s for each direction of the encoder of an
        ``EncoderDecoder`` that is given the right tokens, the way through later states of the encoder included.
        All sources of the batch are as long as it is wide. Raises ``UnsupportedError`` for other models, and
        ``UsageError`` for other batches.
        """
        msg = f"{type(self).__name__} has no reach: it is for an EncoderDecoder in torch or jax; got {sorted(batch)}"
        raise UnsupportedError(msg)


def check_whole(batch: Arrays) -> None:
    """Raise ``UsageError`` unless every source of a batch is as long as the batch is wide."""
    width = batch["source"].shape[1]
    if not (batch["lengths"] == width).all():
        shortest = int(np.min(np.asarray(batch["lengths"])))
        msg = f"reach is for sources of one length; here they are {shortest} to {width} long: draw them with one length"
        raise UsageError(msg)


def score_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the score by the names that a ``Call`` has for them."""
    return {name.removeprefix(SCORE): array for name, array in parameters.items() if name.startswith(SCORE)}


@dataclass(frozen=True)
class AttentionSizes:
    """The sizes of one attention inside a model, as far as they change from call to call."""

    batch: int
    queries: int
    keys: int
    d: int
    values: int
    lengths: bool = False
    heads: int = 1


class Calls:
    """The ``Call`` of all sizes that a model attends with: checked once by ``prepare``, then kept.

    Its arrays are placeholders: a learner puts its own in their place with ``Call.with_arrays``. Raises
    ``UnsupportedError`` where the implementation does not do what the model asks of it, gradients included.
    """

    def __init__(
        self, implementation: Implementation, spec: AttentionSpec, parameters: Arrays, device: str = "cpu"
    ) -> None:
        self._implementation, self._spec, self._device = implementation, spec, device
        self._params = score_parameters(parameters)
        self._dtype = next(iter(parameters.values())).dtype.name
        self._known: dict[tuple[AttentionSizes, tuple[str, ...]], Call] = {}

    def of(self, sizes: AttentionSizes, outputs: tuple[str, ...] = ()) -> Call:
        """The call of these sizes."""
        key = (sizes, outputs)
        if key not in self._known:
            self._known[key] = self._checked(sizes, outputs)
        return self._known[key]

    def _checked(self, sizes: AttentionSizes, outputs: tuple[str, ...]) -> Call:
        def zeros(rows: int, columns: int) -> Array:
            return np.zeros((sizes.batch, sizes.heads, rows, columns), numpy_dtype(self._dtype))

        lengths = np.full(sizes.batch, sizes.keys, np.int32) if sizes.lengths else None
        q, k, v = zeros(sizes.queries, sizes.d), zeros(sizes.keys, sizes.d), zeros(sizes.keys, sizes.values)
        operands = Operands(q=q, k=k, v=v, kv_lengths=lengths, params=self._params or None)
        *_, call = prepare(self._spec, operands, outputs)
        self._implementation.require(call.needs(self._device, gradients=not outputs))
        return call


def score_shapes(spec: AttentionSpec, d: int, hidden: int | None = None) -> dict[str, tuple[int, ...]]:
    """The shapes of the parameters of a score, as ``score.NAME`` with one head."""
    shapes = param_shapes(spec.score, d, hidden or d)
    return {SCORE + name: (1, *shape) for name, shape in shapes.items()}
