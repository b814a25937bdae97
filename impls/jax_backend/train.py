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

    from jaxtyping import Bool, Float, Int

    from attnbench.api import Implementation

Array = jax.Array
Arrays = dict[str, Array]
NumPyArray = np.ndarray[Any, np.dtype[Any]]


def learner(
    model: Model,
    implementation: Implementation,
    parameters: Mapping[str, NumPyArray],
    optimiser: Optimiser,
    device: str,
) -> Learner:
    """The learner of a model; its attention is ``implementation``, differentiated by ``jax.grad``."""
    if implementation.vjp is not None:
        msg = (
            f"{implementation.name} brings its own vjp; a model in JAX is trained with one that jax.grad differentiates"
        )
        raise UnsupportedError(msg)
    calls = None if model.spec is None else Calls(implementation, model.spec, parameters, device)
    network = RetrievalNetwork if isinstance(model, Retrieval) else Translator
    with doubles():
        return JaxLearner(network(model, implementation, calls), parameters, optimiser, jax.devices(device)[0])


class Network:
    """A model as functions of its parameters and of a batch."""

    def __init__(self, model: Any, implementation: Implementation, calls: Calls | None) -> None:
        self.model, self.implementation, self.calls = model, implementation, calls

    def loss(self, p: Arrays, batch: Arrays) -> Float[Array, ""]:
        """The loss of a batch."""
        raise NotImplementedError

    def predict(self, p: Arrays, batch: Arrays) -> Arrays:
        """What the model answers."""
        raise NotImplementedError

    def attend(
        self,
        p: Arrays,
        q: Float[Array, "B T hD"],
        k: Float[Array, "B S hD"],
        v: Float[Array, "B S hDv"],
        lengths: Int[Array, " B"] | None = None,
        outputs: tuple[str, ...] = (),
        heads: int = 1,
    ) -> AttentionOutput:
        """Heads side by side through the common interface: h·D columns are those of h heads."""
        assert self.calls is not None  # noqa: S101  (a model without a spec does not attend)
        q, k, v = (x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3) for x in (q, k, v))
        sizes = AttentionSizes(len(q), q.shape[2], k.shape[2], q.shape[3], v.shape[3], lengths is not None, heads)
        call = self.calls.of(sizes, outputs)
        arrays: dict[str, Any] = {"params": score_parameters(p)}
        if lengths is not None:
            arrays["kv_lengths"] = lengths
        return as_output(self.implementation(q, k, v, call.with_arrays(arrays)))


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
        norms = jax.jit(self._network.reach)(self._parameters, self._native(batch))
        return {name: np.array(array) for name, array in norms.items()}

    def parameters(self) -> dict[str, NumPyArray]:
        """A copy of every parameter."""
        return {name: np.array(array) for name, array in self._parameters.items()}

    @in_doubles
    def load(self, parameters: Mapping[str, NumPyArray]) -> None:
        """Other values for the parameters."""
        self._parameters = self._native({name: parameters[name] for name in self._parameters})


def cross_entropy(logits: Float[Array, "*rows V"], target: Int[Array, " *rows"]) -> Float[Array, " *rows"]:
    """−ln p(target) for each row."""
    each: Array = optax.softmax_cross_entropy_with_integer_labels(logits, target)
    return each


class RetrievalNetwork(Network):
    """``Retrieval``."""

    def logits(self, p: Arrays, batch: Arrays) -> Float[Array, "B *A V"]:
        """The logits of V values, for one key or for each of A that are asked for."""
        slots = (p["embed.keys"][batch["keys"]] + p["embed.values"][batch["values"]]) * 0.5**0.5
        queries = batch["query"].shape
        query = p["embed.keys"][batch["query"]].reshape(queries[0], 1, -1)
        q, k = (query @ p["Wq"], slots @ p["Wk"]) if self.model.projected else (query, slots)
        read: Array = self.attend(p, q, k, slots @ p["Wv"], heads=self.model.heads).output.reshape(queries[0], -1)
        return (read @ p["Wo"] + p["bo"]).reshape(*queries, -1)

    def loss(self, p: Arrays, batch: Arrays) -> Float[Array, ""]:
        """Mean cross-entropy."""
        return cross_entropy(self.logits(p, batch), batch["target"]).mean()

    def predict(self, p: Arrays, batch: Arrays) -> Arrays:
        """The likeliest values."""
        return {"tokens": self.logits(p, batch).argmax(-1)}


class Translator(Network):
    """``EncoderDecoder``; the GRUs are scans over steps."""

    model: EncoderDecoder

    def encode(
        self, p: Arrays, batch: Arrays, more: Arrays | None = None
    ) -> tuple[Float[Array, "B S H"], Float[Array, "B H"], Float[Array, "B U"]]:
        """States, the two last ones side by side, the decoder's first state.

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
        self,
        p: Arrays,
        inputs: Int[Array, "B T"],
        start: Float[Array, "B U"],
        encoded: tuple[Float[Array, "B S H"], Float[Array, "B H"]],
        lengths: Int[Array, " B"],
    ) -> tuple[Float[Array, "B T V"], Float[Array, "B U"], Float[Array, " ..."] | None]:
        """Logits after the tokens ``inputs``, the last state, the weights of attention."""
        states, ends = encoded
        context, outputs = self.model.context, ("weights",) if inputs.shape[1] == 1 else ()
        read = p["embed.target"][inputs]
        fixed = jnp.broadcast_to(ends[:, None], (*inputs.shape, ends.shape[1]))
        if context == "input":
            read = jnp.concatenate([read, fixed], -1)
        written, last = gru(p, "decoder", read, jnp.ones(inputs.shape, bool), start)
        parts, weights = [written], None
        if context == "input":
            parts.append(fixed)
        if context == "attention":
            q, k = (written, states)
            if self.model.projected:
                q, k = q @ p["attend.Wq"], k @ p["attend.Wk"]
            seen = self.attend(p, q, k, states, lengths, outputs)
            parts.append(seen.output[:, 0])
            weights = seen.weights
        hidden = jnp.tanh(jnp.concatenate(parts, -1) @ p["readout.W"] + p["readout.b"])
        return hidden @ p["out.W"] + p["out.b"], last, weights

    def loss(self, p: Arrays, batch: Arrays) -> Float[Array, ""]:
        """Mean cross-entropy over the tokens that count, the decoder being given the right tokens."""
        target = batch["target"]
        counts = jnp.arange(target.shape[1]) < batch.get("target_lengths", batch["lengths"])[:, None]
        return jnp.where(counts, self.losses(p, batch), 0.0).sum() / counts.sum()

    def losses(self, p: Arrays, batch: Arrays, more: Arrays | None = None) -> Float[Array, "B T"]:
        """Cross-entropy of each token, the decoder being given the right tokens."""
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
        each_output = jnp.eye(losses.shape[1], dtype=losses.dtype)
        (gradients,) = jax.vmap(lambda output: back(jnp.broadcast_to(output, losses.shape)))(each_output)
        return {name: jnp.linalg.norm(array, axis=-1).transpose(1, 0, 2) for name, array in gradients.items()}

    def predict(self, p: Arrays, batch: Arrays) -> Arrays:
        """Greedy decoding, one token after the other."""
        states, ends, start = self.encode(p, batch)
        first = jnp.full_like(batch["source"][:, :1], len(p["embed.target"]) - 1)

        def next_token(carried: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array | None]]:
            token, state = carried
            logits, state, seen = self.decode(p, token, state, (states, ends), batch["lengths"])
            token = logits.argmax(-1).astype(token.dtype)
            return (token, state), (token[:, 0], None if seen is None else seen[:, 0, 0])

        _, (tokens, weights) = lax.scan(next_token, (first, start), None, length=batch["source"].shape[1])
        return {"tokens": tokens.T} | ({} if weights is None else {"weights": weights.transpose(1, 0, 2)})


def gru(
    p: Arrays,
    name: str,
    read: Float[Array, "B T E"],
    counts: Bool[Array, "B T"],
    start: Float[Array, "B U"] | None = None,
    *,
    reverse: bool = False,
    more: Float[Array, "B T U"] | None = None,
) -> tuple[Float[Array, "B T U"], Float[Array, "B U"]]:
    """All states and the last; a step that does not count leaves the state and writes zeros.

    ``more`` is added to each state.
    """
    wide = read @ p[f"{name}.Wx"].T + p[f"{name}.bx"]
    first = jnp.zeros((len(read), p[f"{name}.Wh"].shape[1]), read.dtype) if start is None else start

    def next_state(state: Array, step: tuple[Array, Array, Array | None]) -> tuple[Array, Array]:
        given, counted, added = step
        reset_x, update_x, new_x = jnp.split(given, 3, -1)
        reset_h, update_h, new_h = jnp.split(state @ p[f"{name}.Wh"].T + p[f"{name}.bh"], 3, -1)
        update = jax.nn.sigmoid(update_x + update_h)
        new = jnp.tanh(new_x + jax.nn.sigmoid(reset_x + reset_h) * new_h)
        moved = (1.0 - update) * new + update * state
        moved = moved if added is None else moved + added
        return jnp.where(counted[:, None], moved, state), jnp.where(counted[:, None], moved, 0.0)

    steps = (wide.transpose(1, 0, 2), counts.T, None if more is None else more.transpose(1, 0, 2))
    last, states = lax.scan(next_state, first, steps, reverse=reverse)
    return states.transpose(1, 0, 2), last
