"""`.ci/run` runs the command that README.md shows, passes its status on and ends with pytest's summary."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository import REPOSITORY

SUMMARY = "========================= 1 failed, 2 passed in 0.10s ========================="

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a bash script for Debian")


def _run(folder: Path, readme: str, exit_status: int = 0) -> subprocess.CompletedProcess[str]:
    (folder / ".ci").mkdir()
    shutil.copy(REPOSITORY / ".ci" / "run", folder / ".ci" / "run")
    (folder / "README.md").write_text(readme)
    stand_in = folder / "stand-in"
    stand_in.write_text(f'#!/bin/sh\necho "asked: $*"\necho "{SUMMARY}"\necho "more from tox"\nexit {exit_status}\n')
    stand_in.chmod(0o755)
    return subprocess.run(["bash", folder / ".ci" / "run"], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("status", [0, 1, 5])
def test_passes_the_status_on_and_ends_with_the_summary(status: int, tmp_path: Path) -> None:
    done = _run(tmp_path, "```bash\n./stand-in smoke\n```\n\n```bash\n./stand-in tox\n```\n", status)
    assert done.returncode == status
    assert "asked: tox\n" in done.stdout
    assert "asked: smoke" not in done.stdout
    assert done.stdout.splitlines()[-1] == SUMMARY


@pytest.mark.parametrize("readme", ["", "./stand-in tox\n", "```bash\n./stand-in tox\n./other tox\n```\n"])
def test_a_readme_without_one_such_command_is_wrong(readme: str, tmp_path: Path) -> None:
    done = _run(tmp_path, readme)
    assert done.returncode == 2
    assert "README.md must have exactly one command that ends in 'tox'" in done.stderr


def test_readme_shows_the_two_commands() -> None:
    lines = (REPOSITORY / "README.md").read_text("utf-8").splitlines()
    assert "python3 -m pip install tox && python3 -m tox" in lines
    assert "python3 -m pip install tox && python3 -m tox -e smoke" in lines
