"""float64 in JAX: switched on around what needs it, so that everything else runs as JAX's users run it.

JAX computes in float32 what is float64 unless ``jax_enable_x64`` is set, for the whole process or, as here, for one
thread and a while. With it on, integers and Python's numbers are wider in every other computation too.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDE = ("float64", "int64", "uint64", "complex128")


def doubles() -> AbstractContextManager[Any]:
    """Within it float64 is float64; then the user's own setting comes back."""
    if hasattr(jax, "enable_x64"):
        context: AbstractContextManager[Any] = jax.enable_x64(True)  # noqa: FBT003  (the only way to call it)
    else:
        from jax import experimental  # where it stood before it moved

        context = vars(experimental)["enable_x64"]()
    return context


def doubles_for(arrays: Iterable[Any]) -> AbstractContextManager[Any]:
    """``doubles`` where one of the arrays needs it; else the user's setting stands."""
    return doubles() if any(str(array.dtype) in WIDE for array in arrays) else nullcontext()
