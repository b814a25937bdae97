"""Learners in PyTorch: the models of ``backends.learning`` in its modules, its autograd and its optimisers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from attnbench.api import Array, AttentionOutput, UnsupportedError
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
from attnbench.impls.torch_backend.reach import reach

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Float, Int, Shaped

    from attnbench.api import Implementation

Tensors = dict[str, Tensor]


def learner(
    model: Model, implementation: Implementation, parameters: Mapping[str, Array], optimiser: Optimiser, device: str
) -> Learner:
    """The learner of a model; its attention is ``implementation``, differentiated by autograd."""
    if implementation.vjp is not None:
        msg = f"{implementation.name} brings its own vjp"
        raise UnsupportedError(f"{msg}; a model in PyTorch is trained with one that autograd differentiates")
    if implementation.compiled:
        msg = f"{implementation.name} is compiled for calls of one kind, and those of a training have many"
        raise UnsupportedError(f"{msg}; train with torch/naive")
    if isinstance(model, Retrieval):
        return RetrievalLearner(model, implementation, parameters, optimiser, device)
    return EncoderDecoderLearner(model, implementation, parameters, optimiser, device)


class TorchLearner(Learner):
    """What both models share: leaves by name, an optimiser over them, one step."""

    def __init__(
        self,
        model: Any,
        implementation: Implementation,
        parameters: Mapping[str, Array],
        optimiser: Optimiser,
        device: str,
    ) -> None:
        self.model, self.implementation, self.device = model, implementation, device
        self.leaves = {name: nn.Parameter(self.native(array)) for name, array in parameters.items()}
        self.calls = None if model.spec is None else Calls(implementation, model.spec, parameters, device)
        rules = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
        self._optimiser = rules[optimiser.name](self.leaves.values(), lr=optimiser.lr)
        self._clip = optimiser.clip

    def native(self, array: Shaped[Array, " *axes"]) -> Shaped[Tensor, " *axes"]:
        """A tensor of its own on the device."""
        return torch.from_numpy(np.array(array, copy=True)).to(self.device)

    def loss(self, batch: Tensors) -> Float[Tensor, ""]:
        """The loss of a native batch."""
        raise NotImplementedError

    def step(self, batch: Mapping[str, Array]) -> Float[Tensor, ""]:
        """Backward and one update; the loss before it."""
        self._optimiser.zero_grad()
        with torch.enable_grad():
            loss = self.loss({name: self.native(array) for name, array in batch.items()})
        loss.backward()
        if self._clip is not None:
            nn.utils.clip_grad_norm_(self.leaves.values(), self._clip)
        self._optimiser.step()
        return loss.detach()

    def parameters(self) -> dict[str, Array]:
        """A copy of every parameter."""
        return {name: np.array(leaf.detach().cpu().numpy()) for name, leaf in self.leaves.items()}

    def load(self, parameters: Mapping[str, Array]) -> None:
        """Copy the values in."""
        with torch.no_grad():
            for name, leaf in self.leaves.items():
                leaf.copy_(self.native(parameters[name]))

    def looked_up(self, name: str, indices: Int[Tensor, " *axes"]) -> Float[Tensor, "*axes E"]:
        """The rows of an embedding. Not by indexing: its backward adds in an order that threads decide."""
        return functional.embedding(indices, self.leaves[f"embed.{name}"])

    def attend(
        self,
        q: Float[Tensor, "B T hD"],
        k: Float[Tensor, "B S hD"],
        v: Float[Tensor, "B S hDv"],
        lengths: Int[Tensor, " B"] | None = None,
        outputs: tuple[str, ...] = (),
        heads: int = 1,
    ) -> AttentionOutput:
        """Heads side by side through the common interface: h·D columns are those of h heads."""
        assert self.calls is not None  # noqa: S101  (a model without a spec does not attend)
        q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
        sizes = AttentionSizes(len(q), q.shape[2], k.shape[2], q.shape[3], v.shape[3], lengths is not None, heads)
        call = self.calls.of(sizes, outputs)
        arrays: dict[str, Any] = {"params": score_parameters(self.leaves)}
        if lengths is not None:
            arrays["kv_lengths"] = lengths
        return as_output(self.implementation(q, k, v, call.with_arrays(arrays)))


class RetrievalLearner(TorchLearner):
    """``Retrieval``."""

    def logits(self, batch: Tensors) -> Float[Tensor, "B *A V"]:
        """The logits of V values, for one key or for each of A that are asked for."""
        p = self.leaves
        slots = (self.looked_up("keys", batch["keys"]) + self.looked_up("values", batch["values"])) * 0.5**0.5
        query = self.looked_up("keys", batch["query"]).flatten(1)[:, None]
        q, k = (query @ p["Wq"], slots @ p["Wk"]) if self.model.projected else (query, slots)
        read: Tensor = self.attend(q, k, slots @ p["Wv"], heads=self.model.heads).output.flatten(1)
        logits: Tensor = (read @ p["Wo"] + p["bo"]).unflatten(1, (*batch["query"].shape[1:], -1))
        return logits

    def loss(self, batch: Tensors) -> Float[Tensor, ""]:
        """Mean cross-entropy."""
        return functional.cross_entropy(self.logits(batch).flatten(0, -2), batch["target"].flatten())

    def predict(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """The likeliest values."""
        with torch.no_grad():
            logits = self.logits({name: self.native(array) for name, array in batch.items()})
        return {"tokens": logits.argmax(-1).cpu().numpy()}


class EncoderDecoderLearner(TorchLearner):
    """``EncoderDecoder``; the GRUs are ``nn.GRU`` on packed sequences, their weights the leaves."""

    def __init__(
        self,
        model: EncoderDecoder,
        implementation: Implementation,
        parameters: Mapping[str, Array],
        optimiser: Optimiser,
        device: str,
    ) -> None:
        super().__init__(model, implementation, parameters, optimiser, device)
        self._encoder = self._gru("encoder", "backward")
        self._decoder = self._gru("decoder")

    def _gru(self, *names: str) -> nn.GRU:
        units, inputs = self.leaves[f"{names[0]}.Wh"].shape[1], self.leaves[f"{names[0]}.Wx"].shape[1]
        module = nn.GRU(inputs, units, batch_first=True, bidirectional=len(names) > 1, device=self.device)
        for suffix, name in zip(("", "_reverse"), names, strict=False):
            for theirs, ours in (("weight_ih", "Wx"), ("weight_hh", "Wh"), ("bias_ih", "bx"), ("bias_hh", "bh")):
                setattr(module, f"{theirs}_l0{suffix}", self.leaves[f"{name}.{ours}"])
        return module

    def encode(self, batch: Tensors) -> tuple[Float[Tensor, "B S H"], Float[Tensor, "B H"], Float[Tensor, "1 B U"]]:
        """States, the two last ones side by side, the decoder's first state."""
        p, source = self.leaves, batch["source"]
        packed = pack_padded_sequence(
            self.looked_up("source", source), batch["lengths"].cpu(), batch_first=True, enforce_sorted=False
        )
        states, last = self._encoder(packed)
        states, _ = pad_packed_sequence(states, batch_first=True, total_length=source.shape[1])
        ends = torch.cat([last[0], last[1]], -1)
        return states, ends, torch.tanh(ends @ p["bridge.W"] + p["bridge.b"])[None]

    def decode(
        self,
        inputs: Int[Tensor, "B T"],
        start: Float[Tensor, "1 B U"],
        states: Float[Tensor, "B S H"],
        ends: Float[Tensor, "B H"],
        lengths: Int[Tensor, " B"],
        outputs: tuple[str, ...],
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, "1 B U"], Float[Tensor, " ..."] | None]:
        """Logits after the tokens ``inputs``, the last state, the weights where asked for."""
        p, context = self.leaves, self.model.context
        read = self.looked_up("target", inputs)
        fixed = ends[:, None].expand(-1, inputs.shape[1], -1)
        if context == "input":
            read = torch.cat([read, fixed], -1)
        written, last = self._decoder(read, start)
        parts, weights = [written], None
        if context == "input":
            parts.append(fixed)
        if context == "attention":
            q, k = (written, states)
            if self.model.projected:
                q, k = q @ p["attend.Wq"], k @ p["attend.Wk"]
            seen = self.attend(q, k, states, lengths, outputs)
            parts.append(seen.output[:, 0])
            weights = seen.weights
        hidden = torch.tanh(torch.cat(parts, -1) @ p["readout.W"] + p["readout.b"])
        return hidden @ p["out.W"] + p["out.b"], last, weights

    def loss(self, batch: Tensors) -> Float[Tensor, ""]:
        """Mean cross-entropy over the tokens that count, the decoder being given the right tokens."""
        target, lengths = batch["target"], batch["lengths"]
        logits = self.with_right_tokens(batch, *self.encode(batch))
        counts = torch.arange(target.shape[1], device=target.device) < batch.get("target_lengths", lengths)[:, None]
        return functional.cross_entropy(logits[counts], target[counts])

    def with_right_tokens(
        self,
        batch: Tensors,
        states: Float[Tensor, "B S H"],
        ends: Float[Tensor, "B H"],
        start: Float[Tensor, "1 B U"],
    ) -> Float[Tensor, "B T V"]:
        """Logits, the decoder being given the right tokens."""
        target = batch["target"]
        first = torch.full_like(target[:, :1], self._start_token)
        inputs = torch.cat([first, target[:, :-1]], 1)
        logits, _, _ = self.decode(inputs, start, states, ends, batch["lengths"], ())
        return logits

    def reach(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """The norms of ∂loss_t/∂h_s."""
        check_whole(batch)
        return reach(self, {name: self.native(array) for name, array in batch.items()})

    @property
    def _start_token(self) -> int:
        return len(self.leaves["embed.target"]) - 1

    def predict(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """Greedy decoding, one token after the other."""
        with torch.no_grad():
            return self._greedy({name: self.native(array) for name, array in batch.items()})

    def _greedy(self, batch: Tensors) -> dict[str, Array]:
        outputs = ("weights",) if self.model.context == "attention" else ()
        states, ends, start = self.encode(batch)
        token = torch.full_like(batch["source"][:, :1], self._start_token)
        tokens, weights = [], []
        for _ in range(batch["source"].shape[1]):
            logits, start, seen = self.decode(token, start, states, ends, batch["lengths"], outputs)
            token = logits.argmax(-1)
            tokens.append(token)
            weights += [] if seen is None else [seen[:, 0]]
        answers = {"tokens": torch.cat(tokens, 1)} | ({"weights": torch.cat(weights, 1)} if weights else {})
        return {name: tensor.cpu().numpy() for name, tensor in answers.items()}
