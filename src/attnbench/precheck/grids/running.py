"""The workers' side where there is a GPU: one call is made, and Triton says what the kernels are that it launched."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from unittest import mock

from attnbench.attention.problem import Case
from attnbench.backends import discover
from attnbench.backends.bind import bind
from attnbench.precheck.grids.shaped import shaped_inputs
from attnbench.precheck.triton.launches import Launch

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend

WORD = 4  # bytes; Triton counts memory of a thread in such


def launches_seen(backend: Backend, impl: str, files: list[str], case: dict[str, Any], device: str) -> dict[str, Any]:
    """``launches`` of one call on ``device``, in their order; none where Triton interprets its kernels."""
    jit = importlib.import_module("triton.runtime.jit")
    usual, launches = jit.JITFunction.run, []

    def run(kernel: Any, *args: Any, grid: Any, **options: Any) -> Any:
        compiled = usual(kernel, *args, grid=grid, **options)
        if compiled is not None:
            launches.append(described(compiled, kernel, grid))
        return compiled

    implementation = discover.load_implementation(impl, files)
    binding = bind(backend, implementation, shaped_inputs(Case.from_dict(case)), device)
    with mock.patch.object(jit.JITFunction, "run", run):
        binding.result()
    return {"launches": launches, "triton": backend.versions().get("triton")}


def described(compiled: Any, kernel: Any, grid: Any) -> dict[str, Any]:
    """A compiled kernel by the names that predictions have. Memory of a thread is what is spilled, and arrays."""
    spilled = getattr(compiled, "n_spills", None)
    return {
        "kernel": kernel.fn.__name__,
        "variant": variant_of(compiled, kernel),
        "grid": None if callable(grid) else [int(n) for n in grid],
        "registers": getattr(compiled, "n_regs", None),
        "spill_bytes": None if spilled is None else spilled * WORD,
        "shared_bytes": getattr(compiled.metadata, "shared", None),
        "num_warps": getattr(compiled.metadata, "num_warps", None),
        "num_stages": getattr(compiled.metadata, "num_stages", None),
    }


def variant_of(compiled: Any, kernel: Any) -> str | None:
    """The constants that it is compiled with, in the words of a prediction; versions of Triton differ in this."""
    with suppress(AttributeError, TypeError, KeyError, IndexError):
        source = compiled.src
        return Launch(kernel, source.signature, source.constants, {}, compiled.metadata, (), "").says
    return None
