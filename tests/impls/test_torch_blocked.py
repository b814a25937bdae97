"""``torch/blocked``: many blocks agree with the oracle, and nothing of size Tq × S is kept."""

from dataclasses import replace
from typing import Any

import pytest

from attnbench.api.suites import AttentionSpec, Problem
from attnbench.attention.problem import Case
from attnbench.backends.bind import bind_case
from tests.impls.against_oracle import check, check_forward, load

torch: Any = pytest.importorskip("torch", reason="the torch extra is not installed")
BOTTOM = AttentionSpec(causal=True, align="bottom_right")
TOP = AttentionSpec(causal=True, align="top_left")
SMALL = Problem(B=2, Hq=4, Hkv=2, Tq=21, S=27, D=4, Dv=3, dtype="float64", seed=3)
# By positions alone; by an array; rows without a key; a bias of every axis, and of one of keys.
MANY = {
    "all": (AttentionSpec(), SMALL),
    "causal": (TOP, SMALL),
    "bottom right": (BOTTOM, SMALL),
    "window": (replace(BOTTOM, window=(5, 2)), SMALL),
    "rows before the keys": (BOTTOM, replace(SMALL, Tq=27, S=9)),
    "rows behind the keys": (AttentionSpec(window=(3, 3), align="top_left"), replace(SMALL, Tq=27, S=9)),
    "masks": (TOP, replace(SMALL, operands=("mask_dead_rows", "kv_lengths", "segments"))),
    "a mask of heads": (AttentionSpec(), replace(SMALL, operands=("mask_head_keys",))),
    "bias": (BOTTOM, replace(SMALL, operands=("bias", "q_lengths"))),
    "bias of keys": (AttentionSpec(), replace(SMALL, operands=("bias_keys",))),
    "bias of pairs": (TOP, replace(SMALL, operands=("bias_pairs",))),
    "one query": (AttentionSpec(), replace(SMALL, Tq=1)),
    "a scale of 0": (AttentionSpec(scale=0.0), SMALL),
}


@pytest.mark.parametrize("scores", [1 << 19, 200, 1])
@pytest.mark.parametrize(("spec", "problem"), MANY.values(), ids=MANY)
def test_blocks_of_any_size_agree_with_the_oracle(
    spec: AttentionSpec, problem: Problem, scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from attnbench.impls.torch_backend import blocked

    monkeypatch.setattr(blocked, "SCORES", scores)
    check("torch/blocked", spec, problem, extra=False)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_every_dtype_and_the_lse_agree_with_the_oracle(dtype: str) -> None:
    check_forward("torch/blocked", BOTTOM, replace(SMALL, dtype=dtype), ("lse",))


def test_what_causality_and_a_window_hide_is_in_no_block() -> None:
    from attnbench.impls.torch_backend import blocked

    rules = blocked.ScoreRules(1.0, 0, 10, 0, None, dead=False)
    q = torch.zeros(1, 1, 1, 4096, 8)
    seen = [(block.rows, block.keys) for block in blocked.blocks(q, 4096, rules)]
    assert len(seen) > 1
    assert all((keys.start, keys.stop) == (max(0, rows.start - 10), rows.stop) for rows, keys in seen)


def test_no_matrix_of_scores_is_stored() -> None:
    sizes: list[int] = []

    class Watched(torch.utils._python_dispatch.TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            sizes.extend(t.numel() for t in (out if isinstance(out, tuple) else (out,)) if torch.is_tensor(t))
            return out

    problem = Problem(Hq=2, Tq=2048, S=2048, D=8, dtype="float32")
    binding = bind_case(*load("torch/blocked"), Case(AttentionSpec(causal=True), problem, "forward"))
    with Watched():
        binding.run()
    assert 0 < max(sizes) <= 1 << 19 < 2048 * 2048
