"""The anchor's work: always the same products, exponentials and copies, so that what moves its time is the machine.

One call does what attention does, on fixed numbers: it copies the keys, multiplies them with the queries, takes exp,
and multiplies with the values. In ``reading`` the queries are few and the keys many, as in decoding. NumPy computes it,
in a process that has nothing else to do; with more than one thread every thread has arrays of its own and all the work.
There are several sets of arrays, and bursts take turns among them: at which addresses a set lies moves its time too.

This file is pinned: ``code()`` is the hash of its text, which stands in every result, and a test knows the hash of each
``VERSION``. Whoever changes the work raises ``VERSION``; runs with different anchors are then told apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

VERSION = 1
SEED, DEPTH = 17, 64
SETS = 4
# Queries and keys of a call, by the name of the work. Scores in float32: 64 KiB and 1 MiB; keys and values: 64 MiB.
WORKS = {"tiles-128": (128, 128), "tiles-512": (512, 512), "reading-131072": (4, 131072)}


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
    queries, keys = WORKS[name]
    sets = SETS if queries == keys else 1  # the large one lies everywhere
    crew = ThreadPoolExecutor(threads)
    rng = np.random.default_rng(SEED)
    return [_together([_share(queries, keys, dtype, rng) for _ in range(threads)], crew) for _ in range(sets)]


def _together(shares: list[Callable[[], None]], crew: ThreadPoolExecutor) -> Callable[[], None]:
    if len(shares) == 1:
        return shares[0]

    def call() -> None:
        for done in [crew.submit(share) for share in shares]:
            done.result()

    return call


def _share(queries: int, keys: int, dtype: str, rng: np.random.Generator) -> Callable[[], None]:
    def drawn(rows: int) -> Any:
        return (rng.standard_normal((rows, DEPTH)) / DEPTH).astype(dtype)

    q, k, v = drawn(queries), drawn(keys), drawn(keys)
    copied, scores, out = np.empty_like(k), np.empty((queries, keys), dtype), np.empty_like(q)

    def call() -> None:
        np.copyto(copied, k)
        np.matmul(q, copied.T, out=scores)
        np.exp(scores, out=scores)
        np.matmul(scores, v, out=out)

    return call
