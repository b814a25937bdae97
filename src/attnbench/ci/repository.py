"""What git says of the folder in which somebody works: its repository, the branches there are, what is committed."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from attnbench.errors import UsageError, suggest

GIT_S = 60.0
ORIGIN = "origin/"
USUAL = "main"


@dataclass(frozen=True)
class Repository:
    """The folder for which files are written; ``by_git`` says whether it is a repository already."""

    root: Path
    by_git: bool

    def branches(self) -> list[str]:
        """The branches here and at ``origin``, by the name that they have there; the one to come of an empty one."""
        if not self.by_git:
            return []
        form = ["--format=%(refname:lstrip=2)"]
        local = _git(self.root, "for-each-ref", *form, "refs/heads") or ""
        remote = _git(self.root, "for-each-ref", *form, "refs/remotes/origin") or ""
        names = [*local.splitlines(), *(name.removeprefix(ORIGIN) for name in remote.splitlines())]
        if not local and (unborn := _git(self.root, "symbolic-ref", "--short", "HEAD")):
            names.append(unborn.strip())
        return sorted({name for name in names if name != "HEAD"})

    def base(self, named: str | None) -> str:
        """The branch to compare with: the named one, else that of ``origin/HEAD``, else main, where there is one."""
        known = self.branches()
        if not self.by_git:
            return named or USUAL
        if named is None:
            default = _git(self.root, "symbolic-ref", "--short", "refs/remotes/origin/HEAD")
            named = default.strip().removeprefix(ORIGIN) if default else USUAL
        if named not in known:
            there = f"there are {', '.join(known)}" if known else "none is known here"
            fetch = f"name one with --base, or: git fetch origin {named}"
            typed = f"type --base {known[0]}" if len(known) == 1 else fetch
            msg = f"{self.root} has no branch {named!r}; {there}{suggest(named, known)}; {typed}"
            raise UsageError(msg)
        return named

    def holds(self, path: str) -> bool:
        """Whether git holds a file, or files of a folder, by its path from the root."""
        return not self.by_git or bool(_git(self.root, "ls-files", "--", f":(literal){path}"))

    def ignores(self, path: str) -> bool:
        """Whether git is told to leave a file out."""
        return self.by_git and _git(self.root, "check-ignore", "-q", "--", path) is not None


def repository(out: Path | None) -> Repository:
    """The repository of the folder ``out``, or of this one. Raises ``UsageError`` where nobody can know its top."""
    start = Path.cwd() if out is None else out
    if not start.is_dir():
        msg = f"-o {start}: there is no such folder"
        raise UsageError(msg)
    said = _git(start, "rev-parse", "--show-toplevel")
    top = None if said is None else Path(said.rstrip("\r\n")).resolve()
    folder = start.resolve()
    broken = next((path for path in (folder, *folder.parents) if (path / ".git").exists()), None)
    if top is None and broken is not None:
        msg = f"git cannot read the repository {broken}; this says why: git -C {shlex.quote(str(broken))} status"
        raise UsageError(msg)
    if top is None and out is None:
        msg = f"{start} is in no git repository, and a workflow stands at the top of one. "
        msg += "Type: git init; or name the folder that will be the top of it: -o DIR"
        raise UsageError(msg)
    if top is not None and out is not None and out.resolve() != top:
        msg = f"-o {out} is a folder within the repository {top}, and GitHub reads workflows at its top alone; "
        msg += "leave -o away"
        raise UsageError(msg)
    return Repository(top or start.resolve(), by_git=top is not None)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or ``None`` where it fails."""
    program = shutil.which("git")
    if program is None:
        msg = "git is not on the PATH: install it, and try again"
        raise UsageError(msg)
    command = [program, "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", timeout=GIT_S, check=False)
    return done.stdout if done.returncode == 0 else None
