"""The anchor's work: always the same products, exponentials and copies, so that what moves its time is the machine.

One call does what attention does, on fixed numbers: ``q k^T``, exp, a copy of the scores, times v, tile by tile. In
``reading`` the queries are few and the keys many, as in decoding. NumPy computes it, in a process that has nothing else
to do; with more than one thread every thread has arrays of its own and does its whole share of the tiles.

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
# Queries and keys of a call, by the name of the work. Bytes of scores in float32: 64 KiB, 1 MiB, 16 MiB; of keys and
# values: 1 MiB, 16 MiB, 64 MiB.
WORKS = {
    "tiles-128": (128, 128),
    "tiles-512": (512, 512),
    "tiles-2048": (2048, 2048),
    "reading-2048": (4, 2048),
    "reading-32768": (4, 32768),
    "reading-131072": (4, 131072),
}
DTYPES = ("float32", "float64")


def code() -> str:
    """The hash of this file: eight hexadecimal digits."""
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]


def library() -> str:
    """NumPy and the BLAS below it, with versions and the kernels that BLAS chose for this processor."""
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    blas = sorted({f"{pool['internal_api']} {pool['version']} ({pool.get('architecture', '?')})" for pool in pools})
    return ", ".join([f"numpy {np.__version__}", *blas])


def make(name: str, dtype: str, threads: int) -> Callable[[], None]:
    """The work as a function without arguments; BLAS has one thread in this process from now on."""
    threadpoolctl.threadpool_limits(1)
    shares = [_share(*WORKS[name], dtype, SEED + thread) for thread in range(threads)]
    if threads == 1:
        return shares[0]
    crew = ThreadPoolExecutor(threads)

    def all_shares() -> None:
        for done in [crew.submit(share) for share in shares]:
            done.result()

    return all_shares


def _share(queries: int, keys: int, dtype: str, seed: int) -> Callable[[], None]:
    rng = np.random.default_rng(seed)

    def drawn(rows: int) -> Any:
        return (rng.standard_normal((rows, DEPTH)) / DEPTH).astype(dtype)

    q, k, v = drawn(queries), drawn(keys), drawn(keys)
    scores, weights, out = np.empty((queries, keys), dtype), np.empty((queries, keys), dtype), np.empty_like(q)

    def call() -> None:
        np.matmul(q, k.T, out=scores)
        np.exp(scores, out=weights)
        np.copyto(scores, weights)
        np.matmul(scores, v, out=out)

    return call
