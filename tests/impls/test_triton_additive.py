"""``triton/additive``, interpreted on the CPU with tiles so small that a call has several of them each way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import attnbench as ab
from attnbench.api.suites import AttentionSpec, Case, Problem, draw, draw_cotangents
from attnbench.backends.discover import backend
from attnbench.precheck.triton.interpreted import FORWARD, REVERSED, in_order, watch
from attnbench.precheck.triton.regions import Regions
from tests.impls.against_oracle import check_both_ways, observe

if (why := backend("triton").why_missing()) is not None:
    pytest.skip(why, allow_module_level=True)

ADDITIVE = AttentionSpec(score="additive")
BOTTOM = replace(ADDITIVE, causal=True, align="bottom_right")
SMALL = Problem(B=1, Hq=2, Hkv=1, Tq=19, S=35, D=3, Dv=3, Da=5, dtype="float32", seed=4)
CASES = {
    "positions": (replace(BOTTOM, window=(12, None)), replace(SMALL, operands=("sinks",))),
    "lengths": (BOTTOM, replace(SMALL, B=2, Hq=1, operands=("q_lengths", "kv_lengths", "segments"))),
    "capped": (replace(ADDITIVE, softcap=0.7, scale=(0.3, -2.0), window=(4, 9), align="top_left"), SMALL),
    "concat": (replace(ADDITIVE, score="concat"), replace(SMALL, Tq=1, Da=9)),
    "half": (BOTTOM, replace(SMALL, dtype="float16")),
}


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    from attnbench.impls.triton_backend.learned import additive

    def of(*_: object) -> additive.TileSizes:
        return additive.TileSizes(side=16, channels=16, step=16, chunk=2, chunks=2)

    monkeypatch.setattr(additive.TileSizes, "of", of)


@pytest.mark.parametrize(("spec", "problem"), CASES.values(), ids=CASES)
def test_it_agrees_with_the_oracle_both_ways(spec: AttentionSpec, problem: Problem) -> None:
    check_both_ways("triton/additive", spec, problem)


def test_two_runs_give_the_same_bits() -> None:
    problem = replace(SMALL, Hq=1, S=19)
    d_output, _ = draw_cotangents(Case(BOTTOM, problem, "backward"))
    seen = []
    for order in (FORWARD, REVERSED):  # sums by atomics would come in another order
        with watch(Regions(), in_order(order)):
            seen.append(observe("triton/additive", BOTTOM, draw(BOTTOM, problem), d_output))
    first, second = seen
    assert all(np.array_equal(first.gradients[name], second.gradients[name]) for name in first.gradients)


def test_a_nan_that_is_attended_is_seen() -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(size=(1, 1, 17, 3)).astype(np.float32) for _ in range(3))
    k[0, 0, 9, 1] = np.nan
    spec = replace(ADDITIVE, causal=True)
    params = ab.default_params(spec, heads=1, d=3, hidden=4)
    out = ab.attend(q, k, v, impl="triton/additive", spec=spec, params=params, outputs=("lse",))
    assert out.lse is not None
    assert np.array_equal(np.isnan(out.lse[0, 0]), np.arange(17) >= 9)
    assert np.array_equal(np.isnan(out.output[0, 0, :, 0]), np.arange(17) >= 9)


def test_tanh_is_right_to_the_last_places_however_small_its_argument() -> None:
    import torch

    from attnbench.impls.triton_backend.importing import launching
    from attnbench.impls.triton_backend.learned import additive, kernels

    sizes = np.concatenate([np.geomspace(1e-44, 30, 400), np.linspace(0.62, 0.63, 113)]).astype(np.float32)
    x = np.concatenate([sizes[:511], [0.0], -sizes[:511], [np.inf]]).astype(np.float32)
    # With one key, and one hidden unit of weight 1, the lse of query i is tanh(x_i).
    lse, zero, one = torch.empty(1, len(x)), torch.zeros(1, 1, 1), torch.ones(1, 1)
    places = torch.tensor([[0, len(x), 1]], dtype=torch.int32)
    given: dict[str, Any] = additive.TileSizes(side=64, channels=16, step=16, chunk=1, chunks=1).sizes() | {
        "query": torch.from_numpy(x).reshape(1, 1, -1), "key": zero, "values": zero, "weights": one, "places": places,
        "scales": torch.ones(1), "sinks": torch.full((1,), -np.inf), "q_segments": places, "kv_segments": places,
        "output": torch.empty(1, len(x), 1), "lse": lse, "heads": 1, "group": 1, "Tq": len(x), "S": 1, "n_units": 1,
        "Dv": 1, "left": 0, "right": 0, "softcap": 1.0, "HAS_LEFT": False, "HAS_RIGHT": False, "HAS_SEGMENTS": False,
        "HAS_CAP": False,
    }  # fmt: skip
    with launching():
        kernel = kernels.forward
        kernel[(len(x) // 64, 1)](**{name: given[name] for name in kernel.arg_names})
    truth = np.tanh(x.astype(np.float64))
    error = np.abs(lse[0].numpy() - truth)
    assert (error <= 4 * 2.0**-24 * np.abs(truth) + 1e-45).all()


def test_memory_grows_with_the_length_and_not_with_its_square(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the wrapper asks PyTorch for, forward and backward, with launches that compute nothing."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    from attnbench.impls.triton_backend.learned import additive

    class Largest(TorchDispatchMode):
        elements: int = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            del types
            result = function(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple) else (result,):
                self.elements = max(self.elements, tensor.numel() if isinstance(tensor, torch.Tensor) else 0)
            return result

    monkeypatch.setattr(additive.Launching, "launch", lambda *_, **__: None)

    def largest(length: int) -> int:
        problem = Problem(B=1, Hq=1, Tq=length, S=length, D=8, Da=16, dtype="float32")
        case = Case(ADDITIVE, problem, "backward")
        seen = Largest()  # type: ignore[no-untyped-call]  # PyTorch's has no types
        with seen:
            observe("triton/additive", ADDITIVE, draw(ADDITIVE, problem), draw_cotangents(case)[0])
        return seen.elements

    assert largest(256) <= 16 * 256
    assert largest(512) == 2 * largest(256)
