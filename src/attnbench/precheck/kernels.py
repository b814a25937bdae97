"""The part for kernels in Triton, asked of workers: what is launched, compiled, interpreted."""

from __future__ import annotations

from collections.abc import Iterator

from attnbench.precheck.question import PrecheckQuestion
from attnbench.precheck.rows import PrecheckRow


def triton_kernels(impl: str, question: PrecheckQuestion) -> Iterator[PrecheckRow]:
    """Rows about every kernel of Triton's that an implementation launches."""
    del impl, question
    yield from ()
