"""The learner in NumPy: the retrieval model with its backward pass and its optimisers written out.

Only the attention's own gradient is not here: it is the implementation's ``vjp``, as for every other call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.api import Array, UnsupportedError
from attnbench.api.backends import (
    AttentionSizes,
    Calls,
    Learner,
    Model,
    Optimiser,
    Retrieval,
    as_output,
    score_parameters,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int

    from attnbench.api import Call, Implementation

Arrays = Mapping[str, Array]

FIRST, SECOND, FLOOR = 0.9, 0.999, 1e-8


def learner(
    model: Model, implementation: Implementation, parameters: Arrays, optimiser: Optimiser, device: str
) -> NumPyLearner:
    """The learner of a retrieval model. Raises ``UnsupportedError`` for other models and without a ``vjp``."""
    if not isinstance(model, Retrieval):
        msg = f"numpy trains the Retrieval model, not {type(model).__name__}; choose torch/naive or jax/naive"
        raise UnsupportedError(msg)
    if implementation.vjp is None:
        msg = f"{implementation.name} has no gradients: NumPy has no autograd, so give vjp= to @implementation"
        raise UnsupportedError(msg)
    return NumPyLearner(model, implementation, parameters, optimiser, device)


class NumPyLearner(Learner):
    """``Retrieval``, forward and backward."""

    def __init__(
        self, model: Retrieval, implementation: Implementation, parameters: Arrays, optimiser: Optimiser, device: str
    ) -> None:
        self._model, self._implementation = model, implementation
        self._parameters = {name: np.array(array, copy=True) for name, array in parameters.items()}
        self._calls = Calls(implementation, model.spec, parameters, device)
        self._rule = Adam(optimiser.lr) if optimiser.name == "adam" else Sgd(optimiser.lr)
        self._clip = optimiser.clip

    def step(self, batch: Arrays) -> float:
        """One update; the loss before it."""
        loss, gradients = self.gradients(batch)
        if self._clip is not None:
            norm = np.sqrt(sum(float((gradient.astype(np.float64) ** 2).sum()) for gradient in gradients.values()))
            gradients = {name: gradient * min(1.0, self._clip / (norm + 1e-6)) for name, gradient in gradients.items()}
        self._rule.update(self._parameters, gradients)
        return loss

    def predict(self, batch: Arrays) -> dict[str, Array]:
        """The likeliest values."""
        return {"tokens": self._forward(batch)["logits"].argmax(-1)}

    def parameters(self) -> dict[str, Array]:
        """A copy of every parameter."""
        return {name: array.copy() for name, array in self._parameters.items()}

    def load(self, parameters: Arrays) -> None:
        """Copy the values in."""
        for name, array in self._parameters.items():
            np.copyto(array, parameters[name])

    def _call(self, batch: Arrays, q: Array, v: Array) -> Call:
        sizes = AttentionSizes(len(q), 1, batch["keys"].shape[1], q.shape[-1], v.shape[-1], heads=self._model.heads)
        return self._calls.of(sizes).with_arrays({"params": score_parameters(self._parameters)})

    def _forward(self, batch: Arrays) -> dict[str, Any]:
        """Every intermediate that the backward pass reads: slots (B, n, M), query (B, 1, M), q, k, v by head."""
        p = self._parameters
        half = p["Wv"].dtype.type(0.5**0.5)
        slots = (p["embed.keys"][batch["keys"]] + p["embed.values"][batch["values"]]) * half
        queries = batch["query"].shape
        query = p["embed.keys"][batch["query"]].reshape(queries[0], 1, -1)
        q, k = (query @ p["Wq"], slots @ p["Wk"]) if self._model.projected else (query, slots)
        q, k, v = (split(x, self._model.heads) for x in (q, k, slots @ p["Wv"]))
        call = self._call(batch, q, v)
        read = as_output(self._implementation(q, k, v, call)).output.reshape(queries[0], -1)
        intermediates = {"slots": slots, "query": query, "q": q, "k": k, "v": v, "call": call, "read": read}
        return intermediates | {"logits": (read @ p["Wo"] + p["bo"]).reshape(*queries, -1)}

    def gradients(self, batch: Arrays) -> tuple[float, dict[str, Array]]:
        """Mean cross-entropy and its gradient by parameter."""
        p, kept = self._parameters, self._forward(batch)
        answers = kept["logits"].shape[-1]
        loss, d_logits = cross_entropy(kept["logits"].reshape(-1, answers), batch["target"].ravel())
        d_logits = d_logits.reshape(len(batch["target"]), -1)
        gradients = {"Wo": kept["read"].T @ d_logits, "bo": d_logits.sum(0)}
        d_read = split((d_logits @ p["Wo"].T)[:, None], self._model.heads)
        inner = self._implementation.vjp(kept["q"], kept["k"], kept["v"], kept["call"], d_read, None)  # type: ignore[misc]
        d_q, d_k, d_v = (joined(inner[name]) for name in "qkv")
        gradients |= {name.replace("params.", "score."): inner[name] for name in inner if name.startswith("params.")}
        slots, query = kept["slots"], kept["query"]
        gradients["Wv"] = outer(slots, d_v)
        d_slots = d_v @ p["Wv"].T
        if self._model.projected:
            gradients |= {"Wq": outer(query, d_q), "Wk": outer(slots, d_k)}
            d_q, d_k = d_q @ p["Wq"].T, d_k @ p["Wk"].T
        d_slots = (d_slots + d_k) * p["Wv"].dtype.type(0.5**0.5)
        return loss, gradients | self._embeddings(batch, d_slots, d_q[:, 0])

    def _embeddings(self, batch: Arrays, d_slots: Array, d_query: Array) -> dict[str, Array]:
        """The gradients of the rows that were looked up, added where a row was looked up more than once."""
        gradients = {name: np.zeros_like(self._parameters[name]) for name in ("embed.keys", "embed.values")}
        np.add.at(gradients["embed.keys"], batch["keys"], d_slots)
        np.add.at(gradients["embed.keys"], batch["query"], d_query.reshape(*batch["query"].shape, -1))
        np.add.at(gradients["embed.values"], batch["values"], d_slots)
        return gradients


def split(x: Float[Array, "B n width"], heads: int) -> Float[Array, "B h n d"]:
    """The columns of h heads, side by side, head by head."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def joined(x: Float[Array, "B h n d"]) -> Float[Array, "B n width"]:
    """The inverse of ``split``."""
    return x.transpose(0, 2, 1, 3).reshape(len(x), x.shape[2], -1)


def outer(x: Float[Array, "B n i"], d: Float[Array, "B n o"]) -> Float[Array, "i o"]:
    """The gradient of W in x @ W, of the gradient d of the product."""
    return np.asarray(x.reshape(-1, x.shape[-1]).T @ d.reshape(-1, d.shape[-1]))


def cross_entropy(logits: Float[Array, "B V"], target: Int[Array, " B"]) -> tuple[float, Float[Array, "B V"]]:
    """Mean of −ln p(target), and its gradient at the logits."""
    shifted = logits - logits.max(-1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(-1, keepdims=True))
    rows = np.arange(len(target))
    d_logits = np.exp(shifted - log_total)
    d_logits[rows, target] -= 1
    return float((log_total[:, 0] - shifted[rows, target]).mean()), d_logits / d_logits.dtype.type(len(target))


class Sgd:
    """p ← p − lr · g."""

    def __init__(self, lr: float) -> None:
        self._lr = lr

    def update(self, parameters: dict[str, Array], gradients: Arrays) -> None:
        """Move the parameters, in place."""
        for name in parameters:
            parameters[name] -= self._lr * gradients[name]


class Adam:
    """Kingma & Ba 2015, algorithm 1: p ← p − lr · m̂ / (√v̂ + ε)."""

    def __init__(self, lr: float) -> None:
        self._lr, self._count = lr, 0
        self._first: dict[str, Array] = {}
        self._second: dict[str, Array] = {}

    def update(self, parameters: dict[str, Array], gradients: Arrays) -> None:
        """Move the parameters, in place."""
        self._count += 1
        for name, parameter in parameters.items():
            gradient = gradients[name]
            m = self._first.setdefault(name, np.zeros_like(parameter))
            v = self._second.setdefault(name, np.zeros_like(parameter))
            m += (1 - FIRST) * (gradient - m)
            v += (1 - SECOND) * (gradient * gradient - v)
            step = m / (1 - FIRST**self._count)
            parameters[name] -= self._lr * step / (np.sqrt(v / (1 - SECOND**self._count)) + FLOOR)
