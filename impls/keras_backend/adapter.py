"""What the adapters of Keras on PyTorch, JAX and NumPy have in common: Keras itself, conversion, the CPU alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.api import Array, UnsupportedError
from attnbench.api.backends import Backend
from attnbench.impls.keras_backend.importing import keras_on

if TYPE_CHECKING:
    from collections.abc import Hashable

    from jaxtyping import Shaped


class OnKeras(Backend):
    """Keras on one of its sides, named in ``side``; its tensors are those of that framework."""

    side: str

    def __init__(self) -> None:
        self.keras = keras_on(self.side)

    def versions(self) -> dict[str, str]:
        """Keras, and the framework that it computes with."""
        return {"keras": str(self.keras.__version__)} | self._versions_below()

    def _versions_below(self) -> dict[str, str]:
        return {}

    def devices(self) -> tuple[str, ...]:
        """The CPU only: Keras has not been tried on a GPU here."""
        return ("cpu",)

    def to_native(self, array: Shaped[Array, " *axes"], device: str = "cpu") -> Any:
        """A tensor of the same shape, dtype and values that owns its memory."""
        self.only_cpu(device)
        copy = np.array(array, order="C", copy=True)
        return self.keras.ops.convert_to_tensor(copy, dtype=copy.dtype.name)

    def to_numpy(self, native: Any) -> Shaped[Array, " *axes"]:
        """The values as a NumPy array of its own."""
        return np.array(self.keras.ops.convert_to_numpy(native))

    def wait(self, result: Any) -> None:
        """Nothing to wait for: what computes on the CPU as it is called has finished when it returns."""

    def settings(self) -> Hashable:
        """What Keras takes for a float where nobody says."""
        return str(self.keras.config.floatx())

    def only_cpu(self, device: str) -> None:
        """Raise ``UnsupportedError`` for any other device."""
        if device != "cpu":
            msg = f"{self.name} runs on the CPU only, not on {device!r}; choose --device cpu or another backend"
            raise UnsupportedError(msg)
