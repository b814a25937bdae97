"""The three roots laid together as the one package that users see, for tools that read files.

`src/attnbench`, `impls/` and `suites/` become one package only by installation. mypy and import-linter
read folders, so this module copies the roots into `build/assembled/attnbench` and runs the tool there:

    python -m tests.packaging.assembled mypy
    python -m tests.packaging.assembled lint-imports

Paths in the tool's output are turned back into those of the repository.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.repository import REPOSITORY

ROOTS = {"src/attnbench": "attnbench", "impls": "attnbench/impls", "suites": "attnbench/suites"}
BYTECODE = shutil.ignore_patterns("__pycache__", "*.pyc")


def assemble(target: Path) -> Path:
    """Copy the three roots into `target/attnbench`, replacing what lay there, and return `target`.

    Modification times are kept, so that a type checker's cache stays good from one run to the next.
    """
    shutil.rmtree(target / "attnbench", ignore_errors=True)
    for source, destination in ROOTS.items():
        shutil.copytree(REPOSITORY / source, target / destination, ignore=BYTECODE)
    return target


def to_repository_paths(text: str, target: Path) -> str:
    """Turn paths below an assembled tree into the paths of the files that a person edits."""
    for source, destination in reversed(ROOTS.items()):  # the longest destinations first
        for prefix in (target / destination, Path(os.path.relpath(target / destination, REPOSITORY))):
            text = text.replace(f"{prefix}{os.sep}", f"{source}/")
    return text


def run(command: Sequence[str], target: Path) -> subprocess.CompletedProcess[str]:
    """Run a module's command in the repository root, with the assembled tree first on Python's path."""
    environment = {**os.environ, "PYTHONPATH": str(target), "MYPYPATH": str(target), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    done.stdout = to_repository_paths(done.stdout, target)
    return done


def lint_imports(target: Path) -> subprocess.CompletedProcess[str]:
    """Hold the tree to the contracts in pyproject.toml."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return run([sys.executable, "-c", command, "--no-cache"], target)


def mypy(target: Path) -> subprocess.CompletedProcess[str]:
    """Check the types of the harness, the implementations, the suites and the tests."""
    return run([sys.executable, "-m", "mypy", str(target / "attnbench"), "tests"], target)


TOOLS = {"lint-imports": lint_imports, "mypy": mypy}


def main(arguments: Sequence[str]) -> int:
    """Run one tool over a fresh copy of the roots, and return its exit status."""
    if len(arguments) != 1 or arguments[0] not in TOOLS:
        sys.stderr.write(f"usage: python -m tests.packaging.assembled {{{','.join(TOOLS)}}}\n")
        return 2
    done = TOOLS[arguments[0]](assemble(REPOSITORY / "build" / "assembled"))
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
