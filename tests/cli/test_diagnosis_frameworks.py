"""Diagnosis of drop-ins of PyTorch and JAX: the same kinds, though asking costs a graph or a compilation."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.program import Cli
from tests.proofs import part

KERNELS = {
    "torch": """
import torch
from attnbench.api import Capabilities, implementation

CAN = Capabilities(dtypes=("float32",), causal=True, mask=True, gqa=True, gradients=True)
KEPT = {}

@implementation("torch/mine", CAN)
def attend(q, k, v, call):
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    s = q @ k.transpose(-1, -2) * call.scale
    allowed = torch.ones(s.shape, dtype=torch.bool)
    if call.spec.causal:
        allowed = allowed & (torch.arange(k.shape[2]) <= torch.arange(q.shape[2])[:, None] + call.offset)
    if call.mask is not None:
        allowed = allowed & call.mask
    s = torch.where(allowed, s, -torch.inf)
    top = s.detach().amax(-1, keepdim=True)
    terms = torch.exp(s - torch.where(torch.isinf(top), 0, top))
    total = terms.sum(-1, keepdim=True)
    out = (terms / torch.where(total == 0, 1, total)) @ v
    out = torch.where(allowed.any(-1, keepdim=True), out, 0)
    return out
""",
    "jax": """
import jax.numpy as jnp
from jax import lax
from attnbench.api import Capabilities, implementation

CAN = Capabilities(dtypes=("float32",), causal=True, mask=True, gqa=True, gradients=True)

@implementation("jax/mine", CAN)
def attend(q, k, v, call):
    group = q.shape[1] // k.shape[1]
    k, v = jnp.repeat(k, group, 1), jnp.repeat(v, group, 1)
    s = jnp.matmul(q, jnp.swapaxes(k, -1, -2), precision="highest") * call.scale
    allowed = jnp.ones(s.shape, bool)
    if call.spec.causal:
        allowed = allowed & (jnp.arange(k.shape[2]) <= jnp.arange(q.shape[2])[:, None] + call.offset)
    if call.mask is not None:
        allowed = allowed & call.mask
    s = jnp.where(allowed, s, -jnp.inf)
    top = lax.stop_gradient(s.max(-1, keepdims=True))
    terms = jnp.where(allowed, jnp.exp(s - jnp.where(jnp.isneginf(top), 0, top)), 0)
    total = terms.sum(-1, keepdims=True)
    out = jnp.matmul(terms / jnp.where(total == 0, 1, total), v, precision="highest")
    return jnp.where(allowed.any(-1, keepdims=True), out, 0)
""",
}
TWICE = "    KEPT.setdefault(out.shape, torch.empty_like(out)).copy_(out)\n    return KEPT[out.shape]"
# (backend, what is replaced, by what, the feature that shows it, its kind, a word of the evidence)
FAULTS = {
    "torch heads": ("torch", "k.repeat_interleave(group, 1)", "k.repeat(1, group, 1, 1)", "gqa", "heads", "h % Hkv"),
    "torch gradient": ("torch", "q @ k.transpose", "q @ k.detach().transpose", "sizes", "gradient", "of k is 0"),
    "torch buffer": ("torch", "    return out", TWICE, "nan_reached", "state", "called again"),
    "jax mask": ("jax", "allowed & call.mask", "allowed & ~call.mask", "mask", "mask", "inverted"),
    "jax scale": ("jax", "* call.scale", "* (call.scale * 0.992)", "scale", "scale", "0.992"),
}


@pytest.mark.parametrize("name", part(FAULTS, {"torch gradient", "torch buffer", "jax scale"}))
def test_a_fault_in_a_framework_is_named(cli: Cli, tmp_path: Path, name: str) -> None:
    """The kind and its evidence, on a case that is smaller than the one that failed."""
    backend, old, new, feature, kind, word = FAULTS[name]
    if find_spec(backend) is None:
        pytest.skip(f"needs {backend}")
    source = KERNELS[backend].replace(old, new)
    assert source != KERNELS[backend]
    (tmp_path / "mine.py").write_text(source)
    done = cli("check", "--quick", "--impls", "mine.py", "--features", feature, "--json")
    assert done.code == 1, done.out
    (row,) = (row for row in done.document["rows"] if row["diagnosis"])
    assert row["diagnosis"]["kind"] == kind, row["diagnosis"]
    assert word in row["diagnosis"]["evidence"]
    assert row["smallest_case"]
    assert row["again"].startswith(f"attnbench check {backend}/mine --impls mine.py --case")


@pytest.mark.parametrize("backend", part(KERNELS, {"torch"}))
def test_right_kernels_of_the_frameworks_pass_where_faults_are_planted(cli: Cli, tmp_path: Path, backend: str) -> None:
    if find_spec(backend) is None:
        pytest.skip(f"needs {backend}")
    (tmp_path / "mine.py").write_text(KERNELS[backend])
    features = "scale" if backend == "jax" else "sizes,gqa,nan_reached,probes"
    done = cli("check", "--quick", "--impls", "mine.py", "--features", features)
    assert done.code == 0, done.out
