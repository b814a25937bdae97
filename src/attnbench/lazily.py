"""Names of a module that are loaded when somebody asks for them (PEP 562), so that asking what there is stays cheap."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def loader(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module: ``homes`` maps each of its lazy names to the module that defines it.

    A name can stand for the module itself: ``layouts`` with the home ``attention.layouts``, where nothing of that name
    is defined. What has been loaded stays.
    """

    def load(name: str) -> Any:
        """The value of a lazy name, which stays in the module. Raises ``AttributeError`` for any other."""
        if name not in homes:
            msg = f"module {module!r} has no attribute {name!r}"
            raise AttributeError(msg)
        home = importlib.import_module(homes[name])
        value = getattr(home, name, home) if homes[name].endswith(f".{name}") else getattr(home, name)
        setattr(sys.modules[module], name, value)
        return value

    return load
