"""What crosses between the front and a Dask worker: JSON texts of these records, checked on both sides."""

from __future__ import annotations

import json
from typing import TypeVar

from pydantic import Field, ValidationError

from attnbench.dispatch.records import DispatchBlock, DispatchPlan, HeldVersions, Id, Inside, Labels
from attnbench.errors import ResultsError
from attnbench.results.read import first_fault
from attnbench.results.schema import Record

SomeMessage = TypeVar("SomeMessage", bound=Record)


class AskedOfWorker(Record):
    """What a worker is asked before it has a block: it says what it is, and whether it has the plan's files."""

    plan: DispatchPlan
    packages: tuple[str, ...] = ()


class WorkerAbout(Record):
    """What a worker is.

    ``machine`` names the computer that it stands on, ``lock`` the file that keeps measurements there apart;
    ``missing`` are packages that were asked for, ``files`` says what is wrong with files that do not travel.
    ``profiler``: Dask looks at what the worker does many times a second.
    """

    held: HeldVersions
    machine: Id
    lock: str
    labels: Labels = Field(default_factory=dict)
    processors: int | None = None
    memory_bytes: int | None = None
    gpus: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    files: str = ""
    profiler: bool = False


class BlockTask(Record):
    """A block for a worker: ``files`` are those that travel, by their place in the plan's folder, in base64."""

    plan: DispatchPlan
    block: DispatchBlock
    files: dict[Inside, str] = Field(default_factory=dict)
    wait: str | None = None


class WorkerAnswer(Record):
    """What a program left that was started beside a worker: exit status, its text if it has one, its last words."""

    exit_code: int
    text: str | None = None
    said: str = ""


def decoded(text: object, model: type[SomeMessage], sender: str) -> SomeMessage:
    """A message that came. Raises ``ResultsError`` for what is none."""
    try:
        if not isinstance(text, str):
            msg = f"{sender} sent something that is no text"
            raise ResultsError(msg)
        return model.model_validate(json.loads(text))
    except ValidationError as error:
        msg = f"{sender} sent what cannot be read: {first_fault(error, model.__name__)}"
        raise ResultsError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{sender} sent a text that is not JSON"
        raise ResultsError(msg) from error
