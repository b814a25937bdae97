"""The worker's side: every feature that is claimed, lowered by its framework for a GPU that is not there.

What comes back is held to what was asked: each array's shape and dtype. Values are not computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.by_feature import CheckCase, check_cases
from attnbench.agree.cases.case_text import case_text
from attnbench.attention.needs import with_operands
from attnbench.attention.precision import wide
from attnbench.backends import discover
from attnbench.backends.answers import gradient_names
from attnbench.backends.bind import Inputs, inputs_of
from attnbench.errors import UnsupportedError
from attnbench.precheck.triton.launches import launching_nothing
from attnbench.precheck.triton.standin import wants_a_gpu, words_of

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

GPU, TORCH = "cuda", "torch"
REASON = 200
Shapes = dict[str, tuple[tuple[int, ...], str]]


def lowered(backend: Backend, impl: str, files: list[str], dtype: str) -> dict[str, Any]:
    """What becomes of each supported case of ``attnbench check`` in one dtype.

    ``failed`` and ``untold`` say why, by feature, with the first case of each reason; ``kernels`` counts the cases
    whose program has each kernel.
    """
    implementation = discover.load_implementation(impl, files)
    claimed = claimed_dtypes(implementation)
    summary: dict[str, Any] = {
        "claimed": list(claimed),
        "cases": 0,
        "features": [],
        "failed": [],
        "untold": [],
        "by": None,
    }
    kernels: Counter[str] = Counter()
    for each, inputs in _cases(implementation, dtype) if dtype in claimed else ():
        summary["cases"] += 1
        about = {"feature": each.feature, "case": case_text(each.case)}
        try:
            with launching_nothing():
                seen = backend.lowered(implementation, *inputs.qkv, inputs.call, device=GPU, **inputs.cotangents)
        except UnsupportedError as error:
            summary["untold"].append({**about, "reason": _line(error)})
            continue
        except Exception as error:  # noqa: BLE001  (a kernel may raise anything)
            kind = "untold" if implementation.backend == TORCH and wants_a_gpu(error) else "failed"
            summary[kind].append({**about, "reason": f"{type(error).__name__}: {_line(error)}"})
            continue
        if why := difference(dict(seen.arrays), expected(inputs)):
            summary["failed"].append({**about, "reason": why})
            continue
        summary["features"] += [] if each.feature in summary["features"] else [each.feature]
        summary["by"] = seen.by
        kernels.update(seen.kernels)
    return {**summary, "kernels": dict(kernels)}


def _cases(implementation: Implementation, dtype: str) -> Iterator[tuple[CheckCase, Inputs]]:
    """The supported cases; of what takes long to trace, the last of each feature."""
    chosen: dict[object, tuple[CheckCase, Inputs]] = {}
    for number, (each, inputs) in enumerate(supported_cases(implementation, dtype)):
        chosen[each.feature if implementation.compiled else number] = (each, inputs)
    yield from chosen.values()


def claimed_dtypes(implementation: Implementation) -> tuple[str, ...]:
    """Those that are claimed on a GPU; none where no GPU is claimed."""
    can = implementation.capabilities_on(GPU)
    return can.dtypes if GPU in can.devices else ()


def supported_cases(
    implementation: Implementation, dtype: str, more: Iterable[CheckCase] = ()
) -> Iterator[tuple[CheckCase, Inputs]]:
    """The cases of every feature that are claimed on a GPU, forward alone where there are no gradients; then ``more``.

    Of these too only what is claimed is kept.
    """
    for each in (*check_cases(dtype), *more):
        if each.case.gradients and not implementation.has_gradients(GPU):
            each = replace(each, case=replace(each.case, phase="forward"))  # noqa: PLW2901
        inputs = inputs_of(each.case)
        needs = with_operands(inputs.call.needs(GPU, gradients=each.case.gradients), each.case.problem.operands)
        if implementation.unsupported(needs) is None:
            yield each, inputs


def expected(inputs: Inputs) -> Shapes:
    """Shape and dtype of every array that a call is to return, by name."""
    call, sizes = inputs.call, inputs.call.sizes
    rows, level = (sizes.B, sizes.Hq, sizes.Tq), wide(call.dtype)
    named: Shapes = {"output": ((*rows, sizes.Dv), call.dtype)}
    named |= {name: (rows if name == "lse" else (*rows, sizes.S), level) for name in call.outputs}
    if inputs.gradients:
        given = inputs.arrays()
        named |= {f"d_{name}": (given[name].shape, given[name].dtype.name) for name in gradient_names(call)}
    return named


def difference(seen: Shapes, wanted: Shapes) -> str | None:
    """The first array that is not as it should be, in words; what was not asked for is not looked at."""
    for name, (shape, dtype) in wanted.items():
        if name not in seen:
            return f"{name} is missing"
        if tuple(seen[name][0]) != tuple(shape):
            return f"{name} has shape {tuple(seen[name][0])}, and not {tuple(shape)}"
        if seen[name][1] not in (dtype, *(("float64",) if name in ("lse", "scores", "weights") else ())):
            return f"{name} is {seen[name][1]}, and not {dtype}"
    return None


def _line(error: BaseException) -> str:
    return words_of(error)[:REASON]
