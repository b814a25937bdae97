"""A binding takes other arrays without compiling again, answers rightly on them, and refuses those of another kind."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.check.boundaries import judge_case
from attnbench.api import AttentionSpec, Capabilities, implementation
from attnbench.api.suites import Case, Problem
from attnbench.attention.oracle import reference
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.backends.attend import resolve
from attnbench.backends.bind import Inputs, LastBinding, bind, bind_case, inputs_of
from attnbench.errors import AttnbenchError
from attnbench.measure.bench import Bench
from attnbench.suite import Cell

SPEC = AttentionSpec(score="additive", causal=True, scale=(0.5, -1.5, 2.0, 1.0), softcap=3.0)
OPERANDS = ("bias", "mask", "kv_lengths", "sinks")
CASE = Case(SPEC, Problem(B=2, Hq=4, Hkv=2, Tq=9, S=9, D=4, Da=3, operands=OPERANDS), "backward", ("lse",))
DECODE = Case(AttentionSpec(), Problem(B=2, Hq=4, Tq=1, S=9, D=4, dtype="bfloat16"), "decode")


def of_seed(case: Case, seed: int) -> Inputs:
    return inputs_of(case.with_problem(seed=seed))


def close(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got.astype(np.float64), expected, rtol=2e-2, atol=1e-2 if got.itemsize == 2 else 2e-5)


@pytest.mark.parametrize("case", [CASE, DECODE], ids=["backward", "decode"])
@pytest.mark.parametrize("name", ["numpy/naive", "torch/naive", "jax/naive"])
def test_other_values_are_computed_on_without_binding_again(name: str, case: Case) -> None:
    """q, k, v, cotangents, mask, bias, lengths, sinks, scale per head and learned parameters are all arguments."""
    pytest.importorskip(name.partition("/")[0])
    backend, kernel = resolve(name)
    first = bind_case(backend, kernel, case)
    for seed in (0, 1, 2):
        inputs = of_seed(case, seed)
        answer = first.on(inputs).answer()
        close(answer.output.output, reference(*inputs.qkv, inputs.call).output)
        if case.gradients:
            exact = reference_vjp(*inputs.qkv, inputs.call, inputs.d_output, inputs.d_lse)
            assert set(answer.grads) == set(exact)
            assert {"params.Wq", "bias", "sinks"} <= set(exact)
            for tensor, grad in answer.grads.items():
                close(grad, exact[tensor])


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_jax_compiles_once_for_all_values(dtype: str) -> None:
    pytest.importorskip("jax")
    from tests.backends.compilations import compilations

    backend, kernel = resolve("jax/naive")
    case = CASE.with_problem(dtype=dtype)
    binding = bind_case(backend, kernel, case)
    answers = [binding.on(of_seed(case, 0)).answer()]
    with compilations() as compiled:
        answers += [binding.on(of_seed(case, seed)).answer() for seed in (1, 2)]
    assert compiled == []
    assert len({answer.output.output.tobytes() for answer in answers}) == 3
    with compilations() as compiled:  # and the count can see one
        bind_case(backend, kernel, case)
    assert len(compiled) == 1


def test_a_gated_cell_is_compiled_once() -> None:
    """Bound, called, judged on cotangents of the sample, timed and judged again on other values: one program."""
    pytest.importorskip("jax")
    from tests.backends.compilations import compilations

    bench = Bench(lambda: resolve("jax/naive")[0])
    cell = Cell("none", {}, Case(AttentionSpec(), Problem(Hq=2, Tq=33, D=8), "backward"), "jax/naive")
    with compilations() as compiled:
        status, reason, _ = bench.prepare(cell.to_dict())
        assert status == "ok", reason
        bench.burst(cell.id, calls=2)
        status, reason, _ = bench.verify(cell.id)
        assert status == "ok", reason
    assert len(compiled) == 1


def test_cases_of_the_plan_that_differ_in_values_alone_share_a_program() -> None:
    """A program for the two of one kind, and another one for the third, whose mask has another shape."""
    pytest.importorskip("jax")
    from tests.backends.compilations import compilations

    backend, kernel = resolve("jax/naive")
    binding = LastBinding(backend, kernel)
    sizes = "B=2 Hq=3 Tq=21 S=27 D=11"
    for text, programs in (("operands=mask", 1), ("seed=4 operands=mask_tile", 0), ("operands=mask_keys", 1)):
        with compilations() as compiled:
            assert judge_case(backend, kernel, f"{sizes} {text}", binding=binding).status == "ok"
        assert len(compiled) == programs, text


def test_an_answer_kept_from_the_first_call_is_seen_in_jax_too() -> None:
    """A host callback that keeps what it computed first: right on the inputs that were timed, wrong on others."""
    pytest.importorskip("jax")
    import jax

    from attnbench.agree.judge.verify import KEPT, verify

    kept: list[Any] = []

    def cached(q: Any, k: Any, v: Any) -> Any:
        if not kept:
            weights = np.exp(np.einsum("bhtd,bhsd->bhts", q, k) * 0.5)
            kept.append(np.einsum("bhts,bhsd->bhtd", weights / weights.sum(-1, keepdims=True), v).astype(np.float32))
        return kept[0]

    @implementation("jax/cached", Capabilities())
    def attend(q: Any, k: Any, v: Any, call: Any) -> Any:
        del call
        return jax.pure_callback(cached, jax.ShapeDtypeStruct(q.shape, q.dtype), q, k, v)

    backend, _ = resolve("jax/naive")
    case = Case(AttentionSpec(), Problem(Tq=8, D=4))
    reason = verify(bind_case(backend, attend, case), case)
    assert reason is not None
    assert KEPT in reason


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        (lambda case: case.with_problem(Tq=8, S=8), "q is float32(2, 4, 8, 4) and was float32(2, 4, 9, 4)"),
        (lambda case: case.with_problem(dtype="float16"), "dtype is float16 and was float32"),
        (lambda case: replace(case, spec=replace(SPEC, causal=False)), "spec is"),
        (lambda case: case.with_problem(operands=("bias",)), "mask is not there and was bool"),
        (lambda case: replace(case, phase="forward"), "d_output is not there"),
        (lambda case: case.with_problem(operands=(*OPERANDS, "offset")), "offset is"),
        (lambda case: replace(case, outputs=()), "outputs is ()"),
    ],
)
def test_inputs_of_another_kind_are_refused_by_name(change: Any, phrase: str) -> None:
    backend, kernel = resolve("numpy/naive")
    with pytest.raises(AttnbenchError) as error:
        bind_case(backend, kernel, CASE).on(inputs_of(change(CASE)))
    assert phrase in str(error.value)


def test_a_binding_holds_its_arrays_and_what_is_bound_does_not() -> None:
    """So that what is kept compiled keeps no memory."""
    import gc
    import weakref

    backend, kernel = resolve("numpy/naive")
    binding = bind(backend, kernel, inputs_of(CASE))
    bound, native = binding.bound, weakref.ref(binding.native.q)
    del binding
    gc.collect()
    assert native() is None
    assert bound is not None
