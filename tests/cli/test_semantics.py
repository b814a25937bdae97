"""``attnbench semantics``: the page in the docs is what it writes, a crash is a finding, and one JSON document."""

from __future__ import annotations

import re

import pytest

from attnbench.checking import semantics as measure
from attnbench.commands import semantics_output as command
from attnbench.workers.protocol import Reply
from attnbench.workers.session import Session
from tests.program import Cli
from tests.repository import DOCS

PAGE = DOCS / "semantics.md"


@pytest.mark.slow
def test_the_page_in_the_docs_is_what_the_command_writes(cli: Cli) -> None:
    written = PAGE.read_text("utf-8")
    (line,) = re.findall(r"^Versions: (.*)\.$", written, re.MULTILINE)
    here = ", ".join(f"{name} {version}" for name, version in command.versions().items())
    if line != here:
        pytest.skip(f"the page is about {line}; installed are {here}")
    done = cli("semantics", "--markdown", "--quiet")
    assert done.code == 0, done.err
    assert done.out == written, "write it again: python -m tests.docs.write semantics"


def test_json_has_the_errors_behind_the_words(cli: Cli) -> None:
    done = cli("semantics", "numpy", "--json", "--quiet")
    if not command.versions().keys() & {"onnx"}:
        assert done.code == 5
        return
    assert done.code == 0, done.err
    (backend,) = done.document["backends"]
    words = {found["word"] for kernel in backend["kernels"].values() for found in kernel.values()}
    assert not words & set(measure.LOST)
    errors = [f for kernel in backend["kernels"].values() for f in kernel.values() if f["word"] == "error"]
    assert all(found["detail"] for found in errors)


def test_an_unknown_backend_is_wrong_usage(cli: Cli) -> None:
    done = cli("semantics", "tourch")
    assert done.code == 2
    assert "did you mean 'torch'?" in done.err


def test_nothing_to_probe_is_said(cli: Cli) -> None:
    done = cli("semantics", "numpy", "--device", "cuda", "--quiet")
    assert done.code == 5
    assert "no native kernel" in done.out


def test_a_lost_process_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lost(Session):
        """A worker that ends in one probe."""

        def ask(self, op: str, /, *, timeout_s: float | None = None, **arguments: object) -> Reply:
            assert timeout_s is None
            if op == "semantics_plan":
                return Reply(1, "ok", value={"kernels": ["planted"], "missing": {"other": "nothing"}})
            if arguments["probe"] == "fewer_keys":
                return Reply(2, "crashed", "the worker was ended by SIGSEGV")
            return Reply(3, "ok", value={"word": "0", "detail": ""})

    monkeypatch.setattr(measure, "Session", Lost)
    found = measure.probe_backend("numpy")
    kernel = found.kernels["planted"]
    assert (kernel["fewer_keys"].word, kernel["dead_row"].word) == ("CRASHED", "0")
    assert "SIGSEGV" in kernel["fewer_keys"].detail
    assert "**CRASHED**" in command.page([found])
    assert "other: nothing is not installed" in command.text(found)
