"""The scripts of docs/dispatch.md, by the letter, with stand-ins for schedulers and for what is measured."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from attnbench.dispatch.folder import result_files
from tests.dispatch.conftest import Fleet
from tests.dispatch.forked import forked
from tests.docs.test_docs import blocks
from tests.program import Cli
from tests.repository import DOCS

PAGE = blocks(DOCS / "dispatch.md")
WORKFLOW = next(block.text for block in PAGE if block.language == "yaml")
SCRIPTS = {block.info.removeprefix("file="): block.text for block in PAGE if block.language == "sh"}

# The program, whose measuring takes what the tests' plan has; a block in $KILLED is killed the first time.
PROGRAM = """
    import shutil, signal
    from pathlib import Path

    import attnbench.analysis.judged, attnbench.dispatch.merge
    from attnbench.commands import app
    from attnbench.dispatch import held, work
    from attnbench.dispatch.records import BlockResult

    def measured(folder, plan, block, words, note, begins):
        marker = Path("killed-" + str(block.number))
        if str(block.number) in os.environ.get("KILLED", "").split() and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        with open("taken", "a") as taken:
            taken.write(str(block.number) + "\\n")
        file = next(Path("{full}", "results").rglob(block.id + ".*"))
        return BlockResult.model_validate_json(file.read_bytes()), ""

    def main():
        if sys.argv[1:3] == ["dispatch", "plan"]:
            return shutil.copytree("{empty}", sys.argv[sys.argv.index("-o") + 1]) and 0
        return app.main()

    work.measured = measured
    held.code_digest()  # it is looked up once
"""
SBATCH = """
    #!{python}
    import os, subprocess, sys

    array, limit = sys.argv[1].removeprefix("--array=").split("%")
    assert int(limit) > 0
    with open("statuses", "a") as statuses:
        for part in array.split(","):
            first, _, last = part.partition("-")
            assert int(last or first) < 1001  # MaxArraySize
            for task in range(int(first), int(last or first) + 1):
                environment = os.environ | {{"SLURM_ARRAY_TASK_ID": str(task)}}
                done = subprocess.run(["bash", *sys.argv[2:]], env=environment, check=False)
                statuses.write(str(done.returncode) + "\\n")
"""
PARALLEL = """
    #!{python}
    import subprocess, sys

    words = sys.argv[1:]
    assert words[:2] == ["--jobs", "1"], words
    assert words[2] == "--sshloginfile" and words[4] == "--workdir", words
    for line in sys.stdin:
        subprocess.run([word.replace("{{}}", line.strip()) for word in words[6:]], cwd=words[5], check=False)
"""


@pytest.fixture(scope="module")
def program(fleet: Fleet) -> Iterator[str]:
    """The text of the program's stand-in."""
    with forked(PROGRAM.format(empty=fleet.empty, full=fleet.folder)) as text:
        yield text


@pytest.fixture
def shell(program: str, tmp_path: Path, cli: Cli) -> Callable[..., int]:
    """Run a script in an empty folder where attnbench, sbatch and parallel are stand-ins."""
    del cli  # for its lock
    programs = tmp_path / "bin"
    programs.mkdir()
    others = {name: dedent(text).strip() for name, text in {"sbatch": SBATCH, "parallel": PARALLEL}.items()}
    texts = {name: text.format(python=f"{sys.executable} -IS") for name, text in others.items()}
    for name, text in (texts | {"attnbench": program}).items():
        (programs / name).write_text(text + "\n")
        (programs / name).chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    for name, text in SCRIPTS.items():
        (tmp_path / name).write_text(text)

    def run(*words: str, **more: str) -> int:
        environment = os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"} | more
        return subprocess.run(["bash", *words], cwd=tmp_path, env=environment, check=False, timeout=120).returncode

    return run


def taken(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "taken").read_text().split()]


def test_an_array_of_which_two_tasks_are_killed_is_complete_when_submitted_again(
    shell: Callable[..., int], fleet: Fleet, tmp_path: Path, cli: Cli
) -> None:
    shutil.copytree(fleet.empty, tmp_path / "plan")
    assert shell("submit.sh", "plan", KILLED="0 2") == 0
    assert (tmp_path / "statuses").read_text().split() == ["137", "0", "137"]
    assert cli("dispatch", "list", "plan", "--missing").out.split() == ["0,2"]
    (tmp_path / "statuses").unlink()
    assert shell("submit.sh", "plan", KILLED="0 2") == 0
    assert (tmp_path / "statuses").read_text().split() == ["0", "0"]
    assert cli("dispatch", "list", "plan", "--missing").out.split() == []
    assert sorted(taken(tmp_path)) == [0, 1, 2]
    assert cli("dispatch", "merge", "plan").code == fleet.local_exit


def test_a_plan_of_more_blocks_than_an_array_takes_is_several_arrays(
    shell: Callable[..., int], fleet: Fleet, tmp_path: Path
) -> None:
    shutil.copytree(fleet.empty, tmp_path / "plan")
    script = tmp_path / "submit.sh"
    script.write_text(script.read_text().replace("--array-size 1000", "--array-size 2"))
    assert shell("submit.sh", "plan") == 0
    assert (tmp_path / "statuses").read_text().split() == ["0", "0", "0"]
    assert sorted(taken(tmp_path)) == [0, 1, 2]
    assert shell("submit.sh", "plan") == 0  # nothing is left, and nothing is submitted
    assert len((tmp_path / "statuses").read_text().split()) == 3


def test_a_matrix_of_a_ci_service_measures_every_block(shell: Callable[..., int], tmp_path: Path, fleet: Fleet) -> None:
    plan, lists, tells, makes, works, merges = re.findall(r"run: (\S.*)", WORKFLOW)
    output = tmp_path / "output"
    for step in (plan, lists, tells, makes):
        assert shell("-ec", step, GITHUB_OUTPUT=str(output)) == 0
    assert output.read_text() == "blocks=[0, 1, 2]\n"
    for number in range(3):
        assert shell("-ec", works.replace("${{ matrix.block }}", str(number))) == 0
    assert shell("-ec", merges) == fleet.local_exit  # the job is red where a kernel was wrong; the runs are kept
    assert len(list((tmp_path / "results").iterdir())) == 1
    assert sorted(taken(tmp_path)) == [0, 1, 2]


def test_a_ci_service_keeps_the_runs_where_the_merge_says_that_a_kernel_was_wrong() -> None:
    merging, keeping = WORKFLOW.partition("run: attnbench dispatch merge plan")[::2]
    assert merging
    assert keeping.lstrip().startswith("- if: ${{ !cancelled() }}")
    assert "{name: runs, path: results}" in keeping


@pytest.mark.parametrize("script", ["parallel.sh", "loop.sh"])
def test_machines_that_share_a_folder_measure_every_block(
    script: str, shell: Callable[..., int], tmp_path: Path, fleet: Fleet
) -> None:
    shutil.copytree(fleet.empty, tmp_path / "plan")
    shell(script, "plan")
    assert sorted(taken(tmp_path)) == [0, 1, 2]
    assert len(list(result_files(tmp_path / "plan"))) == 3


def test_every_script_of_the_page_is_tried() -> None:
    assert set(SCRIPTS) == {"array.sh", "submit.sh", "parallel.sh", "loop.sh"}
