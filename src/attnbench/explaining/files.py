"""Arrays from files: ``.npy``, ``.npz``, ``.safetensors``, and ``.pt`` of plain tensors. Nothing in a file is run."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from attnbench.attention.arrays import Array
from attnbench.attention.precision import numpy_dtype
from attnbench.backends.attend import load_backend
from attnbench.errors import AttnbenchError, MissingExtraError, UsageError, suggest

Named = Mapping[str, Array]
# What safetensors calls the types that an array of a call can have.
SAFETENSORS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "BOOL": "bool",
    **{f"{kind}{bits}": f"{name}{bits}" for kind, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)},
}


class ArrayFiles:
    """Files that arrays come from; each is read once. ``notes`` says what a reader of the answer should know."""

    def __init__(self) -> None:
        self._read: dict[Path, Named] = {}
        self.notes: list[str] = []

    def array(self, option: str, place: str, called: Sequence[str] = ()) -> Array:
        """The array that ``option`` names as ``FILE`` or, of a file with several, as ``FILE:NAME``.

        Of a file with several arrays and no NAME it is the first of ``called`` that is there; if not given, the one
        that is called like the option.
        """
        path, name = _split(place)
        arrays = self._arrays(option, path)
        if not name and len(arrays) == 1:
            return next(iter(arrays.values()))
        wanted = [name] if name else called or [option.lstrip("-").replace("-", "_")]
        for each in wanted:
            if each in arrays:
                return arrays[each]
        names = ", ".join(arrays) or "none"
        typed = f"{option}{'=' if called else ' '}{path}:NAME"
        none = f"no array {' or '.join(map(repr, wanted))}{suggest(wanted[0], arrays)}"
        msg = f"{option}: {path} holds {none}; it has {names}. Type {typed}"
        raise UsageError(msg)

    def _arrays(self, option: str, path: Path) -> Named:
        if path not in self._read:
            if not path.is_file():
                what = "is a folder" if path.is_dir() else "is not there"
                msg = f"{option}: the file {path} {what}"
                raise UsageError(msg)
            read = READERS.get(path.suffix.lower())
            if read is None:
                msg = (
                    f"{option}: {path} is not one of {', '.join(READERS)}: save plain arrays with numpy.save or as one"
                )
                raise UsageError(f"{msg} of the others")
            try:
                self._read[path] = read(path)
            except (MemoryError, MissingExtraError):
                raise
            except Exception as error:
                why = next(iter(str(error).strip().splitlines()), type(error).__name__)
                msg = f"{option}: {path} cannot be read as plain arrays ({path.suffix}): {why}"
                raise UsageError(msg) from error
            self._note_bfloat16(path)
        return self._read[path]

    def _note_bfloat16(self, path: Path) -> None:
        """NumPy saves bfloat16 as two bytes without a name; nothing else that attention has is saved so."""
        arrays = self._read[path]
        nameless = [name for name, array in arrays.items() if array.dtype == np.dtype("V2")]
        if nameless:
            self._read[path] = {
                name: array.view(numpy_dtype("bfloat16")) if name in nameless else array
                for name, array in arrays.items()
            }
            self.notes.append(f"{path}: two bytes without a name, as NumPy saves bfloat16, are read as bfloat16")


def _split(place: str) -> tuple[Path, str]:
    """A file, and the name of an array in it where one is given."""
    path, colon, name = place.rpartition(":")
    if not colon or Path(place).is_file() or not Path(path).suffix:
        return Path(place), ""
    return Path(path), name


def _npy(path: Path) -> Named:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return {path.stem: np.asarray(array)}


def _npz(path: Path) -> Named:
    if not zipfile.is_zipfile(path):
        msg = "it is no .npz archive"
        raise ValueError(msg)
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _safetensors(path: Path) -> Named:
    try:
        from safetensors import deserialize
    except ImportError as error:
        msg = f"{path} is a .safetensors file"
        raise MissingExtraError(msg, "safetensors") from error
    return {name: _of_bytes(name, tensor) for name, tensor in deserialize(path.read_bytes())}  # type: ignore[no-untyped-call]


def _of_bytes(name: str, tensor: Mapping[str, Any]) -> Array:
    if tensor["dtype"] not in SAFETENSORS:
        msg = f"{name} has the type {tensor['dtype']}; known are {', '.join(SAFETENSORS)}"
        raise ValueError(msg)
    dtype = SAFETENSORS[tensor["dtype"]]
    kind = numpy_dtype(dtype) if dtype == "bfloat16" else np.dtype(dtype)
    return np.frombuffer(tensor["data"], kind).reshape(tensor["shape"])


def _pt(path: Path) -> Named:
    try:
        return load_backend("torch").arrays_in(path)
    except AttnbenchError:
        raise
    except Exception as error:
        msg = "it holds something else than plain tensors, and nothing else is loaded: save a tensor or a dict of them"
        raise ValueError(msg) from error


READERS: dict[str, Callable[[Path], Named]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".pt": _pt,
    ".pth": _pt,
}
