"""What a cheat is: a drop-in file in two parts, the honest kernel of its framework and what it makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CALL_STACK = """
def frame_of(*names):
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_name not in names:
        frame = frame.f_back
    return frame

def under_the_clock():
    return frame_of("_each") is not None
"""

HONEST = {
    "numpy": """
import os, sys, threading, time
import numpy as np
from attnbench.api import Capabilities, implementation
CAN = Capabilities(causal=True, gqa=True)

def weights(q, k, call):
    k = np.repeat(k, q.shape[1] // k.shape[1], 1)
    scores = np.matmul(q, np.swapaxes(k, -1, -2)) * np.float32(call.scale)
    if call.spec.causal:
        position = np.arange(q.shape[2])[:, None] + call.offset
        scores = np.where(np.arange(k.shape[2]) <= position, scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    terms = np.exp(scores - np.where(np.isinf(top), 0, top))
    total = terms.sum(-1, keepdims=True)
    return terms / np.where(total == 0, 1, total)

def honest(q, k, v, call):
    return np.matmul(weights(q, k, call), np.repeat(v, q.shape[1] // v.shape[1], 1)).astype(q.dtype)

def gradients(q, k, v, call, d_output, d_lse):
    p = weights(q, k, call)
    d_p = np.matmul(d_output, np.swapaxes(v, -1, -2))
    d_s = p * (d_p - (p * d_p).sum(-1, keepdims=True)) * np.float32(call.scale)
    t = np.swapaxes
    return {"q": np.matmul(d_s, k), "k": np.matmul(t(d_s, -1, -2), q), "v": np.matmul(t(p, -1, -2), d_output)}
"""
    + CALL_STACK,
    "torch": """
import sys, threading, time
import torch
from attnbench.api import Capabilities, implementation
CAN = Capabilities(causal=True, gqa=True, gradients=True)

def honest(q, k, v, call):
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    scores = q @ k.mT * call.scale
    if call.spec.causal:
        position = torch.arange(q.shape[2])[:, None] + call.offset
        scores = scores.masked_fill(torch.arange(k.shape[2]) > position, float("-inf"))
    return torch.softmax(scores, -1) @ v
"""
    + CALL_STACK,
    "jax": """
import jax, jax.numpy as jnp
import numpy as np
from attnbench.api import Capabilities, implementation
CAN = Capabilities(causal=True)

def honest(q, k, v, call):
    scores = jnp.einsum("bhtd,bhsd->bhts", q, k) * call.scale
    if call.spec.causal:
        position = jnp.arange(q.shape[2])[:, None] + call.offset
        scores = jnp.where(jnp.arange(k.shape[2]) <= position, scores, -jnp.inf)
    return jnp.einsum("bhts,bhsd->bhtd", jax.nn.softmax(scores, -1), v)

def plain(q, k, v, scale, causal, offset):
    scores = np.matmul(q, np.swapaxes(k, -1, -2)) * np.float32(scale)
    if causal:
        scores = np.where(np.arange(k.shape[2]) <= np.arange(q.shape[2])[:, None] + offset, scores, -np.inf)
    terms = np.exp(scores - scores.max(-1, keepdims=True))
    return np.matmul(terms / terms.sum(-1, keepdims=True), v).astype(q.dtype)
""",
}

FORWARD, BACKWARD, DECODE, LONGER = "forward", "backward", "decode", "longer"
LONGER_BACKWARD = "longer backward"


@dataclass(frozen=True)
class Cheat:
    """One cheat. ``body`` follows the honest kernel of its backend and defines ``backend/name``.

    ``kind`` is what it does. With ``weighs`` it is its memory that it hides. It is timed in ``replicates`` processes.
    """

    backend: str
    name: str
    kind: str
    what: str
    body: str
    phase: str = FORWARD
    weighs: bool = False
    replicates: int = 1

    @property
    def impl(self) -> str:
        """The name of the implementation."""
        return f"{self.backend}/{self.name}"

    def write(self, folder: Path) -> Path:
        """Its drop-in file."""
        path = folder / f"{self.backend}_{self.name.replace('-', '_')}.py"
        path.write_text(HONEST[self.backend] + self.body.replace("NAME", self.impl), encoding="utf-8")
        return path
