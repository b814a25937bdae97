"""The anchor's work: always the same products, exponentials and copies, so that what moves its time is the machine.

One call does what attention does, on fixed numbers: it copies keys, multiplies them with queries, takes exp, and
multiplies with values. NumPy computes it, in a process that has nothing else to do. No call takes more than a few ms.

``tiles`` have as many queries as keys; with more than one thread every thread has arrays of its own and all the work.
There are several sets of arrays, and bursts take turns among them: at which addresses a set lies moves its time too.

``reading`` is for decoding: few queries, and many keys and values, which the threads share. A call takes the next part
of them, so that they come from as far away as those of a cell that reads as many, and a call is short all the same.

This file is pinned: ``code()`` is the hash of its text, which stands in every result, and a test knows the hash of each
``VERSION``. Whoever changes the work raises ``VERSION``; runs with different anchors are then told apart.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

VERSION = 2
SEED, DEPTH = 17, 64
SETS = 4
# Queries and keys of a call, by the name of the work. Scores in float32: 64 KiB and 1 MiB.
TILES = {"tiles-128": (128, 128), "tiles-512": (512, 512)}
# Queries of a reading, keys of a call, and keys that are held of all threads together: with values
# and the copied part at most 1.5, 6, 24 and 96 MiB in float32.
READINGS = {"reading-2048": 2048, "reading-8192": 8192, "reading-32768": 32768, "reading-131072": 131072}
READERS, PART = 4, 2048


def code() -> str:
    """The hash of this file: eight hexadecimal digits."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]


def library() -> str:
    """NumPy and the BLAS below it, with versions and the kernels that BLAS chose for this processor."""
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    blas = sorted({f"{pool['internal_api']} {pool['version']} ({pool.get('architecture', '?')})" for pool in pools})
    return ", ".join([f"numpy {np.__version__}", *blas])


def make(name: str, dtype: str, threads: int) -> list[Callable[[], None]]:
    """The work as functions without arguments, one for each set of arrays; BLAS has one thread from now on."""
    threadpoolctl.threadpool_limits(1)
    crew, rng = ThreadPoolExecutor(threads), np.random.default_rng(SEED)
    if name in READINGS:
        keys = max(1, READINGS[name] // threads)
        return [_together([_reading(keys, dtype, rng) for _ in range(threads)], crew)]
    return [_together([_tile(*TILES[name], dtype, rng) for _ in range(threads)], crew) for _ in range(SETS)]


def read_bytes(name: str, dtype: str) -> int:
    """The most that the arrays of a ``reading`` take, whatever the threads: keys, values, and as much for the copy."""
    return 3 * READINGS[name] * DEPTH * np.dtype(dtype).itemsize


def _together(shares: list[Callable[[], None]], crew: ThreadPoolExecutor) -> Callable[[], None]:
    if len(shares) == 1:
        return shares[0]

    def call() -> None:
        for done in [crew.submit(share) for share in shares]:
            done.result()

    return call


def _drawn(rows: int, dtype: str, rng: np.random.Generator) -> Any:
    return (rng.standard_normal((rows, DEPTH)) / DEPTH).astype(dtype)


def _tile(queries: int, keys: int, dtype: str, rng: np.random.Generator) -> Callable[[], None]:
    q, k, v = (_drawn(rows, dtype, rng) for rows in (queries, keys, keys))
    return _step(q, itertools.repeat((k, v)), np.empty_like(k))


def _reading(keys: int, dtype: str, rng: np.random.Generator) -> Callable[[], None]:
    """Keys and values in parts, of which every call takes the next; all are copies of one drawn part."""
    part = min(PART, keys)
    q, k, v = (_drawn(rows, dtype, rng) for rows in (READERS, part, part))
    parts = [(k.copy(), v.copy()) for _ in range(keys // part)]
    return _step(q, itertools.cycle(parts), np.empty_like(k))


def _step(q: Any, parts: Iterator[tuple[Any, Any]], copied: Any) -> Callable[[], None]:
    scores, out = np.empty((len(q), len(copied)), q.dtype), np.empty_like(q)

    def call() -> None:
        k, v = next(parts)
        np.copyto(copied, k)
        np.matmul(q, copied.T, out=scores)
        np.exp(scores, out=scores)
        np.matmul(scores, v, out=out)

    return call
