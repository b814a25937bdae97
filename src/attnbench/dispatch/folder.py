"""The folder of a plan: ``plan.json``, ``order.json``, ``blocks.jsonl``, ``files/`` and ``results/``.

Every file is written under another name, synced, and then given its own: whoever reads sees a whole one, or none.
Results lie in folders of ``results/`` that are named after the first two digits of their blocks, so that none of them
has very many, and whoever looks for those of one block looks through few.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

from pydantic import ValidationError

from attnbench.dispatch.records import (
    DISPATCH_VERSION,
    BlockResult,
    DispatchBlock,
    DispatchPlan,
)
from attnbench.errors import ResultsError, UsageError, upgrade
from attnbench.results.fingerprint import machine_of
from attnbench.results.journal import fail_writing
from attnbench.results.read import first_fault
from attnbench.results.schema import Record
from attnbench.show import finite

PLAN, FILES, RESULTS = "plan.json", "files", "results"
RESULT_NAME = re.compile(r"([0-9a-f]{12})\.([0-9a-f]{12})\.json")
PART_NAME = re.compile(r"[0-9a-f]{2}")

ENDS = b"}\n"  # of every file that as_text made

SomeRecord = TypeVar("SomeRecord", bound=Record)


class ResultFile(NamedTuple):
    """A file of ``results/`` by what its name says."""

    block: str
    machine: str
    path: Path


def as_text(record: Record) -> str:
    """A record as JSON in one line; what is NaN or infinite is a word."""
    data = record.model_dump(mode="json", exclude_defaults=False)
    try:
        return _compactly(data)
    except ValueError:  # something in it is NaN or infinite: most records have none, and are not gone through twice
        return _compactly(finite.replaced(data, finite.in_words))


def _compactly(data: object) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False) + "\n"


def write_synced(path: Path, text: str | bytes, *, replace: bool = True) -> bool:
    """Write a file whole or not at all; say whether it is this one that stands there now.

    Without ``replace`` one that is there already stays. Raises ``ResultsError``.
    """
    return streamed_synced(path, [text if isinstance(text, bytes) else text.encode()], replace=replace)


def streamed_synced(path: Path, parts: Iterable[bytes], *, replace: bool = True) -> bool:
    """The same of a file that comes in parts, which are not all held in memory."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        mine = _named(beside, path, replace=replace)
        _sync_folder(path.parent)
    except OSError as error:
        fail_writing(path, error)
    finally:
        with suppress(OSError):
            beside.unlink()
    return mine


def _named(beside: Path, path: Path, *, replace: bool) -> bool:
    if not replace:
        try:
            path.hardlink_to(beside)
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            if path.exists():
                return False
        else:
            return True
    beside.replace(path)
    return True


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems do not sync folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_plan(folder: Path) -> DispatchPlan:
    """The plan of a folder. Raises ``UsageError`` where there is none, ``ResultsError`` for one that is damaged."""
    if not (folder / PLAN).is_file():
        what = (
            f"has no {PLAN}: its plan was not finished, or it is another folder" if folder.is_dir() else "is not there"
        )
        msg = f"{folder} {what}; a plan is made by: attnbench dispatch plan SUITE -o DIR"
        raise UsageError(msg)
    return read_record(folder / PLAN, DispatchPlan)


def read_result(file: ResultFile, plan: DispatchPlan, block: DispatchBlock) -> BlockResult:
    """What a machine measured of a block. Raises ``ResultsError`` for what is not that."""
    return held_to_plan(file, read_record(file.path, BlockResult), plan, block)


def held_to_plan(file: ResultFile, result: BlockResult, plan: DispatchPlan, block: DispatchBlock) -> BlockResult:
    """A result that was read from a file, or would stand in it. Raises ``ResultsError`` for what is not the block's."""
    if result.plan != plan.id:
        damaged(file.path, "it belongs to another plan")
    if (result.block, result.machine) != (file.block, file.machine):
        damaged(file.path, "its name is not that of its block and its machine")
    if machine_of(result.run.fingerprint) != file.machine or {row.machine_id for row in result.cells} != {
        result.run.fingerprint.machine_id
    }:
        damaged(file.path, "its machine is not that of its fingerprint")
    if [(row.cell_id, row.block_id, row.suite, row.impl) for row in result.cells] != [
        (cell_id, block.id, block.suite, cell.get("impl"))
        for cell_id, cell in zip(block.cell_ids, block.cells, strict=True)
    ]:
        damaged(file.path, f"its rows are not the cells of block {block.id}")
    if strange := [name for name, filed in result.run.suite_files.items() if filed.sha256 not in _planned_files(plan)]:
        damaged(file.path, f"suite {strange[0]} is of a file that is not the plan's")  # its code would be run
    _check_times(file.path, result)
    if not {sample.cell_id for sample in result.samples} <= set(block.cell_ids):
        damaged(file.path, f"it has samples of cells that are not of block {block.id}")
    return result


def looks_whole(file: ResultFile, plan: DispatchPlan) -> bool:
    """Whether a result file begins and ends as one of this plan does: what was cut or overwritten does not.

    Only its ends are read, so that thousands of files can be listed; ``read_result`` looks at all of it.
    """
    begins = {"dispatch_version": DISPATCH_VERSION, "plan": plan.id, "block": file.block, "machine": file.machine}
    head = json.dumps({"program": "attnbench", **begins}, separators=(",", ":"))[:-1].encode()
    try:
        descriptor = os.open(file.path, os.O_RDONLY)
    except OSError:
        return False
    try:
        last = max(0, os.fstat(descriptor).st_size - len(ENDS))
        return os.pread(descriptor, len(head), 0) == head and os.pread(descriptor, len(ENDS), last) == ENDS
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _planned_files(plan: DispatchPlan) -> set[str]:
    return {file.sha256 for file in plan.files}


def _check_times(path: Path, result: BlockResult) -> None:
    for when in (result.run.started, result.run.finished or result.run.started):
        try:
            known = datetime.fromisoformat(when).tzinfo is not None
        except ValueError:
            known = False
        if not known:
            damaged(path, f"it began or ended at {when!r}, which is no time in UTC")


def result_path(folder: Path, block_id: str, machine: str) -> Path:
    """Where the result of a machine for a block is put."""
    return folder / RESULTS / block_id[:2] / f"{block_id}.{machine}.json"


def result_files(folder: Path) -> Iterator[ResultFile]:
    """The files below ``results/`` whose names say a block and a machine, in no order."""
    top = folder / RESULTS
    yield from _result_files(top)
    for entry in _entries(top):
        if PART_NAME.fullmatch(entry.name):
            yield from _result_files(Path(entry.path))


def results_of(folder: Path, block_id: str) -> list[ResultFile]:
    """The results of one block, by machine; those of others are not looked through."""
    top = folder / RESULTS
    there = [top] if not (top / block_id[:2]).is_dir() else [top, top / block_id[:2]]
    of_block = [file for place in there for file in _result_files(place) if file.block == block_id]
    return sorted(of_block, key=lambda file: file.machine)


def _result_files(place: Path) -> Iterator[ResultFile]:
    """The results right in a folder. Some lie in ``results/`` itself: those that somebody has copied there by hand."""
    for entry in _entries(place):
        if named := RESULT_NAME.fullmatch(entry.name):
            yield ResultFile(named[1], named[2], Path(entry.path))


def _entries(place: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(place) as entries:
            yield from entries
    except OSError as error:
        msg = f"{place} cannot be read ({error.strerror}); it is made by attnbench dispatch plan"
        raise ResultsError(msg) from error


def read_record(path: Path, model: type[SomeRecord]) -> SomeRecord:
    """The record that a file holds. Raises ``ResultsError`` for what is not that."""
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        msg = f"{path} is missing; the folder of a plan is to be copied whole"
        raise ResultsError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror})"
        raise ResultsError(msg) from error
    return from_text(path, text, model)


def from_text(path: Path, text: bytes, model: type[SomeRecord], where: str = "it") -> SomeRecord:
    """The record that stands in a text of a file; ``where`` names the part of it in what is said of damage."""
    with suppress(ValidationError):
        return model.model_validate_json(text)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        damaged(path, f"{where} is not JSON")
    version = data.get("dispatch_version") if isinstance(data, Mapping) else None
    if isinstance(version, int) and version > DISPATCH_VERSION:
        msg = f"{path} was written by a newer attnbench (version {version} of these files). Type: {upgrade()}"
        raise ResultsError(msg)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        damaged(path, first_fault(error, model.__name__))


def damaged(path: Path, why: str) -> NoReturn:
    """Raise the ``ResultsError`` that names a file and what is wrong with it."""
    msg = f"{path} is damaged: {why}"
    raise ResultsError(msg)
