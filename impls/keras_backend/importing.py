"""Importing Keras with the backend that is meant, and without leaving anything behind in the user's home.

Keras reads KERAS_BACKEND once, when it is imported. A worker has it in its environment. In a user's own process it is
set for the import where nothing is set; what the user has set, or imported, is never overruled.
"""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnbench.api import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def keras_on(side: str) -> Any:
    """Keras, which computes with ``side`` (torch, jax or numpy); ``UsageError`` where it has, or is to have, another.

    Its tensors stand on the CPU; where a GPU is in sight, Keras on PyTorch would move them to it.
    """
    if "keras" in sys.modules:
        return _imported(side)
    given = os.environ.get("KERAS_BACKEND") or side
    if given != side:
        msg = f"KERAS_BACKEND={given} is set, and keras_{side} needs Keras on {side}; {_what_to_type(side)}"
        raise UsageError(msg)
    with _set({"KERAS_BACKEND": side, "KERAS_TORCH_DEVICE": "cpu"} | _home()):
        return importlib.import_module("keras")


def _imported(side: str) -> Any:
    keras = importlib.import_module("keras")
    there = keras.config.backend()
    if there != side:
        msg = (
            f"Keras is imported already in this process, on {there}, and it has one backend in a process; "
            f"keras_{side} needs {side}: {_what_to_type(side)}"
        )
        raise UsageError(msg)
    return keras


def _what_to_type(side: str) -> str:
    return f"start another process with KERAS_BACKEND={side} python YOUR_PROGRAM"


def _home() -> dict[str, str]:
    """Keras reads keras.json in its folder, and writes one where there is none; it then gets one that goes away."""
    if "KERAS_HOME" in os.environ or (Path.home() / ".keras" / "keras.json").exists():
        return {}
    folder = tempfile.mkdtemp(prefix="attnbench-keras-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return {"KERAS_HOME": folder}


@contextmanager
def _set(variables: Mapping[str, str]) -> Iterator[None]:
    """Within it these variables stand in the environment, those that are there already as they are."""
    absent = {name: value for name, value in variables.items() if not os.environ.get(name)}
    os.environ.update(absent)
    try:
        yield
    finally:
        for name in absent:
            os.environ.pop(name, None)
