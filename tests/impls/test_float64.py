"""float64 is float64 throughout: no array on the way is narrower, forward and backward. And: run twice, same bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from attnbench.attention.call import Call, prepare
from attnbench.attention.inputs import draw, draw_cotangents
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import SCORES, AttentionSpec
from attnbench.backends.attend import load_backend, resolve
from attnbench.backends.bind import bind_case

EVERYTHING = ("mask", "bias", "sinks", "slopes", "kv_lengths", "segments")
CASES = [
    Case(
        AttentionSpec(score, scale="log_n", softcap=3.0, causal=True, window=(9, None), dropout=0.2),
        Problem(B=2, Hq=4, Hkv=2, Tq=8, D=6, Dv=5, Da=3, dtype="float64", operands=EVERYTHING),
        "backward",
        ("lse", "scores", "capped", "logits", "weights"),
    )
    for score in SCORES
]
NARROW = ("float32", "float16", "bfloat16")


def prepared(case: Case) -> tuple[Any, Any, Any, Call]:
    return prepare(case.spec, draw(case.spec, case.problem), case.outputs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.spec.score)
def test_jax(case: Case) -> None:
    jax = pytest.importorskip("jax")
    from attnbench.impls.jax_backend.doubles import doubles

    backend, kernel = resolve("jax/naive")
    *qkv, call = prepared(case)
    arrays = [backend.to_native(a) for a in (*qkv, *draw_cotangents(case))]
    native = call.map_arrays(backend.to_native)
    leaves = {n: a for n, a in native.arrays().items() if n in ("bias", "sinks", "params")}

    def both(q: Any, k: Any, v: Any, d_output: Any, d_lse: Any, leaves: Any) -> Any:
        def of(q: Any, k: Any, v: Any, leaves: Any) -> Any:
            out = kernel(q, k, v, native.with_arrays(leaves))
            return (out.output, out.lse), [array for _, array in out.items()]

        _, back, every = jax.vjp(of, q, k, v, leaves, has_aux=True)
        return every, back((d_output, d_lse))

    with doubles():
        dtypes = set(_dtypes(jax.make_jaxpr(both)(*arrays, leaves).jaxpr))
    assert "float64" in dtypes
    assert not dtypes & set(NARROW)


def _dtypes(jaxpr: Any) -> Iterator[str]:
    for equation in jaxpr.eqns:
        yield from (str(variable.aval.dtype) for variable in equation.outvars if hasattr(variable.aval, "dtype"))
        for value in equation.params.values():
            for inner in value if isinstance(value, (list, tuple)) else [value]:
                inner = getattr(inner, "jaxpr", inner)  # noqa: PLW2901  (a closed jaxpr holds one)
                if hasattr(inner, "eqns"):
                    yield from _dtypes(inner)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.spec.score)
def test_torch(case: Case) -> None:
    torch = pytest.importorskip("torch")
    from torch.utils._python_dispatch import TorchDispatchMode

    dtypes: set[Any] = set()

    class Record(TorchDispatchMode):  # type: ignore[misc, unused-ignore]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            del types
            result = func(*args, **(kwargs or {}))
            flat = result if isinstance(result, (list, tuple)) else [result]
            dtypes.update(leaf.dtype for leaf in flat if isinstance(leaf, torch.Tensor))
            return result

    backend, kernel = resolve("torch/naive")
    with Record():  # type: ignore[no-untyped-call]
        bind_case(backend, kernel, case).result()
    assert torch.float64 in dtypes
    assert not dtypes & {torch.float32, torch.float16, torch.bfloat16}


@pytest.mark.parametrize(
    "name", ["numpy/naive", "numpy/blocked", "torch/naive", "torch/sdpa", "jax/naive", "jax/nn-xla"]
)
def test_run_twice_same_bits(name: str) -> None:
    pytest.importorskip(name.partition("/")[0])
    backend, kernel = resolve(name)
    case = Case(AttentionSpec(), Problem(B=2, Hq=4, Tq=33, S=65, D=16), "backward")
    runs = [bind_case(backend, kernel, case).result() for _ in range(2)]
    for name_, first in runs[0][1].items():
        assert np.array_equal(backend.to_numpy(first), backend.to_numpy(runs[1][1][name_])), name_
    outputs = [load_backend(kernel.backend).to_numpy(run[0].output) for run in runs]
    assert np.array_equal(outputs[0], outputs[1])
