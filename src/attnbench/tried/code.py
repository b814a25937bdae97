"""A name for the code of an implementation: its module, and all that this imports from the packages of backends.

The framework's adapter is not among it, unless a kernel imports it: it serves all implementations alike. Nothing is
imported to look, so that ``attnbench list`` can ask this of every implementation.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from attnbench.backends import discover

GPU = "cuda"
DIGITS = 12
# More than the imports: what a docstring says in such words is looked for too, and is no file.
IMPORTS = re.compile(
    r"(?:^|;)[ \t]*(?:from[ \t]+(\.*[\w.]*)[ \t]+import[ \t]*(\((?:#[^\n]*|[^)#])*\)|(?:\\\n|[^\n;])+)"
    r"|import[ \t]+((?:\\\n|[^\n;])+))",
    re.MULTILINE,
)


@dataclass(frozen=True)
class CodeName:
    """``files`` changes with every byte; ``code`` not with comments, docstrings and the layout of lines."""

    files: str
    code: str


def code_of(impl: str) -> CodeName | None:
    """The name of the code that an announced implementation has now; ``None`` where it cannot be read."""
    files = _files(impl)
    return CodeName(_hashed(files, _bytes), _hashed(files, _bare)) if files else None


def is_code_of(impl: str, name: CodeName) -> bool:
    """Whether an implementation's code is still the one of this name; bytes are compared first, which is quick."""
    files = _files(impl)
    return bool(files) and (_hashed(files, _bytes) == name.files or _hashed(files, _bare) == name.code)


def claims_gpu(impl: str) -> bool:
    """Whether an announced implementation says that it computes on a GPU."""
    backend, _, variant = impl.partition("/")
    card = discover.backends().get(backend)
    return card is not None and GPU in card.devices.get(variant, ())


def package_of(impl: str) -> Path | None:
    """The folder of the package that an announced implementation is in."""
    card = discover.backends().get(impl.partition("/")[0])
    return None if card is None else _roots().get(card.package)


def _hashed(files: Mapping[str, Path], of: Callable[[Path], bytes]) -> str:
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(of(file)).digest())
    return digest.hexdigest()[:DIGITS]


def _files(impl: str) -> dict[str, Path]:
    """The files of an implementation's code by the names of their modules; none where its own is not there."""
    backend, _, variant = impl.partition("/")
    card = discover.backends().get(backend)
    module = None if card is None else dict(card.implementations).get(variant)
    if card is None or module is None:
        return {}
    roots = _roots()
    files: dict[str, Path] = {}
    waiting = [f"{card.package}.{module}"]
    while waiting:
        name = waiting.pop()
        if name not in files and (file := _file(name, roots)) is not None:
            files[name] = file
            waiting += _imported(name, file, roots)
    return files


def _roots() -> dict[str, Path]:
    """The folders of the packages of all announced backends; these packages are imported, since their cards are."""
    packages = dict.fromkeys(card.package for card in discover.backends().values())
    return {name: place for name in packages if (place := _folder(name)) is not None}


def _folder(package: str) -> Path | None:
    """The folder of a package; ``None`` where it is not there, or is no folder."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    return None if spec is None else next(map(Path, spec.submodule_search_locations or ()), None)


def _file(module: str, roots: Mapping[str, Path]) -> Path | None:
    """The file of a module below one of the packages."""
    for package, root in roots.items():
        if module == package or module.startswith(f"{package}."):
            place = root.joinpath(*module.removeprefix(package).split(".")[1:])
            candidates = (place / "__init__.py", place.with_name(f"{place.name}.py"))
            return next((file for file in candidates if file.is_file()), None)
    return None


def _imported(module: str, file: Path, roots: Mapping[str, Path]) -> Iterator[str]:
    """The modules of backends' packages that a module imports, anywhere in it."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for start, names, plain in _statements(file, file.stat().st_mtime_ns):
        if plain:
            yield from re.findall(r"[\w.]+", plain)
            continue
        above = package.split(".")[: len(package.split(".")) + 1 - (len(start) - len(start.lstrip(".")))]
        base = ".".join(filter(None, [*above, start.lstrip(".")])) if start.startswith(".") else start
        inside = [f"{base}.{name}" for name in re.findall(r"\w+", names)]
        there = [name for name in inside if _file(name, roots) is not None]
        yield from there
        if len(there) < len(inside) or "*" in names:
            yield base


@lru_cache(maxsize=512)
def _statements(file: Path, _changed: int) -> tuple[tuple[str, str, str], ...]:
    return tuple(IMPORTS.findall(file.read_text("utf-8", "replace")))


def _bytes(file: Path) -> bytes:
    return file.read_bytes()


def _bare(file: Path) -> bytes:
    """The code without what changes nothing, in words that are the same in every version of Python."""
    try:
        return "\n".join(_words(ast.parse(file.read_bytes()))).encode("utf-8", "surrogatepass")
    except (SyntaxError, ValueError):
        return file.read_bytes()


def _words(node: ast.AST) -> Iterator[str]:
    yield type(node).__name__
    body = getattr(node, "body", None)
    for name, value in ast.iter_fields(node):
        if (value is None and not isinstance(node, ast.Constant)) or value == [] or name == "kind":
            continue  # what one version of Python has and another has not is empty
        for part in value if isinstance(value, list) else [value]:
            if _is_docstring(part, body) or (isinstance(node, ast.JoinedStr) and _is_text(part, "")):
                continue  # Python 3.12 has empty texts in some f-strings
            yield name
            yield from _words(part) if isinstance(part, ast.AST) else [repr(part)]
    yield "."


def _is_docstring(statement: object, body: object) -> bool:
    if not isinstance(body, list) or not body or statement is not body[0]:
        return False
    return isinstance(statement, ast.Expr) and _is_text(statement.value)


def _is_text(node: object, text: str | None = None) -> bool:
    """Whether a node is a text, and this one where one is given."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and text in (None, node.value)
