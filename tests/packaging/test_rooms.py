"""Rooms: no circle among them, none too full, no module or function too long, each named where a reader begins."""

from pathlib import Path

import pytest

from tests.packaging import rooms
from tests.packaging.circles import Graph, imports
from tests.packaging.rooms import LONGEST, MOST_COMMANDS, MOST_LINES, MOST_MODULES, WITHIN
from tests.repository import REPOSITORY

SOURCE = REPOSITORY / "src" / "attnbench"
CODE = [file for root in ("src", "impls", "suites") for file in sorted((REPOSITORY / root).rglob("*.py"))]


def room(folder: Path, *names: str, told: str = "") -> Path:
    """A folder with these modules; ``told`` is what its ``__init__`` says."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text(f'"""{told}"""\n', "utf-8")
    for name in names:
        (folder / f"{name}.py").write_text("", "utf-8")
    return folder


@pytest.fixture(scope="module")
def graph(assembled_once: Path) -> Graph:
    """Who imports whom among all files of the package."""
    return imports(assembled_once)


@pytest.mark.parametrize("within", ["", *WITHIN, "agree.mutants", "commands", "exchange", "scoreboard"])
def test_rooms_need_each_other_in_one_direction(within: str, graph: Graph) -> None:
    assert rooms.knots(rooms.rooms(graph, within)) == []


def test_a_knot_is_seen_though_no_file_needs_itself(tmp_path: Path) -> None:
    a, b = room(tmp_path / "attnbench" / "a", "x", "y"), room(tmp_path / "attnbench" / "b", "z")
    (a / "x.py").write_text("import attnbench.b.z\n", "utf-8")
    assert rooms.knots(rooms.rooms(imports(tmp_path))) == []
    (b / "z.py").write_text("def later():\n    from attnbench.a import y\n", "utf-8")
    assert rooms.knots(rooms.rooms(imports(tmp_path))) == ["a and b"]


def test_the_page_shows_the_rooms_as_they_are(graph: Graph) -> None:
    page = rooms.PAGE.read_text("utf-8")
    for name, figure in rooms.figures(graph).items():
        assert rooms.fill(page, name, figure) == page, "write it again: python -m tests.docs.write architecture"


def test_a_figure_leaves_out_what_others_say() -> None:
    graph = {"a": {"b", "c", "errors"}, "b": {"c"}, "c": set[str](), "d": set[str](), "errors": set[str]()}
    assert rooms.drawn(graph).splitlines()[2:-1] == ["    a --> b", "    b --> c", "    d"]
    with pytest.raises(ValueError, match="no markers"):
        rooms.fill("a page", "rooms", "a figure")


def test_no_room_is_too_full() -> None:
    assert rooms.crowded(SOURCE) == []


def test_a_room_too_full_is_seen(tmp_path: Path) -> None:
    full = [f"m{number}" for number in range(MOST_MODULES)]
    room(tmp_path / "a", *full)
    room(tmp_path / "commands", *full, *(f"c{number}" for number in range(MOST_COMMANDS - MOST_MODULES)))
    assert rooms.crowded(tmp_path) == []
    (tmp_path / "a" / "more.py").touch()
    (tmp_path / "commands" / "more.py").touch()
    assert rooms.crowded(tmp_path) == [
        f"a: {MOST_MODULES + 1} modules, at most {MOST_MODULES}",
        f"commands: {MOST_COMMANDS + 1} modules, at most {MOST_COMMANDS}",
    ]


def test_nothing_is_too_long() -> None:
    assert rooms.long(CODE) == []


def test_what_is_too_long_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    function = "def f():\n" + "    pass\n" * (LONGEST - 1)
    file.write_text(function + "x = 1\n" * (MOST_LINES - LONGEST), "utf-8")
    assert rooms.long([file]) == []
    longer = function.replace("def", "async def") + "    pass\n"
    file.write_text(longer + "x = 1\n" * (MOST_LINES - LONGEST), "utf-8")
    assert rooms.long([file]) == [
        f"m.py: {MOST_LINES + 1} lines, at most {MOST_LINES}",
        f"m.py: f has {LONGEST + 1} lines, at most {LONGEST}",
    ]


def test_every_name_says_what_it_holds() -> None:
    assert rooms.vague(CODE) == []


def test_a_name_that_does_not_say_what_it_holds_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "m.py"
    file.write_text(
        "class Row:\n"
        "    found: int\n"
        "    def cell(self, rows):\n"
        "        self.found = rows.one(here=1).told\n"
        "        return [row for row in rows]\n",
        "utf-8",
    )
    assert rooms.vague([file]) == []
    file.write_text(
        "def cell(told, *, asked=1):\n"
        "    here: int = told\n"
        "    if own := asked:\n"
        "        found, rest = own\n"
        "    return [one for one in found], lambda one: one\n",
        "utf-8",
    )
    start = f"{tmp_path.name}/m.py, line"
    assert rooms.vague([file]) == [
        *(f"{start} 1: asked", f"{start} 1: told", f"{start} 2: here", f"{start} 3: own", f"{start} 4: found"),
        *(f"{start} 5: one", f"{start} 5: one"),
    ]


def test_every_module_is_named_where_a_reader_begins() -> None:
    assert rooms.unnamed(SOURCE) == []


def test_a_module_that_is_not_named_is_seen(tmp_path: Path) -> None:
    room(tmp_path / "a", "x", "y", told="``x`` first, then ``a.y``.")
    room(tmp_path / "a" / "b", told="")
    assert rooms.unnamed(tmp_path) == ["a: b"]


def test_a_class_name_stands_for_one_thing() -> None:
    assert rooms.namesakes(CODE) == ["Adapter"]  # of each framework: what it is for is the same


def test_namesakes_are_seen(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("class Trial: ...\nclass Other: ...\n", "utf-8")
    (tmp_path / "b.py").write_text("def f():\n    class Trial: ...\n", "utf-8")
    assert rooms.namesakes([tmp_path / "a.py", tmp_path / "b.py"]) == ["Trial"]
