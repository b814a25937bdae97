"""What crosses from one machine to another: JSON of these records, and nothing else.

A field that is missing, unknown or of another type is refused where a file is read.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from attnbench.results.schema import CellResult, Record, RunInfo, Sample

DISPATCH_VERSION = 1

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
# A file within the folder, however the plan came about: no way out of it.
Inside = Annotated[str, Field(pattern=r"^files/[0-9]+/[^/\\]+$")]
Labels = dict[str, str]


def _real(when: str) -> str:
    datetime.fromisoformat(when)
    return when


# Folders are named after it, so it is a time and nothing else.
When = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"), AfterValidator(_real)]


class HeldVersions(Record):
    """What every worker must have alike: the digest of attnbench's own files, Python, and packages by name."""

    attnbench: str
    code: str
    python: str
    packages: dict[str, str] = Field(default_factory=dict)


class OwnFile(Record):
    """A file of somebody's own: drop-ins, suites, or a workload.

    ``group`` counts what was typed; ``folder`` says that this was a folder, in which it lies. ``path`` is where it was
    when the plan was made, and ``sent`` where it lies in the plan's folder, if it travels.
    """

    option: Literal["impls", "suites", "workload"]
    group: int = Field(ge=0)
    folder: bool = False
    typed: str
    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    sent: Inside | None = None


class AskedWords(Record):
    """What was asked, in the words of ``attnbench run``."""

    suites: tuple[str, ...] = ()
    workload: str | None = None
    impl: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    levels: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    device: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    budget_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    timeout_s: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    typed: tuple[str, ...] = ()


class DispatchPlan(Record):
    """``plan.json``: what all blocks share. ``id`` tells the results of one plan from those of another."""

    program: Literal["attnbench"] = "attnbench"
    dispatch_version: Literal[1] = 1
    id: Id
    made: When
    seed: int = Field(ge=0)
    asked: AskedWords
    held: HeldVersions
    files: tuple[OwnFile, ...] = ()
    suites: tuple[str, ...]
    implementations: tuple[str, ...]
    axes: dict[str, dict[str, list[Any]]] = Field(default_factory=dict)
    left_out: tuple[dict[str, Any], ...] = ()
    blocks: int = Field(ge=1)
    cells: int = Field(ge=1)


class BlockNeeds(Record):
    """What a block asks of a machine.

    ``memory_bytes`` is the least that will do: the arrays of its largest case, as a run at home asks for them.
    ``packages`` are the modules of its frameworks, and ``labels`` what a worker must say of itself.
    """

    device: str
    threads: int = Field(ge=1)
    memory_bytes: int | None = None
    packages: tuple[str, ...] = ()
    labels: Labels = Field(default_factory=dict)


Count = Annotated[int, Field(ge=0)]


class BlockOrder(Record):
    """``order.json``: what is to be known of the blocks without reading them; a column has a place for each number.

    ``planned`` has the numbers in planned order, and ``at`` the byte of ``blocks.jsonl`` where each block begins, and
    at last its length. ``cells`` counts; ``suite`` and ``kind`` are places in ``suites`` and in ``needs``, which have
    each of them once, without their memory.
    """

    plan: Id
    ids: tuple[Id, ...] = Field(min_length=1)
    planned: tuple[Count, ...]
    at: tuple[Count, ...]
    cells: tuple[Count, ...]
    memory_bytes: tuple[int | None, ...]
    suites: tuple[str, ...]
    suite: tuple[Count, ...]
    needs: tuple[BlockNeeds, ...]
    kind: tuple[Count, ...]


class DispatchBlock(Record):
    """A line of ``blocks.jsonl``: one block, whole.

    ``work`` is what is known of its size: operations, 0 where nothing is. ``budget_s`` is its share of the
    plan's budget.
    """

    program: Literal["attnbench"] = "attnbench"
    dispatch_version: Literal[1] = 1
    plan: Id
    id: Id
    number: int = Field(ge=0)
    suite: str
    needs: BlockNeeds
    work: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    budget_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    cell_ids: tuple[Id, ...] = Field(min_length=1)
    cells: tuple[dict[str, Any], ...] = Field(min_length=1)


class BlockResult(Record):
    """``results/ID/ID.MACHINE.json`` (the first ``ID`` cut to two digits): what one machine measured of one block.

    ``node`` tells two machines of the same kind apart without naming them; ``labels`` is what the worker said of
    itself, ``scheduler`` which job of which scheduler it was, ``code`` the digest of attnbench's own files there.
    ``exit_code`` is that of a run of these cells.
    """

    program: Literal["attnbench"] = "attnbench"
    dispatch_version: Literal[1] = 1
    plan: Id
    block: Id
    machine: Id
    node: Id
    labels: Labels = Field(default_factory=dict)
    scheduler: dict[str, str] = Field(default_factory=dict)
    code: str
    exit_code: int
    run: RunInfo
    cells: tuple[CellResult, ...]
    samples: tuple[Sample, ...]
    events: tuple[dict[str, Any], ...] = ()
