"""Git revisions as sides: a tree of files in a temporary folder, and what makes Python import it; removed at the end.

What a killed comparison could not remove, the next one does.

A revision of attnbench itself is installed from its tree into a folder beside it, since its three roots become one
package only so; of any other repository the tree itself (and its ``src``) goes to the front of the import path.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from attnbench.errors import UsageError, suggest
from attnbench.live.duo import Side
from attnbench.workers import scratch

GIT_S, INSTALL_S, ASK_S = 120.0, 600.0, 120.0
WORKTREE = ("WORKTREE", ".")
FORCE = "git:"
OURS = "attnbench"
PREFIX = "attnbench-ab-"
SHORT = 12
TAIL = 300

# Asked of the code of each side: what its worker understands and says. Printed as one JSON document.
ASKED = """
import dataclasses, inspect, json
from attnbench.measure import worker
from attnbench.suite import Cell
try:
    from attnbench.attention.problem import Case, Problem
    from attnbench.attention.spec import SPEC_VERSION, AttentionSpec
    from attnbench.workers import protocol
except ImportError:  # where an older revision has them
    from attnbench.measure import protocol
    from attnbench.problem import Case, Problem
    from attnbench.spec import SPEC_VERSION, AttentionSpec
def names(kind):
    return {f.name: f.default is f.default_factory is dataclasses.MISSING for f in dataclasses.fields(kind)}
def table():
    if hasattr(worker, "operations"):
        return worker.operations()
    from attnbench.measure.bench import Bench  # where an older revision has them all
    return {name: getattr(Bench, name) for name in asked if hasattr(Bench, name)}
said = ("Request", "Reply", "Hello", "Prepared", "Burst", "Memory")
asked = ("hello", "prepare", "burst", "verify", "memory")
spoken = table()
print(json.dumps({
    "spec version": SPEC_VERSION,
    "said": {name: names(getattr(protocol, name)) for name in said},
    "asked": {one.__name__: sorted(names(one)) for one in (Cell, Case, Problem, AttentionSpec)},
    "operations": {
        name: sorted({*inspect.signature(spoken[name]).parameters} - {"self"}) for name in asked if name in spoken
    },
}))
"""


@dataclass(frozen=True)
class Tree:
    """The files of a revision: where they are, the commit (with ``+`` for files that were changed), and its name."""

    path: Path
    commit: str
    name: str


class Revisions:
    """The trees of one comparison. Use it as a context: at its end nothing of them is left."""

    def __init__(self, start: Path | None = None) -> None:
        self.repository = repository(start or Path.cwd())
        for root in scratch.sweep(PREFIX):
            _git(root, "worktree", "prune")
        self._scratch = scratch.Scratch(PREFIX, self.repository)
        self._folder = self._scratch.path
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove every tree, and what git knows of it."""
        for path in sorted(self._folder.glob("tree*")):
            if (path / ".git").is_file():
                _git(self.repository, "worktree", "remove", "--force", str(path))
        self._scratch.remove()
        _git(self.repository, "worktree", "prune")

    def tree(self, name: str) -> Tree:
        """The files of a revision. Raises ``UsageError`` where git does not know it."""
        path = self._folder / f"tree{self._count}"
        self._count += 1
        if name in WORKTREE:
            return self._as_it_stands(path)
        commit = known_commit(self.repository, name)
        done = _git(self.repository, "worktree", "add", "--detach", str(path), commit)
        if done.returncode:
            msg = f"git worktree add failed for {name}: {done.stderr.strip()[-TAIL:]}"
            raise UsageError(msg)
        return Tree(path, commit[:SHORT], name)

    def _as_it_stands(self, path: Path) -> Tree:
        """A copy of the working tree, with uncommitted and new files, without ignored ones."""
        listed = _git(self.repository, "ls-files", "-co", "--exclude-standard", "-z").stdout
        for name in filter(None, listed.split("\0")):
            source, target = self.repository / name, path / name
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        return Tree(path, f"{(commit_of(self.repository, 'HEAD') or 'no commit')[:SHORT]}+", WORKTREE[0])

    def side(self, tree: Tree, python: str = sys.executable) -> Side:
        """The side whose workers import this tree; its ``problem`` where they cannot, or speak another protocol."""
        side = Side(f"{tree.name} ({tree.commit})", python, code=tree.commit)
        if is_ours(tree.path):
            site = tree.path.with_name(f"site{tree.path.name}")
            problem = install(tree.path, site)
            if problem is not None:
                return replace(side, problem=problem)
            paths = [site]
        else:
            paths = [path for path in (tree.path / "src", tree.path) if path.is_dir()]
        side = replace(side, environment={"PYTHONPATH": _import_path(paths)})
        return replace(side, problem=unlike(side)) if is_ours(tree.path) else side

    def within(self, tree: Tree, file: Path) -> Path:
        """A drop-in file as it is in a tree; one from outside the repository is the same for both sides."""
        file = file.resolve()
        if not file.is_relative_to(self.repository):
            return file
        return tree.path / file.relative_to(self.repository)


def repository(start: Path) -> Path:
    """The root of the git repository that holds ``start``. Raises ``UsageError`` outside of one."""
    done = _git(start, "rev-parse", "--show-toplevel")
    if done.returncode:
        msg = f"{start} is in no git repository, so there are no revisions to compare: {done.stderr.strip()[-TAIL:]}"
        raise UsageError(msg)
    return Path(done.stdout.strip()).resolve()


def commit_of(root: Path, name: str) -> str | None:
    """The commit that a name stands for; ``None`` if git does not know it."""
    if name.startswith("-"):
        return None
    done = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    return done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else None


def known_commit(root: Path, name: str) -> str:
    """The same; ``UsageError`` if git does not know it."""
    commit = commit_of(root, name)
    if commit is None:
        msg = f"{name!r} is no revision of {root}{suggest(name, branches(root))}"
        raise UsageError(msg)
    return commit


def branches(root: Path) -> list[str]:
    """Names of branches and tags."""
    return _git(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags").stdout.split()


def is_ours(tree: Path) -> bool:
    """Whether a tree is one of attnbench itself."""
    with suppress(OSError, tomllib.TOMLDecodeError):
        project = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
        return bool(project.get("name") == OURS)
    return False


def install(tree: Path, site: Path) -> str | None:
    """Install a tree of attnbench into ``site``, alone; why it cannot be, or ``None``."""
    given = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    said = ""
    for isolation in (["--no-build-isolation"], []):
        done = _run([*given, *isolation, "--target", str(site), str(tree)], INSTALL_S)
        if done.returncode == 0:
            return None
        said = said or _telling(done.stderr or done.stdout)
        shutil.rmtree(site, ignore_errors=True)
    return f"it cannot be installed: {said}"


def _telling(text: str) -> str:
    """The line in which an installer says what is wrong, among those that say that something is."""
    lines = [line.strip() for line in text.splitlines()]
    telling = [line for line in lines if "error:" in line.lower() and "subprocess-exited-with-error" not in line]
    return (telling or [" ".join(lines)])[0][-TAIL:]


def unlike(side: Side) -> str | None:
    """Why our parent and the worker of a side do not understand each other; ``None`` where they do."""
    theirs, ours = _asked(side), _asked(Side("ours"))
    if isinstance(theirs, str):
        return f"its worker cannot be asked for its protocol: {theirs}"
    if isinstance(ours, str):
        return f"our own worker cannot be asked for its protocol: {ours}"
    if theirs["spec version"] != ours["spec version"]:
        return f"it is of spec version {theirs['spec version']}, and this program of {ours['spec version']}"
    for kind, known in ours["said"].items():
        fields = theirs["said"][kind]
        # It may leave out fields that have a default here, and have none that we do not know.
        needed = {name for name, no_default in known.items() if no_default}
        wrong = sorted((set(fields) - set(known)) | (needed - set(fields)))
        if wrong:
            return f"its worker speaks another protocol: {kind} differs in {', '.join(wrong)}"
    for part in ("asked", "operations"):
        for name, known in ours[part].items():
            differing = sorted(set(known) ^ set(theirs[part].get(name, ())))
            if differing:
                return f"its worker speaks another protocol: {name} differs in {', '.join(differing)}"
    return None


def _asked(side: Side) -> Mapping[str, Any] | str:
    done = _run([side.python, "-P", "-c", ASKED], ASK_S, {**os.environ, **side.environment})
    try:
        spoken: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return " ".join(done.stderr.split())[-TAIL:] or "it said nothing"
    return spoken


def _import_path(paths: Sequence[Path]) -> str:
    before = os.environ.get("PYTHONPATH")
    return os.pathsep.join([*map(str, paths), *([before] if before else [])])


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("git")
    if program is None:
        msg = "comparing revisions needs git, which is not on the PATH; install it, or compare implementations"
        raise UsageError(msg)
    return _run([program, "-C", str(root), *arguments], GIT_S)


def _run(
    command: Sequence[str], timeout_s: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=False, env=environment, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(list(command), 1, "", str(error))
