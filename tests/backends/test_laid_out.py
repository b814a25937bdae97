"""A case's layout reaches the kernel: the strides it says, the same values, and nothing readable beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.diagnose.kind import LAYOUTS as TOLD
from attnbench.agree.diagnose.kind import diagnose
from attnbench.agree.judge.trial import Trial, trial
from attnbench.agree.judge.verify import verify
from attnbench.api import AttentionSpec
from attnbench.api.suites import Case, Problem
from attnbench.attention.precision import DTYPES
from attnbench.attention.problem import OPERAND_GROUPS
from attnbench.backends.attend import resolve
from attnbench.backends.backend import Backend
from attnbench.backends.bind import bind, bind_case, inputs_of
from attnbench.errors import SpecError

B, H, T, S, D = 2, 3, 5, 7, 4
LAYOUTS = [kind.removeprefix("layout_") for kind in OPERAND_GROUPS["layout"]]
# Strides in elements of q, k and v (B, H, T, D), and of mask and bias (B, H, T, S).
STRIDES: dict[str, Callable[[int, int], tuple[int, ...]]] = {
    "transposed": lambda t, last: (t * H * last, last, H * last, 1),
    "padded": lambda t, last: (H * t * (last + 8), t * (last + 8), last + 8, 1),
    "step": lambda t, last: (2 * H * t * last, 2 * t * last, 2 * last, 2),
    "offset": lambda t, last: (H * t * last, t * last, last, 1),
}
FRAMEWORKS = ["numpy/naive", "torch/naive"]


def case_of(layout: str, dtype: str = "float32", *operands: str, **changes: Any) -> Case:
    problem = Problem(B=B, Hq=H, Tq=T, S=S, D=D, dtype=dtype, operands=(f"layout_{layout}", *operands))
    return Case(AttentionSpec(), replace(problem, **changes), "backward")


def strides(array: Any) -> tuple[int, ...]:
    """In elements."""
    if isinstance(array, np.ndarray):
        return tuple(stride // array.itemsize for stride in array.strides)
    return tuple(array.stride())


def memory(array: Any) -> Any:
    """All the memory that an array is a view of, in float64."""
    if isinstance(array, np.ndarray):
        while isinstance(array.base, np.ndarray):
            array = array.base
        return array.astype(np.float64).ravel()
    return array.detach().as_strided((array.untyped_storage().nbytes() // array.itemsize,), (1,), 0).double().numpy()


def seen_by(name: str, case: Case) -> tuple[dict[str, Any], Trial]:
    """The arrays that a kernel gets, forward and backward, and how its case is judged."""
    pytest.importorskip(name.partition("/")[0])
    backend, naive = resolve(name)
    seen: dict[str, Any] = {}

    def attend(q: Any, k: Any, v: Any, call: Any) -> Any:
        for operand, array in {"q": q, "k": k, "v": v, "mask": call.mask, "bias": call.bias}.items():
            seen.setdefault(operand, array)  # of the first call: a trial makes another one on other values
        return naive.attend(q, k, v, call)

    def vjp(*given: Any) -> Any:
        seen.setdefault("d_output", given[4])
        assert naive.vjp is not None
        return naive.vjp(*given)

    kernel = replace(naive, attend=attend, vjp=vjp if naive.vjp else None)
    judged = trial(backend, kernel, case)
    if naive.vjp is None:
        seen["d_output"] = bind_case(backend, kernel, case).native.d_output
    return seen, judged


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", STRIDES)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_kernel_sees_the_strides_that_are_said(name: str, layout: str, dtype: str) -> None:
    case = case_of(layout, dtype, "mask", "bias")
    seen, judged = seen_by(name, case)
    assert judged.status == "ok", judged.reason
    of = STRIDES[layout]
    assert [strides(seen[x]) for x in ("q", "k", "v")] == [of(T, D), of(S, D), of(S, D)]
    assert [strides(seen[x]) for x in ("d_output", "mask", "bias")] == [of(T, D), of(T, S), of(T, S)]
    given = inputs_of(case).arrays()
    backend = resolve(name)[0]
    for operand, array in seen.items():
        np.testing.assert_array_equal(backend.to_numpy(array), given[operand], err_msg=operand)
        everything = memory(array)
        between = everything.size - given[operand].size
        if operand != "mask":
            assert np.isnan(everything).sum() == between, operand
        assert (between > 0) == (layout != "transposed"), operand


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_expanded_keys_and_values_lie_there_once(name: str, dtype: str) -> None:
    seen, judged = seen_by(name, case_of("expanded", dtype, "mask", B=3))
    assert judged.status == "ok", judged.reason
    for operand in "kv":
        assert strides(seen[operand])[0] == 0
        assert seen[operand].shape == (3, H, S, D)
        assert memory(seen[operand]).size == H * S * D
    assert strides(seen["q"]) == (H * T * D, T * D, D, 1)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_an_offset_is_odd(name: str) -> None:
    q = seen_by(name, case_of("offset"))[0]["q"]
    first = q.storage_offset() if hasattr(q, "storage_offset") else np.argmin(np.isnan(memory(q)))
    assert first == 1


def test_without_a_layout_everything_is_contiguous_as_it_was() -> None:
    seen, judged = seen_by("numpy/naive", case_of("step").in_contiguous_memory())
    assert judged.status == "ok"
    assert all(array.flags.c_contiguous for array in seen.values() if array is not None)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_numpy_arrays_cannot_be_written_through(layout: str) -> None:
    native = bind_case(*resolve("numpy/naive"), case_of(layout, "float32", "mask")).native
    assert not any(array.flags.writeable for array in native.arrays().values())


def test_a_framework_without_strides_leaves_its_arrays() -> None:
    array = object()
    assert all(Backend.laid_out(resolve("numpy/naive")[0], array, layout) is array for layout in LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_other_values_take_the_place_of_the_first(name: str, layout: str) -> None:
    """After the clock a binding is asked again on other inputs: in the same places, or in new ones."""
    pytest.importorskip(name.partition("/")[0])
    backend, kernel = resolve(name)
    case = case_of(layout)
    assert verify(bind_case(backend, kernel, case), case) is None
    other = inputs_of(case.with_problem(seed=1))
    binding = bind(backend, kernel, inputs_of(case)).on(other)
    assert strides(binding.native.k) == strides(bind_case(backend, kernel, case).native.k)
    np.testing.assert_array_equal(backend.to_numpy(binding.native.k), other.k)
    assert backend.overwrite(binding.native.k, other.k) == (layout != "expanded")


def test_keys_that_differ_are_not_expanded() -> None:
    backend, kernel = resolve("numpy/naive")
    inputs = inputs_of(case_of("expanded"))
    assert np.array_equal(inputs.k[0], inputs.k[1])
    other = replace(inputs, v=np.concatenate([inputs.v[:1], -inputs.v[1:]]))
    with pytest.raises(SpecError, match="v is not the same in every batch entry"):
        bind(backend, kernel, other)


@pytest.mark.parametrize("poison", ["nan", "garbage", "nan_key", "nan_value"])
def test_what_changes_the_keys_of_some_entries_cannot_stand_with_expanded_ones(poison: str) -> None:
    with pytest.raises(SpecError, match=f"all batch entries the same keys, and {poison} changes those of some"):
        case_of("expanded", "float32", "kv_lengths", poison)
    case_of("expanded", "float32", "kv_lengths", "nan_last_key")


def as_it_lies(array: Any) -> Any:
    """What a kernel reads that takes every array for contiguous: memory from its first element on."""
    import torch

    step = torch.empty(array.shape).stride()
    whole = array.as_strided((array.untyped_storage().nbytes() // array.itemsize,), (1,), 0)
    padded = torch.cat([whole, whole.new_zeros(array.numel())])[array.storage_offset() :]
    return padded.as_strided(array.shape, step)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_kernel_that_takes_all_memory_for_contiguous_is_wrong_and_told_why(layout: str) -> None:
    pytest.importorskip("torch")
    backend, naive = resolve("torch/naive")

    def attend(q: Any, k: Any, v: Any, call: Any) -> Any:
        if q.storage_offset():  # or a kernel that takes the start of the memory for that of the array
            q = q.as_strided(q.shape, q.stride(), 0)
        return naive.attend(as_it_lies(q), as_it_lies(k), as_it_lies(v), call)

    kernel, case = replace(naive, attend=attend), replace(case_of(layout), phase="forward")
    assert trial(backend, kernel, case.in_contiguous_memory()).status == "ok"
    assert trial(backend, kernel, case).status == "wrong"
    diagnosis = diagnose(backend, kernel, case)
    whose = "k" if layout == "expanded" else "q"
    assert diagnosis.sentence() == f"layout: right in contiguous memory, wrong where {whose} {TOLD[layout]}"


def test_the_array_is_named_whose_layout_it_is() -> None:
    backend, naive = resolve("numpy/naive")
    naive_vjp: Any = naive.vjp

    def vjp(q: Any, k: Any, v: Any, call: Any, d_output: Any, d_lse: Any) -> Any:
        as_it_is = np.ravel(d_output, order="K").reshape(d_output.shape)
        return naive_vjp(q, k, v, call, as_it_is, d_lse)

    diagnosis = diagnose(backend, replace(naive, vjp=vjp), case_of("transposed"))
    assert diagnosis.sentence() == f"layout: right in contiguous memory, wrong where d_output {TOLD['transposed']}"


def test_what_is_wrong_in_contiguous_memory_too_is_no_fault_of_the_layout() -> None:
    backend, naive = resolve("numpy/naive")
    causal = replace(AttentionSpec(), causal=True, align="top_left")

    def attend(q: Any, k: Any, v: Any, call: Any) -> Any:
        return naive.attend(q, k, v, replace(call, spec=AttentionSpec()))

    case = replace(case_of("padded"), spec=causal, phase="forward")
    assert diagnose(backend, replace(naive, attend=attend), case).kind == "causal"
