"""Small tensors without memory that PyTorch fills: their values are kept in twins on the CPU.

A kernel that reads how many keys a batch entry has, from a tensor that its own Python has filled, would read 0 of a
tensor without memory, and would do nothing. What is done to small tensors is done to their twins as well; where that
cannot be followed, a tensor has none, and 0 is read.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from attnbench.precheck.triton.interpreted import EMPTY, written_by

MOST = 1 << 18  # elements of a tensor that is small
META = "meta"


class Twins:
    """The storages of small tensors without memory, with the storages that have their values."""

    def __init__(self) -> None:
        self._torch = importlib.import_module("torch")
        self._pairs: dict[int, tuple[Any, Any]] = {}  # by what tells storages apart; the first is kept, to stay the one

    def storage(self, storage: Any) -> Any:
        """The twin of a storage, or itself."""
        return self._pairs.get(storage._cdata, (storage, storage))[1]  # noqa: SLF001  (the same as in ``Regions``)

    @contextmanager
    def following(self) -> Iterator[None]:
        """What PyTorch does to tensors without memory is done to their twins."""
        base: Any = importlib.import_module("torch.utils._python_dispatch").TorchDispatchMode

        def dispatch(_self: Any, function: Any, _types: Any, args: Any = (), options: Any = None) -> Any:
            made = function(*args, **(options or {}))
            self._follow(function, args, options or {}, made)
            return made

        mode = type("Following", (base,), {"__torch_dispatch__": dispatch})
        with mode():
            yield

    def _follow(self, function: Any, args: Sequence[Any], options: dict[str, Any], made: Any) -> None:
        if function.overloadpacket.__name__ in EMPTY:
            self._begin(made)
            return
        small = [*written_by(function, args, options), made]
        try:
            result = self._on_twins(function, args, options) if any(map(self._is_small, small)) else None
        except Exception:  # noqa: BLE001  (whatever the reason, the values are not known)
            result = None
        if result is None:
            for tensor in written_by(function, args, options):
                self._forget(tensor)
        elif self._is_small(made) and not self._has_twin(made) and made.stride() == result.stride():
            self._keep(made, result)

    def _on_twins(self, function: Any, args: Sequence[Any], options: dict[str, Any]) -> Any:
        """The same operation on twins, or on the CPU; ``None`` where one of its tensors has no twin."""
        tree = importlib.import_module("torch.utils._pytree")
        if "device" in options:
            options = {**options, "device": "cpu"}
        flat, shape = tree.tree_flatten((args, options))
        if not all(self._has_twin(each) for each in flat if self._is_without_memory(each)):
            return None
        flat = [self._twin(each) if self._is_without_memory(each) else each for each in flat]
        twin_args, twin_options = tree.tree_unflatten(flat, shape)
        return function(*twin_args, **twin_options)

    def _begin(self, made: Any) -> None:
        if self._is_small(made):
            self._keep(made, self._torch.zeros(made.untyped_storage().nbytes(), dtype=self._torch.uint8))

    def _keep(self, made: Any, values: Any) -> None:
        storage = made.untyped_storage()
        self._pairs[storage._cdata] = (storage, values.untyped_storage())  # noqa: SLF001  (as above)

    def _forget(self, tensor: Any) -> None:
        self._pairs.pop(tensor.untyped_storage()._cdata, None)  # noqa: SLF001  (as above)

    def _twin(self, tensor: Any) -> Any:
        twin = self._torch.empty(0, dtype=tensor.dtype)
        return twin.set_(self.storage(tensor.untyped_storage()), tensor.storage_offset(), tensor.shape, tensor.stride())

    def _has_twin(self, tensor: Any) -> bool:
        return tensor.untyped_storage()._cdata in self._pairs  # noqa: SLF001  (as above)

    def _is_small(self, tensor: Any) -> bool:
        return self._is_without_memory(tensor) and tensor.numel() <= MOST

    def _is_without_memory(self, value: Any) -> bool:
        return isinstance(value, self._torch.Tensor) and value.device.type == META
