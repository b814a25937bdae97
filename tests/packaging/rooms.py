"""The rooms of `src/attnbench`: who imports whom, drawn in `docs/architecture.md`, and what a room may hold.

`python -m tests.docs.write architecture` draws the figures again. A room is a folder, or a file that stands beside the
rooms, such as `groups.py`. A file's imports are those that `circles.py` counts.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.packaging.circles import Graph, reached
from tests.repository import REPOSITORY

PAGE = REPOSITORY / "docs" / "architecture.md"
# Everybody may import these, so that an arrow to them says nothing.
UNDRAWN = ("errors", "keywords", "lazily", "versions", "__main__")
WITHIN = ("agree", "measure")  # rooms with rooms, drawn by themselves

VAGUE = ("found", "one", "own", "told", "asked", "here")

MOST_MODULES, MOST_COMMANDS, MOST_LINES, LONGEST = 14, 28, 400, 60


def rooms(graph: Graph, within: str = "") -> Graph:
    """Whom each room imports, of the rooms directly below `within`, by names without what they begin with."""
    start = ".".join(filter(None, ["attnbench", within])) + "."
    folders = {name.rpartition(".")[0] for name in graph}

    def room(name: str) -> str:
        rest = name.removeprefix(start).split(".")
        # A file beside rooms is one of its own; only at the top is it drawn.
        return rest[0] if not within or f"{start}{rest[0]}" in folders else ""

    drawn: Graph = {}
    for name, needed in graph.items():
        if name.startswith(start):
            drawn.setdefault(room(name), set()).update(room(other) for other in needed if other.startswith(start))
    return {name: needed - {name} for name, needed in drawn.items()}


def knots(graph: Graph) -> list[str]:
    """Pairs of rooms each of which needs the other, by way of others or not."""
    needs = {name: reached(graph, name) for name in graph}
    return [f"{a} and {b}" for a in sorted(graph) for b in sorted(needs[a]) if a < b and a in needs.get(b, ())]


def direct(graph: Graph) -> Graph:
    """The arrows that say something: those that no way over other rooms says as well."""
    return {
        name: {room for room in needed if not any(room in reached(graph, other) for other in needed - {room})}
        for name, needed in graph.items()
    }


def drawn(graph: Graph) -> str:
    """A graph of rooms as Mermaid draws it: an arrow leads to what is imported; implied ones are left out."""
    names = sorted(name for name in graph if name and name not in UNDRAWN)
    kept = {name: graph[name] & set(names) for name in names}
    arrows = [f"    {name} --> {' & '.join(sorted(needed))}" for name, needed in direct(kept).items() if needed]
    alone = [f"    {name}" for name in names if not kept[name] and not any(name in needed for needed in kept.values())]
    return "\n".join(["```mermaid", "flowchart TD", *arrows, *alone, "```"])


def figures(graph: Graph) -> dict[str, str]:
    """The figures of the page by the names of their markers, of the graph of all files (`circles.imports`)."""
    return {"rooms": drawn(rooms(graph)), **{f"rooms of {room}": drawn(rooms(graph, room)) for room in WITHIN}}


def fill(text: str, name: str, figure: str) -> str:
    """The page with a figure between its markers."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not closed:
        msg = f"{PAGE.name} has no markers for {name!r}"
        raise ValueError(msg)
    return f"{before}{begin}\n{figure}\n{end}{after}"


def crowded(folder: Path) -> list[str]:
    """Folders below `src/attnbench` with more modules than a reader can hold in mind."""
    lines = []
    for room in sorted({file.parent for file in folder.rglob("*.py")}):
        count = sum(file.name != "__init__.py" for file in room.glob("*.py"))
        most = MOST_COMMANDS if room.name == "commands" else MOST_MODULES
        if count > most:
            lines.append(f"{room.name}: {count} modules, at most {most}")
    return lines


def long(files: Iterable[Path]) -> list[str]:
    """Modules and functions that are longer than one can be read at once."""
    lines = []
    for file in files:
        text = file.read_text("utf-8")
        if (count := len(text.splitlines())) > MOST_LINES:
            lines.append(f"{file.name}: {count} lines, at most {MOST_LINES}")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                count = (node.end_lineno or node.lineno) - node.lineno + 1
                if count > LONGEST:
                    lines.append(f"{file.name}: {node.name} has {count} lines, at most {LONGEST}")
    return lines


def unnamed(folder: Path) -> list[str]:
    """Modules and rooms that the `__init__` of their room does not name, as ``name``."""
    lines = []
    for start in sorted(folder.rglob("__init__.py")):
        text = ast.get_docstring(ast.parse(start.read_text("utf-8"))) or ""
        inside = [file.stem for file in start.parent.glob("*.py") if file.stem not in ("__init__", "__main__")]
        inside += [room.parent.name for room in start.parent.glob("*/__init__.py")]
        lines += [f"{start.parent.name}: {name}" for name in sorted(inside) if not re.search(rf"[`.]{name}``", text)]
    return lines


def namesakes(files: Iterable[Path]) -> list[str]:
    """Names of classes that more than one file defines: a reader would have to know which is meant."""
    defined = (ast.walk(ast.parse(file.read_text("utf-8"))) for file in files)
    names = Counter(
        name for nodes in defined for name in {node.name for node in nodes if isinstance(node, ast.ClassDef)}
    )
    return sorted(name for name, count in names.items() if count > 1)


def vague(files: Iterable[Path]) -> list[str]:
    """Variables and parameters whose name does not say what they hold; fields of classes are not meant."""
    lines = []
    for file in files:
        tree = ast.parse(file.read_text("utf-8"))
        fields = {id(target) for target in _fields(tree)}
        names = [(node.lineno, node.arg) for node in ast.walk(tree) if isinstance(node, ast.arg)]
        stored = (node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
        names += [(node.lineno, node.id) for node in stored if id(node) not in fields]
        lines += [
            f"{file.parent.name}/{file.name}, line {line}: {name}" for line, name in sorted(names) if name in VAGUE
        ]
    return lines


def _fields(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        for statement in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(statement, ast.AnnAssign):
                yield statement.target
