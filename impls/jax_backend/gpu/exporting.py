"""A call exported for a GPU that is not there (``jax.export``): JAX lowers it, down to the kernels of Pallas.

What XLA and the GPU's own compiler make of the program is not seen: there are no registers and no machine code in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
from jax import export

from attnbench.api import UnsupportedError
from attnbench.api.backends import Lowered
from attnbench.impls.jax_backend.doubles import WIDE, doubles

# Calls that JAX does not promise to keep between versions; nothing is kept here.
ANY_CALL = [export.DisabledSafetyCheck.custom_call(name) for name in ("mosaic_gpu_v2", "__gpu$xla.gpu.triton")]
CALLED = re.compile(r"custom_call @([\w$.]+)")
# What the kernels in a program are, for people.
KERNELS = {"mosaic_gpu_v2": "a kernel of Mosaic GPU (mosaic_gpu_v2)", "__gpu$xla.gpu.triton": "a kernel in Triton's IR"}
# JAX asks the GPU for its version of cuDNN before it lowers a call to it.
NO_LIBRARY = "cuDNN is not detected"
# As of this version a kernel of Pallas is lowered for a device: where there is none, for one that is described.
FOR_A_DEVICE = (0, 11)
DESCRIBED = "NVIDIA H100 80GB HBM3"


def _described(device: str) -> AbstractContextManager[Any]:
    """In it JAX lowers for a device that is not there."""
    if jax.__version_info__ < FOR_A_DEVICE:
        return nullcontext()
    gpu = jax.sharding.AbstractDevice(DESCRIBED, None, device)
    return jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((), (), abstract_device=gpu))


def exported(function: Callable[..., Any], given: tuple[Any, ...], device: str) -> Lowered:
    """What ``function`` becomes on arrays like those given. Raises ``UnsupportedError`` where only a GPU can tell."""
    leaves = jax.tree_util.tree_leaves(given)
    wide = any(str(array.dtype) in WIDE for array in leaves)
    with doubles() if wide else nullcontext():
        shapes = jax.tree_util.tree_map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), given)
        try:
            with _described(device):
                program = export.export(jax.jit(function), platforms=[device], disabled_checks=ANY_CALL)(*shapes)
        except RuntimeError as error:
            if NO_LIBRARY in str(error):
                msg = f"JAX lowers a call to cuDNN only where it is installed ({NO_LIBRARY})"
                raise UnsupportedError(msg) from error
            raise
    result = jax.tree_util.tree_unflatten(program.out_tree, program.out_avals)
    output, gradients = result if isinstance(result, tuple) else (result, {})
    arrays = dict(output.items()) | {f"d_{name}": array for name, array in gradients.items()}
    called = dict.fromkeys(CALLED.findall(program.mlir_module()))
    named = {name: (tuple(array.shape), str(array.dtype)) for name, array in arrays.items()}
    return Lowered(named, "jax.export", tuple(KERNELS.get(name, name) for name in called))
