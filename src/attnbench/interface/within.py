"""A function checked in the process that holds it: the operations of a worker, asked directly, one after another.

Nothing is guarded: a crash ends this process, a hang holds it, and what a function changes of it stays changed. An
exception is a row as it is elsewhere; an interrupt from the keyboard ends the check.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from attnbench.backends import discover
from attnbench.checking.declare_operation import declare_operation
from attnbench.checking.operations import check_operations, plan_operations
from attnbench.errors import UsageError
from attnbench.measure.general import classify
from attnbench.workers.protocol import REASON_LENGTH, WRONG, Done, Reply
from attnbench.workers.session import Session, Sessions

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.implementation import Implementation

Part = TypeVar("Part")
Out = TypeVar("Out")


class DirectSession(Session):
    """What is asked as a worker is, and answers by itself: in this thread, at once."""

    def __init__(self, backend: Callable[[], Backend]) -> None:
        self._operations = plan_operations(backend) | check_operations(backend) | declare_operation(backend)

    def ask(self, op: str, /, *, timeout_s: float | None = None, **arguments: Any) -> Reply:
        """The answer, however long it takes; whatever was raised is a status and a reason."""
        del timeout_s  # nobody can end this process but its owner
        return Reply(0, *_attempt(self._operations[op], arguments))

    def close(self) -> None:
        """There is no worker to end."""


class DirectSessions(Sessions):
    """The one session of this process, in the place of several."""

    def __init__(self, backend: Callable[[], Backend]) -> None:
        self._session = DirectSession(backend)

    def do(self, work: Callable[[Session], Out], kind: str = "") -> Out:
        """Work with it."""
        del kind
        return work(self._session)

    def map(
        self, work: Callable[[Session, Part], Out], parts: Sequence[Part], kind: Callable[[Part], str] = lambda _: ""
    ) -> list[Out]:
        """One part after the other."""
        del kind
        return [work(self._session, part) for part in parts]

    def abandon(self) -> None:
        """There is nothing to end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""


class CallersProcess:
    """This process as one that is asked; ``typed`` stands first in a call of ``called`` that asks the same again."""

    def __init__(self, implementation: Implementation, typed: str, called: str = "attnbench.check") -> None:
        self.typed, self.called = typed, called
        self._backend = discover.backend(implementation.backend).load()

    def sessions(self) -> Sessions:
        """What is asked as workers are."""
        return DirectSessions(lambda: self._backend)


@contextmanager
def held(implementation: Implementation) -> Iterator[None]:
    """An implementation that can be asked for by its name, though no file and no package defines it.

    Warnings of its arithmetic say nothing that the rows do not.
    """
    name = implementation.name
    if name in discover.HELD:
        msg = f"another check of {name} is under way in this process; wait for it, or give the function another name"
        raise UsageError(msg)
    discover.HELD[name] = implementation
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        del discover.HELD[name]


def _attempt(operation: Callable[..., Done], arguments: dict[str, Any]) -> Done:
    try:
        return operation(**arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  (a kernel may raise anything, SystemExit too)
        if isinstance(error, ValueError) and "read-only" in str(error):
            return WRONG, f"tried to write to an input: {error}"[:REASON_LENGTH], {}
        return (*classify(error), {})
