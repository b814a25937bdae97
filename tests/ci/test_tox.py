"""The environments of tox: in which file, in which form, and that their commands run as tox would run them."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.ci import stand_ins
from tests.ci.conftest import SOURCE
from tests.program import Cli

REQUIREMENT = f"attnbench[report] @ {SOURCE[1]}"
ONLY = ("--only", "tox", *SOURCE)
TOML = '[project]\nname = "kernel"\n\n[tool.tox]\nenv_list = ["py"]\n'
AB = ["ab", "main", "HEAD", "--impls", "mine.py", "--impl", "numpy/mine", "--budget", "5m", "--inconclusive", "pass"]


def ini_command(text: str, name: str, more: str = "") -> list[str]:
    """The words of a command, with what stands in braces put in as tox does."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    command = parser[f"testenv:{name}"]["commands"].replace("{posargs}", more)
    return shlex.split(re.sub(r"\{env:(\w+):([^}]*)\}", lambda match: os.environ.get(match[1], match[2]), command))


def toml_command(settings: Mapping[str, Any], name: str) -> list[str]:
    """The same of TOML, where what is replaced is a table."""
    (command,) = settings["env"][name]["commands"]
    return [word if isinstance(word, str) else word["default"] for word in command if word != POSARGS]


POSARGS = {"replace": "posargs", "default": [], "extend": True}


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a script of Unix")
def test_the_commands_run(init: Cli, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert init(*ONLY).code == 0
    text = (repository / "tox.ini").read_text("utf-8")
    assert text.startswith("[tox]\n")
    stand_ins.stand_in(tmp_path, check=1)
    monkeypatch.setenv("PATH", os.pathsep.join([str(stand_ins.set_up(tmp_path)), os.environ["PATH"]]))
    done = subprocess.run(ini_command(text, "attnbench", "--quick"), check=False, capture_output=True)
    assert done.returncode == 1
    assert stand_ins.asked(tmp_path) == [["check", "numpy/mine", "--impls", "mine.py", "--quick"]]
    assert ini_command(text, "attnbench-ab")[1:] == AB
    monkeypatch.setenv("ATTNBENCH_BASE", "release")
    assert ini_command(text, "attnbench-ab")[2] == "release"


@pytest.mark.parametrize("name", ["tox.ini", "setup.cfg"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_a_file_with_settings_is_added_to_and_keeps_its_own(
    init: Cli, repository: Path, name: str, line_break: str
) -> None:
    theirs = line_break.join(["[tox:tox]" if name == "setup.cfg" else "[tox]", "env_list = py", "# mine"])
    (repository / name).write_bytes(theirs.encode())
    assert init(*ONLY).code == 0
    raw = (repository / name).read_bytes()
    assert raw.startswith(
        theirs.encode() + line_break.encode() * 2 + b"# attnbench init-ci: begin" + line_break.encode()
    )
    assert raw.count(b"\n") == raw.count(line_break.encode())
    assert ini_command(raw.decode(), "attnbench-ab")[1:] == AB
    again = init(*ONLY)
    assert (again.code, again.out.split()[0]) == (0, "unchanged")
    assert (repository / name).read_bytes() == raw


@pytest.mark.parametrize(("name", "text"), [("pyproject.toml", TOML), ("tox.toml", 'env_list = ["py"]\n')])
def test_settings_in_toml_are_added_to_as_toml(init: Cli, repository: Path, name: str, text: str) -> None:
    (repository / name).write_text(text, "utf-8")
    assert init(*ONLY).code == 0
    after = (repository / name).read_text("utf-8")
    assert after.startswith(text)
    parsed = tomllib.loads(after)
    settings = parsed["tool"]["tox"] if name == "pyproject.toml" else parsed
    assert settings["env_list"] == ["py"]
    assert toml_command(settings, "attnbench")[1:] == ["check", "numpy/mine", "--impls", "mine.py"]
    assert toml_command(settings, "attnbench-ab")[1:] == AB
    assert settings["env"]["attnbench"]["deps"] == [REQUIREMENT]
    assert not (repository / "tox.ini").exists()


REFUSED = [
    ("tox.ini", "[testenv:attnbench]\ncommands = mine\n", "that is not ours"),
    ("pyproject.toml", '[tool.tox]\nlegacy_tox_ini = """\n[tox]\n"""\n', "legacy_tox_ini"),
    ("pyproject.toml", '[tool]\ntox = { env_list = ["py"] }\n', "cannot take these at its end"),
    ("pyproject.toml", "[tool.tox\n", "cannot be read"),
    ("tox.ini", "commands = no section\n", "cannot be read"),
    ("tox.ini", "[testenv:{docs, attnbench}]\ncommands = mine\n", "that is not ours"),
    ("tox.ini", "[testenv:attnbench{,-ab}]\ncommands = mine\n", "attnbench and attnbench-ab that is not ours"),
]


@pytest.mark.parametrize(("name", "text", "said"), REFUSED)
def test_what_would_be_lost_or_unread_is_refused_also_by_force(
    init: Cli, repository: Path, name: str, text: str, said: str
) -> None:
    (repository / name).write_text(text, "utf-8")
    done = init(*SOURCE, "--force")
    assert done.code == 2
    assert said in done.err
    assert "--only workflow" in done.err
    assert (repository / name).read_text("utf-8") == text
    assert not (repository / ".github").exists(), "all of it or nothing"
    assert init(*SOURCE, "--only", "workflow").code == 0


def test_what_cannot_be_added_is_shown(init: Cli, repository: Path) -> None:
    (repository / "pyproject.toml").write_text(REFUSED[1][1], "utf-8")
    done = init(*ONLY, "--print")
    assert done.code == 0
    assert ini_command(done.out[done.out.index("[testenv") :], "attnbench")[1] == "check"


def test_environments_of_ours_are_replaced_by_force_and_nothing_else(init: Cli, repository: Path) -> None:
    file = repository / "tox.ini"
    assert init(*ONLY).code == 0
    file.write_text(file.read_text("utf-8") + "\n[testenv:docs]\ncommands = mine\n", "utf-8")
    before = file.read_text("utf-8")
    done = init(*ONLY, "--budget", "90s")
    assert (done.code, file.read_text("utf-8")) == (2, before)
    assert "--force" in done.err
    assert init(*ONLY, "--budget", "90s", "--force").code == 0
    assert file.read_text("utf-8") == before.replace("--budget 5m", "--budget 90s")


def test_a_file_that_is_not_in_utf_8_is_left_alone(init: Cli, repository: Path) -> None:
    (repository / "tox.ini").write_bytes(b"[tox]\n# caf\xe9\n")
    done = init(*SOURCE)
    assert done.code == 2
    assert "not written in UTF-8" in done.err
    assert not (repository / ".github").exists()


def test_a_mark_of_utf_8_stays(init: Cli, repository: Path) -> None:
    (repository / "tox.ini").write_bytes(b"\xef\xbb\xbf[tox]\r\nenv_list = py\r\n")
    assert init(*ONLY).code == 0
    assert (repository / "tox.ini").read_bytes().startswith(b"\xef\xbb\xbf[tox]\r\nenv_list = py\r\n\r\n# attnbench")


def test_what_is_installed_besides_is_installed_in_both(init: Cli, repository: Path) -> None:
    done = init(*SOURCE, "--install", "-r requirements.txt", "--install", "numba>=0.60", "--print", "--json")
    workflow, tox = (row["text"] for row in json.loads(done.out)["files"])
    assert f"pip install '{REQUIREMENT}' -r requirements.txt 'numba>=0.60'\n" in workflow
    assert tox.count(f"    {REQUIREMENT}\n    -r requirements.txt\n    numba>=0.60\n") == 2
    assert list(repository.iterdir()) == [repository / ".git", repository / "mine.py"]
