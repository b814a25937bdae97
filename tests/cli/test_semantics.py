"""``attnbench semantics``: the page in the docs is what it writes, a crash is a finding, and one JSON document."""

from __future__ import annotations

import re

import pytest

from attnbench.backends import discover
from attnbench.checking import semantics as measure
from attnbench.commands import semantics_output as command
from attnbench.workers.protocol import Reply
from attnbench.workers.session import Session
from tests.program import Cli
from tests.repository import DOCS

PAGE = DOCS / "semantics.md"
AGAIN = "write it again: python -m tests.docs.write semantics"


# Keras on JAX compiles every operator of its layers: two thirds of the time that all take together.
LONG = {"keras_jax"}


def page_here() -> str:
    """The page in the docs, if it is about the installed versions."""
    written = PAGE.read_text("utf-8")
    (line,) = re.findall(r"^Versions: (.*)\.$", written, re.MULTILINE)
    here = ", ".join(f"{name} {version}" for name, version in command.versions().items())
    if line != here:
        pytest.skip(f"the page is about {line}; installed are {here}")
    return written


def sections(page: str) -> dict[str, str]:
    """The tables of a page by backend."""
    return {part.partition("\n")[0]: part.strip() for part in page.split("\n## ")[1:]}


@pytest.mark.slow
def test_the_tables_in_the_docs_are_what_the_command_writes(cli: Cli) -> None:
    backends = sorted(discover.backends().keys() & sections(page_here()).keys() - LONG)
    done = cli("semantics", *backends, "--markdown", "--quiet")
    assert done.code == 0, done.err
    written, now = sections(page_here()), sections(done.out)
    assert now.keys() == written.keys() - LONG
    assert {name: text for name, text in now.items() if written[name] != text} == {}, AGAIN


@pytest.mark.slow
@pytest.mark.proof
def test_the_page_in_the_docs_is_what_the_command_writes(cli: Cli) -> None:
    written = page_here()
    done = cli("semantics", "--markdown", "--quiet")
    assert done.code == 0, done.err
    assert done.out == written, AGAIN


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
