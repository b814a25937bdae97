"""The name of an implementation's code: it changes with what it runs, and not with what is said about it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from attnbench.backends import discover
from attnbench.tried import code
from attnbench.tried.code import CodeName, code_of, is_code_of
from attnbench.tried.marks import mark, marks
from tests.tried.planted import MINE, Planted

SYNTAX = """
import math
@staticmethod
async def f(a, /, b: int = 2, *c, d=None, **e) -> str:
    '''A docstring.'''
    global g
    match a:
        case {"x": [1, *_]} | None: return f"{a!r:>{b}} {d=}" "and" + str(rb"")
        case object(real=2.5): pass
    with open(a) as o, o: return [x async for x in c if (y := x) is not ...]
    try: del e[1:2, ::3]
    except (ValueError, TypeError) as error: raise KeyError from error
    else: yield lambda *, k=1j: not k
    finally: assert a, b
class G(dict, metaclass=type): h: list[int]; i = 1_000 if 2**3 >= -4 else {**{}, 1: {2}}
"""


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("mine.py", "math.exp", "math.expm1"),
        ("mine.py", "import math\n", "import math\nimport cmath\n"),
        ("inner/steps.py", "q + shared", "q - shared"),
        ("shared.py", "ONE = 1", "ONE = 2"),
        ("shared.py", "ONE = 1", "ONE = True"),
        ("shared.py", "ONE = 1", "ONE = None"),
    ],
)
def test_what_it_runs_changes_its_name(file: str, before: str, after: str, planted: Planted) -> None:
    name = code_of("planted/mine")
    assert name is not None
    assert is_code_of("planted/mine", name)
    planted.change(file, before, after)
    assert not is_code_of("planted/mine", name)
    assert code_of("planted/mine") != name


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""A kernel."""', '"""A kernel\n\n    import nothing\n    """'),
        ("# of one number", "# of two"),
        ("def attend(q):\n", "def attend(\n    q\n):\n"),
        ("\n", "\r\n"),
    ],
)
def test_what_is_said_about_it_does_not(before: str, after: str, planted: Planted) -> None:
    name = code_of("planted/mine")
    assert name is not None
    planted.change("mine.py", before, after)
    now = code_of("planted/mine")
    assert now is not None
    assert now.files != name.files
    assert now.code == name.code
    assert is_code_of("planted/mine", name)


@pytest.mark.parametrize(
    "line",
    [
        "from .other import *",
        "from . import (  # two (of them)\n    shared,  # one (of two)\n    other,\n)",
        "from . import shared, \\\n    other",
        "import math; from . import other",
        "from .shared import ONE; from planted_backend import other",
        "import cmath, \\\n    planted_backend.other as another",
        "from .other import(TWO)",
    ],
)
def test_however_it_imports_a_module_that_is_its_code(line: str, planted: Planted) -> None:
    planted.change("mine.py", "import math\n", f"{line}\nimport math\n")
    name = code_of("planted/mine")
    assert name is not None
    planted.change("other.py", "TWO = 2", "TWO = 3")
    assert not is_code_of("planted/mine", name)


@pytest.mark.parametrize("file", ["other.py", "adapter.py", "__init__.py"])
def test_what_it_does_not_import_is_not_its_code(file: str, planted: Planted) -> None:
    name = code_of("planted/mine")
    (planted.folder / file).write_text("THREE = 3\n", "utf-8")
    assert code_of("planted/mine") == name


def test_a_sign_of_a_comment_within_a_text_is_code(planted: Planted) -> None:
    planted.change("shared.py", "ONE = 1", 'ONE = """\n#define ONE 1\n"""')
    name = code_of("planted/mine")
    planted.change("shared.py", "#define ONE 1", "#define ONE 2")
    assert name is not None
    assert not is_code_of("planted/mine", name)


def test_code_that_is_not_there_or_is_no_python_has_a_name_or_none(planted: Planted) -> None:
    assert code_of("planted/gone") is None
    assert code_of("nobody/knows") is None
    assert code_of("planted") is None
    (planted.folder / "mine.py").write_text("def (", "utf-8")
    broken = code_of("planted/mine")
    assert broken is not None
    (planted.folder / "mine.py").write_text(MINE, "utf-8")
    assert not is_code_of("planted/mine", broken)


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("package", ["not_there", "not_there.backend", "planted_backend.mine", "json.tool"])
def test_a_card_of_a_package_that_is_none_hides_no_other(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    card = discover.backends()["planted"]
    wrong = replace(card, name="wrong", package=package)
    monkeypatch.setattr(discover, "backends", lambda: {"wrong": wrong, "planted": card})
    assert code_of("wrong/mine") is None
    of = mark("wrong/mine")
    assert of is not None
    assert of.state == "never"
    assert code_of("planted/mine") is not None


def test_the_name_is_the_same_in_every_python(planted: Planted) -> None:
    """Every version of Python that this runs in has trees of its own; what they have alike is named."""
    (planted.folder / "mine.py").write_text(SYNTAX, "utf-8")
    assert code_of("planted/mine") == CodeName("d70605db282a", "6c8cda5ac609")


def test_every_implementation_of_ours_for_a_gpu_has_a_name() -> None:
    names = {name: code_of(name) for name in marks()}
    assert names
    assert None not in names.values()
    flash = {module.rpartition(".")[2] for module in code._files("triton/flash")}
    assert {"flash", "forward", "backward", "logits", "tiles", "table"} <= flash
    assert "adapter" not in flash
