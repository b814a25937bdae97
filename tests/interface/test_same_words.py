"""What the command line takes, Python takes by the same words, and the other way round; what differs is named here."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

import attnbench as ab
from attnbench.commands import app

# By command: what stays on the command line, and why; what is another word in Python; what only Python has.
STAYS = {
    "run": {"json": "an object has it all", "report": "written by .report()"},
    "compare": {"json": "an object has it all"},
    "check": {
        "json": "an object has it all",
        "junit": "a file for continuous integration",
    },
}
RENAMED = {"run": {"a": "axes", "--suites": "suite_files"}, "compare": {}, "check": {"positional impls": "impl"}}
ONLY_PYTHON = {"run": set[str](), "compare": set[str](), "check": {"capabilities", "backend", "vjp"}}
# Defaults that differ: in Python nothing is printed unless it is asked for.
OTHERWISE = {("run", "quiet"), ("check", "quiet")}
NOTHING: tuple[Any, ...] = (None, (), [], "")


def typed(command: str) -> dict[str, Any]:
    """The words of a command with their defaults, as Python names them."""
    words = {}
    for parameter in app.command(command).params:
        if parameter.name in ("help", "install_completion", "show_completion"):
            continue
        if parameter.param_type_name == "argument":
            name = f"positional {parameter.name}"
            name = name if name in RENAMED[command] else str(parameter.name)
        else:
            option = max(parameter.opts, key=len)
            name = RENAMED[command].get(option, option.lstrip("-"))
        words[RENAMED[command].get(name, name)] = parameter.default
    return words


def written(function: Any) -> dict[str, Any]:
    """The words of a function with their defaults."""
    return {name: p.default for name, p in inspect.signature(function).parameters.items()}


def unlike(command: str, function: Any) -> list[str]:
    """What one has and the other has not."""
    on_line, in_python = typed(command), written(function)
    missing = [f"{name}: not in Python" for name in on_line if name not in in_python and name not in STAYS[command]]
    more = [name for name in in_python if name not in on_line and name not in ONLY_PYTHON[command]]
    return [*missing, *(f"{name}: not on the command line" for name in more)]


@pytest.mark.parametrize("command", ["run", "check", "compare"])
def test_the_words_are_the_same(command: str) -> None:
    assert unlike(command, getattr(ab, command)) == []
    assert set(STAYS[command]) <= set(typed(command))  # no exception outlives its option


@pytest.mark.parametrize("command", ["run", "check", "compare"])
def test_the_defaults_are_the_same(command: str) -> None:
    on_line, in_python = typed(command), written(getattr(ab, command))
    for name in on_line.keys() & in_python.keys():
        if (command, name) in OTHERWISE:
            continue
        ours = in_python[name]
        ours = None if ours is inspect.Parameter.empty else ours
        assert (on_line[name] in NOTHING and ours in NOTHING) or str(on_line[name]) == str(ours), name


def test_a_word_that_one_of_them_lacks_is_seen() -> None:
    def without_threads(suites: Any = (), *, impl: Any = (), colour: str = "") -> None: ...

    found = unlike("run", without_threads)
    assert "threads: not in Python" in found
    assert "colour: not on the command line" in found
    assert not any(line.startswith("suites") for line in found)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ab.run("smoke", axis={"T": 1}), "did you mean 'axes'"),
        (lambda: ab.run("smoke", sute="smoke"), "run takes no 'sute'"),
        (ab.run, "name a suite"),
        (lambda: ab.run("smok"), "did you mean 'smoke'"),
        (lambda: ab.run("smoke", budget="soon"), "a duration is a number above 0"),
        (lambda: ab.run("smoke", budget=0), "a duration is a number above 0"),
        (lambda: ab.run("smoke", threads=True), "threads= is a whole number"),
        (lambda: ab.run("smoke", threads=0), "--threads is 1 or more"),
        (lambda: ab.run("smoke", tokens=1.5), "tokens= is a text or a whole number"),
        (lambda: ab.run("smoke", device="gpu"), "did you mean 'cuda'"),
        (lambda: ab.run("smoke", axes={"T": [128], "nothing": [1]}), "nothing"),
        (lambda: ab.run("smoke", timeout="soon"), "--timeout is a number of seconds"),
        (lambda: ab.run("smoke", impls=3), "impls= is the path of a file"),
        (lambda: ab.run(3), "unknown suite '3'"),
        (lambda: ab.check("torch/sdpa", dtype="float31"), "dtype 'float31' is not one of"),
        (lambda: ab.check("torch/sdpa", quick=True, deep=True), "give one of them"),
        (lambda: ab.check("torch/sdpa", case="Tq=2", dtype="float32"), "would say nothing beside --case"),
        (lambda: ab.check("torch/sdpa", random=-1), "--random and --seed are 0 or more"),
        (lambda: ab.check("torch/sdpa", random=2.5), "--random and --seed are 0 or more"),
        (lambda: ab.check("torch/sdpa", random=5, quick=True), "--quick would say nothing beside --random"),
        (lambda: ab.check("torch/sdpa", random=5, dtype="float31"), "dtype 'float31' is not one of"),
        (lambda: ab.check("torch/sdpa", seed=5), "--seed goes with --onnx or --random"),
        (lambda: ab.check(lambda q, k, v: v, onnx=True), "onnx= is of what has a name"),
        (lambda: ab.check("torch/sdpaa"), "did you mean 'torch/sdpa'"),
        (lambda: ab.compare("nothing", "at-all"), "no run 'nothing'"),
        (lambda: ab.compare(1, 2), "a run is its folder or its run_id"),
        (lambda: ab.open_run("nothing"), "no run 'nothing'"),
    ],
)
def test_what_is_no_word_is_refused_before_anything_is_measured(
    call: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ab.AttnbenchError, match=message.replace("(", "\\(")):
        call()
    assert list(tmp_path.iterdir()) == []
