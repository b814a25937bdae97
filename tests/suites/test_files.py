"""Suites in files of one's own: what is loaded, and one clear line for everything that can be wrong with a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from attnbench import groups
from attnbench.backends import discover
from attnbench.errors import UsageError
from attnbench.measure.general import General, classify
from attnbench.measure.run.plan import make_plan
from attnbench.suite import ObservedSuite
from attnbench.suite.files import load_from

HEAD = """\
from attnbench.api.suites import ObservedSuite, Story, TimedSuite
def observe(probe, d: int):
    return {"double": 2.0 * d}
def suite(name="mine", **more):
    words = {"axes": {"d": (1, 2)}, "observe": observe, "implementations": ("numpy/naive",)} | more
    return ObservedSuite(name=name, story=Story(question="Twice?"), **words)
"""
RIGHT = HEAD + "SUITE = suite()\n"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Write a file with suites; no suite of it is known after the test."""

    def to(text: str, name: str = "mine.py") -> Path:
        path = tmp_path / name
        path.write_text(dedent(text), encoding="utf-8")
        return path

    yield to
    discover.use_suites(())


def use(*paths: Path | str) -> tuple[str, ...]:
    return discover.use_suites(paths, reserved=groups.GROUPS)


def test_suites_of_a_file_are_known_until_the_next_call(write: Write) -> None:
    names = use(write(RIGHT + 'MORE = [suite("second")]\n'))
    assert names == ("mine", "second")
    assert {*names} < {*discover.suite_names()}
    suite = discover.suite("mine")
    assert suite.file is not None
    changed = suite.with_axes({"d": (3,)})
    assert changed.file == suite.file
    use()
    assert not {*names} & {*discover.suite_names()}
    with pytest.raises(UsageError, match="unknown suite 'mine'"):
        discover.suite("mine")


def test_a_folder_has_the_suites_of_its_files_and_a_built_in_one_may_be_built_upon(write: Write) -> None:
    write(RIGHT)
    write(
        """
        from dataclasses import replace
        from attnbench.suites.saturation import SUITE
        MINE = replace(SUITE, name="wider")
        """,
        "other.py",
    )
    folder = write("x = 1\n", "helper.py").parent
    assert use(folder) == ("mine", "wider")
    origin = discover.suite("wider").file
    assert origin is not None
    assert load_from(origin, "wider").file == origin
    assert discover.suite("saturation").file is None


@pytest.mark.usefixtures("write")
def test_a_file_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    for factor in (2.0, 3.0):
        (folder := tmp_path / str(factor)).mkdir()
        (folder / "twice_helper.py").write_text(f"FACTOR = {factor}\n", encoding="utf-8")
        text = RIGHT.replace("2.0 * d", "twice_helper.FACTOR * d")
        (folder / "mine.py").write_text(f"import twice_helper\n{text}", encoding="utf-8")
        before = list(sys.path)
        use(folder / "mine.py")
        assert sys.path == before
        suite = discover.suite("mine")
        assert isinstance(suite, ObservedSuite)
        assert suite.observe(None, d=1) == {"double": factor}


def test_a_suite_with_tiers_joins_the_groups(write: Write) -> None:
    use(write(HEAD + 'SUITE = suite(tiers={"smoke": {"d": (2,)}})\n'))
    mine = {suite.name: suite for suite in groups.members("ablations-smoke")}["mine"]
    assert mine.axes == {"d": (2,)}
    assert mine.file is not None


def test_a_file_that_changed_is_another_one(write: Write) -> None:
    use(path := write(RIGHT))
    origin = discover.suite("mine").file
    assert origin is not None
    assert load_from(origin, "mine").name == "mine"
    path.write_text(RIGHT.replace("2.0", "3.0"), encoding="utf-8")
    with pytest.raises(UsageError, match=r"stands in .*mine\.py, which has changed since"):
        load_from(origin, "mine")
    use(path)
    changed = discover.suite("mine")
    assert isinstance(changed, ObservedSuite)
    assert changed.observe(None, d=1) == {"double": 3.0}
    path.unlink()
    with pytest.raises(UsageError, match="which is not there any more"):
        load_from(origin, "mine")


FAULTS: dict[str, tuple[str, str]] = {
    "syntax": ("x = 1\ndef broken(:\n", r"mine\.py, line 2: invalid syntax"),
    "not text": ("x = 1\0\n", r"mine\.py.*null bytes"),
    "raises": ("\n\nraise ValueError('no data')\n", r"mine\.py, line 3: importing it raised ValueError: no data"),
    "leaves": ("raise SystemExit(3)\n", r"mine\.py, line 1: importing it raised SystemExit: 3"),
    "module": (
        "import no_such_module\n",
        r"mine\.py, line 1: importing it raised ModuleNotFoundError: .*no_such_module",
    ),
    "nothing": ("x = 1\n", r"mine\.py: no suite in it; write SUITE = ObservedSuite"),
    "empty": ("", r"mine\.py: no suite in it"),
    "a dict": ("SUITE = {'name': 'mine'}\n", r"mine\.py: no suite in it \(SUITE of mine\.py is of type dict\)"),
    "installed": (
        HEAD + "SUITE = suite(\n    name='smoke')\n",
        r"mine\.py, line 8: 'smoke' is an installed suite; .*my-smoke",
    ),
    "group": (HEAD + "SUITE = suite(name='ablations-smoke')\n", r"line 7: 'ablations-smoke' is a group of suites"),
    "twice": (HEAD + "A = suite()\nB = suite()\n", r"'mine' is defined in .*mine\.py too; rename one of them"),
    "name": (HEAD + "SUITE = suite(name='a b/c')\n", r"line 7: a suite is named by letters, .*; got 'a b/c'"),
    "a list": (HEAD + "SUITE = suite(name=['a'])\n", r"a suite is named by letters, .*; got \['a'\]"),
    "no name": (HEAD + "SUITE = suite(name=None)\n", r"a suite is named by letters, .*; got None"),
    "a word": (HEAD + "SUITE = suite(axis={'d': (1,)})\n", r"mine\.py, line 6: .*axis"),
    "axes": (HEAD + "SUITE = suite(axes={'e': (1,)})\n", r"mine\.py, line 6: suite 'mine' declares the axes \['e'\]"),
    "a level": (
        HEAD + "SUITE = suite(axes={'d': 4})\n",
        r"axis 'd' of suite 'mine' has a tuple of levels, such as \(4,\)",
    ),
    "a text": (
        HEAD + "SUITE = suite(implementations='torch/naive')\n",
        r"line 6: suite 'mine' has implementations in a tuple",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_file_is_one_line(fault: str, write: Write) -> None:
    text, expected = FAULTS[fault]
    path = write(text)
    with pytest.raises(UsageError) as raised:
        use(path)
    said = str(raised.value)
    assert said.startswith(f"--suites {path}")
    assert re.search(expected, said), said
    assert "\n" not in said
    assert "mine" not in discover.suite_names()


def test_what_is_no_file_is_said_with_what_was_meant(write: Write) -> None:
    path = write(RIGHT)
    (empty := path.parent / "none").mkdir()
    with pytest.raises(UsageError, match=r"no such file or folder; did you mean 'mine\.py'"):
        use(path.with_name("mime.py"))
    with pytest.raises(UsageError, match="not a Python file"):
        use(write("{}", "mine.json"))
    with pytest.raises(UsageError, match="no suite in it"):
        use(empty)
    with pytest.raises(UsageError, match=r"'mine' is defined in .*mine\.py, line 7 too"):
        use(
            write(
                HEAD
                + "SUITE = ObservedSuite(name='mine', story=Story(question='?'), axes={'d': (1,)}, observe=observe)"
            ),
            write(HEAD.replace("d: int", "d") + "SUITE = suite()\n", "other.py"),
        )


OBSERVED = {
    "raises": ("1 / 0", r"ZeroDivisionError: division by zero \(mine\.py, line 2\)"),
    "nothing": ("{}", "observed nothing: observe"),
    "a number": ("3.0", "observed float objects: observe"),
    "a text": ("{'a': 'much'}", "'a' is 'much'"),
    "an array": ("{'a': [1.0, 2.0]}", r"'a' is \[1\.0, 2\.0\]"),
}


@pytest.mark.parametrize("fault", OBSERVED)
def test_what_a_worker_says_of_a_suite_that_fails(fault: str, write: Write) -> None:
    returned, expected = OBSERVED[fault]
    lines = f"def observe(probe, d: int):\n    return {returned}\n" + RIGHT.replace("def observe(", "def unused(")
    use(write(lines))
    cell = make_plan(["mine"]).cells[0]
    worker = General()
    worker.hello("numpy", 1)
    with pytest.raises(Exception, match=r".*") as raised:
        worker.observe(cell.to_dict())
    status, reason = classify(raised.value)
    assert status == "crashed"
    assert re.search(expected, reason), reason


def test_a_worker_takes_the_file_as_it_was_planned_and_no_other(write: Write) -> None:
    use(path := write(RIGHT))
    cell: dict[str, Any] = make_plan(["mine"], overrides=["d=5"]).cells[0].to_dict()
    worker = General()
    worker.hello("numpy", 1)
    assert worker.observe(cell)[2] == {"metrics": {"double": 10.0}}
    path.write_text(RIGHT + "# changed\n", encoding="utf-8")
    with pytest.raises(UsageError, match="which has changed since"):
        worker.observe(cell)


def test_a_case_that_raises_names_the_line(write: Write) -> None:
    text = HEAD + "def case(T: int):\n    raise KeyError(T)\n"
    use(write(text + "SUITE = TimedSuite(name='mine', story=Story(question='?'), axes={'T': (8,)}, case=case)\n"))
    with pytest.raises(UsageError, match=r"suite 'mine' can make nothing of T=8: KeyError: 8 \(.*mine\.py, line 8\)"):
        make_plan(["mine"])
