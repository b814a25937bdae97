"""Ceilings: how fast this machine multiplies matrices, copies memory and evaluates exp, with this process's threads.

Every framework of a run is asked, and a cell is held against the best rate that any of them reached (Williams 2009,
roofline): a ceiling is the machine's, not a library's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from attnbench.workers.protocol import Ceilings

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend

PRODUCT_DTYPES = ("float32", "float64", "bfloat16", "float16")
COPY, EXP = "copy_bytes_rate", "exp_rate"
# On the CPU: matrices that fit the caches, a copy that does not, an exp whose operands do.
CPU_SIZES = {"product": 768, "copy": 64 * 2**20, "exp": 2**15}
# On an accelerator: large enough to fill it.
DEVICE_SIZES = {"product": 8192, "copy": 2**30, "exp": 2**24}


def product(dtype: str) -> str:
    """The name of the rate of matrix products in a dtype."""
    return f"{dtype}_flop_rate"


def measure(backend: Backend, seconds: float, device: str = "cpu", dtypes: Sequence[str] = PRODUCT_DTYPES) -> Ceilings:
    """The best rates seen in ``seconds`` each: products by dtype (FLOP/s), copy (read and written bytes/s), exp (1/s).

    Products are those of ``dtypes``. What the framework does not offer is left out.
    """
    sizes = CPU_SIZES if device == "cpu" else DEVICE_SIZES
    n = sizes["product"]
    wanted = [(product(dtype), "product", dtype, n, 2.0 * n**3) for dtype in dtypes]
    wanted.append((COPY, "copy", "float32", sizes["copy"], 2.0 * sizes["copy"]))
    wanted.append((EXP, "exp", "float32", sizes["exp"], float(sizes["exp"])))
    rates = {}
    for name, kind, dtype, size, amount in wanted:
        work = backend.ceiling(kind, dtype, size, device)
        if work is not None:
            rates[name] = amount / _fastest(work, backend.wait, seconds)
    return Ceilings(rates)


def _fastest(work: Callable[[], Any], wait: Callable[[Any], None], seconds: float) -> float:
    wait(work())
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        wait(work())
        best = min(best, time.perf_counter() - start)
    return best
