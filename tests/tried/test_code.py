"""The name of an implementation's code: it changes with what it runs, and not with what is said about it."""

from __future__ import annotations

import pytest

from attnbench.tried import code
from attnbench.tried.code import code_of, is_code_of
from attnbench.tried.marks import marks
from tests.tried.planted import MINE, Planted


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


def test_the_name_is_that_of_every_python() -> None:
    """What a version of Python adds to its trees, and leaves empty in code of another, is not in the name."""
    assert list(code._words(code.ast.parse("def f(x=None): return x"))).count("type_params") == 0


def test_every_implementation_of_ours_for_a_gpu_has_a_name() -> None:
    names = {name: code_of(name) for name in marks()}
    assert names
    assert None not in names.values()
    flash = {module.rpartition(".")[2] for module in code._files("triton/flash")}
    assert {"flash", "forward", "backward", "logits", "tiles", "table"} <= flash
    assert "adapter" not in flash
