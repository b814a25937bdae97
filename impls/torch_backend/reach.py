"""How far the loss of an output reaches back: the encoder step by step, so that each of its states has a gradient.

``nn.GRU`` gives all states at once, and the gradient at one of them would leave out the way through the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from attnbench.api import Array

if TYPE_CHECKING:
    from jaxtyping import Float

    from attnbench.impls.torch_backend.train import EncoderDecoderLearner


def reach(learner: EncoderDecoderLearner, batch: dict[str, Tensor]) -> dict[str, Float[Array, "B T S"]]:
    """``forward`` and ``backward``; see ``Learner.reach``."""
    with torch.enable_grad():
        read = learner.looked_up("source", batch["source"]).unbind(1)
        there = states(learner, "encoder", read)
        back = states(learner, "backward", read[::-1])[::-1]
        seen = torch.cat([torch.stack(there, 1), torch.stack(back, 1)], -1)
        ends = torch.cat([there[-1], back[0]], -1)
        start = torch.tanh(ends @ learner.leaves["bridge.W"] + learner.leaves["bridge.b"])[None]
        logits = learner.with_right_tokens(batch, seen, ends, start)
        losses = functional.cross_entropy(logits.transpose(1, 2), batch["target"], reduction="none")
    norms = [_norms(losses[:, t].sum(), [*there, *back]) for t in range(losses.shape[1])]
    both = torch.stack(norms, 1).cpu().numpy()
    return {"forward": both[..., : len(there)], "backward": both[..., len(there) :]}


def _norms(loss: Float[Tensor, ""], at: list[Float[Tensor, "B U"]]) -> Float[Tensor, "B states"]:
    """The norm of the gradient at each state."""
    gradients = torch.autograd.grad(loss, at, retain_graph=True)
    return torch.stack([gradient.norm(dim=-1) for gradient in gradients], 1)


def states(
    learner: EncoderDecoderLearner, name: str, read: tuple[Float[Tensor, "B E"], ...]
) -> list[Float[Tensor, "B U"]]:
    """The state of a GRU after each of its inputs."""
    wx, wh, bx, bh = (learner.leaves[f"{name}.{part}"] for part in ("Wx", "Wh", "bx", "bh"))
    passed, state = [], read[0].new_zeros(len(read[0]), wh.shape[1])
    for step in read:
        state = torch.gru_cell(step, state, wx, wh, bx, bh)
        passed.append(state)
    return passed
