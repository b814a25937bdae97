"""Implementations that sum learned scores in pieces: right, and without the (Tq, S, Da) array that they avoid."""

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from attnbench.api.suites import AttentionSpec, Case, Problem, draw, draw_cotangents
from attnbench.attention.call import prepare
from attnbench.backends.attend import resolve
from attnbench.backends.bind import bind_case
from tests.impls.against_oracle import check

LEARNED = ("numpy/blocked", "torch/chunked", "jax/blocked", "jax/fused")
SMALL = Problem(B=2, Hq=4, Hkv=2, Tq=7, S=9, D=5, Dv=3, Da=4, seed=1)
SPECS = {
    "general": AttentionSpec(score="general", scale=0.7),
    "additive": AttentionSpec(score="additive", causal=True, align="bottom_right"),
    "concat": AttentionSpec(score="concat", scale=-1.5),
    "dot": AttentionSpec(causal=True, align="top_left"),
    "no scale": AttentionSpec(scale="none"),
}
LARGE = Problem(Tq=256, S=96, D=8, Da=64, dtype="float32")
# What the written-out formula holds at once.
HIDDEN = 4 * LARGE.Tq * LARGE.S * LARGE.Da


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("name", LEARNED)
def test_they_agree_with_the_oracle(name: str, spec: AttentionSpec) -> None:
    pytest.importorskip(name.partition("/")[0])
    check(name, spec, replace(SMALL, dtype="float32"), extra=False)


def test_tiles_of_more_than_one_query_and_key_add_up() -> None:
    problem = Problem(Hq=2, Hkv=1, Tq=130, S=260, D=5, Da=4)
    check("numpy/blocked", AttentionSpec(score="additive"), problem, extra=False)


@pytest.mark.parametrize(
    ("scores", "hidden"),
    [(9, 36), (40, 100), (40, 1 << 19), (130, 300), (1 << 18, 80)],
    ids=["rows", "blocks and parts", "blocks", "heads", "parts"],
)
@pytest.mark.parametrize("causal", [False, True])
def test_blocks_of_torch_add_up(scores: int, hidden: int, monkeypatch: pytest.MonkeyPatch, *, causal: bool) -> None:
    """With blocks so small that a small problem has many of each kind: what it is held to was seen on small ones."""
    pytest.importorskip("torch")
    from attnbench.impls.torch_backend import chunked

    monkeypatch.setitem(chunked.SCORES, "cpu", scores)
    monkeypatch.setitem(chunked.HIDDEN, "cpu", hidden)
    for score in ("additive", "dot"):
        spec = AttentionSpec(score=score, causal=causal, align="bottom_right" if causal else None)
        check("torch/chunked", spec, replace(SMALL, dtype="float32"), extra=False)


def test_one_row_of_many_heads_fits_the_buffer() -> None:
    pytest.importorskip("torch")
    problem = Problem(B=2, Hq=34, Hkv=17, Tq=1, S=1100, D=8, Da=16, dtype="float32")
    check("torch/chunked", AttentionSpec(score="additive"), problem, extra=False)


@pytest.mark.parametrize(("name", "stores"), [("numpy/naive", True), ("numpy/blocked", False)])
def test_numpy_holds_the_hidden_layer_where_it_is_written_out_and_not_in_tiles(name: str, *, stores: bool) -> None:
    backend, kernel = resolve(name)
    case = Case(AttentionSpec(score="additive"), LARGE, "backward")
    q, k, v, call = prepare(case.spec, draw(case.spec, case.problem), ())
    d_output, d_lse = draw_cotangents(case)
    given = (q, k, v, call)
    run = backend.bind(kernel, *given, d_output=d_output).on(*given, d_output=d_output, d_lse=d_lse)
    tracemalloc.start()
    try:
        run()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (peak > HIDDEN) is stores
    assert stores or peak < HIDDEN / 4


@pytest.mark.parametrize(("name", "stores"), [("torch/naive", True), ("torch/chunked", False)])
def test_torch_saves_the_hidden_layer_for_its_backward_pass_only_where_it_is_written_out(
    name: str, *, stores: bool
) -> None:
    torch = pytest.importorskip("torch")
    backend, kernel = resolve(name)
    case = Case(AttentionSpec(score="additive"), LARGE, "backward")
    q, k, v, call = prepare(case.spec, draw(case.spec, case.problem), ())
    q, k, v = (backend.to_native(array, "cpu").requires_grad_() for array in (q, k, v))
    call = call.map_arrays(lambda array: backend.to_native(array, "cpu"))
    sizes: list[int] = []

    def saved(tensor: Any) -> Any:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor):
        kernel(q, k, v, call)
    assert (max(sizes) >= HIDDEN) is stores
    assert stores or max(sizes) <= HIDDEN / 8


def test_jax_in_tiles_needs_no_hidden_layer_in_either_direction() -> None:
    pytest.importorskip("jax")
    case = Case(AttentionSpec(score="additive"), LARGE, "backward")
    temporary = {
        n: bind_case(*resolve(n), case).bound.detail["xla_temporary_bytes"] for n in ("jax/blocked", "jax/fused")
    }
    assert temporary["jax/blocked"] < HIDDEN / 8
    assert temporary["jax/fused"] >= HIDDEN  # what is left to the compiler, it stores for the gradient
