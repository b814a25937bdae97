"""Drop-in files: all that is decorated is found, and a wrong declaration is wrong usage and no disagreement."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnbench.backends import discover
from attnbench.errors import DeclarationError, UsageError
from attnbench.measure.run.plan import found_in, make_plan
from tests.program import Cli

HEAD = """
import numpy as np
from attnbench.api import Capabilities, Limit, Precision, implementation

def plain(q, k, v, call):
    s = q @ k.swapaxes(-1, -2) * q.dtype.type(call.scale)
    p = np.exp(s - s.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True) @ v
"""
LOOP = """
for size in (1, 2, 3):
    @implementation(f"numpy/same-{size}")
    def attend(q, k, v, call, size=size):
        return plain(q, k, v, call)
"""
# One file, in which one line is wrong; what is said.
WRONG = {
    "Capabilities(casual=True)": "Capabilities takes no 'casual'; did you mean 'causal'?",
    "Capabilities(dtypes=('bf16',))": "dtype 'bf16' is not one of float64, float32, bfloat16, float16; did you",
    "Capabilities(dtypes=())": "dtypes is empty",
    "Capabilities(dtypes='float32')": "write ('float32',)",
    "Capabilities(devices=('gpu',))": "did you mean 'cuda'?",
    "Capabilities(causal='yes')": "the capability causal is True or False",
    "Capabilities(scores=('dott',))": "did you mean 'dot'?",
    "Capabilities(only=('causl',))": "did you mean 'causal'?",
    "Capabilities(lacks={'windows': 'why'})": "did you mean 'window'?",
    "Capabilities(limits=Limit('D', 'why', at_most=8))": "limits is a tuple of Limit",
    "Capabilities(limits=(Limit('d', 'why', at_most=8),))": "size 'd' is not one of",
    "Capabilities(precision={'float32': Precision(accum='float32')})": "did you mean 'accumulate'?",
    "Capabilities(precision={'fp32': Precision()})": "did you mean 'float32'?",
    "Capabilities": "write Capabilities(...)",
    "{'causal': True}": "write Capabilities(...)",
    "causal=True": "that is a capability: Capabilities(causal=...)",
    "vjp=True": "vjp of numpy/mine is a function of (q, k, v, call, d_output, d_lse); got True",
    "on={'gpu': Capabilities()}": "did you mean 'cuda'?",
    "Capabilites()": "name 'Capabilites' is not defined",
}


def file(folder: Path, body: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(HEAD + body)
    return str(path)


def decorated(declared: str, name: str = "numpy/mine") -> str:
    return f"@implementation({name!r}, {declared})\ndef attend(q, k, v, call):\n    return plain(q, k, v, call)\n"


def refused(path: str) -> str:
    with pytest.raises(UsageError) as raised:
        found_in([path])
    assert raised.value.exit_code == 2
    return str(raised.value)


def test_functions_of_one_python_name_are_all_found(tmp_path: Path, cli: Cli) -> None:
    path = file(tmp_path, LOOP)
    names = ("numpy/same-1", "numpy/same-2", "numpy/same-3")
    assert tuple(found_in([path])) == names
    plan = make_plan(["smoke"], overrides=["T=128", "setting=forward"], files=[path], patterns=["numpy/same*"])
    assert plan.implementations() == names
    done = cli("check", *names, "--impls", path, "--case", "Hq=2 Tq=4 D=8 dtype=float32", "--json")
    assert {row["impl"]: row["status"] for row in done.document["rows"]} == dict.fromkeys(names, "ok")


def test_what_another_module_decorates_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper that decorates for the file counts for it; a module that it imports, and what it changed, does not."""
    helpers = (
        HEAD
        + decorated("Capabilities()", "numpy/of-the-helper")
        + ("def make(name):\n    @implementation(name)\n    def attend(q, k, v, call):\n        return v\n")
    )
    (tmp_path / "their_helpers_of_a_test.py").write_text(helpers)
    monkeypatch.syspath_prepend(str(tmp_path))
    body = (
        "import their_helpers_of_a_test as helpers\nfrom dataclasses import replace\n"
        "helpers.make('numpy/made')\n" + decorated("Capabilities()") + "attend = replace(attend, on={})\n"
    )
    names = [implementation.name for implementation in discover.load_file(file(tmp_path, body))]
    assert sorted(names) == ["numpy/made", "numpy/mine"]


@pytest.mark.parametrize("body", [2 * decorated("Capabilities()"), LOOP.replace("same-{size}", "same")])
def test_two_of_one_implementation_name_are_refused(body: str, tmp_path: Path) -> None:
    assert "defined twice: numpy/" in refused(file(tmp_path, body))


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    assert "numpy/naive is there already" in refused(file(tmp_path, decorated("Capabilities()", "numpy/naive")))


def test_a_wrong_declaration_is_wrong_usage(tmp_path: Path) -> None:
    for number, (declared, said) in enumerate(WRONG.items()):
        path = file(tmp_path, decorated(declared), f"m{number}.py")
        with pytest.raises(DeclarationError) as raised:
            discover.load_file(path)
        assert f"m{number}.py, line {HEAD.count(chr(10)) + 1}: " in str(raised.value)
        assert said in str(raised.value)


@pytest.mark.parametrize("command", [("check",), ("run", "smoke"), ("ab", "numpy/mine", "numpy/naive")])
def test_every_command_says_so_with_exit_2(command: tuple[str, ...], tmp_path: Path, cli: Cli) -> None:
    done = cli(*command, "--impls", file(tmp_path, decorated("Capabilities(casual=True)")))
    assert (done.code, done.out) == (2, "")
    assert "mine.py, line 9: Capabilities takes no 'casual'; did you mean 'causal'?" in done.err


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("@implementation('mine')\ndef attend(q, k, v, call): ...\n", "got 'mine': write 'numpy/mine' or "),
        ("@implementation('Numpy/mine')\ndef attend(q, k, v, call): ...\n", "got 'Numpy/mine'; backends: numpy"),
        (
            "@implementation\ndef attend(q, k, v, call): ...\n",
            '@implementation needs a name: write @implementation("numpy/mine"',
        ),
        (
            "@implementation('numpy/mine')\ndef attend(q, k, v): ...\n",
            "is called with (q, k, v, call), and its signature is (q, k, v)",
        ),
        ("implementation('numpy/mine')(3)\n", "attend of numpy/mine is a function of (q, k, v, call); got 3"),
        ("def attend(:\n", "line 9: invalid syntax"),
    ],
)
def test_what_is_wrong_with_a_name_a_function_or_the_text(body: str, said: str, tmp_path: Path) -> None:
    assert said in refused(file(tmp_path, body))


def test_an_unknown_backend_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path, decorated("Capabilities()", "numpi/mine"))
    with pytest.raises(UsageError, match=r"unknown backend 'numpi'; .*did you mean 'numpy'"):
        make_plan(["smoke"], files=[path])


def test_a_wrong_file_in_a_folder_is_not_passed_over(tmp_path: Path) -> None:
    file(tmp_path, decorated("Capabilities()"), "a.py")
    file(tmp_path, "def helper(): ...\n", "helpers.py")
    assert tuple(found_in([str(tmp_path)])) == ("numpy/mine",)
    file(tmp_path, "def attend(:\n", "b.py")
    assert "b.py, line 9: invalid syntax" in refused(str(tmp_path))
