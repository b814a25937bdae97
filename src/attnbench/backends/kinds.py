"""Whose arrays a call was given: NumPy's, PyTorch's or JAX's. What was given comes back.

No framework is imported to look: a type says which module it is from. What is no NumPy array is copied into one by its
framework's adapter, and answers are copied back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnbench.backends.backend import Backend
from attnbench.errors import SpecError

# The framework by the first word of the module that an array's type, or a type below it, is from.
FRAMEWORKS = {"torch": "torch", "jax": "jax", "jaxlib": "jax"}
CALLED = {"torch": "a PyTorch tensor", "jax": "a JAX array"}
DEVICES = {"cpu": "cpu", "cuda": "cuda", "gpu": "cuda"}


@dataclass(frozen=True)
class GivenKind:
    """The framework of a call's arrays (None: NumPy's), its adapter, and the device that q is on."""

    framework: str | None = None
    adapter: Backend | None = None
    device: str = "cpu"

    def numpy(self, given: Any, name: str = "") -> Any:
        """A value as NumPy has it: an array, a mapping of arrays; what is no array stays as it is.

        Raises ``SpecError`` for an array of another framework and for one that has no values to read.
        """
        if isinstance(given, Mapping):
            return {key: self.numpy(value, f"{name}[{key!r}]") for key, value in given.items()}
        framework = framework_of(given)
        if framework is None:
            return given
        if self.adapter is None or framework != self.framework:
            mine = CALLED[self.framework] if self.framework else "a NumPy array"
            msg = f"{name} is {CALLED[framework]} and q is {mine}: the arrays of a call are of one framework"
            raise SpecError(msg)
        readable(given, name)
        return self.adapter.to_numpy(given)

    def native(self, array: Any) -> Any:
        """An answer as the caller's framework has it, on the device that q is on."""
        if self.adapter is None or not isinstance(array, np.ndarray):
            return array
        return self.adapter.to_native(array, self.device)


NUMPY = GivenKind()


def framework_of(given: Any) -> str | None:
    """``torch`` or ``jax`` for an array of theirs, else None."""
    if isinstance(given, np.ndarray | np.generic | int | float | str | list | tuple | None):
        return None
    return framework_of_type(type(given)) if hasattr(given, "shape") else None


def framework_of_type(kind: type) -> str | None:
    """``torch`` or ``jax`` for a type that is theirs or stands on one of theirs, such as a module, else None."""
    names = (FRAMEWORKS.get(base.__module__.partition(".")[0]) for base in kind.__mro__)
    return next(filter(None, names), None)


def kind_of(q: Any, load: Callable[[str], Backend], name: str = "q") -> GivenKind:
    """Whose array q is; ``load`` brings an adapter by its backend's name."""
    framework = framework_of(q)
    return NUMPY if framework is None else GivenKind(framework, load(framework), readable(q, name))


def readable(given: Any, name: str) -> str:
    """Where an array of PyTorch or JAX is: ``cpu``, or ``cuda`` for the first GPU.

    Raises ``SpecError`` for any other place, for what has no values, and for a graph that would be lost without a word.
    """
    if any(base.__name__ == "Tracer" for base in type(given).__mro__):
        msg = f"{name} is being traced by JAX and has no values yet: call attnbench outside of jit, grad and vmap"
        raise SpecError(msg)
    if getattr(given, "requires_grad", False):
        msg = f"{name} asks for gradients, and no graph is kept: pass {name}.detach(), and take gradients from ab.vjp"
        raise SpecError(msg)
    if framework_of(given) == "torch":
        if str(given.layout) != "torch.strided":
            msg = f"{name} is a tensor of layout {given.layout}: pass {name}.to_dense()"
            raise SpecError(msg)
        place, number = given.device.type, given.device.index
    else:
        if not hasattr(given, "devices"):
            msg = f"{name} is a {type(given).__name__}, which has no values: pass an array"
            raise SpecError(msg)
        device = next(iter(given.devices()))
        place, number = device.platform, device.id
    if place not in DEVICES:
        msg = f"{name} is on {place!r}: the arrays of a call are on 'cpu' or 'cuda'"
        raise SpecError(msg)
    if DEVICES[place] == "cuda" and number:
        msg = f"{name} is on GPU {number}, and attnbench computes on the first one: move it there, or pass .cpu()"
        raise SpecError(msg)
    return DEVICES[place]
