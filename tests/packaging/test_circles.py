"""No file of the package needs itself by way of others; each kind of circle is seen where it is planted."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.packaging.circles import circles, imports

AB = ["pack.a", "pack.b", "pack.a"]
CIRCLES = {
    "at the top": ({"a.py": "import pack.b", "b.py": "from pack.a import x"}, AB),
    "inside a function": ({"a.py": "from pack.b import y", "b.py": "def later():\n    from pack.a import x"}, AB),
    "inside a class, a try and an else": (
        {
            "a.py": "class A:\n    try:\n        import pack.b\n    except ImportError:\n        pass",
            "b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import pack.a",
        },
        AB,
    ),
    "by the name of a submodule": ({"a.py": "from pack import b", "b.py": "from pack import a"}, AB),
    "relative": ({"a.py": "from . import b", "b.py": "from .a import x"}, AB),
    "by a name of the __init__": (
        {"__init__.py": "from pack.a import x", "a.py": "from pack import x"},
        ["pack", "pack.a", "pack"],
    ),
    "from a room below, by dots": (
        {"a.py": "from pack.room.c import x", "room/__init__.py": "", "room/c.py": "from ..a import y"},
        ["pack.a", "pack.room.c", "pack.a"],
    ),
    "over three files": (
        {"a.py": "import pack.b", "b.py": "import pack.c", "c.py": "from pack import a"},
        ["pack.a", "pack.b", "pack.c", "pack.a"],
    ),
}
NO_CIRCLES = {
    "under TYPE_CHECKING": {
        "a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pack.b import x",
        "b.py": "import typing\nif typing.TYPE_CHECKING:\n    from pack.a import x\nfrom pack import a",
    },
    "an __init__ and siblings": {
        "__init__.py": "from pack import a, b\nfrom pack.b import y",
        "a.py": "from pack import b",
        "b.py": "y = 1",
    },
    "a file and itself under its one name": {"a.py": "def later():\n    import pack.a"},
    "somebody else's": {"a.py": "import b.a\nfrom elsewhere import a", "b.py": "import pack.a"},
}


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Return a function that writes the files of a package `pack` and returns the folder in which it lies."""

    def write(files: Mapping[str, str]) -> Path:
        for name, text in {"__init__.py": "", **files}.items():
            file = tmp_path / "pack" / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, "utf-8")
        return tmp_path

    return write


def test_no_file_needs_itself_by_way_of_others(assembled_once: Path) -> None:
    found = [" → ".join(circle) for circle in circles(assembled_once)]
    assert not found, "files import each other in a circle:\n" + "\n".join(found)


def test_every_file_of_the_three_roots_is_looked_at(assembled_once: Path) -> None:
    graph = imports(assembled_once)
    assert len(graph) == len(list(assembled_once.rglob("*.py")))
    assert "attnbench.results.read" in graph["attnbench.results.dataset"]
    assert "attnbench.impls.numpy_backend.scores" in graph["attnbench.impls.numpy_backend.naive"]


@pytest.mark.parametrize("name", CIRCLES)
def test_a_circle_is_seen_and_named(name: str, tree: Callable[[Mapping[str, str]], Path]) -> None:
    files, circle = CIRCLES[name]
    assert circles(tree(files)) == [circle]


@pytest.mark.parametrize("name", NO_CIRCLES)
def test_what_is_no_circle_is_not_called_one(name: str, tree: Callable[[Mapping[str, str]], Path]) -> None:
    assert circles(tree(NO_CIRCLES[name])) == []


def test_two_knots_are_two_circles(tree: Callable[[Mapping[str, str]], Path]) -> None:
    pairs = {"a.py": "import pack.b", "b.py": "import pack.a", "c.py": "import pack.d", "d.py": "import pack.c, pack.a"}
    assert circles(tree(pairs)) == [AB, ["pack.c", "pack.d", "pack.c"]]


@pytest.mark.parametrize(
    "line", ["import attnbench.backends.attend", "def later():\n    from attnbench.backends import attend"]
)
def test_a_circle_planted_in_the_package_is_seen(line: str, planted: Callable[[Mapping[str, str]], Path]) -> None:
    found = circles(planted({"attention/call.py": line}))
    assert found, "the planted circle is not seen"
    assert "attnbench.attention.call" in found[0]
