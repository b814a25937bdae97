"""The page on Dask: its commands, its variables and its scripts are those that there are."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from pathlib import Path

import dask
import pytest
from distributed import Nanny, SSHCluster
from distributed.cli import dask_scheduler, dask_worker

from attnbench.dispatch.cluster.environment import BEGINNINGS, LABELS, PASSED
from attnbench.dispatch.work import OF_SCHEDULERS
from tests.docs.test_docs import blocks
from tests.repository import DOCS

PAGE = blocks(DOCS / "dask.md")
TEXT = (DOCS / "dask.md").read_text(encoding="utf-8")
COMMANDS = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}
LINES = [line for block in PAGE if block.language == "sh" for line in block.text.splitlines()]
SCRIPTS = {block.info.removeprefix("file="): block.text for block in PAGE if block.language == "python"}


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("dask ")])
def test_dask_knows_every_command_of_the_page(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).touch()
    _, command, *words = shlex.split(line)
    with COMMANDS[command].make_context(command, words) as context:
        assert command == "scheduler" or (context.params["nthreads"], context.params["resources"]) == (1, "node=1")


def test_the_profiler_is_off_with_the_variable_of_the_page() -> None:
    (line,) = {line for line in LINES if "PROFILE" in line}
    name, value = line.removeprefix("export ").split("=")
    config = dask.config.collect_env({name: value})
    assert config == {"distributed": {"worker": {"profile": {"enabled": False}}}}
    assert any(line.startswith(f"export {LABELS}=") for line in LINES)


def test_the_page_lists_every_variable_that_passes() -> None:
    listed = TEXT.partition("only these variables pass:")[2].partition("and the numbers")[0]
    passing = set(PASSED) - set(OF_SCHEDULERS) | {f"{beginning}*" for beginning in BEGINNINGS}
    assert set(re.findall(r"`([^`]+)`", listed)) == passing


def test_the_scripts_call_what_there_is() -> None:
    assert set(SCRIPTS) == {"slurm.py", "machines.py"}
    calls = {name: _call(text, name) for name, text in {"SSHCluster": SCRIPTS["machines.py"]}.items()}
    _call(SCRIPTS["slurm.py"], "SLURMCluster")
    words = {word.arg: word.value for word in calls["SSHCluster"].keywords}
    assert set(words) <= set(inspect.signature(SSHCluster).parameters)
    options = ast.literal_eval(words["worker_options"])
    assert set(options) <= set(inspect.signature(Nanny).parameters)
    assert (options["nthreads"], options["resources"]) == (1, {"node": 1})


def _call(text: str, name: str) -> ast.Call:
    """The one call of a name in a script."""
    (call,) = (
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    )
    return call
