"""Arrays in a file, to be handed from one process to another: a line of JSON that describes them, then their bytes.

Nothing in such a file can run: what a kernel's process has written is read as names, dtypes, shapes and bytes alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.precision import DTYPES, numpy_dtype
from attnbench.errors import AttnbenchError

if TYPE_CHECKING:
    from jaxtyping import Shaped

OTHERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
LONGEST_HEADER = 1 << 16


class ShelfError(AttnbenchError):
    """A file that holds no arrays as ``put`` writes them."""


def put(path: Path, arrays: Mapping[str, Shaped[Array, " ..."]]) -> int:
    """Write arrays; the bytes written. Dtypes are those of the spec, bool and integers, in this machine's order."""
    described = {name: [array.dtype.name, list(array.shape)] for name, array in arrays.items()}
    with path.open("wb") as file:
        file.write(json.dumps(described).encode() + b"\n")
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return file.tell()


def take(path: Path, digest: Any = None) -> dict[str, Shaped[Array, " ..."]]:
    """The arrays of a file, each in memory of its own. Raises ``ShelfError`` for what is none.

    ``digest`` (of ``hashlib``) is given what was read: the file may be another one a moment later.
    """
    try:
        with path.open("rb") as file:
            line = file.readline(LONGEST_HEADER)
            described = json.loads(line)
            arrays = {name: _read(file, dtype, tuple(shape)) for name, (dtype, shape) in described.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        msg = f"{path.name} holds no arrays: {error}"
        raise ShelfError(msg) from error
    if digest is not None:
        digest.update(line)
        for array in arrays.values():
            digest.update(array.reshape(-1).view(np.uint8).data)
    return arrays


def _read(file: Any, name: str, shape: tuple[int, ...]) -> Array:
    if name not in (*DTYPES, *OTHERS):
        msg = f"an array of {name!r}"
        raise ValueError(msg)
    array = np.empty(shape, numpy_dtype(name) if name in DTYPES else np.dtype(name))
    wanted = array.reshape(-1).view(np.uint8).data
    if file.readinto(wanted) != len(wanted):
        msg = f"it ends before {name}{list(shape)} does"
        raise ValueError(msg)
    return array
