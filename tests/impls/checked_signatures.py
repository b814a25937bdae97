"""A program: calls the implementations of a backend and the oracle, every array held to the shape in its signature.

jaxtyping's import hook puts a check by beartype around every function of ``attention``, ``backends`` and ``impls`` as
these are imported. Prints the names of what was called; a wrong array ends the program with jaxtyping's own error.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from typing import Any

import jaxtyping

ROOMS = ["attnbench.attention", "attnbench.backends", "attnbench.impls"]


def hooked(*others: str) -> Any:
    """Within it modules of these rooms, and others by name, are imported with checks around their functions.

    Annotations are read as a function is made. The names of jaxtyping, which modules import for type checkers alone,
    must be there by then.
    """
    for name in ("Bool", "Float", "Int", "Shaped"):
        setattr(builtins, name, getattr(jaxtyping, name))
    return jaxtyping.install_import_hook([*ROOMS, *others], "beartype.beartype")


def complete() -> None:
    """Import what modules import for type checkers alone: other names in annotations are looked up when called."""
    for name, module in list(sys.modules.items()):
        if name.startswith(tuple(ROOMS)) and getattr(module, "__file__", None):
            for statement in ast.parse(inspect.getsource(module)).body:
                if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
                    exec(compile(ast.Module(statement.body, []), name, "exec"), vars(module))  # noqa: S102  (ours)


def main(backend: str) -> None:
    """Call everything that a backend has."""
    with hooked():
        from tests.impls import signature_calls

        signature_calls.load(backend)
    complete()
    signature_calls.run(backend)


if __name__ == "__main__":
    main(sys.argv[1])
