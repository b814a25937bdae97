"""Circles of imports between files: whom a file imports, read from its text, and every way that leads back to it.

What counts as an import of one file by another:

* every `import` statement, wherever it stands: one inside a function is a need of the file as well, only a later one;
* but not one under `if TYPE_CHECKING:`, which never runs, nor a file's import of itself;
* `from package import x` is an import of the file `x` where `package` has one of that name, and of the package's
  `__init__` otherwise: then it is a name that the `__init__` defines or passes on;
* `import package.x` and `from package.x import y` lead to `package/x.py` and not to `package/__init__.py`, although
  Python runs that as well. A file of a package may so import its sibling while the `__init__` imports both; a file
  that asks its own package's `__init__` for a name, while that imports the file, is a circle.

A module's name as a string, for `importlib`, is no import here: it is how an `__init__` opens its lazy names.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

Graph = dict[str, set[str]]


def circles(folder: Path) -> list[list[str]]:
    """Return circles of imports among the Python files below a folder: a shortest one for each knot of files.

    A circle is a list of dotted names that ends where it begins. The folder is what stands on Python's path.
    """
    graph = imports(folder)
    found: list[list[str]] = []
    tied: set[str] = set()
    for start in sorted(graph):
        if start not in tied and (circle := _way_back(graph, start)):
            found.append(circle)
            tied |= {name for name in reached(graph, start) if start in reached(graph, name)}
    return found


def imports(folder: Path) -> Graph:
    """Return for every Python file below a folder, by its dotted name, the files below it that it imports."""
    files = {_name(file.relative_to(folder)): file for file in sorted(folder.rglob("*.py"))}
    return {name: set(_imported(name, file, set(files))) - {name} for name, file in files.items()}


def _name(file: Path) -> str:
    parts = file.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(name: str, file: Path, known: set[str]) -> Iterator[str]:
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for statement in _statements(ast.parse(file.read_text("utf-8"))):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names if alias.name in known)
            continue
        source = _absolute(statement, package)
        for alias in statement.names:
            target = f"{source}.{alias.name}" if f"{source}.{alias.name}" in known else source
            if target in known:
                yield target


def _absolute(statement: ast.ImportFrom, package: str) -> str:
    if not statement.level:
        return statement.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - statement.level + 1], *filter(None, [statement.module])])


def _statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import statement below a node that can run."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            yield from _statements(ast.Module(child.orelse, []))
        else:
            yield from _statements(child)


def _way_back(graph: Graph, start: str) -> list[str]:
    """Return a shortest way from a file to itself, both ends included; empty if there is none."""
    ways = [[start]]
    seen = {start}
    for way in ways:  # it grows while it is read: breadth first
        if start in graph[way[-1]]:
            return [*way, start]
        fresh = sorted(graph[way[-1]] - seen)
        seen.update(fresh)
        ways += [[*way, step] for step in fresh]
    return []


def reached(graph: Graph, start: str) -> set[str]:
    """What a name needs, by way of others or not; itself only where a circle leads back."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        fresh = graph[waiting.pop()] - seen
        seen |= fresh
        waiting += fresh
    return seen
