"""Asking what there is costs little: no framework, no pandas, no drawing until something is measured or shown."""

import json
import resource
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.packaging.conftest import Run

HEAVY = [
    "torch",
    "jax",
    "jaxlib",
    "keras",
    "onnxruntime",
    "openvino",
    "jaxtyping",
    "pandas",
    "seaborn",
    "matplotlib",
    "scipy",
    "pyarrow",
    "rich",
]
# Describing what there is takes no arithmetic; suites, which draw their cases, may load NumPy.
WITHOUT_NUMPY = ("import attnbench", "attnbench --help", "attnbench list", "attnbench list backends")
LIMIT_S = 0.5

# Runs a statement, whatever its exit status, and prints as the last line which heavy modules it left loaded.
PROBE = """
import json, sys
status = 0
try:
    {statement}
except SystemExit as ended:
    status = ended.code or 0
print()
print(json.dumps([status, sorted({{name.partition(".")[0] for name in sys.modules}} & {{"numpy", *{heavy}}})]))
"""

MAIN = "import sys; from attnbench.commands.app import main; sys.argv = {words}; main()"
COMMANDS = (["attnbench", "--help"], *(["attnbench", "list", *what] for what in ([], ["backends"], ["suites"])))
STATEMENTS = {
    "import attnbench": "import attnbench",
    "the worker": "import attnbench.measure.worker",
    "who asks workers": "import attnbench.workers.session",
    **{" ".join(words): MAIN.format(words=words) for words in COMMANDS},
}


def heavy_imports(statement: str, python: Run, cwd: Path, path: tuple[Path, ...] = ()) -> list[str]:
    """Return the heavy modules that a statement loads in a process of its own."""
    done = python("-c", PROBE.format(statement=statement, heavy=HEAVY), cwd=cwd, path=path)
    assert done.returncode == 0, done.stderr
    status, loaded = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stdout + done.stderr
    return list(loaded)


def heavier(name: str, python: Run, cwd: Path, path: tuple[Path, ...] = ()) -> list[str]:
    """Return the heavy modules that one of the statements loads, NumPy among them where it has no use for it."""
    loaded = heavy_imports(STATEMENTS[name], python, cwd, path)
    return loaded if name in WITHOUT_NUMPY else [one for one in loaded if one != "numpy"]


@pytest.mark.parametrize("name", STATEMENTS)
def test_imports_nothing_heavy(name: str, python: Run, tmp_path: Path) -> None:
    assert heavier(name, python, tmp_path) == []


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_planted_import_would_be_seen(
    name: str, python: Run, planted: Callable[[Mapping[str, str]], Path], tmp_path: Path
) -> None:
    tree = planted({"__init__.py": "import seaborn"})
    (tree / "seaborn.py").write_text("# stands for the real one, which may be absent\n")
    assert heavier(name, python, tmp_path, (tree,)) == ["seaborn"]


def test_a_planted_import_of_numpy_would_be_seen(
    python: Run, planted: Callable[[Mapping[str, str]], Path], tmp_path: Path
) -> None:
    tree = planted({"backends/backend.py": "import numpy"})
    assert heavier("attnbench list", python, tmp_path, (tree,)) == ["numpy"]


def commands_imported(python: Run, cwd: Path, path: tuple[Path, ...] = ()) -> list[str]:
    """Return the commands whose files ``attnbench list`` loads in a process of its own."""
    statement = (
        "import sys; from attnbench.commands.app import COMMANDS, main; main(['list', 'suites', '--json']); "
        "print(*[n for n, file in COMMANDS.items() if f'attnbench.commands.{file}' in sys.modules], file=sys.stderr)"
    )
    done = python("-c", statement, cwd=cwd, path=path)
    assert done.returncode == 0, done.stderr
    return done.stderr.split()


def test_a_command_imports_no_other(python: Run, tmp_path: Path) -> None:
    assert commands_imported(python, tmp_path) == ["list"]


def test_a_planted_import_of_another_command_would_be_seen(
    python: Run, planted: Callable[[Mapping[str, str]], Path], tmp_path: Path
) -> None:
    tree = planted({"commands/app.py": "command('report')"})
    assert commands_imported(python, tmp_path, (tree,)) == ["list", "report"]


@pytest.mark.parametrize("arguments", [["--help"], ["list"]])
def test_answers_in_half_a_second(arguments: list[str], python: Run, tmp_path: Path) -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = python("-m", "attnbench", *arguments, cwd=tmp_path)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Processor time, and the least of several: another program's load makes everything slower, and never faster.
    assert min(seconds() for _ in range(5)) < LIMIT_S
