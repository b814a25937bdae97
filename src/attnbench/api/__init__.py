"""What a kernel file imports: what to declare, what to decorate, what comes in and what goes out.

It costs declarations alone; NumPy and the attention core are loaded with the first name that needs them. What suites
need is in ``attnbench.api.suites``, what a backend's adapter needs in ``attnbench.api.backends``; a name of theirs
asked for here is an ``ImportError`` that says so.
"""

import importlib
from typing import TYPE_CHECKING, Any

from attnbench.attention.precision import Precision, numpy_dtype
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.implementation import AttentionOutput, Capabilities, Implementation, Limit, implementation
from attnbench.errors import AttnbenchError, SpecError, UnsupportedError, UsageError
from attnbench.lazily import loader

if TYPE_CHECKING:
    from attnbench.attention import layouts
    from attnbench.attention.arrays import Array
    from attnbench.attention.call import Call, Sizes

__all__ = [
    "Array",
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

_LAZY = {
    "Array": "attnbench.attention.arrays",
    "Call": "attnbench.attention.call",
    "Sizes": "attnbench.attention.call",
    "layouts": "attnbench.attention.layouts",
}
_loaded = loader(__name__, _LAZY)

# The other faces, and who writes files that import them.
_FACES = {"suites": "a suite", "backends": "a backend's adapter"}

if not TYPE_CHECKING:  # a type checker is to say that a name is not there

    def __getattr__(name: str) -> Any:
        """Load a name, or say where it is if it is not here.

        Raises an ``ImportError`` and not an ``AttributeError``, whose message ``from attnbench.api import`` drops.
        """
        known = {} if name.startswith("_") or name in {*_LAZY, *_FACES} else _FACES
        there = [face for face in known if name in importlib.import_module(f"attnbench.api.{face}").__all__]
        if there:
            typed = "; ".join(f"in {_FACES[face]} type: from attnbench.api.{face} import {name}" for face in there)
            msg = f"attnbench.api holds what a kernel file needs, and not {name}; {typed}"
            raise ImportError(msg, name="attnbench.api")
        return _loaded(name)
