"""Learners in JAX: the models of ``attnbench.learning`` as pure functions of their parameters, updated by Optax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from attnbench.api import (
    AttentionOutput,
    Calls,
    EncoderDecoder,
    Learner,
    Model,
    Optimiser,
    Retrieval,
    Shape,
    UnsupportedError,
    as_output,
    score_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from attnbench.api import Implementation

Array = jax.Array
Arrays = dict[str, Array]
NumPyArray = np.ndarray[Any, np.dtype[Any]]


def learner(
    model: Model, kernel: Implementation, parameters: Mapping[str, NumPyArray], optimiser: Optimiser, device: str
) -> Learner:
    """The learner of a model; its attention is ``kernel``, differentiated by ``jax.grad``."""
    if kernel.vjp is not None:
        msg = f"{kernel.name} brings its own vjp; a model in JAX is trained with one that jax.grad differentiates"
        raise UnsupportedError(msg)
    calls = None if model.spec is None else Calls(kernel, model.spec, parameters, device)
    network = (
        RetrievalNetwork(model, kernel, calls) if isinstance(model, Retrieval) else Translator(model, kernel, calls)
    )
    return JaxLearner(network, parameters, optimiser, jax.devices(device)[0])


class Network:
    """A model as functions of its parameters and of a batch."""

    def __init__(self, model: Any, kernel: Implementation, calls: Calls | None) -> None:
        self.model, self.kernel, self.calls = model, kernel, calls

    def loss(self, p: Arrays, batch: Arrays) -> Array:
        """The loss of a batch."""
        raise NotImplementedError

    def predict(self, p: Arrays, batch: Arrays) -> Arrays:
        """What the model answers."""
        raise NotImplementedError

    def attend(
        self, p: Arrays, q: Array, k: Array, v: Array, lengths: Array | None = None, outputs: tuple[str, ...] = ()
    ) -> AttentionOutput:
        """One head through the common interface: q (B, T, D), k (B, S, D), v (B, S, Dv)."""
        assert self.calls is not None  # noqa: S101  (a model without a spec does not attend)
        shape = Shape(len(q), q.shape[1], k.shape[1], q.shape[2], v.shape[2], lengths is not None)
        call = self.calls.of(shape, outputs)
        arrays: dict[str, Any] = {"params": score_parameters(p)}
        if lengths is not None:
            arrays["kv_lengths"] = lengths
        return as_output(self.kernel(q[:, None], k[:, None], v[:, None], call.with_arrays(arrays)))


class JaxLearner(Learner):
    """One compiled step, and one compiled answer."""

    def __init__(
        self, network: Network, parameters: Mapping[str, NumPyArray], optimiser: Optimiser, device: jax.Device
    ) -> None:
        self._device = device
        self._parameters = self._native(parameters)
        rule = {"adam": optax.adam, "sgd": optax.sgd}[optimiser.name](optimiser.lr)
        rule = rule if optimiser.clip is None else optax.chain(optax.clip_by_global_norm(optimiser.clip), rule)
        self._state = rule.init(self._parameters)

        def update(parameters: Arrays, state: Any, batch: Arrays) -> tuple[Arrays, Any, Array]:
            loss, gradients = jax.value_and_grad(network.loss)(parameters, batch)
            changes, state = rule.update(gradients, state, parameters)
            return optax.apply_updates(parameters, changes), state, loss

        self._update, self._predict = jax.jit(update), jax.jit(network.predict)

    def _native(self, arrays: Mapping[str, NumPyArray]) -> Arrays:
        # A copy, because JAX may keep using the memory of a NumPy array that it is given.
        return {name: jax.device_put(np.array(array, copy=True), self._device) for name, array in arrays.items()}

    def step(self, batch: Mapping[str, NumPyArray]) -> Any:
        """One update; the loss before it."""
        self._parameters, self._state, loss = self._update(self._parameters, self._state, self._native(batch))
        return loss

    def predict(self, batch: Mapping[str, NumPyArray]) -> dict[str, NumPyArray]:
        """What the model answers."""
        return {name: np.array(array) for name, array in self._predict(self._parameters, self._native(batch)).items()}

    def parameters(self) -> dict[str, NumPyArray]:
        """A copy of every parameter."""
        return {name: np.array(array) for name, array in self._parameters.items()}

    def load(self, parameters: Mapping[str, NumPyArray]) -> None:
        """Other values for the parameters."""
        self._parameters = self._native({name: parameters[name] for name in self._parameters})


def cross_entropy(logits: Array, target: Array) -> Array:
    """−ln p(target) for each row."""
    each: Array = optax.softmax_cross_entropy_with_integer_labels(logits, target)
    return each


class RetrievalNetwork(Network):
    """``Retrieval``."""

    def logits(self, p: Arrays, batch: Arrays) -> Array:
        """(B, V)."""
        slots = (p["embed.keys"][batch["keys"]] + p["embed.values"][batch["values"]]) * 0.5**0.5
        query = p["embed.keys"][batch["query"]][:, None]
        q, k = (query @ p["Wq"], slots @ p["Wk"]) if self.model.projected else (query, slots)
        read: Array = self.attend(p, q, k, slots @ p["Wv"]).output[:, 0, 0]
        return read @ p["Wo"] + p["bo"]

    def loss(self, p: Arrays, batch: Arrays) -> Array:
        """Mean cross-entropy."""
        return cross_entropy(self.logits(p, batch), batch["target"]).mean()

    def predict(self, p: Arrays, batch: Arrays) -> Arrays:
        """The likeliest values."""
        return {"tokens": self.logits(p, batch).argmax(-1)}


class Translator(Network):
    """``EncoderDecoder``; the GRUs are scans over steps."""

    model: EncoderDecoder

    def encode(self, p: Arrays, batch: Arrays) -> tuple[Array, Array, Array]:
        """States (B, S, H), the two last ones side by side (B, H), the decoder's first state (B, H)."""
        read = p["embed.source"][batch["source"]]
        counts = jnp.arange(read.shape[1]) < batch["lengths"][:, None]
        there, last = gru(p, "encoder", read, counts)
        back, first = gru(p, "backward", read, counts, reverse=True)
        ends = jnp.concatenate([last, first], -1)
        return jnp.concatenate([there, back], -1), ends, jnp.tanh(ends @ p["bridge.W"] + p["bridge.b"])

    def decode(
        self, p: Arrays, inputs: Array, start: Array, encoded: tuple[Array, Array], lengths: Array
    ) -> tuple[Array, Array, Array | None]:
        """Logits (B, T, V) after the tokens ``inputs`` (B, T), the last state, the weights of attention."""
        states, ends = encoded
        context, outputs = self.model.context, ("weights",) if inputs.shape[1] == 1 else ()
        read = p["embed.target"][inputs]
        fixed = jnp.broadcast_to(ends[:, None], (*inputs.shape, ends.shape[1]))
        if context == "input":
            read = jnp.concatenate([read, fixed], -1)
        written, last = gru(p, "decoder", read, jnp.ones(inputs.shape, bool), start)
        found, weights = [written], None
        if context == "input":
            found.append(fixed)
        if context == "attention":
            seen = self.attend(p, written, states, states, lengths, outputs)
            found.append(seen.output[:, 0])
            weights = seen.weights
        hidden = jnp.tanh(jnp.concatenate(found, -1) @ p["readout.W"] + p["readout.b"])
        return hidden @ p["out.W"] + p["out.b"], last, weights

    def loss(self, p: Arrays, batch: Arrays) -> Array:
        """Mean cross-entropy over the tokens that count, the decoder being given the right tokens."""
        target, lengths = batch["target"], batch["lengths"]
        first = jnp.full_like(target[:, :1], len(p["embed.target"]) - 1)
        states, ends, start = self.encode(p, batch)
        inputs = jnp.concatenate([first, target[:, :-1]], 1)
        logits, _, _ = self.decode(p, inputs, start, (states, ends), lengths)
        counts = jnp.arange(target.shape[1]) < batch.get("target_lengths", lengths)[:, None]
        return jnp.where(counts, cross_entropy(logits, target), 0.0).sum() / counts.sum()

    def predict(self, p: Arrays, batch: Arrays) -> Arrays:
        """Greedy decoding, one token after the other."""
        states, ends, start = self.encode(p, batch)
        first = jnp.full_like(batch["source"][:, :1], len(p["embed.target"]) - 1)

        def one(carried: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array | None]]:
            token, state = carried
            logits, state, seen = self.decode(p, token, state, (states, ends), batch["lengths"])
            token = logits.argmax(-1).astype(token.dtype)
            return (token, state), (token[:, 0], None if seen is None else seen[:, 0, 0])

        _, (tokens, weights) = lax.scan(one, (first, start), None, length=batch["source"].shape[1])
        return {"tokens": tokens.T} | ({} if weights is None else {"weights": weights.transpose(1, 0, 2)})


def gru(
    p: Arrays, name: str, read: Array, counts: Array, start: Array | None = None, *, reverse: bool = False
) -> tuple[Array, Array]:
    """States (B, T, U) and the last (B, U); a step that does not count leaves the state and writes zeros."""
    wide = read @ p[f"{name}.Wx"].T + p[f"{name}.bx"]
    first = jnp.zeros((len(read), p[f"{name}.Wh"].shape[1]), read.dtype) if start is None else start

    def one(state: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        given, here = step
        reset_x, update_x, new_x = jnp.split(given, 3, -1)
        reset_h, update_h, new_h = jnp.split(state @ p[f"{name}.Wh"].T + p[f"{name}.bh"], 3, -1)
        update = jax.nn.sigmoid(update_x + update_h)
        new = jnp.tanh(new_x + jax.nn.sigmoid(reset_x + reset_h) * new_h)
        found = (1.0 - update) * new + update * state
        return jnp.where(here[:, None], found, state), jnp.where(here[:, None], found, 0.0)

    last, states = lax.scan(one, first, (wide.transpose(1, 0, 2), counts.T), reverse=reverse)
    return states.transpose(1, 0, 2), last
