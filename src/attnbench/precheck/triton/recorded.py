"""An implementation called on a GPU that is not there: its launches, compiled for one architecture."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from attnbench.agree.cases.case_text import case_from_text, case_text
from attnbench.backends import discover
from attnbench.backends.bind import bind_case
from attnbench.errors import is_refusal
from attnbench.precheck.triton.cases import GPU, launched
from attnbench.precheck.triton.launches import LaunchRecorder, call_once
from attnbench.precheck.triton.machine import compiled
from attnbench.precheck.triton.standin import standing_in, wants_a_gpu, words_of

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend

REASON = 300
FOREIGN = ("attnbench", "jax", "numpy", "torch", "triton")  # what launches no kernel of somebody's file by itself


def machine_code(
    backend: Backend, impl: str, files: list[str], arch: str, dtype: str, cases: Sequence[str] | None = None
) -> dict[str, Any]:
    """Every variant of every kernel that is launched in one dtype, in ``cases`` alone where they are given.

    ``failed`` says which calls raised, and what; ``untold`` those that raised because there is no GPU; ``kernels`` are
    those that it could launch.
    """
    recorder, raised = LaunchRecorder(), dict[str, dict[str, str]](failed={}, untold={})
    with standing_in(arch, call_once):
        implementation = discover.load_implementation(impl, files)
        claimed = implementation.capabilities_on(GPU).dtypes
        chosen = [case_from_text(text) for text in cases or ()]
        if cases is None and dtype in claimed:
            chosen = [each.case for each in launched(implementation, dtype)]
        for case in chosen:
            recorder.case = case_text(case)
            binding = bind_case(backend, implementation, case, "cpu")
            with recorder.recording():
                try:
                    binding.result()
                except Exception as error:  # noqa: BLE001  (a kernel may raise anything)
                    if not is_refusal(error):
                        kind = "untold" if wants_a_gpu(error) else "failed"
                        raised[kind][recorder.case] = f"{type(error).__name__}: {words_of(error)}"[:REASON]
        variants = [variant.to_dict() for variant in compiled(recorder.launches, arch)]
    kernels = sorted(reachable(implementation.attend, implementation.vjp))
    return {"claimed": list(claimed), "cases": len(chosen), "variants": variants, "kernels": kernels, **raised}


def reachable(*starts: Any) -> set[str]:
    """The names of the kernels that these functions could launch: those that they name, or functions that they name."""
    kinds = _launchable()
    kernels, seen, left = set[str](), set[int](), list(starts)
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, kinds):
            while not hasattr(value, "__name__") and hasattr(value, "fn"):
                value = value.fn
            kernels.add(str(getattr(value, "__name__", value)))
        elif isinstance(value, type) and _own(value):
            left += vars(value).values()
        else:
            left += _named_by(value)
    return kernels


def _launchable() -> tuple[type, ...]:
    jit = importlib.import_module("triton.runtime.jit")
    return (jit.KernelInterface, importlib.import_module("triton.runtime.interpreter").InterpretedFunction)


def _own(value: Any) -> bool:
    """Whether it is neither Python's, nor a framework's, nor ours."""
    root = str(getattr(value, "__module__", None) or getattr(value, "__name__", "")).partition(".")[0]
    return root not in sys.stdlib_module_names and root not in FOREIGN


def _named_by(value: Any) -> list[Any]:
    """What a function names: of its module, of modules that it names, and of the functions around it."""
    function = getattr(value, "__func__", getattr(value, "func", value))
    if not isinstance(function, FunctionType) or not _own(function):
        return []
    codes = [function.__code__]
    for code in codes:
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    names = {name for code in codes for name in code.co_names}
    values = [function.__globals__[name] for name in names if name in function.__globals__]
    modules = [module for module in values if isinstance(module, ModuleType) and _own(module)]
    values += [getattr(module, name) for module in modules for name in names if hasattr(module, name)]
    inner = getattr(function, "__wrapped__", None)
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # a name that has no value yet
            values.append(cell.cell_contents)
    return [*values, inner]
