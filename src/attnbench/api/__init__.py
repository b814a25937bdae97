"""What a kernel file imports: what to declare, what to decorate, what comes in and what goes out.

It costs the attention core and NumPy alone. What suites need is in ``attnbench.api.suites``, what a backend's adapter
needs in ``attnbench.api.backends``; a name of theirs asked for here is an ``ImportError`` that says so.
"""

import importlib
from typing import TYPE_CHECKING, NoReturn

from attnbench import layouts
from attnbench.call import Call, Sizes
from attnbench.errors import AttnbenchError, SpecError, UnsupportedError, UsageError
from attnbench.implementation import AttentionOutput, Capabilities, Implementation, Limit, implementation
from attnbench.precision import Precision, numpy_dtype
from attnbench.spec import AttentionSpec

__all__ = [
    "AttentionOutput",
    "AttentionSpec",
    "AttnbenchError",
    "Call",
    "Capabilities",
    "Implementation",
    "Limit",
    "Precision",
    "Sizes",
    "SpecError",
    "UnsupportedError",
    "UsageError",
    "implementation",
    "layouts",
    "numpy_dtype",
]

# The other faces, and who writes files that import them.
_FACES = {"suites": "a suite", "backends": "a backend's adapter"}

if not TYPE_CHECKING:  # a type checker is to say that a name is not there

    def __getattr__(name: str) -> NoReturn:
        """Say where a name is that is not here.

        Raises an ``ImportError`` and not an ``AttributeError``, whose message ``from attnbench.api import`` drops.
        """
        known = {} if name.startswith("_") or name in _FACES else _FACES
        there = [face for face in known if name in importlib.import_module(f"attnbench.api.{face}").__all__]
        if there:
            typed = "; ".join(f"in {_FACES[face]} type: from attnbench.api.{face} import {name}" for face in there)
            msg = f"attnbench.api holds what a kernel file needs, and not {name}; {typed}"
            raise ImportError(msg, name="attnbench.api")
        msg = f"module 'attnbench.api' has no attribute {name!r}"
        raise AttributeError(msg)
