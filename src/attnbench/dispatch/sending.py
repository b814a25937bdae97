"""Files of one's own: drop-ins, suites, a workload. They are code, so that they travel only where somebody says so.

Those that do lie in ``files/`` of the plan's folder; the others are looked for where they were when the plan was made.
Either way a worker takes the very file whose SHA-256 the plan has, and no other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from attnbench.dispatch.folder import FILES, write_synced
from attnbench.dispatch.records import DispatchPlan, OwnFile
from attnbench.errors import UsageError
from attnbench.suite import Cell
from attnbench.suite.files import digest

Option = Literal["impls", "suites", "workload"]


def own_files(typed: Mapping[Option, Sequence[Path]], *, send: bool) -> list[OwnFile]:
    """The files behind what was typed; those of a folder one by one. Raises ``UsageError`` if one is not there."""
    files: list[OwnFile] = []
    group = 0
    for option, paths in typed.items():
        for given in paths:
            whole = given.resolve()
            inside = sorted(whole.glob("*.py")) if whole.is_dir() else [whole]
            files += [_own_file(option, group, given, file, send=send) for file in inside]
            group += 1
    return files


def _own_file(option: Option, group: int, given: Path, file: Path, *, send: bool) -> OwnFile:
    try:
        sha256 = digest(file.read_bytes())
    except OSError as error:
        msg = f"--{option} {given}: {file} cannot be read ({error.strerror})"
        raise UsageError(msg) from error
    sent = f"{FILES}/{group}/{file.name}" if send else None
    return OwnFile(
        option=option,
        group=group,
        folder=given.is_dir(),
        typed=str(given),
        path=str(file),
        sha256=sha256,
        sent=sent,
    )


def send_into(folder: Path, files: Sequence[OwnFile]) -> None:
    """Copy the files that travel into the plan's folder. Raises ``UsageError`` for one that changed meanwhile."""
    for file in files:
        if file.sent is not None:
            data = Path(file.path).read_bytes()
            if digest(data) != file.sha256:
                msg = f"{file.path} changed while the plan was made; type the same again"
                raise UsageError(msg)
            (folder / file.sent).parent.mkdir(parents=True, exist_ok=True)
            write_synced(folder / file.sent, data)


def local_path(folder: Path, file: OwnFile) -> Path:
    """Where a file is to be on this machine."""
    return folder.resolve() / file.sent if file.sent is not None else Path(file.path)


def check_there(folder: Path, plan: DispatchPlan) -> None:
    """Raise ``UsageError`` unless every file is here as it was when the plan was made, and none beside them."""
    for file in plan.files:
        path = local_path(folder, file)
        try:
            there = digest(path.read_bytes())
        except (OSError, ValueError):
            hint = "copy the plan's folder whole" if file.sent else "put it there, or plan again with --send-files"
            msg = f"--{file.option} {file.typed}: {path} is not here; {hint}"
            raise UsageError(msg) from None
        if there != file.sha256:
            hint = "copy the plan's folder again" if file.sent else "put that one there, or plan again"
            msg = f"{path} is not the file that was planned (SHA-256 {file.sha256[:12]}, here {there[:12]}); {hint}"
            raise UsageError(msg)
    _check_alone({local_path(folder, file): file for file in plan.files})


def _check_alone(planned: Mapping[Path, OwnFile]) -> None:
    """Raise ``UsageError`` for what lies in a folder that was planned, or that travelled, and would be loaded too."""
    for folder, sent in {path.parent: file.sent for path, file in planned.items() if file.folder or file.sent}.items():
        for other in sorted(folder.iterdir()):
            if sent and other in planned and other.is_symlink():
                msg = f"{other} is a link; copy the plan's folder again, with the file itself"
                raise UsageError(msg)
            if other not in planned and (other.suffix == ".py" or (sent and _loaded(other))):
                msg = f"{other} was not there when the plan was made; take it away, or plan again"
                raise UsageError(msg)


def _loaded(path: Path) -> bool:
    """Whether an import may find it, besides Python files: none of these travels."""
    return path.suffix in (".pyc", ".so") or (path / "__init__.py").exists()


def typed_here(folder: Path, plan: DispatchPlan, option: Option) -> list[Path]:
    """What to give to an option on this machine: the files, or the folders that they lie in."""
    groups = {file.group: file for file in plan.files if file.option == option}
    return [local_path(folder, file).parent if file.folder else local_path(folder, file) for file in groups.values()]


def cell_here(folder: Path, plan: DispatchPlan, data: Mapping[str, object]) -> Cell:
    """A cell of a block, with the files of this machine."""
    places = {file.path: str(local_path(folder, file)) for file in plan.files}
    given = dict(data)
    paths, filed = given.get("files"), given.get("suite_file")
    if isinstance(paths, list):
        given["files"] = [places[path] for path in paths]
    if isinstance(filed, list):
        given["suite_file"] = [places[filed[0]], *filed[1:]]
    return Cell.from_dict(given)
