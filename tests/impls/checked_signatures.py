"""A program: calls the implementations of a backend and the oracle, every array held to the shape in its signature.

jaxtyping's import hook puts a check by beartype around every function of ``attention``, ``backends`` and ``impls`` as
these are imported. Prints the names of what was called; a wrong array ends the program with jaxtyping's own error.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

import jaxtyping

ROOMS = ["attnbench.attention", "attnbench.backends", "attnbench.impls"]


class KernelFinder(MetaPathFinder):
    """Finds modules with kernels in Triton, and no others."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The plain module, if it has a kernel."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname.startswith("attnbench.impls.") else None
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return None
        return spec if "\n@triton.jit\n" in Path(spec.origin).read_text("utf-8") else None


def hooked(*others: str) -> Any:
    """Within it modules of these rooms, and others by name, are imported with checks around their functions.

    Annotations are read as a function is made. The names of jaxtyping, which modules import for type checkers alone,
    must be there by then. Modules of Triton's kernels are imported as they are: Triton compiles what stands in them.
    """
    for name in ("Bool", "Float", "Int", "Shaped"):
        setattr(builtins, name, getattr(jaxtyping, name))
    manager = jaxtyping.install_import_hook([*ROOMS, *others], "beartype.beartype")
    sys.meta_path.insert(0, KernelFinder())
    return manager


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
