"""Threads that work off a list of pieces, while BLAS computes with one thread; and the memory that they work in.

The number of threads is that of NumPy's BLAS, so that whoever sets one has set both. While pieces are worked off BLAS
has one thread for each of ours, and gets its number back when the last call that runs at the time is done. Threads are
started for a call and end with it: nothing is left behind, nobody spins, and a fork finds none. The memory stays.
"""

from __future__ import annotations

import _thread
import itertools
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import threadpoolctl

from attnbench.api import Array

Piece = TypeVar("Piece")

# Fewer multiplications than this are done before a second thread has been started (60 µs).
WORTH_A_THREAD = 2**23
# Memory above this is not kept from one call to the next, nor that of more threads than this.
KEPT_BYTES, KEPT_SPACES = 2**23, 64


@cache
def pools() -> tuple[Any, ...]:
    """The BLAS that NumPy multiplies with: what was loaded with it, else every BLAS in the process."""
    blas = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    beside = str(Path(np.__file__).parent)  # as .../numpy/, or .../numpy.libs/
    with_numpy = [pool for pool in blas if pool.filepath.startswith(beside)]
    return tuple(with_numpy or blas)


@lru_cache(maxsize=1)
def others(modules: int) -> tuple[Any, ...]:
    """Every other BLAS in the process, such as SciPy's; listed anew when ``modules``, those imported, are others."""
    del modules
    known = {pool.filepath for pool in pools()}
    every = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    return tuple(pool for pool in every if pool.filepath not in known)


def give(pool: Any, threads: int) -> None:
    """Set it in a BLAS. threadpoolctl 3.8 hears only the thread that set a number first, until that is cleared."""
    clear = getattr(pool, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)
    pool.set_num_threads(threads)
    if clear is not None:
        clear(force=True)


class ThreadCount:
    """How many threads are wanted. BLAS has this number, or 1 while a crew is at work."""

    def __init__(self) -> None:
        self._crews = self._wanted = 0
        self._free()

    def _free(self) -> None:
        """Nobody waits, and no thread of Python has it alone."""
        self._lock = threading.RLock()
        self._turn = threading.Condition(self._lock)
        self._owner: int | None = None
        self._depth = 0

    def get(self) -> int:
        """The number that was set last, by us or by whoever set that of BLAS."""
        with self._lock:
            return self._wanted if self._crews else self._of_blas()

    def set(self, threads: int) -> None:
        """Set it, for BLAS as well."""
        with self._lock:
            self._wanted = threads
            if not self._crews:
                self._give(threads)

    def _of_blas(self) -> int:
        """That of BLAS; where no BLAS tells it, the number that was set, or that of the processors."""
        if pools():
            return int(pools()[0].num_threads)
        if self._wanted:
            return self._wanted
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within it no crew of another thread of Python works: BLAS has the number of this one."""
        me = threading.get_ident()
        with self._turn:
            self._turn.wait_for(lambda: self._owner == me or (self._owner is None and not self._crews))
            self._owner, self._depth = me, self._depth + 1
        try:
            yield
        finally:
            with self._turn:
                self._depth -= 1
                self._owner = me if self._depth else None
                self._turn.notify_all()

    @contextmanager
    def taken(self) -> Iterator[int]:
        """Within it BLAS has one thread. Gives the number that a crew may have."""
        me = threading.get_ident()
        with self._turn:
            self._turn.wait_for(lambda: self._owner in (None, me))
            if not self._crews:
                self._wanted = self._of_blas()
                self._give(1)
            self._crews += 1
            threads = self._wanted
        try:
            yield threads
        finally:
            with self._lock:
                self._crews -= 1
                if not self._crews:
                    self._give(self._wanted)
                    self._turn.notify_all()

    @staticmethod
    def _give(threads: int) -> None:
        """Set it in NumPy's BLAS."""
        for pool in pools():
            give(pool, threads)

    def after_fork(self) -> None:
        """In a new process no crew is at work, whatever the old one was doing."""
        busy, self._crews = self._crews, 0
        self._free()
        if busy:
            self._give(self._wanted)


NUMBER = ThreadCount()


LINE = 64  # bytes of a cache line, and of a vector of AVX-512


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """An array that begins with a cache line, with whatever stands in it: no vector lies across two lines."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + LINE, np.uint8)
    begin = -memory.ctypes.data % LINE
    array: Array = memory[begin : begin + size].view(dtype).reshape(shape)
    return array


class Space:
    """The memory of one thread: arrays by name, each used again for the next piece."""

    def __init__(self) -> None:
        self._flat: dict[str, Array] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of this shape, with whatever stands in it."""
        size = math.prod(shape)
        flat = self._flat.get(name)
        if flat is None or flat.size < size or flat.dtype != dtype:
            flat = self._flat[name] = aligned((size,), dtype)
        return flat[:size].reshape(shape)

    def shrink(self) -> None:
        """Let go of what is too large to keep."""
        self._flat = {name: flat for name, flat in self._flat.items() if flat.nbytes <= KEPT_BYTES}


SPACES: list[Space] = []


def trim() -> None:
    """Let go of all memory that is kept for the next call."""
    SPACES.clear()


def take() -> Space:
    """Memory for a thread or a block of heads, to be given to ``keep`` when it is not needed any more."""
    try:
        return SPACES.pop()
    except IndexError:
        return Space()


def keep(space: Space) -> None:
    """Keep its memory for the next that takes some: new memory costs more than a copy of the keys into it."""
    space.shrink()
    if len(SPACES) < KEPT_SPACES:
        SPACES.append(space)


@contextmanager
def _space() -> Iterator[Space]:
    space = take()
    try:
        yield space
    finally:
        keep(space)


class _Shift:
    """Groups of pieces being worked off by some threads: each takes a group, and helps with others when none is left.

    So two threads seldom need the same operands at the same time. Counting and popping are single steps in Python.
    """

    def __init__(self, groups: Sequence[Sequence[Any]], work: Callable[[Any, Space], None]) -> None:
        self._groups, self._work = [deque(group) for group in groups], work
        self._next = itertools.count()
        self.error: BaseException | None = None

    def _taken(self) -> Iterator[Any]:
        """The next piece for a thread, until there is none."""
        while (at := next(self._next)) < len(self._groups):
            yield from _popped(self._groups[at])
        for group in self._groups:
            yield from _popped(group)

    def go(self) -> None:
        """Work until there is no piece, or something went wrong."""
        try:
            with _space() as space, np.errstate(all="ignore"):
                for piece in self._taken():
                    if self.error is not None:
                        return
                    self._work(piece, space)
        except BaseException as error:  # noqa: BLE001  (raised again in the thread that called)
            self.error = self.error or error


def _popped(group: deque[Any]) -> Iterator[Any]:
    while True:
        try:
            yield group.popleft()
        except IndexError:
            return


def run(groups: Sequence[Sequence[Piece]], work: Callable[[Piece, Space], None], effort: int) -> None:
    """``work(piece, space)`` for every piece of every group, in any order: ``effort`` multiplications in all.

    What a piece raises, an interruption of this thread included, is raised here when all threads have ended.
    """
    with NUMBER.taken() as threads:
        shift = _Shift(groups, work)
        count = min(threads, sum(map(len, groups)), 1 + effort // WORTH_A_THREAD)
        ended: list[threading.Lock] = []
        try:
            for _ in range(count - 1):
                lock = threading.Lock()
                lock.acquire()
                _thread.start_new_thread(_help, (shift, lock))  # threading.Thread would wait until it has started
                ended.append(lock)
            shift.go()
        except BaseException as error:  # an interruption between two pieces
            shift.error = error
            raise
        finally:
            for lock in ended:
                _wait(lock, shift)
        if shift.error is not None:
            raise shift.error


def _help(shift: _Shift, ended: threading.Lock) -> None:
    """What a helping thread does."""
    try:
        shift.go()
    finally:
        ended.release()


def _wait(ended: threading.Lock, shift: _Shift) -> None:
    """Until a helping thread has ended; an interruption lets it end sooner, and is not lost."""
    while True:
        try:
            ended.acquire()
        except BaseException as error:  # noqa: BLE001  (raised by ``run`` when all have ended)
            shift.error = error
        else:
            return


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=NUMBER.after_fork)
