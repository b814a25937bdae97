"""What becomes of the files of a repository: made, added to, replaced where that is wanted; nothing is lost unasked."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from attnbench.ci.kernel import KernelCi
from attnbench.ci.tox import AB, CHECK, HEAD_OF_NEW, NEW, ToxFile, tox_file
from attnbench.ci.workflow import FILE, workflow
from attnbench.errors import UsageError
from attnbench.results.store import write_whole

BEGIN, END = "# attnbench init-ci: begin", "# attnbench init-ci: end"
OURS = re.compile(rf"^{BEGIN}\r?$.*?^{END}\r?$\n?", re.MULTILINE | re.DOTALL)
Parts = Literal["workflow", "tox"]
PARTS: tuple[Parts, ...] = ("workflow", "tox")
Became = Literal["new", "added to", "replaced", "unchanged"]


@dataclass(frozen=True)
class Change:
    """A file: what becomes of it, what is put there, and its whole content afterwards.

    ``refused`` says why it is not written as things are.
    """

    path: Path
    name: str
    became: Became
    text: str
    content: bytes
    refused: str | None = None


def changes(kernel: KernelCi, parts: Sequence[Parts], *, force: bool) -> list[Change]:
    """What would be written, in order. Raises ``UsageError`` where a file that is there cannot be read."""
    planned = {"workflow": _workflow, "tox": _tox}
    root = kernel.repository.root
    return [_unless_elsewhere(root, planned[part](kernel, force=force)) for part in PARTS if part in parts]


def write(planned: Sequence[Change]) -> None:
    """Write all of it, or nothing: ``UsageError`` where one of them is refused, and what fails is taken back."""
    refusals = [change.refused for change in planned if change.refused is not None]
    if refusals:
        raise UsageError("; ".join([*refusals, "nothing is written"]))
    with ExitStack() as taken_back:
        for change in planned:
            if change.became == "unchanged":
                continue
            _make_folder(change.path.parent, taken_back)
            before = change.path.read_bytes() if change.path.exists() else None
            write_whole(change.path, change.content)
            taken_back.callback(_take_back, change.path, before)
        taken_back.pop_all()


def _make_folder(folder: Path, taken_back: ExitStack) -> None:
    """Make a folder, and those that hold it; all that are made are removed again where something fails."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        for path in reversed(missing):
            path.mkdir()
            taken_back.callback(path.rmdir)
    except OSError as error:
        msg = f"{folder} cannot be made: {error.strerror}; nothing is written"
        raise UsageError(msg) from error


def _take_back(path: Path, before: bytes | None) -> None:
    if before is None:
        path.unlink()
    else:
        write_whole(path, before)


def _unless_elsewhere(root: Path, change: Change) -> Change:
    """The change, refused where it would not stay in the repository, or could not be written."""
    path, why = change.path, None
    real = Path(os.path.realpath(path))  # which takes a circle of links as well
    if not real.is_relative_to(root):
        why = f"{change.name} leads out of the repository, to {real}, where git would not see it"
    elif path.is_symlink() and not path.exists():
        why = f"{change.name} is a link to {real}, and nothing is there; make that file, or remove the link"
    elif path.exists() and not os.access(path, os.W_OK):
        why = f"{change.name} may not be written; chmod u+w {shlex.quote(change.name)} lets you"
    return change if why is None else replace(change, refused=why)


def _workflow(kernel: KernelCi, *, force: bool) -> Change:
    text, path = workflow(kernel), kernel.repository.root / FILE
    there = _read(path) if path.exists() else None
    became: Became = "new" if there is None else "unchanged" if there == text else "replaced"
    refused = None
    if became == "replaced" and not force:
        refused = f"{FILE} is there and says something else; --force replaces it, --print shows what would be written"
    return Change(path, str(FILE), became, text, text.encode(), refused)


def _tox(kernel: KernelCi, *, force: bool) -> Change:
    root = kernel.repository.root
    file = tox_file(root, _read)
    path, section = root / file.name, f"{BEGIN}\n{file.section(kernel)}{END}\n"
    if file.refused is not None:
        return Change(path, file.name, "added to", section, b"", file.refused)
    if not path.exists():
        text = HEAD_OF_NEW + section if file.name == NEW else section
        return Change(path, file.name, "new", text, text.encode())
    there = _read(path)
    line_break = "\r\n" if "\r\n" in there else "\n"
    block, match = section.replace("\n", line_break), OURS.search(there)
    if theirs := file.environments(OURS.sub("", there)):
        why = f"{file.name} has an environment {' and '.join(sorted(theirs))} that is not ours; "
        why += "rename it, or type --only workflow"
        return Change(path, file.name, "added to", section, there.encode(), why)
    if match is None:
        after = there + line_break * (2 - _line_breaks_at_the_end(there)) + block
        became: Became = "added to"
    else:
        after = there[: match.start()] + block + there[match.end() :]
        became = "unchanged" if after == there else "replaced"
    refused = None
    if not _holds_both(file, after):
        refused = f"{file.name} cannot take these at its end: add by hand what --only tox --print shows, "
        refused += "and type --only workflow"
    elif became == "replaced" and not force:
        refused = f"{file.name} has other environments of ours; --force replaces them"
    return Change(path, file.name, became, section, after.encode(), refused)


def _line_breaks_at_the_end(text: str) -> int:
    """How many of the two that stand before what is added are there; an empty file needs none."""
    plain = text.replace("\r\n", "\n")
    return 2 if not plain.strip() or plain.endswith("\n\n") else 1 if plain.endswith("\n") else 0


def _holds_both(file: ToxFile, after: str) -> bool:
    """Whether the file can be read with what is added; TOML cannot after an inline table, for one."""
    try:
        return file.environments(after) == {CHECK, AB}
    except UsageError:
        return False


def _read(path: Path) -> str:
    """The text of a file with its own line endings; a mark of UTF-8 at its start stays."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        msg = f"{path} is not written in UTF-8, and is left alone; type --only with the other one of workflow and tox"
        raise UsageError(msg) from None
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror}"
        raise UsageError(msg) from error
