"""A real regression between two git revisions: ``numpy/blocked`` with one deliberate copy for every tile.

By hand: ``python -m tests.measure.copied_tile``. It clones this repository, commits the copy there, and lets
``attnbench ab HEAD~1 HEAD`` compare the two revisions on one case of 8192 tokens, in time and in memory. It ends with
status 1 where that does not find ``slower`` and ``larger``. Installing two revisions needs pip and takes a minute.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.repository import REPOSITORY

KERNEL = Path("impls/numpy_backend/tiled/forward.py")
BEFORE = "v[:, keys], out=more"
AFTER = "v.copy()[:, keys], out=more"  # all values are copied where one tile of them is needed
CELL = ["--suite", "memory", "-a", "tokens=8192", "-a", "phase=prefill", "--impl", "numpy/blocked"]


def spoil(clone: Path) -> None:
    """Commit the copy."""
    text = (clone / KERNEL).read_text()
    if text.count(BEFORE) != 1:
        sys.exit(f"{KERNEL} no longer has one line with {BEFORE!r}: say here what is to be spoiled instead")
    (clone / KERNEL).write_text(text.replace(BEFORE, AFTER))
    author = ["-c", "user.name=copied tile", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", *author, "commit", "-qam", "A copy for every tile"], cwd=clone, check=True)


def main() -> int:
    """Clone, spoil, compare; 0 where both were found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", default="5m")
    budget = parser.parse_args().budget
    with TemporaryDirectory() as folder:
        clone = Path(folder) / "attnbench"
        subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(clone)], check=True)
        spoil(clone)
        command = [sys.executable, "-m", "attnbench", "ab", "HEAD~1", "HEAD", *CELL, "--budget", budget, "--json"]
        done = subprocess.run([*command, "--out", folder], cwd=clone, check=False, stdout=subprocess.PIPE, text=True)
    document = json.loads(done.stdout)
    sys.stdout.write(json.dumps(document["verdicts"], indent=2) + "\n")
    verdicts = [(verdict["verdict"], (verdict["memory"] or {}).get("verdict")) for verdict in document["verdicts"]]
    sys.stdout.write(f"{verdicts}, exit status {done.returncode}\n")
    return 0 if verdicts == [("slower", "larger")] and done.returncode == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
