"""Learners in JAX: the models of ``backends.learning`` as pure functions of their parameters, updated by Optax."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from attnbench.api import AttentionOutput, UnsupportedError
from attnbench.api.backends import (
    AttentionSizes,
    Calls,
    EncoderDecoder,
    Learner,
    Model,
    Optimiser,
    Retrieval,
    as_output,
    check_whole,
    score_parameters,
)
from attnbench.impls.jax_backend.doubles import doubles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    with doubles():
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
        self,
        p: Arrays,
        q: Array,
        k: Array,
        v: Array,
        lengths: Array | None = None,
        outputs: tuple[str, ...] = (),
        heads: int = 1,
    ) -> AttentionOutput:
        """Heads side by side through the common interface: q (B, T, h·D), k (B, S, h·D), v (B, S, h·Dv)."""
        assert self.calls is not None  # noqa: S101  (a model without a spec does not attend)
        q, k, v = (one.reshape(*one.shape[:2], heads, -1).transpose(0, 2, 1, 3) for one in (q, k, v))
        call = self.calls.of(
            AttentionSizes(len(q), q.shape[2], k.shape[2], q.shape[3], v.shape[3], lengths is not None, heads), outputs
        )
        arrays: dict[str, Any] = {"params": score_parameters(p)}
        if lengths is not None:
            arrays["kv_lengths"] = lengths
        return as_output(self.kernel(q, k, v, call.with_arrays(arrays)))


def in_doubles(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method with float64 switched on around it: a learner trains in whatever dtype its parameters have."""

    @wraps(method)
    def wrapped(*given: Any, **named: Any) -> Any:
        with doubles():
            return method(*given, **named)

    return wrapped


class JaxLearner(Learner):
    """One compiled step, and one compiled answer."""

    def __init__(
        self, network: Network, parameters: Mapping[str, NumPyArray], optimiser: Optimiser, device: jax.Device
    ) -> None:
        self._device, self._network = device, network
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

    @in_doubles
    def step(self, batch: Mapping[str, NumPyArray]) -> Any:
        """One update; the loss before it."""
        self._parameters, self._state, loss = self._update(self._parameters, self._state, self._native(batch))
        return loss

    @in_doubles
    def predict(self, batch: Mapping[str, NumPyArray]) -> dict[str, NumPyArray]:
        """What the model answers."""
        return {name: np.array(array) for name, array in self._predict(self._parameters, self._native(batch)).items()}

    @in_doubles
    def reach(self, batch: Mapping[str, NumPyArray]) -> dict[str, NumPyArray]:
        """The norms of ∂loss_t/∂h_s."""
        if not isinstance(self._network, Translator):
            return super().reach(batch)
        check_whole(batch)
        found = jax.jit(self._network.reach)(self._parameters, self._native(batch))
        return {name: np.array(array) for name, array in found.items()}

    def parameters(self) -> dict[str, NumPyArray]:
        """A copy of every parameter."""
        return {name: np.array(array) for name, array in self._parameters.items()}

    @in_doubles
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
        """(B, V), and (B, A, V) where A keys are asked for."""
        slots = (p["embed.keys"][batch["keys"]] + p["embed.values"][batch["values"]]) * 0.5**0.5
        asked = batch["query"].shape
        query = p["embed.keys"][batch["query"]].reshape(asked[0], 1, -1)
        q, k = (query @ p["Wq"], slots @ p["Wk"]) if self.model.projected else (query, slots)
        read: Array = self.attend(p, q, k, slots @ p["Wv"], heads=self.model.heads).output.reshape(asked[0], -1)
        return (read @ p["Wo"] + p["bo"]).reshape(*asked, -1)

    def loss(self, p: Arrays, batch: Arrays) -> Array:
        """Mean cross-entropy."""
        return cross_entropy(self.logits(p, batch), batch["target"]).mean()

    def predict(self, p: Arrays, batch: Arrays) -> Arrays:
        """The likeliest values."""
        return {"tokens": self.logits(p, batch).argmax(-1)}


class Translator(Network):
    """``EncoderDecoder``; the GRUs are scans over steps."""

    model: EncoderDecoder

    def encode(self, p: Arrays, batch: Arrays, more: Arrays | None = None) -> tuple[Array, Array, Array]:
        """States (B, S, H), the two last ones side by side (B, H), the decoder's first state (B, H).

        ``more`` is added to the states of each direction, before the next step reads them.
        """
        read = p["embed.source"][batch["source"]]
        counts = jnp.arange(read.shape[1]) < batch["lengths"][:, None]
        added = {} if more is None else more
        there, last = gru(p, "encoder", read, counts, more=added.get("forward"))
        back, first = gru(p, "backward", read, counts, reverse=True, more=added.get("backward"))
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
            q, k = (written, states)
            if self.model.projected:
                q, k = q @ p["attend.Wq"], k @ p["attend.Wk"]
            seen = self.attend(p, q, k, states, lengths, outputs)
            found.append(seen.output[:, 0])
            weights = seen.weights
        hidden = jnp.tanh(jnp.concatenate(found, -1) @ p["readout.W"] + p["readout.b"])
        return hidden @ p["out.W"] + p["out.b"], last, weights

    def loss(self, p: Arrays, batch: Arrays) -> Array:
        """Mean cross-entropy over the tokens that count, the decoder being given the right tokens."""
        target = batch["target"]
        counts = jnp.arange(target.shape[1]) < batch.get("target_lengths", batch["lengths"])[:, None]
        return jnp.where(counts, self.losses(p, batch), 0.0).sum() / counts.sum()

    def losses(self, p: Arrays, batch: Arrays, more: Arrays | None = None) -> Array:
        """Cross-entropy of each token (B, T), the decoder being given the right tokens."""
        target = batch["target"]
        first = jnp.full_like(target[:, :1], len(p["embed.target"]) - 1)
        states, ends, start = self.encode(p, batch, more)
        inputs = jnp.concatenate([first, target[:, :-1]], 1)
        logits, _, _ = self.decode(p, inputs, start, (states, ends), batch["lengths"])
        return cross_entropy(logits, target)

    def reach(self, p: Arrays, batch: Arrays) -> Arrays:
        """The norms of ∂loss_t/∂h_s: the gradient at zeros that are added to each state."""
        none = {
            there: jnp.zeros((*batch["source"].shape, p[f"{name}.Wh"].shape[1]), p[f"{name}.Wh"].dtype)
            for there, name in (("forward", "encoder"), ("backward", "backward"))
        }
        losses, back = jax.vjp(lambda more: self.losses(p, batch, more), none)
        (found,) = jax.vmap(lambda one: back(jnp.broadcast_to(one, losses.shape)))(
            jnp.eye(losses.shape[1], dtype=losses.dtype)
        )
        return {name: jnp.linalg.norm(one, axis=-1).transpose(1, 0, 2) for name, one in found.items()}

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
    p: Arrays,
    name: str,
    read: Array,
    counts: Array,
    start: Array | None = None,
    *,
    reverse: bool = False,
    more: Array | None = None,
) -> tuple[Array, Array]:
    """States (B, T, U) and the last (B, U); a step that does not count leaves the state and writes zeros.

    ``more`` (B, T, U) is added to each state.
    """
    wide = read @ p[f"{name}.Wx"].T + p[f"{name}.bx"]
    first = jnp.zeros((len(read), p[f"{name}.Wh"].shape[1]), read.dtype) if start is None else start

    def one(state: Array, step: tuple[Array, Array, Array | None]) -> tuple[Array, Array]:
        given, here, added = step
        reset_x, update_x, new_x = jnp.split(given, 3, -1)
        reset_h, update_h, new_h = jnp.split(state @ p[f"{name}.Wh"].T + p[f"{name}.bh"], 3, -1)
        update = jax.nn.sigmoid(update_x + update_h)
        new = jnp.tanh(new_x + jax.nn.sigmoid(reset_x + reset_h) * new_h)
        found = (1.0 - update) * new + update * state
        found = found if added is None else found + added
        return jnp.where(here[:, None], found, state), jnp.where(here[:, None], found, 0.0)

    steps = (wide.transpose(1, 0, 2), counts.T, None if more is None else more.transpose(1, 0, 2))
    last, states = lax.scan(one, first, steps, reverse=reverse)
    return states.transpose(1, 0, 2), last
