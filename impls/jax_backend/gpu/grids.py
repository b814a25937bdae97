"""The kernels of Pallas in a program with the grids that they are launched with, read off what JAX traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import jax

from attnbench.api.backends import KernelGrid
from attnbench.impls.jax_backend.doubles import WIDE, doubles

# A thread of Mosaic GPU is a warpgroup.
WARPS_OF_A_THREAD = 4


def grids(function: Callable[..., Any], given: tuple[Any, ...]) -> tuple[KernelGrid, ...]:
    """Those that ``function`` launches on a GPU for arrays like these; nothing is lowered or computed."""
    wide = any(str(array.dtype) in WIDE for array in jax.tree_util.tree_leaves(given))
    with doubles() if wide else nullcontext():
        shapes = jax.tree_util.tree_map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), given)
        program: Any = jax.jit(function).trace(*shapes).jaxpr
    return tuple(launched(program.jaxpr))


def launched(program: Any) -> Iterator[KernelGrid]:
    """The kernels of a program and of the programs in it; those that are interpreted are for a CPU."""
    for equation in program.eqns:
        params = equation.params
        if params.get("interpret"):
            continue
        meshes = [mesh for mesh in (*params.get("meshes", ()), params.get("mesh")) if hasattr(mesh, "grid")]
        if meshes:
            yield from (KernelGrid(named(params), tuple(mesh.grid), warps(mesh)) for mesh in meshes)
        elif (mapping := params.get("grid_mapping")) is not None:
            warped = getattr(params.get("compiler_params"), "num_warps", None)
            yield KernelGrid(named(params), tuple(mapping.grid), warped)
        else:
            for inner in within(params):
                yield from launched(inner)


def named(params: dict[str, Any]) -> str:
    """The kernel's name."""
    return str(params.get("name") or "a kernel")


def warps(mesh: Any) -> int | None:
    """Those of a block, where the mesh says its threads."""
    threads = getattr(mesh, "num_threads", None)
    return None if threads is None else threads * WARPS_OF_A_THREAD


def within(params: dict[str, Any]) -> Iterator[Any]:
    """The programs among the parameters of an operation."""
    for value in params.values():
        for each in value if isinstance(value, list | tuple) else (value,):
            inner = getattr(each, "jaxpr", each)
            if hasattr(inner, "eqns"):
                yield inner
